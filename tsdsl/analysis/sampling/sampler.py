"""Exact sampling of architectures from a distribution, within windows of costs or without.

The target: each active decision takes an option o with its weight, independently, given that all
requirements hold and that each cost lies in its window,

    P(x) proportional to the product over all active decisions d of weight_d(x_d).

This is what drawing freely and rejecting what does not fit would give, however rare the event is.
Which architectures fit is exact; probabilities are right to about nine digits, because weights are
floats. The ways to draw, in the order in which they are tried:

1. all architectures inside are enumerated, while they are few (`enumeration`);
2. rejection from independent decisions, while one draw in a hundred fits (`rejection`);
3. rejection from a grid of costs and tilted weights (`window_sampler`);
4. the same, completed exactly where few draws are accepted (`meet_in_the_middle`);
5. powers of the distribution, where even these are too rare (`improbable_windows`).

Draws come in blocks of a fixed size and order, so that the first ones are the same however many are
asked for. Requirements that are too coupled to plan for are rejected afterwards
(`dropped_requirements`).

Distinct draws are distinct networks: of the architectures that are one network (see
`tsdsl.analysis.networks`), the first one that is drawn represents all of them, so that a network
has the sum of their probabilities. Where each architecture is a network of its own, that is
drawing without replacement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, compress, islice
from typing import Any

import numpy as np

from tsdsl.analysis.costs.assignments import active_decisions, entries_at
from tsdsl.analysis.costs.factors import Array
from tsdsl.analysis.distribution import as_distribution, on_joint_graph
from tsdsl.analysis.elimination.cache import QueryCache
from tsdsl.analysis.elimination.no_architecture import (
    no_architecture,
    rarely_inside,
    rarely_met,
    too_few,
)
from tsdsl.analysis.networks import Distinct, labels
from tsdsl.analysis.sampling.dropped_requirements import met, plannable
from tsdsl.analysis.sampling.explain_empty import nothing_inside
from tsdsl.analysis.sampling.improbable_windows import improbable
from tsdsl.analysis.sampling.meet_in_the_middle import MeetInTheMiddleSampler
from tsdsl.analysis.sampling.rejection import RejectionSampler
from tsdsl.analysis.sampling.window_sampler import BINS, Underflow, WindowSampler
from tsdsl.analysis.windows.enumeration import Enumerator, Windows
from tsdsl.analysis.windows.window import FAR, Weighting, log_weights, shown_windows
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import Requirement, SpaceGraph

#: Largest number of architectures inside that are enumerated and drawn from.
MAX_LISTED = 1 << 14
#: Largest number of architectures inside that are enumerated once most draws repeat earlier ones.
MAX_REST = 1 << 17
#: Draws at once in the first blocks; the last number is that of all further ones.
CHUNKS = (512, 2048, 8192)
#: Draws at once of independent decisions; after so many, at least this share has to be accepted.
BLOCK, PLAIN, COMMON = 1 << 14, 1 << 15, 0.01
#: After so many draws from a grid, at least this share has to be accepted.
TRIED, RARE = 10_000, 0.02
#: Draws by `meet_in_the_middle` that decide whether it accepts more than the grid alone.
PILOT = 4096
#: Least share of accepted draws; below, `improbable_windows` takes over.
HOPELESS = 0.0005
#: Draws in a row without one that is new and inside, after which an error is raised.
MAX_MISSES = 2_000_000


def sample(
    space: SpaceGraph,
    seed: int,
    n: int,
    weighting: Weighting = "initial",
    windows: Windows | None = None,
    *,
    distinct: bool | Distinct = True,
) -> list[Architecture]:
    """``n`` architectures whose costs are all inside; the same ones for a seed on every platform.

    With ``distinct``, they are drawn without replacement (True stands for "networks"), and all of
    them are returned if there are fewer. Raises `SpecError` if there is none, `TooCoupled`.
    """
    if n < 0:
        raise ValueError(f"the number of architectures is 0 or more, not {n}")
    return list(islice(stream(space, seed, weighting, windows, distinct=distinct), n))


def stream(
    space: SpaceGraph,
    seed: int,
    weighting: Weighting = "initial",
    windows: Windows | None = None,
    *,
    distinct: bool | Distinct = True,
) -> Iterator[Architecture]:
    """The architectures of `sample` one by one, until there are no more."""
    within = _in_order(windows or {})
    record = provenance(seed, weighting, within)
    space, weighting = on_joint_graph(space, weighting)
    drawn = blocks(space, seed, within, weighting, distinct)
    return chain.from_iterable(architectures(space, at, record) for at in drawn)


def options_within(
    space: SpaceGraph,
    seed: int,
    n: int,
    windows: Windows,
    weighting: Weighting = "initial",
    distinct: bool | Distinct = True,
) -> Array:
    """The architectures of `sample` as assignments [architecture, variable]."""
    drawn: list[Array] = []
    for at in blocks(space, seed, windows, weighting, distinct):
        drawn.append(at[: n - sum(map(len, drawn))])
        if sum(map(len, drawn)) >= n:
            break
    return np.concatenate(drawn)


def blocks(
    space: SpaceGraph,
    seed: int,
    windows: Windows,
    weighting: Weighting = "initial",
    distinct: bool | Distinct = True,
) -> Iterator[Array]:
    """The architectures of `stream` as blocks of assignments [architecture, variable]. Under a
    joint distribution, the variables are those of its graph."""
    windows = _in_order(windows)
    space, weighting = on_joint_graph(space, weighting)
    cache, left_out = plannable(space, tuple(windows))
    if weighting == "architectures":
        rows, logs = cache.unit_weights, [np.zeros(len(row)) for row in cache.unit_weights]
    else:
        given = as_distribution(space, weighting)
        rows = given.layout.split(given.flat_probabilities)
        logs = given.layout.split(given.flat_logs)
    for cost, (least, most) in windows.items():
        low, high = cache.cost_range(cost)
        if least > most or most < low or least > high:
            raise nothing_inside(cache, windows)
    random = np.random.Generator(np.random.PCG64(seed))
    listed = (
        None if left_out else Enumerator(cache, tuple(windows)).assignments(windows, MAX_LISTED)
    )
    if listed is None:
        yield from _drawn(space, cache, left_out, rows, logs, windows, random, distinct)
        return
    if not len(listed):
        raise nothing_inside(cache, windows) if windows else no_architecture(space)
    weight = log_weights(cache, logs, listed)
    listed, weight = listed[weight > -np.inf], weight[weight > -np.inf]
    if not len(listed):
        raise no_architecture(space, "a weight above 0" + (" in these windows" * bool(windows)))
    if distinct:
        seen = _DistinctFilter(space, distinct)
        yield from seen.new(listed[_race(weight, random)])
        return
    sums = np.cumsum(np.exp(weight - weight.max()))
    while True:
        at = np.searchsorted(sums, random.random(CHUNKS[0]) * sums[-1], side="right")
        yield listed[np.minimum(at, np.searchsorted(sums, sums[-1]))]


def _in_order(windows: Windows) -> Windows:
    """The windows by the name of the cost, so that their order does not change the draws."""
    return dict(sorted(windows.items(), key=lambda item: str(item[0])))


def _drawn(
    space: SpaceGraph,
    cache: QueryCache,
    left_out: Sequence[Requirement],
    rows: Sequence[Array],
    logs: Sequence[Array],
    windows: Windows,
    random: np.random.Generator,
    distinct: bool | Distinct,
) -> Iterator[Array]:
    seen = _DistinctFilter(space, distinct)
    missed = repeated = 0
    hopeless = False
    for at, tried in _inside(cache, rows, logs, windows, random, bool(distinct)):
        known_inside = len(at)
        if left_out:
            at = at[met(space, at)]
        before = len(seen)
        if distinct:
            yield from seen.new(at)
        elif len(at):
            yield at
        new = len(seen) - before if distinct else len(at)
        repeated += len(at) - new
        missed = 0 if new else missed + tried
        if distinct and not left_out and repeated > len(seen) // 2 and not hopeless:
            # Most draws repeat earlier ones: enumerate, and go on in the order of a race.
            repeated = 0
            listed = Enumerator(cache, tuple(windows)).assignments(windows, MAX_REST)
            if listed is not None:
                weight = log_weights(cache, logs, listed)
                order = _race(weight[weight > -np.inf], random)
                yield from seen.new(listed[weight > -np.inf][order])
                return
            hopeless = True
        if missed > MAX_MISSES:
            if repeated > missed // 1000:
                raise too_few(space, len(seen))
            if left_out and known_inside:
                raise rarely_met(space, len(seen), missed, [r.text for r in left_out])
            raise rarely_inside(space, len(seen), missed, shown_windows(windows))
    if distinct and not len(seen):
        raise no_architecture(space, "a weight above 0" + (" in these windows" * bool(windows)))


class _DistinctFilter:
    """Lets each network, or each architecture, pass once, by a key of 128 bits."""

    def __init__(self, space: SpaceGraph, distinct: bool | Distinct) -> None:
        self._space = space
        self._distinct: Distinct = distinct if isinstance(distinct, str) else "networks"
        self._keys: set[bytes] = set()
        #: The first one, whose key is computed when a second one has to be compared with it.
        self._first: Array | None = None

    def __len__(self) -> int:
        return len(self._keys) or int(self._first is not None)

    def new(self, at: Array) -> Iterator[Array]:
        """Those of some assignments that did not pass before, each once. The very first one is
        yielded alone: a caller that needs no second one does not wait for keys."""
        if self._first is None and len(at):
            self._first, at = at[:1], at[1:]
            yield self._first
        if not len(at):
            return
        if not self._keys:
            assert self._first is not None
            self._keys.update(labels(self._space, self._first, self._distinct))
        kept: list[int] = []
        for k, key in enumerate(labels(self._space, at, self._distinct)):
            if key not in self._keys:
                self._keys.add(key)
                kept.append(k)
        if kept:
            yield at[kept]


def _check_not_empty(cache: QueryCache, windows: Windows) -> None:
    """Raise `SpecError` where it is proven that no architecture is inside, whatever its weight."""
    with suppress(Underflow):
        WindowSampler(cache, cache.unit_weights, windows, BINS)


def _inside(
    cache: QueryCache,
    rows: Sequence[Array],
    logs: Sequence[Array],
    windows: Windows,
    random: np.random.Generator,
    distinct: bool,
) -> Iterator[tuple[Array, int]]:
    """Blocks of assignments that are inside by their exact costs, and the number of draws that
    each took. Endless, unless ``distinct`` draws come to an end."""
    if windows and RejectionSampler.suits(cache, rows):
        plain = RejectionSampler(cache, rows, windows)
        while plain.drawn < PLAIN or plain.rate >= COMMON:
            yield plain.draw(random, BLOCK), BLOCK
    try:
        inside = WindowSampler.of(cache, rows, windows, BINS)
    except Underflow:
        _check_not_empty(cache, windows)
        yield from improbable(cache, logs, windows, random, distinct)
        return
    for n in CHUNKS[:-1]:
        yield inside.draw(random, n), n
    n = CHUNKS[-1]
    while inside.drawn < TRIED or inside.rate >= RARE or not windows:
        yield inside.draw(random, n), n
    if inside.empty():
        raise nothing_inside(cache, windows)
    faster: WindowSampler | MeetInTheMiddleSampler = inside
    meeting = _meet_in_the_middle(inside)
    if meeting is not None:
        yield meeting.draw(random, PILOT), PILOT
        faster = meeting if meeting.rate >= inside.rate else inside
    if faster.rate < HOPELESS:
        # What is inside is far less probable than what lies next to it.
        yield from improbable(cache, logs, windows, random, distinct)
        return
    while True:
        yield faster.draw(random, n), n


def _meet_in_the_middle(inside: WindowSampler) -> MeetInTheMiddleSampler | None:
    """None where no part of the space can be completed, or where its grid is too large."""
    try:
        return MeetInTheMiddleSampler.of(inside)
    except TooCoupled:
        return None


def _race(weight: Array, random: np.random.Generator) -> Array:
    """The order of drawing all without replacement, from the logarithms of the weights: an
    exponential race, in which each arrives at the rate of its weight."""
    with np.errstate(divide="ignore"):
        return np.argsort(np.log(-np.log1p(-random.random(len(weight)))) - weight, kind="stable")


def architectures(
    space: SpaceGraph, at: Array, record: Mapping[str, Any] | None = None
) -> list[Architecture]:
    """The architectures of some assignments [architecture, variable]; ``record`` is their
    provenance."""
    at = _own(space, at)
    running = active_decisions(space, at).tolist()
    paths = [d.path for d in space.own]
    # The options of all decisions in one array, so that numpy can look them up.
    sizes = [len(d.options) for d in space.own]
    row: Array = np.empty(sum(sizes), object)
    row[:] = [option for d in space.own for option in d.options]
    starts = np.cumsum([0, *sizes[:-1]]) if sizes else np.zeros(0, np.int64)
    columns = [d.variable.index for d in space.own]
    chosen = row[at[:, columns] + starts].tolist()
    name, space_hash = space.name, space.hash
    return [
        Architecture(
            dict(zip(compress(paths, on), compress(options, on), strict=True)),
            name,
            space_hash,
            record,
        )
        for options, on in zip(chosen, running, strict=True)
    ]


def _own(space: SpaceGraph, at: Array) -> Array:
    """Assignments in which the members of joined decisions have their options, too: a bucket tree
    that does not need them leaves them out."""
    tied = [d.variable for d in space.members if d.variable.definition is not None]
    if not tied:
        return at
    at = at.copy()
    for variable in tied:
        assert variable.definition is not None
        table = np.array(variable.definition.entries, at.dtype)
        at[:, variable.index] = entries_at(table, variable.definition, at)
    return at


def provenance(seed: int, weighting: Weighting, windows: Windows) -> dict[str, Any]:
    """How a sample was drawn, for its file. An open end of a window is null."""
    kind = weighting if isinstance(weighting, str) else "initial" if weighting is None else "given"
    record: dict[str, Any] = {"drawn": {"seed": seed, "weights": kind}}
    if windows:
        record["drawn"]["windows"] = {
            str(cost): [None if abs(end) >= FAR else end for end in window]
            for cost, window in windows.items()
        }
    return record
