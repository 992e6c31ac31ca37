"""Architectures that are to be trained from scratch, each as a job of its own, in one folder.

    jobs/jobs.json    what was drawn, and how
    jobs/3.json       the architecture of job 3
    runs/3/           its training, as `tsdsl train` writes it

Jobs are numbered from 0 on: those that were drawn, then those that were given to compare with, in
the order in which they were. The draw is that of `Space.stream`: a function of its seed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from math import inf
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import tsdsl
from tsdsl.analysis.costs.assignments import assignments
from tsdsl.analysis.networks import network_keys
from tsdsl.diagnostics import ArchitectureError, Diagnostic, FileError, Source, SpecError
from tsdsl.files import PathLike, folder_failure, read_text, write_atomic
from tsdsl.ir.arch_file import MAX_BYTES, OptionValue
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.json_text import read_json
from tsdsl.record import Record
from tsdsl.searching.windows import DrawWeights, SortedWindows, sorted_windows
from tsdsl.space import Space
from tsdsl.units import interval_text

FORMAT = "tsnet-jobs/1"
FILE = "jobs.json"


class Draw(Record, eq=True):
    """How architectures are drawn: ``n`` distinct networks, by the spec's weights or all alike,
    whose costs are in windows (name of the cost, least, greatest; in the order of their names)."""

    n: int
    seed: int = 0
    weights: DrawWeights = "initial"
    windows: SortedWindows = ()

    @property
    def within(self) -> dict[str, tuple[float, float]]:
        return {name: (low, high) for name, low, high in self.windows}

    @property
    def plain_windows(self) -> dict[str, tuple[float | None, float | None]]:
        """For a file: an open end is None."""
        return {name: (_end(low), _end(high)) for name, low, high in self.windows}


def continued_draw(
    draw: Draw,
    n: int | None,
    seed: int | None,
    weights: DrawWeights | None,
    within: Mapping[str, tuple[float, float]],
) -> Draw:
    """A draw with the settings that are given; those that are None, or no windows, stay."""
    return Draw(
        draw.n if n is None else n,
        draw.seed if seed is None else seed,
        draw.weights if weights is None else weights,
        sorted_windows(within) or draw.windows,
    )


class Job(Record):
    number: int
    architecture: Architecture
    #: Whether it was drawn.
    drawn: bool
    #: What it is called, if it was given.
    given: str | None = None


class Jobs(Record):
    space: Space
    folder: str
    draw: Draw
    jobs: tuple[Job, ...]

    @property
    def drawn(self) -> int:
        return sum(job.drawn for job in self.jobs)

    def run(self, number: int) -> str:
        """The folder of a job's training."""
        return os.path.join(self.folder, "runs", str(number))

    def inside(self, architecture: Architecture) -> bool:
        """Whether it is in the windows of the draw."""
        return all(
            low <= self.space.value(name, architecture) <= high
            for name, low, high in self.draw.windows
        )


class _JobDocument(BaseModel):
    model_config = ConfigDict(extra="forbid")

    job: Annotated[int, Field(strict=True)]
    drawn: Annotated[bool, Field(strict=True)]
    given: str | None
    macs: int
    params: int
    decisions: dict[str, OptionValue]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal["tsnet-jobs/1"]
    space: str
    space_hash: str
    n: Annotated[int, Field(ge=1, strict=True)]
    seed: Annotated[int, Field(ge=0, strict=True)]
    weights: DrawWeights
    windows: dict[str, tuple[float | None, float | None]]
    jobs: list[_JobDocument]


def prepare(
    space: Space,
    folder: PathLike,
    draw: Draw | None = None,
    against: Sequence[tuple[str, Architecture]] = (),
) -> Jobs:
    """The jobs of a folder; they are drawn where there are none. ``draw`` None: those that are
    there. ``against``: architectures with what they are called; new ones become jobs behind all
    others.

    Raises `SpecError` (no architecture in the windows, jobs of another draw), `FileError`,
    `ArchitectureError`.
    """
    path = os.fspath(folder)
    found = load(space, path)
    if found is None and draw is None:
        message = "there are no jobs in this folder"
        hint = "-n says how many architectures are drawn; -o names the folder"
        raise FileError([Diagnostic("E0801", message, file=path, help=hint)])
    if found is not None and draw is not None and draw != found.draw:
        differ = "; ".join(
            f"{name} was {_shown(old)}, is {_shown(new)}"
            for name in ("n", "seed", "weights", "windows")
            if (old := getattr(found.draw, name)) != (new := getattr(draw, name))
        )
        message = f"the jobs in this folder are another draw: {differ}"
        hint = "leave these options out to go on with it, or draw into another folder with -o"
        raise SpecError([Diagnostic("E0843", message, file=path, help=hint)])
    if found is None:
        assert draw is not None
        made = Jobs(space, path, draw, _drawn(space, draw))
    else:
        made = found
    joined = Jobs(space, path, made.draw, _with(space, made.jobs, against))
    if found is None or [(j.number, j.given) for j in joined.jobs] != [
        (j.number, j.given) for j in found.jobs
    ]:
        _save(joined)
    return joined


