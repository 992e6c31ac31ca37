"""An evolutionary search over a trained supernet: supernet, lists, log, a folder with the result.

The log is the state: a line for each candidate with what it scored. A run that was killed reads it
and asks for the same generations again, of which it measures what the log does not have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from time import perf_counter
from typing import Any, Literal

import torch

import tsdsl
from tsdsl.analysis.costs.named import windows_by_name
from tsdsl.analysis.networks import Distinct
from tsdsl.backends.supernet import Supernet
from tsdsl.data.dataset import MIN_FRAMES, TrainClips
from tsdsl.data.lists import VideoList, in_both, read_list
from tsdsl.diagnostics import Diagnostic, DiagnosticError, SpecError
from tsdsl.files import PathLike, read_lines
from tsdsl.ir.arch_file import dump
from tsdsl.ir.architecture import Architecture
from tsdsl.record import Record
from tsdsl.searching.defaults import EVOLVE_BN_BATCHES, EVOLVE_MEMORY
from tsdsl.searching.evolution.population import Candidate, Evolution, Settings
from tsdsl.searching.inherited_weights import Inherited, KeptClips
from tsdsl.searching.random_search.jobs import Weights, windows_of
from tsdsl.searching.run import Data
from tsdsl.sema.sections import Evaluate
from tsdsl.space import Space, Window, Within
from tsdsl.training import fingerprint
from tsdsl.training.checks import check_classes
from tsdsl.training.evaluation import quick, views_of
from tsdsl.training.events import WarningRaised
from tsdsl.training.folder import FORMAT, LOG, LONGEST, RunFolder, open_folder
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.training.scores import Scores
from tsdsl.training.scoring import AT_ONCE, EvaluationError
from tsdsl.weights.weight_files import (
    StoredWeights,
    WeightsError,
    classes_of,
    load,
    load_into,
    save,
)

#: In a run's description: what no two candidates have in common. Earlier versions had no such
#: key, and told candidates apart by their decisions.
DISTINCT = "distinct"
#: "accuracy": top-1, of equal ones the lower loss is better. "loss": the lower one.
Fitness = Literal["accuracy", "loss"]


class InheritedScores(Record):
    """``loss``: cross-entropy, nats. ``finite``: whether all scores were; where they were not, all
    classes count as equally probable, and whatever is finite is better."""

    top1: float
    loss: float
    finite: bool = True

    def fitness(self, by: Fitness) -> tuple[float, ...]:
        found = (self.top1, -self.loss) if by == "accuracy" else (-self.loss,)
        return (float(self.finite), *found)


class EvolutionStarted(Record):
    """``done`` candidates were measured before. ``clips`` and ``views``: bytes in memory;
    ``parts``: in how many the validation list is decoded, each generation if there are several."""

    done: int
    total: int
    device: torch.device
    videos: int
    clips: int
    views: int
    parts: int


class ProgressMade(Record):
    """A part of the list is scored."""


class CandidateScored(Record):
    candidate: Candidate
    measured: InheritedScores
    flops: int
    params: int
    #: None for one that an earlier part of the run has measured.
    seconds: float | None


class GenerationFinished(Record):
    """``best`` of all so far, which scored ``measured``; ``mean``: top-1 of this generation."""

    generation: int
    best: Candidate
    measured: InheritedScores
    mean: float


class EvolutionFinished(Record):
    """What an evolution came to; without ``best``, if it was stopped before it had one.

    ``interrupted``: it was asked to stop, and can be resumed; ``exhausted``: it has measured all
    architectures of the windows that could be found."""

    best: Candidate | None
    measured: InheritedScores | None
    flops: int
    params: int
    candidates: int
    generations: int
    seconds: float
    interrupted: bool = False
    exhausted: bool = False
    #: Videos of the validation list that cannot be used.
    missing: int = 0

    @property
    def architecture(self) -> Architecture:
        assert self.best is not None
        return self.best.architecture


Event = (
    EvolutionStarted
    | WarningRaised
    | ProgressMade
    | CandidateScored
    | GenerationFinished
    | EvolutionFinished
)


def evolve(
    space: Space,
    supernet: Supernet | PathLike,
    data: Data,
    val: Data,
    *,
    tell: Callable[[Event], None] | None = None,
    device: str | None = None,
    **options: Any,
) -> EvolutionFinished:
    """Search a space by evolution over a trained supernet, or the file of its weights.

    ``tell`` is called with each event. ``device``: "cpu", "cuda" or "cuda:N", a GPU if there is one
    if left out; under torchrun, ranks share the videos. For everything else, see `run`.
    """
    last: Event | None = None
    with Ranks.of(device) as ranks:
        for last in run(space, supernet, data, val, ranks, **options):
            if tell is not None:
                tell(last)
    assert isinstance(last, EvolutionFinished)
    return last


def trained(space: Space, weights: PathLike | StoredWeights) -> tuple[Supernet, StoredWeights]:
    """The supernet of a space with the weights of a file. Raises `FileError`, `WeightsError`,
    `SpecError`."""
    if not space.decisions:
        message = f"'{space.name}' has no decision to search"
        hint = "'tsdsl train' trains it"
        raise SpecError([Diagnostic("E0842", message, file=space.graph.source, help=hint)])
    held = weights if isinstance(weights, StoredWeights) else load(weights)
    if "architecture" in held.about:
        message = "these are weights of one architecture, not of a supernet"
        hint = "'tsdsl search' writes those as supernet.safetensors"
        raise WeightsError([Diagnostic("E0831", message, file=held.source, help=hint)])
    made = tsdsl.compile(space)
    assert isinstance(made, Supernet)
    load_into(made, held)
    return made, held


def run(
    space: Space,
    supernet: Supernet | PathLike | StoredWeights,
    data: Data,
    val: Data,
    ranks: Ranks,
    *,
    root: PathLike | None = None,
    val_root: PathLike | None = None,
    views: Evaluate | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    weights: Weights = "initial",
    flops: Window = None,
    params: Window = None,
    within: Within = None,
    fitness: Fitness = "accuracy",
    folder: PathLike | None = None,
    resume: bool = False,
    workers: int = 0,
    at_once: int = AT_ONCE,
    bn_batches: int = EVOLVE_BN_BATCHES,
    memory: int = EVOLVE_MEMORY,
    mixed_precision: bool = False,
    min_frames: int = MIN_FRAMES,
    about: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """The events of an evolution; the last one is `EvolutionFinished`.

    - ``supernet``: its weights do not change; it is in eval mode afterwards.
    - ``data``: what running statistics come from, ``bn_batches`` batches of the `search` section's
      size (0: those of the supernet); ``val``: what candidates are scored on, with ``views`` (left
      out: one clip and one crop).
    - ``flops``, ``params``, ``within``: windows, as of `Space.sample`. ``weights``: of what is
      drawn.
    - ``folder``: log and result go there: ``arch.json``, ``model.py`` and ``model.safetensors`` of
      the best; ``resume``: go on with what is in it, if anything is.
    - ``at_once``: views of a forward pass. ``memory``: bytes of decoded clips.

    Raises `SpecError`, `ListError`, `FileError`, `WeightsError`, `NoUsableVideo`,
    `EvaluationError`.
    """
    start = perf_counter()
    settings = settings or Settings()
    with ExitStack() as stack:
        here = None
        # A run of an earlier version, which told candidates apart by their decisions, goes on so.
        distinct: Distinct = "networks"
        with ranks.agree():
            if folder is not None and ranks.is_first:
                here = stack.enter_context(open_folder(os.fspath(folder)))
                if resume and DISTINCT not in (here.begun_as() or {DISTINCT: None}):
                    distinct = "architectures"
        distinct = ranks.broadcast(distinct)
        with ranks.agree() as same:
            windows = {
                space.cost(name).name: window
                for name, window in windows_by_name(flops, params, within)
            }
            known = None
            if not isinstance(supernet, Supernet):
                supernet, held = trained(space, supernet)
                known = classes_of(held.about)
            supernet = supernet.to(ranks.device).eval()
            evolution = Evolution(
                space, settings, seed=seed, weights=weights, within=windows, distinct=distinct
            )
            recipe = Recipe.of(space)
            videos = data if isinstance(data, VideoList) else read_list(data, root, known)
            scored = val if isinstance(val, VideoList) else read_list(val, val_root, videos.classes)
            outputs = space.network(space.most_probable()).body.result.shape[0]
            warnings = check_classes(videos, outputs)
            check_classes(scored, outputs)
            warnings += [*scored.warnings, *in_both(videos, scored)]
            views = views or quick(recipe.crop)
            kept_or_shared = folder is not None or ranks.world > 1
            digest = fingerprint.of_weights_in(supernet) if kept_or_shared else None
            described = {
                "format": FORMAT,
                "state": LOG,
                "space": space.name,
                "space_hash": space.hash,
                "evolution": {
                    name: getattr(settings, name)
                    for name in ("population", "generations", "parents", "crossover", "mutation")
                },
                "weights": weights,
                "windows": {name: list(map(str, ends)) for name, *ends in windows_of(windows)},
                "fitness": fitness,
                **({DISTINCT: distinct} if distinct == "networks" else {}),
                "seed": seed,
                "supernet": digest,
                "recipe": recipe.as_json(),
                "bn_batches": bn_batches,
                "data": fingerprint.of_list(videos),
                "val": fingerprint.of_list(scored),
                "evaluate": views.model_dump(mode="json"),
                "mixed_precision": mixed_precision,
                **(about or {}),
            }
            same |= described
            same["options"] = {"at_once": at_once, "memory": memory, "min_frames": min_frames}
        inherited = Inherited(
            space,
            supernet,
            views_of(scored, views, recipe.sampling, recipe.crop, min_frames),
            _clips(space, recipe, videos, bn_batches, seed, min_frames, workers),
            ranks,
            seed=seed,
            workers=workers,
            at_once=at_once,
            memory=memory,
            mixed_precision=mixed_precision,
        )
        stack.callback(inherited.close)
        logged: dict[int, dict[str, Any]] = {}
        with ranks.agree():
            if here is not None:
                logged = _logged(here) if resume else {}
                conditions = {
                    **fingerprint.conditions(ranks, videos),
                    "at_once": at_once,
                    "parts": inherited.parts,
                }
                warnings += here.describe({**described, "conditions": conditions}, resume)
        logged = ranks.broadcast(logged)
        if here is not None:
            here.open_log(len(logged))
            warnings += here.warnings
        yield EvolutionStarted(
            len(logged),
            settings.population * settings.generations,
            ranks.device,
            len(scored),
            inherited.bytes_of_clips,
            inherited.bytes_of_views,
            inherited.parts,
        )
        if warnings:
            yield WarningRaised(tuple(warnings))
        weights_about = fingerprint.of_weights(space.name, space, None, videos)
        made = _Run(evolution, inherited, here, ranks, logged, fitness, weights_about)
        yield from made.events(stop, start)


class _Run:
    def __init__(
        self,
        evolution: Evolution,
        inherited: Inherited,
        folder: RunFolder | None,
        ranks: Ranks,
        logged: Mapping[int, dict[str, Any]],
        fitness: Fitness,
        about: Mapping[str, str],
    ) -> None:
        self.evolution = evolution
        self.inherited = inherited
        self.space = inherited.space
        self.folder = folder
        self.ranks = ranks
        self.logged = logged
        self.fitness = fitness
        self.about = about
        self.measured: dict[int, InheritedScores] = {}
        self.missing = 0

    def events(self, stop: Callable[[], bool], start: float) -> Iterator[Event]:
        evolution = self.evolution
        stopped = False
        while not stopped and (asked := evolution.next()):
            yield from self._replayed(asked)
            new = [each for each in asked if each.number not in self.measured]
            before = perf_counter()
            for at, scores in self.inherited.scores([each.architecture for each in new]):
                if scores is None:
                    yield ProgressMade()
                else:
                    now = perf_counter()
                    yield self._scored(new[at], scores, now - before)
                    before = now
                stopped = any(self.ranks.gather(stop()))
                if stopped:
                    break
            if new and all(each.number in self.measured for each in asked):
                (best,) = evolution.best()
                mean = sum(self.measured[each.number].top1 for each in asked) / len(asked)
                yield GenerationFinished(
                    asked[0].generation, best, self.measured[best.number], mean
                )
        yield self._result(stopped, perf_counter() - start)

    def _replayed(self, asked: list[Candidate]) -> Iterator[Event]:
        """Those of a generation that the log has."""
        for candidate in asked:
            line = self.logged.get(candidate.number)
            if line is None:
                return
            if line["decisions"] != dict(candidate.architecture):
                message = f"the log of this run is another one's: candidate {candidate.number}"
                hint = "start a new run in another folder with -o"
                file = None if self.folder is None else self.folder.at(LOG)
                raise SpecError([Diagnostic("E0823", message, file=file, help=hint)])
            self.missing = line["missing"]
            yield self._known(
                candidate,
                InheritedScores(line["top1"], line["loss"], line.get("finite", True)),
                None,
            )

    def _scored(self, candidate: Candidate, scores: Scores, seconds: float) -> CandidateScored:
        finite = candidate.architecture not in self.inherited.unfit
        measured = InheritedScores(scores.top1, scores.log_loss, finite)
        self.missing = len(scores.missing)
        found = self._known(candidate, measured, seconds)
        if self.folder is not None:
            self.folder.log(
                "candidate",
                candidate.number,
                generation=candidate.generation,
                origin=candidate.origin,
                parents=list(candidate.parents),
                top1=measured.top1,
                loss=measured.loss,
                finite=measured.finite,
                videos=len(scores),
                missing=self.missing,
                macs=found.flops,
                params=found.params,
                decisions=dict(candidate.architecture),
                seconds=round(seconds, 3),
            )
        return found

    def _known(
        self, candidate: Candidate, measured: InheritedScores, seconds: float | None
    ) -> CandidateScored:
        self.measured[candidate.number] = measured
        self.evolution.add(candidate, measured.fitness(self.fitness))
        architecture = candidate.architecture
        flops, params = self.space.flops(architecture), self.space.params(architecture)
        return CandidateScored(candidate, measured, flops, params, seconds)

    def _result(self, stopped: bool, seconds: float) -> EvolutionFinished:
        evolution, count = self.evolution, len(self.measured)
        best = next(iter(evolution.best()), None)
        whole = evolution.generation == evolution.settings.generations or evolution.exhausted
        interrupted = stopped and not (whole and count == evolution.asked)
        flops = params = 0
        if best is not None and not stopped and not self.measured[best.number].finite:
            message = f"no candidate of {count} gives scores that are all finite numbers"
            hint = "weights of a search that diverged? Without --amp, numbers have a wider range"
            raise EvaluationError([Diagnostic("E0825", message, help=hint)])
        if best is not None:
            flops = self.space.flops(best.architecture)
            params = self.space.params(best.architecture)
            if self.folder is not None:
                self._write(self.folder, best)
        return EvolutionFinished(
            best,
            None if best is None else self.measured[best.number],
            flops,
            params,
            count,
            evolution.generation,
            seconds,
            interrupted,
            evolution.exhausted,
            self.missing,
        )

    def _write(self, folder: RunFolder, best: Candidate) -> None:
        """The best one as files: what it is, and as a network with the weights it has."""
        architecture = best.architecture
        folder.keep_network(self.space, architecture)
        about = {
            **self.about,
            "architecture": dump(architecture),
            "top1": repr(self.measured[best.number].top1),
        }
        net = self.inherited.network(architecture)
        save(folder.at("model.safetensors"), net.state_dict(), about)


def _clips(
    space: Space,
    recipe: Recipe,
    videos: VideoList,
    batches: int,
    seed: int,
    min_frames: int,
    workers: int,
) -> KeptClips | None:
    """What running statistics come from. Raises `NoUsableVideo`."""
    if not batches:
        return None
    search = space.sections.search if space.sections else None
    batch = recipe.train.batch if search is None else search.batch
    clips = TrainClips(videos, recipe.sampling, recipe.transform, seed=seed, min_frames=min_frames)
    return KeptClips(clips, batch, batches, workers=workers)


def _logged(folder: RunFolder) -> dict[int, dict[str, Any]]:
    """The candidates that a log has, by number, up to the first one that it lacks."""
    found: dict[int, dict[str, Any]] = {}
    try:
        lines, _ = read_lines(folder.at(LOG), limit=LONGEST, what="log")
    except DiagnosticError:
        return found
    for line in lines:
        try:
            event = json.loads(line)
            whole = {"top1", "loss", "missing", "decisions"} <= event.keys()
            if event["event"] == "candidate" and event["step"] == len(found) + 1 and whole:
                found[event["step"]] = event
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return found
