"""An evolutionary search over a trained supernet: supernet, lists, log, a folder with the result.

The log is the state: a line for each candidate with what it scored. A run that was killed reads it
and asks for the same generations again, of which it measures what the log does not have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from time import perf_counter
from typing import Any

import tsdsl
from tsdsl.analysis.networks import Distinct
from tsdsl.backends.supernet import Supernet
from tsdsl.data.dataset import MIN_FRAMES
from tsdsl.data.lists import VideoList, in_both, read_list
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.files import PathLike
from tsdsl.ir.arch_file import dump
from tsdsl.ir.architecture import Architecture
from tsdsl.record import Record
from tsdsl.searching.defaults import EVOLVE_BN_BATCHES, EVOLVE_MEMORY
from tsdsl.searching.evolution.events import (
    CandidateScored,
    EvolutionStarted,
    Fitness,
    GenerationFinished,
    InheritedScores,
    ProgressMade,
)
from tsdsl.searching.evolution.population import Candidate, Evolution, Settings
from tsdsl.searching.evolution.selection import EvolutionLoop, WriteLine, logged_candidates
from tsdsl.searching.inherited_weights import Inherited, statistics_clips
from tsdsl.searching.windows import DrawWeights, draw_windows, sorted_windows
from tsdsl.sema.sections import Evaluate
from tsdsl.space import Space, Window, Within
from tsdsl.training import fingerprint
from tsdsl.training.checks import check_classes
from tsdsl.training.evaluation import quick, views_of
from tsdsl.training.events import WarningRaised
from tsdsl.training.folder import FORMAT, LOG, RunFolder, open_folder
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.training.run import Data
from tsdsl.training.scoring import AT_ONCE
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
    root: PathLike | None = None,
    val_root: PathLike | None = None,
    views: Evaluate | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    weights: DrawWeights = "initial",
    flops: Window = None,
    params: Window = None,
    within: Within | None = None,
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
    device: str | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> EvolutionFinished:
    """Search a space by evolution: candidates are scored with the weights of a trained supernet.

    - ``space``: a space with decisions. ``supernet``: its trained supernet, or the file of its
      weights; they do not change.
    - ``data``: the list from which running statistics are estimated, ``bn_batches`` batches for
      each candidate (0: those of the supernet). ``val``: the list that candidates are scored on,
      with the ``evaluate`` section ``views`` (left out: one clip and one crop). ``root``,
      ``val_root``: the folders that their paths are relative to.
    - ``settings``: sizes of the population and of its parts, and number of generations.
    - ``flops``, ``params``, ``within``: windows of all candidates, as in `Space.sample`. Left out,
      the budgets of the last phase of the ``search`` section; with an empty ``within``, none.
      ``weights``: distribution of the first generation.
    - ``fitness``: "accuracy", or "loss" to rank by log loss.
    - ``folder``: log and result are written there; left out, nothing is. ``resume`` continues the
      evolution that it has, if it has one.
    - ``seed``: everything random depends on it.
    - ``workers``: processes that decode; 0 decodes in this process. ``min_frames``: a video with
      fewer frames is rejected. ``memory``: bytes of decoded clips that are kept.
    - ``at_once``: views of a forward pass. ``mixed_precision``: compute in 16 bits where torch
      thinks it safe.
    - ``about``: further facts that identify the run, written into its description.
    - ``stop``: called after each candidate; where it returns True, the evolution saves and ends.
    - ``device``: "cpu", "cuda" or "cuda:N"; left out, a GPU if there is one. Under torchrun, ranks
      share the videos.
    - ``on_event``: called with each event as it happens.

    Raises `SpecError`, `FileError`, and the `DiagnosticError` of a list, of weights or of scores
    (`WeightsError`, `NoUsableVideo`, `EvaluationError`).

        >>> from tsdsl.searching.evolution.population import Settings
        >>> few = Settings(population=4, generations=2, parents=2)
        >>> best = tsdsl.evolve(
        ...     space,
        ...     supernet,
        ...     "videos/train.csv",
        ...     "videos/val.csv",
        ...     settings=few,
        ...     bn_batches=1,
        ...     device="cpu",
        ... )
        >>> best.flops == space.flops(best.architecture)
        True
    """
    last: Event | None = None
    with Ranks.of(device) as ranks:
        events = run(
            space,
            supernet,
            data,
            val,
            ranks,
            root=root,
            val_root=val_root,
            views=views,
            settings=settings,
            seed=seed,
            weights=weights,
            flops=flops,
            params=params,
            within=within,
            fitness=fitness,
            folder=folder,
            resume=resume,
            workers=workers,
            at_once=at_once,
            bn_batches=bn_batches,
            memory=memory,
            mixed_precision=mixed_precision,
            min_frames=min_frames,
            about=about,
            stop=stop,
        )
        for last in events:
            if on_event is not None:
                on_event(last)
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
    weights: DrawWeights = "initial",
    flops: Window = None,
    params: Window = None,
    within: Within | None = None,
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
    - ``flops``, ``params``, ``within``: windows of candidates, as of `Space.sample`. Without any,
      the budgets of the last phase of the spec's search; with an empty ``within``, all
      architectures. ``weights``: how the first generation is drawn.
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
            windows = draw_windows(space, flops, params, within)
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
                "windows": {name: list(map(str, ends)) for name, *ends in sorted_windows(windows)},
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
            statistics_clips(
                space, recipe, videos, bn_batches, seed=seed, min_frames=min_frames, workers=workers
            ),
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
                logged = logged_candidates(here, LOG) if resume else {}
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
        loop = EvolutionLoop(
            evolution,
            inherited,
            ranks,
            fitness,
            logged,
            log=None if here is None else here.at(LOG),
            write=None if here is None else _writer(here),
        )
        yield from loop.events(stop)
        best, best_flops, best_params = loop.best, 0, 0
        if best is not None:
            best_flops = space.flops(best.architecture)
            best_params = space.params(best.architecture)
            if here is not None:
                about_weights = fingerprint.of_weights(space.name, space, None, videos)
                _write(here, loop, best, about_weights)
        yield EvolutionFinished(
            best,
            None if best is None else loop.measured[best.number],
            best_flops,
            best_params,
            len(loop.measured),
            evolution.generation,
            perf_counter() - start,
            loop.interrupted,
            evolution.exhausted,
            loop.missing,
        )


def _writer(folder: RunFolder) -> WriteLine:
    def write(number: int, values: Mapping[str, Any]) -> None:
        folder.log("candidate", number, **values)

    return write


def _write(
    folder: RunFolder, loop: EvolutionLoop, best: Candidate, about: Mapping[str, str]
) -> None:
    """Write the best candidate: its architecture, and its network with the weights that it has in
    the supernet."""
    architecture = best.architecture
    folder.keep_network(loop.space, architecture)
    net = loop.inherited.network(architecture)
    top1 = repr(loop.measured[best.number].top1)
    about = {**about, "architecture": dump(architecture), "top1": top1}
    save(folder.at("model.safetensors"), net.state_dict(), about)