def _drawn(space: Space, draw: Draw) -> tuple[Job, ...]:
    if not space.decisions:
        message = f"'{space.name}' has no decision: there is nothing to draw"
        hint = "'tsdsl train' trains it"
        raise SpecError([Diagnostic("E0842", message, file=space.graph.source, help=hint)])
    stream = space.stream(seed=draw.seed, weights=draw.weights, within=draw.within)
    found: list[Architecture] = []
    try:
        found.extend(islice(stream, draw.n))
    except SpecError:
        # There may be more that draws hardly ever give. Without a first one, it says why.
        if not found:
            raise
    return tuple(Job(at, architecture, True) for at, architecture in enumerate(found))


def _with(
    space: Space, jobs: Sequence[Job], against: Sequence[tuple[str, Architecture]]
) -> tuple[Job, ...]:
    """Jobs, and those that were given; one whose network is there already gets its name."""
    made = list(jobs)
    if not against:
        return tuple(made)
    every = [*(job.architecture for job in made), *(architecture for _, architecture in against)]
    keys = network_keys(space.graph).keys(assignments(space.graph, every)).tolist()
    of_jobs = keys[: len(made)]
    for (name, architecture), key in zip(against, keys[len(made) :], strict=True):
        # The very same first: earlier versions made jobs of architectures that are one network.
        same = (j.number for j in made if j.architecture == architecture)
        alike = (number for number, other in enumerate(of_jobs) if other == key)
        at = next(chain(same, alike), len(made))
        if at == len(made):
            of_jobs.append(key)
        if at == len(made):
            made.append(Job(at, architecture, False, name))
        elif made[at].given is None:
            made[at] = Job(at, made[at].architecture, made[at].drawn, name)
    return tuple(made)


def _save(jobs: Jobs) -> None:
    """Architectures first, so that a list that is there is whole."""
    space, draw = jobs.space, jobs.draw
    folder = os.path.join(jobs.folder, "jobs")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise folder_failure(error, folder) from None
    for job in jobs.jobs:
        job.architecture.save(os.path.join(folder, f"{job.number}.json"))
    document = _Document(
        format="tsnet-jobs/1",
        space=space.name,
        space_hash=space.hash,
        n=draw.n,
        seed=draw.seed,
        weights=draw.weights,
        windows=draw.plain_windows,
        jobs=[
            _JobDocument(
                job=job.number,
                drawn=job.drawn,
                given=job.given,
                macs=space.flops(job.architecture),
                params=space.params(job.architecture),
                decisions=dict(job.architecture),
            )
            for job in jobs.jobs
        ],
    )
    write_atomic(os.path.join(folder, FILE), document.model_dump_json(indent=1) + "\n")


def load(space: Space, folder: str) -> Jobs | None:
    """The jobs that a folder has; None if there are none. Raises `FileError`, `SpecError`."""
    path = os.path.join(folder, "jobs", FILE)
    if not os.path.exists(path):
        return None
    source = Source(path, read_text(path, limit=MAX_BYTES, what="list of jobs"))
    content = read_json(source, SpecError)
    try:
        document = _Document.model_validate(content)
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "its format"
        raise _misfit(f"this is no list of jobs: {where}: {first['msg']}", path) from None
    if document.space_hash != space.hash:
        message = f"these jobs are of another space: '{document.space}', not '{space.name}'"
        if document.space == space.name:
            message = f"these jobs are of another state of '{space.name}': the spec has changed"
        raise _misfit(message, path, "draw into another folder with -o")
    numbers = [job.job for job in document.jobs]
    if numbers != list(range(len(numbers))) or not numbers:
        raise _misfit("this is no list of jobs: they are not numbered from 0 on", path)
    made: list[Job] = []
    for job in document.jobs:
        try:
            architecture = space.architecture(job.decisions)
        except ArchitectureError as bad:
            raise _misfit(f"job {job.job}: {bad.diagnostics[0].message}", path) from None
        file = os.path.join(folder, "jobs", f"{job.job}.json")
        if os.path.exists(file):
            held = tsdsl.Architecture.load(file)
            if held != architecture:
                raise _misfit(f"job {job.job} is another architecture than in {FILE}", file)
            architecture = held
        made.append(Job(job.job, architecture, job.drawn, job.given))
    windows = tuple(
        (name, -inf if low is None else low, inf if high is None else high)
        for name, (low, high) in document.windows.items()
    )
    draw = Draw(document.n, document.seed, document.weights, windows)
    return Jobs(space, folder, draw, tuple(made))


def _end(number: float) -> float | None:
    return number if abs(number) != inf else None


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return (
            ", ".join(f"{name} {interval_text(low, high)}" for name, low, high in value) or "none"
        )
    return str(value)


def _misfit(message: str, path: str, hint: str | None = None) -> SpecError:
    return SpecError([Diagnostic("E0843", message, file=path, help=hint)])
