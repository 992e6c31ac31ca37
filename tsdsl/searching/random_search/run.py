"""The baseline of a search: architectures at random, each trained from scratch.

As in section 5 of Auto-TSNet (Gong et al., ICCV 2021): distinct networks of the space whose
cost lies in a window, trained by the spec's recipe and evaluated like the one that was searched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tsdsl.data.dataset import MIN_FRAMES
from tsdsl.data.lists import VideoList, read_list
from tsdsl.diagnostics import Diagnostic, FileError, SpecError
from tsdsl.files import PathLike
from tsdsl.ir.architecture import Architecture
from tsdsl.searching.random_search.jobs import Draw, Job, Jobs, prepare
from tsdsl.searching.random_search.ranking import (
    FAILED,
    Report,
    alike,
    description,
    note_failure,
    outcome,
    report,
    unlike,
)
from tsdsl.searching.windows import DrawWeights, draw_windows, sorted_windows
from tsdsl.sema.sections import Evaluate
from tsdsl.space import Space, Window, Within
from tsdsl.training import fingerprint
from tsdsl.training.evaluation import quick
from tsdsl.training.events import Event, RunStarted, TrainingFinished
from tsdsl.training.ranks import Ranks
from tsdsl.training.recipe import Recipe
from tsdsl.training.run import Data, network
from tsdsl.training.run import run as training
from tsdsl.training.trainer import TrainingError

#: More epochs than any training has: it is evaluated at its end.
AT_THE_END = 1 << 62


class Busy(FileError):
    """Another process trains this job."""


def random_search(
    space: Space,
    data: Data,
    val: Data,
    *,
    folder: PathLike,
    n: int | None = None,
    seed: int = 0,
    weights: DrawWeights = "initial",
    flops: Window = None,
    params: Window = None,
    within: Within | None = None,
    against: Mapping[str, Mapping[str, Any]] | Sequence[PathLike] = (),
    train_seed: int = 0,
    job: int | None = None,
    root: PathLike | None = None,
    val_root: PathLike | None = None,
    views: Evaluate | None = None,
    workers: int = 0,
    micro_batch: int | None = None,
    channels_last: bool = False,
    save_every: int | None = None,
    evaluate_every: int = AT_THE_END,
    log_every: int = 10,
    min_frames: int = MIN_FRAMES,
    tensorboard: bool = False,
    threads: int | None = None,
    about: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
    on_event: Callable[[Job, Event], None] | None = None,
) -> Report:
    """Draw ``n`` architectures within windows, train each from scratch, and compare them.

    What is done in ``folder`` is not done again, and a training that was interrupted continues. A
    training that fails, or that another process works on, is named in the report, and the others go
    on.

    - ``space``: a space with decisions and a ``train`` section.
    - ``data``, ``val``: list files to train on and to rank by, or what `tsdsl.data.lists.read_list`
      made of them; ``root`` and ``val_root`` are the folders that their paths are relative to.
    - ``folder``: jobs, trainings and the ranking are written there.
    - ``n``: number of architectures; left out, the jobs that the folder has. ``seed``,
      ``weights``, ``flops``, ``params``, ``within``: how they are drawn, as in `Space.sample`.
    - ``against``: architectures to compare with, by name, or the paths of their files.
    - ``train_seed``: seed of initial weights and of the order of data, the same for all.
    - ``job``: number of the only job to train; left out, all.
    - ``views``, ``workers``, ``micro_batch``, ``channels_last``, ``save_every``, ``log_every``,
      ``min_frames``, ``tensorboard``, ``about``, ``stop``: as in `train`, for each training.
      ``evaluate_every``: epochs between two evaluations; the default is one at the end.
      ``threads``: CPU threads of this process from now on; left out, as it is.
    - ``device``: "cpu", "cuda" or "cuda:N"; left out, a GPU if there is one.
    - ``on_event``: called with the job and each event of its training.

    Raises `SpecError`, `FileError`, and the `DiagnosticError` of a list.

        >>> report = tsdsl.random_search(
        ...     space, "videos/train.csv", "videos/val.csv", folder="random", n=2, device="cpu"
        ... )
        >>> report.whole, len(report.outcomes)
        (True, 2)
    """
    draw = None
    if n is not None:
        windows = draw_windows(space, flops, params, within)
        draw = Draw(n, seed, weights, sorted_windows(windows))
    named = against.items() if isinstance(against, Mapping) else _loaded(against)
    jobs = prepare(space, folder, draw, [(key, space.architecture(a)) for key, a in named])
    check_alike(jobs, data, val, train_seed=train_seed, root=root, val_root=val_root, views=views)
    with Ranks.of(device) as ranks:
        for number in remaining(jobs, ranks, todo(jobs, ranks, job)):
            # Ranks go on together, or not at all.
            with suppress(*(TrainingError, Busy) if ranks.world == 1 else ()):
                for event in train_job(
                    jobs,
                    number,
                    data,
                    val,
                    ranks,
                    train_seed=train_seed,
                    root=root,
                    val_root=val_root,
                    views=views,
                    workers=workers,
                    micro_batch=micro_batch,
                    channels_last=channels_last,
                    save_every=save_every,
                    evaluate_every=evaluate_every,
                    log_every=log_every,
                    min_frames=min_frames,
                    tensorboard=tensorboard,
                    threads=threads,
                    about=about,
                    stop=stop,
                ):
                    if on_event is not None:
                        on_event(jobs.jobs[number], event)
                    if isinstance(event, TrainingFinished) and event.interrupted:
                        return report(jobs)
    return report(jobs)


def check_alike(
    jobs: Jobs,
    data: Data,
    val: Data,
    *,
    train_seed: int,
    root: PathLike | None = None,
    val_root: PathLike | None = None,
    views: Evaluate | None = None,
) -> None:
    """Raises `SpecError` where jobs were trained otherwise than this says, and what `read_list`
    does: what is done is not done again, but neither is it passed off as something else."""
    recipe = Recipe.of(jobs.space)
    videos = data if isinstance(data, VideoList) else read_list(data, root)
    known = val if isinstance(val, VideoList) else read_list(val, val_root, videos.classes)
    about = fingerprint.of_training(recipe, train_seed, videos, known, views or quick(recipe.crop))
    if why := unlike(about, alike(jobs)):
        raise _unlike("what is asked for", why, jobs.folder)


def _unlike(what: str, why: str, folder: str) -> SpecError:
    hint = "train all jobs of a folder alike, or draw into another one with -o"
    return SpecError([Diagnostic("E0843", f"{what} would be {why}", file=folder, help=hint)])


def todo(jobs: Jobs, ranks: Ranks, only: int | None = None) -> list[int]:
    """Numbers of the jobs that are not done, of all or ``only`` that one. All ranks agree."""
    numbers = range(len(jobs.jobs)) if only is None else [only]
    return ranks.broadcast([at for at in numbers if outcome(jobs, at).state != "done"])


def remaining(jobs: Jobs, ranks: Ranks, numbers: Sequence[int]) -> Iterator[int]:
    """Those of the jobs that are still not done when it is their turn: other processes may train
    jobs of the same folder meanwhile."""
    return (number for number in numbers if todo(jobs, ranks, number))


def train_job(
    jobs: Jobs,
    number: int,
    data: Data,
    val: Data,
    ranks: Ranks,
    *,
    train_seed: int = 0,
    threads: int | None = None,
    evaluate_every: int = AT_THE_END,
    **options: Any,
) -> Iterator[Event]:
    """The events of a job's training, from where it stands. A training that cannot go on is noted
    beside it. Raises as `tsdsl.training.run.run`, and `SpecError` where others were not trained
    alike."""
    folder = jobs.run(number)
    first = alike(jobs, but=number)
    architecture = jobs.jobs[number].architecture
    net = network(jobs.space, architecture, train_seed, threads)
    events = training(
        net,
        data,
        jobs.space,
        ranks,
        frozen=architecture,
        val=val,
        folder=folder,
        resume=True,
        seed=train_seed,
        evaluate_every=evaluate_every,
        **options,
    )
    try:
        for event in events:
            if isinstance(event, RunStarted) and ranks.is_first:
                if why := unlike(description(folder) or {}, first):
                    raise _unlike(f"job {number}", why, folder)
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, FAILED))
            yield event
    except FileError as bad:
        if bad.diagnostics[0].code == "E0808":
            raise Busy(bad.diagnostics) from None
        raise
    except TrainingError as bad:
        if ranks.is_first:
            note_failure(folder, bad.diagnostics)
        raise


def _loaded(paths: Sequence[PathLike]) -> list[tuple[str, Architecture]]:
    return [(os.fspath(path), Architecture.load(path)) for path in paths]
