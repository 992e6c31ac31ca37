"""A whole search: lists, loaders, the loop, checkpoints, a folder with the result.

`run` gives an event for everything that happens, as it happens; `search` is the same as one call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from time import perf_counter
from typing import Any

import torch

import tsdsl
from tsdsl.backends.supernet import Supernet
from tsdsl.data.dataset import MIN_FRAMES, TrainClips, generator_of
from tsdsl.data.lists import VideoList, in_both, read_list
from tsdsl.data.loader import TrainLoader, check_fills
from tsdsl.data.video_problems import Problem
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.files import PathLike
from tsdsl.ir.arch_file import dump
from tsdsl.ir.architecture import Architecture
from tsdsl.record import MutableRecord, factory
from tsdsl.searching.algorithm import (
    CostTermKind,
    DistributionTerm,
    SelectionVideos,
)
from tsdsl.searching.defaults import SEARCH_BN_BATCHES
from tsdsl.searching.events import AlgorithmEvent, PhaseFinished, SearchStepDone
from tsdsl.searching.foresight import check_reach
from tsdsl.searching.plan import check, plan_of
from tsdsl.searching.registry import algorithm_of
from tsdsl.searching.reporter import Reporter
from tsdsl.searching.running_statistics import reestimate
from tsdsl.searching.searcher import Searcher
from tsdsl.searching.supernet_step import SearchError
from tsdsl.sema.sections import Evaluate
from tsdsl.space import Space
from tsdsl.training import fingerprint
from tsdsl.training.checkpoint import WEIGHTS, restoring
from tsdsl.training.checks import check_classes, check_options, shares
from tsdsl.training.dry_run import gives_probabilities
from tsdsl.training.evaluation import quick
from tsdsl.training.events import CheckpointSaved, RunStarted, VideosRejected, WarningRaised
from tsdsl.training.folder import FORMAT, RunFolder, open_folder
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.training.run import Data
from tsdsl.training.session import peak_memory
from tsdsl.training.tensorboard import TensorBoardWriter
from tsdsl.weights.weight_files import save


class SearchFinished(MutableRecord):
    """The result of a search. ``interrupted``: it was stopped, and can be resumed."""

    step: int
    seconds: float
    #: The architecture that the search ends with, within the budgets of the last phase if any is;
    #: None if the search was stopped before it had one.
    selected: Architecture | None
    #: Whether every phase that has ended met its budgets, each with its own architecture (what
    #: exists of the result in that phase, later decisions at their defaults), and so does the
    #: result.
    met: bool
    #: Multiply-adds and parameters of the result; 0 without one.
    flops: int
    params: int
    interrupted: bool = False
    peak_memory: int = 0
    #: How many the last phase has.
    budgets: int = 0
    samples: int = 0
    replaced: int = 0
    bad_videos: list[Problem] = factory(default_factory=list[Problem])
    #: Each phase that has ended, in order: whether it met its budgets, and for each cost what its
    #: architecture has, the least and the most that is allowed.
    phases: dict[str, tuple[bool, dict[str, tuple[int, float, float]]]] = factory(
        default_factory=dict
    )
    #: A finding for each budget that was missed.
    missed: list[Diagnostic] = factory(default_factory=list[Diagnostic])

    @property
    def architecture(self) -> Architecture:
        """The architecture that the search ends with, of one that has any."""
        assert self.selected is not None, "the search was stopped before it had a result"
        return self.selected


Event = (
    RunStarted
    | WarningRaised
    | VideosRejected
    | SearchStepDone
    | AlgorithmEvent
    | PhaseFinished
    | CheckpointSaved
    | SearchFinished
)


def search(
    space: Space,
    data: Data,
    *,
    supernet: Supernet | None = None,
    root: PathLike | None = None,
    val: Data | None = None,
    val_root: PathLike | None = None,
    views: Evaluate | None = None,
    folder: PathLike | None = None,
    resume: bool = False,
    seed: int = 0,
    workers: int = 0,
    cost_term: CostTermKind = "sampled",
    terms: Sequence[DistributionTerm] = (),
    mixed_precision: bool = False,
    bn_batches: int = SEARCH_BN_BATCHES,
    micro_batch: int | None = None,
    save_every: int | None = None,
    log_every: int = 10,
    tensorboard: bool = False,
    min_frames: int = MIN_FRAMES,
    about: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> SearchFinished:
    """Search a space on a list of videos, by the spec's ``search`` section.

    - ``space``: a space with decisions and a ``search`` section.
    - ``data``: a list file, or what `tsdsl.data.lists.read_list` made of one; ``root`` is the
      folder that its paths are relative to (left out: that of the list). Clips are cut and
      augmented by the ``train`` section; the batch is that of the ``search`` section, over all
      ranks. With ``data = split`` there, half of the list trains the weights, the other half alpha.
    - ``val``, ``val_root``, ``views``: the list on which an algorithm that selects by accuracy
      scores architectures, and the ``evaluate`` section for it (left out: one clip and one crop).
    - ``supernet``: a supernet to continue with; left out, a new one. It holds the last weights
      afterwards.
    - ``folder``: log, checkpoints and the result (``arch.json``, ``model.py``,
      ``model.safetensors``, ``supernet.safetensors``, ``distribution.json``) are written there;
      left out, nothing is. ``resume`` continues the search that it has, if it has one.
      ``save_every``: steps between two checkpoints; left out, one after each epoch and phase.
      ``tensorboard`` adds curves; ``log_every``: steps between two lines of the log.
    - ``seed``: everything random in a step depends on it and the step's number.
    - ``workers``: processes that decode, for each rank; 0 decodes in this process.
      ``min_frames``: a video with fewer frames is rejected.
    - ``cost_term``: gradient of the cost in PARSEC: "sampled" as the paper prints it, or "exact".
      ``terms``: further penalties on the distribution.
    - ``mixed_precision``: compute in 16 bits where torch thinks it safe.
    - ``bn_batches``: training batches from which the result gets running statistics of its own;
      0 for those of the supernet.
    - ``micro_batch``: clips of one forward pass; left out, the rank's share of a batch. Batch
      normalisation takes its statistics over so many clips.
    - ``about``: further facts that identify the run, written into its description.
    - ``stop``: called after each step; where it returns True, the search saves a checkpoint and
      ends.
    - ``device``: "cpu", "cuda" or "cuda:N"; left out, a GPU if there is one. Under torchrun, this
      process is one rank of the search.
    - ``on_event``: called with each event as it happens.

    Raises `SpecError`, `FileError`, and the `DiagnosticError` of a list or of a search that cannot
    go on (`SearchError`, `NoUsableVideo`).

        >>> supernet = tsdsl.compile(space)
        >>> result = tsdsl.search(space, "videos/train.csv", supernet=supernet, device="cpu")
        >>> result.flops == space.flops(result.architecture)
        True
    """
    last: Event | None = None
    with Ranks.of(device) as ranks:
        events = run(
            space,
            data,
            ranks,
            supernet=supernet,
            root=root,
            val=val,
            val_root=val_root,
            views=views,
            folder=folder,
            resume=resume,
            seed=seed,
            workers=workers,
            cost_term=cost_term,
            terms=terms,
            mixed_precision=mixed_precision,
            bn_batches=bn_batches,
            micro_batch=micro_batch,
            save_every=save_every,
            log_every=log_every,
            tensorboard=tensorboard,
            min_frames=min_frames,
            about=about,
            stop=stop,
        )
        for last in events:
            if on_event is not None:
                on_event(last)
    assert isinstance(last, SearchFinished)
    return last


def run(
    space: Space,
    data: Data,
    ranks: Ranks,
    *,
    supernet: Supernet | None = None,
    root: PathLike | None = None,
    val: Data | None = None,
    val_root: PathLike | None = None,
    views: Evaluate | None = None,
    folder: PathLike | None = None,
    resume: bool = False,
    seed: int = 0,
    workers: int = 0,
    cost_term: CostTermKind = "sampled",
    terms: Sequence[DistributionTerm] = (),
    mixed_precision: bool = False,
    bn_batches: int = SEARCH_BN_BATCHES,
    micro_batch: int | None = None,
    save_every: int | None = None,
    log_every: int = 10,
    tensorboard: bool = False,
    min_frames: int = MIN_FRAMES,
    about: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """The events of a search; the last one is `SearchFinished`.

    - ``supernet``: one to go on with; a new one if left out. It has the last weights afterwards.
    - ``data``: a list, as `read_list` takes it, with ``root``. Clips are made by the `train`
      section (crop, jitter, augmentation); the batch is that of the `search` section, over all
      ranks. With ``data = split``, one half of the list trains the weights and the other alpha.
    - ``val``: for algorithms that select the result on a validation list, with ``val_root`` and
      ``views`` (left out: one clip and one crop of each video).
    - ``folder``: log, checkpoints and the result go there: ``arch.json``, ``model.py`` and
      ``model.safetensors`` with the weights that it has in the supernet, and with PARSEC
      ``distribution.json``. ``tensorboard``: curves of the log, too. ``resume``: go on with the
      search that is in the folder, if there is one. A checkpoint is written after each
      ``save_every`` steps (an epoch if left out), after each phase, and where ``stop`` returns
      True.
    - ``cost_term``: "sampled" as the paper prints it, or "exact" (see `parsec.cost_term`).
      ``terms``: penalties on the distribution beside it.
    - ``bn_batches``: training batches of the first rank from which the result gets running
      statistics of its own; 0 for those that all architectures have left.
    - ``micro_batch``: clips of one forward pass of a rank; its share of a batch if left out. It
      saves the memory of a graph, at the price of one architecture's gradients; batch normalisation
      takes its statistics over so many clips.

    Raises `SpecError`, `ListError`, `FileError`, `NoUsableVideo`, `SearchError`.
    """
    with ExitStack() as stack:
        here = None
        with ranks.agree() as same:
            check_options(0, seed=seed, workers=workers, bn_batches=bn_batches)
            check_options(
                1,
                micro_batch=micro_batch,
                save_every=save_every,
                log_every=log_every,
                min_frames=min_frames,
            )
            if folder is not None and ranks.is_first:
                here = stack.enter_context(open_folder(os.fspath(folder)))
            recipe = Recipe.of(space)
            videos = data if isinstance(data, VideoList) else read_list(data, root)
            first = plan_of(space, 1)
            algorithm = algorithm_of(first.search)
            given = {"cost_term": cost_term != "sampled", "terms": terms, "val": val is not None}
            algorithm.check_arguments(space, {name for name, value in given.items() if value})
            lists = _halves(videos, seed) if algorithm.lists(first) == 2 else (videos,)
            check_fills(len(videos), first.search.batch, videos.source, "search.batch")
            batch = first.search.batch // len(lists)
            micro_batch, passes = shares(batch, ranks.world, micro_batch, "search.batch")
            loaders = tuple(
                TrainLoader(
                    TrainClips(
                        part, recipe.sampling, recipe.transform, seed=seed, min_frames=min_frames
                    ),
                    micro_batch * passes,
                    workers=workers,
                    rank=ranks.rank,
                    world=ranks.world,
                )
                for part in lists
            )
            for loader in loaders:
                stack.callback(loader.close)
            plan = plan_of(space, min(map(len, loaders)))
            default = space.most_probable()
            outputs = space.network(default).body.result.shape[0]
            warnings = [
                *check_classes(videos, outputs),
                *check(space, plan),
                *algorithm.check(space, plan),
            ]
            if not any(w.code == "W0974" for w in warnings):
                check_reach(space, plan)
            selection, described_val = None, {}
            if val is not None:
                scored = (
                    val if isinstance(val, VideoList) else read_list(val, val_root, videos.classes)
                )
                check_classes(scored, outputs)
                warnings += [*scored.warnings, *in_both(videos, scored)]
                views = views or quick(recipe.crop)
                described_val = {
                    "val": fingerprint.of_list(scored),
                    "evaluate": views.model_dump(mode="json"),
                }
                selection = SelectionVideos(
                    recipe, videos, scored, views, here, workers, min_frames, stop
                )
            if supernet is None:
                torch.manual_seed(seed)
                made = tsdsl.compile(space)
                assert isinstance(made, Supernet)
                supernet = made
            if not any(p.requires_grad for p in supernet.parameters()):
                message = "the supernet has no trainable weights: all are frozen"
                hint = "supernet.requires_grad_(True)"
                raise SearchError([Diagnostic("E0841", message, help=hint)])
            described = {
                "format": FORMAT,
                "space": space.name,
                "space_hash": space.hash,
                "search": plan.search.model_dump(mode="json"),
                **({"cost_term": cost_term} if "cost_term" in algorithm.takes else {}),
                **({"terms": [term.name for term in terms]} if terms else {}),
                **described_val,
                "costs": {name: fingerprint.of_cost(c) for name, c in sorted(space.costs.items())},
                "mixed_precision": mixed_precision,
                "micro_batch": micro_batch if passes > 1 else None,
                "recipe": recipe.as_json(),
                "seed": seed,
                "data": fingerprint.of_list(videos),
                **(about or {}),
                "conditions": fingerprint.conditions(ranks, videos),
            }
            same |= described
            same["weights"] = fingerprint.of_tensors(supernet)
            same["options"] = {
                "save_every": save_every,
                "log_every": log_every,
                "bn_batches": bn_batches,
                "min_frames": min_frames,
            }
        searcher = Searcher(
            space,
            supernet.to(ranks.device),
            plan,
            loaders,
            ranks,
            seed=seed,
            cost_term=cost_term,
            terms=terms,
            mixed_precision=mixed_precision,
            probabilities=gives_probabilities(space.network(default)),
            micro_batch=micro_batch if passes > 1 else None,
        )
        state = None
        with ranks.agree():
            if here is not None:
                warnings += here.describe(described, resume)
                state, spoiled = here.checkpoints.newest()
                warnings += spoiled
        state = ranks.broadcast(state)
        if state is not None:
            with restoring(state):
                searcher.restore(state)
        told = None
        if here is not None:
            board = (
                TensorBoardWriter(here.at("tensorboard"), searcher.step) if tensorboard else None
            )
            told = (algorithm.reporter() or Reporter)(searcher, here, log_every, board)
            stack.callback(told.close)
            warnings += here.warnings
        weights = fingerprint.of_weights(space.name, space, None, videos)
        session = _Session(searcher, here, told, ranks, weights, bn_batches, selection)
        if here is not None and state is not None:
            session.publish(here.checkpoints.path(state.step))
        parameters = sum(p.numel() for p in supernet.parameters())
        yield RunStarted(
            searcher.step,
            plan.total,
            searcher.steps_per_epoch,
            plan.search.batch,
            ranks.world,
            ranks.device,
            parameters,
        )
        if warnings:
            yield WarningRaised(tuple(warnings))
        yield from session.events(loaders, save_every, log_every, stop)


class _Session:
    def __init__(
        self,
        searcher: Searcher,
        folder: RunFolder | None,
        told: Reporter | None,
        ranks: Ranks,
        about: Mapping[str, str],
        bn_batches: int,
        videos: SelectionVideos | None,
    ) -> None:
        self.searcher = searcher
        self.videos = videos
        self.bn_batches = bn_batches
        self.folder = folder
        self.told = told
        self.ranks = ranks
        self.about = dict(about)

    def events(
        self,
        loaders: tuple[TrainLoader, ...],
        save_every: int | None,
        log_every: int,
        stop: Callable[[], bool],
    ) -> Iterator[Event]:
        searcher, start = self.searcher, perf_counter()
        total, every = searcher.plan.total, save_every or searcher.steps_per_epoch
        ends = {phase.first + phase.steps for phase in searcher.plan.phases}
        stopping = False
        bad: dict[str, Problem] = {}
        for event in self._run():
            if self.told is not None:
                if isinstance(event, SearchStepDone):
                    self.told.step(event)
                elif isinstance(event, AlgorithmEvent):
                    self.told.algorithm_event(event)
                else:
                    self.told.phase(event)
            yield event
            if isinstance(event, PhaseFinished) and event.warning is not None:
                yield WarningRaised((event.warning,))
            if isinstance(event, AlgorithmEvent):
                continue
            for problem in [p for loader in loaders for p in loader.report.bad.values()]:
                if problem.path not in bad:
                    bad[problem.path] = problem
                    yield VideosRejected((problem,))
            if isinstance(event, SearchStepDone) and event.step in ends:
                # What the phase has found comes next; between the two there is nothing to save.
                continue
            stopping = self._asked(stop, event.step, log_every)
            if stopping or isinstance(event, PhaseFinished) or event.step % every == 0:
                yield from self._save()
            if stopping:
                break
        selection = searcher.algorithm.selection()
        if searcher.step == total:
            selection = yield from searcher.algorithm.select(self.videos)
        architecture = None if selection is None else selection.architecture
        space = searcher.space
        result = SearchFinished(
            searcher.step,
            perf_counter() - start,
            architecture,
            (selection is None or selection.met)
            and all(met for met, _ in searcher.outcomes.values()),
            0 if architecture is None else space.flops(architecture),
            0 if architecture is None else space.params(architecture),
            interrupted=searcher.step < total or selection is None,
            budgets=len(searcher.plan.phases[-1].budgets),
            peak_memory=max(self.ranks.gather(peak_memory(self.ranks.device))),
            samples=sum(self.ranks.gather(sum(each.report.samples for each in loaders))),
            replaced=sum(self.ranks.gather(sum(each.report.replaced for each in loaders))),
            bad_videos=list(bad.values()),
            phases=dict(searcher.outcomes),
            missed=searcher.missed(),
        )
        if self.folder is not None and not result.interrupted:
            self._write(self.folder, result, loaders[0])
        yield result

    def _run(self) -> Iterator[SearchStepDone | AlgorithmEvent | PhaseFinished]:
        """The searcher's events. Where it fails, the log has the steps before."""
        try:
            yield from self.searcher.run()
        except DiagnosticError:
            if self.told is not None:
                with suppress(DiagnosticError):
                    self.told.flush()
            raise

    def _asked(self, stop: Callable[[], bool], step: int, log_every: int) -> bool:
        """Whether to stop; several ranks agree on it now and then."""
        if self.ranks.world == 1:
            return stop()
        return step % log_every == 0 and any(self.ranks.gather(stop()))

    def _save(self) -> Iterator[CheckpointSaved]:
        if self.folder is None:
            return
        assert self.told is not None
        self.told.flush()
        start = perf_counter()
        self.searcher.check()
        state = self.searcher.state()
        self.folder.sync()
        path = self.folder.checkpoints.save(state, {**self.about, "step": str(state.step)})
        self.publish(path)
        yield CheckpointSaved(state.step, path, perf_counter() - start)

    def publish(self, checkpoint: str) -> None:
        """Weights and distribution of the checkpoint that the searcher stands at, as files. After a
        resume they are written again: a kill may have come between the checkpoint and these."""
        assert self.folder is not None
        self.folder.publish("supernet.safetensors", os.path.join(checkpoint, WEIGHTS))
        self.searcher.algorithm.publish(self.folder)

    def _write(self, folder: RunFolder, result: SearchFinished, loader: TrainLoader) -> None:
        """The result as files: what was found, and as a network with the weights it has."""
        space, architecture = self.searcher.space, result.architecture
        folder.keep_network(space, architecture)
        net = space.freeze(self.searcher.supernet, architecture)
        if self.bn_batches:
            reestimate(net, loader, self.bn_batches, self.searcher.plan.total, self.ranks.device)
        about = {**self.about, "architecture": dump(architecture), "step": str(result.step)}
        save(folder.at("model.safetensors"), net.state_dict(), about)
        folder.log(
            "end",
            result.step,
            flops=result.flops,
            params=result.params,
            met=result.met,
            phases=outcomes_as_json(result),
            decisions=dict(architecture),
            peak_memory=result.peak_memory,
            seconds=round(result.seconds, 3),
            told=round(self.told.seconds, 3) if self.told else None,
        )


def outcomes_as_json(result: SearchFinished) -> list[dict[str, Any]]:
    """``Finished.phases`` as plain values."""
    return [
        {
            "name": name,
            "met": met,
            "budgets": [
                {"cost": cost, "value": value, "low": low, "high": high}
                for cost, (value, low, high) in values.items()
            ],
        }
        for name, (met, values) in result.phases.items()
    ]


def _halves(videos: VideoList, seed: int) -> tuple[VideoList, VideoList]:
    """Two halves of a list, drawn from the seed."""
    order = torch.randperm(len(videos), generator=generator_of(seed)).tolist()
    half = len(order) // 2
    return tuple(  # type: ignore[return-value]
        VideoList(tuple(videos.videos[k] for k in sorted(part)), videos.classes, videos.source)
        for part in (order[:half], order[half:])
    )
