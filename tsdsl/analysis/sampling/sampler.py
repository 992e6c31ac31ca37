"""Architectures drawn from a distribution over the decisions of a space, within budgets or without.

Each active decision takes an option with its weight, independently, on the condition that all
requirements hold and that each cost lies in its window: exactly what drawing freely and rejecting
what does not fit gives, however rare that is. Weights are floats, so that probabilities are right
to about nine digits; which architectures fit is exact.

Draws come in blocks of a fixed order: how many are asked for does not change which come first.

Distinct ones are distinct networks: of architectures that are one network (see
`tsdsl.analysis.networks`), the one that is drawn first stands for all, and the network has the sum
of their probabilities. Where each architecture is a network of its own, that is drawing without
replacement.
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
from tsdsl.analysis.sampling.meet_in_the_middle import MeetInTheMiddleSampler, NoPart
from tsdsl.analysis.sampling.rejection import RejectionSampler
from tsdsl.analysis.sampling.window_sampler import BINS, Underflow, WindowSampler
from tsdsl.analysis.windows.enumeration import Enumerator, Windows
from tsdsl.analysis.windows.window import FAR, Weighting, log_weights, shown_window
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.ordering import TooCoupled
from tsdsl.ir.space import Requirement, SpaceGraph

#: Up to this many, the architectures inside are listed and drawn from.
MAX_LISTED = 1 << 14
#: Up to this many, those not drawn yet are listed rather than waited for.
MAX_REST = 1 << 17
#: Draws at once: grows to the last.
CHUNKS = (512, 2048, 8192)
#: Independent draws, of which more than this share has to be inside after the first few.
BLOCK, PLAIN, COMMON = 1 << 14, 1 << 15, 0.01
#: From this many draws on, of which fewer than this share is inside, a part is completed.
TRIED, RARE = 10_000, 0.02
#: Draws of a part that say whether it is the better way.
PILOT = 4096
#: Where even fewer are inside, the window is one for `improbable`.
HOPELESS = 0.0005
#: Draws without one that is new and inside, after which there is no point in going on.
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
    """``n`` architectures whose costs are all inside; equal seeds draw alike on every platform.

    ``distinct``: drawn without replacement; all of them, if there are fewer. True for distinct
    networks. Raises `SpecError` if there is none, `TooCoupled`.
    """
    if n < 0:
        raise ValueError(f"no architecture or more, not {n}")
    return list(islice(stream(space, seed, weighting, windows, distinct=distinct), n))


def stream(
    space: SpaceGraph,
    seed: int,
    weighting: Weighting = "initial",
    windows: Windows | None = None,
    *,
    distinct: bool | Distinct = True,
) -> Iterator[Architecture]:
    """`sample` one by one, until there are no more."""
    within = _in_order(windows or {})
    noted = provenance(seed, weighting, within)
    space, weighting = on_joint_graph(space, weighting)
    found = blocks(space, seed, within, weighting, distinct)
    return chain.from_iterable(architectures(space, at, noted) for at in found)


def sample_within(
    space: SpaceGraph,
    seed: int,
    n: int,
    windows: Windows,
    weighting: Weighting = "initial",
    *,
    distinct: bool | Distinct = True,
) -> list[Architecture]:
    """`sample`, with windows."""
    return sample(space, seed, n, weighting, windows, distinct=distinct)


def options_within(
    space: SpaceGraph,
    seed: int,
    n: int,
    windows: Windows,
    weighting: Weighting = "initial",
    distinct: bool | Distinct = True,
) -> Array:
    """`sample` as assignments [architecture, variable]."""
    found: list[Array] = []
    for at in blocks(space, seed, windows, weighting, distinct):
        found.append(at[: n - sum(map(len, found))])
        if sum(map(len, found)) >= n:
            break
    return np.concatenate(found)


def blocks(
    space: SpaceGraph,
    seed: int,
    windows: Windows,
    weighting: Weighting = "initial",
    distinct: bool | Distinct = True,
) -> Iterator[Array]:
    """`stream` as assignments [architecture, variable], some at a time; under a joint distribution,
    variables are those of its graph."""
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
    """One order, so that equal windows draw alike however they were given."""
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
            # Most have been drawn: the others, if they are few, in the order they would come in.
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
            asked = ", ".join(f"{c} {shown_window(w)}" for c, w in windows.items())
            raise rarely_inside(space, len(seen), missed, asked)
    if distinct and not len(seen):
        raise no_architecture(space, "a weight above 0" + (" in these windows" * bool(windows)))


class _DistinctFilter:
    """Which networks, or which architectures, were drawn, by 128 bits of each."""

    def __init__(self, space: SpaceGraph, distinct: bool | Distinct) -> None:
        self._space = space
        self._distinct: Distinct = distinct if isinstance(distinct, str) else "networks"
        self._keys: set[bytes] = set()
        #: Drawn before anything was compared with it.
        self._first: Array | None = None

    def __len__(self) -> int:
        return len(self._keys) or int(self._first is not None)

    def new(self, at: Array) -> Iterator[Array]:
        """Those that were not there, each once. The very first comes by itself: who wants no more
        needs no keys."""
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


def draws(
    cache: QueryCache, logs: Sequence[Array], power: float, windows: Windows, n: int
) -> Array:
    """The draws, out of ``n`` from a power of a distribution, that lie in the windows.

    ``logs`` are the logarithms of the probabilities of the options of each decision. What has a
    probability below the smallest float may be missing. Raises `SpecError`, `Underflow`."""
    random = np.random.Generator(np.random.PCG64(0))
    rows = [np.exp(power * log) for log in logs]
    return WindowSampler(cache, rows, windows, BINS, rough=True).draw(random, n)


def _check_possible(cache: QueryCache, windows: Windows) -> None:
    """Raises `SpecError` where it is certain that nothing is inside, whatever weights are."""
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
    """Draws that are inside by their exact costs; of how many. Without end, unless what comes is
    distinct and there is no more."""
    if windows and RejectionSampler.suits(cache, rows):
        plain = RejectionSampler(cache, rows, windows)
        while plain.drawn < PLAIN or plain.rate >= COMMON:
            yield plain.draw(random, BLOCK), BLOCK
    try:
        inside = WindowSampler.of(cache, rows, windows, BINS)
    except Underflow:
        _check_possible(cache, windows)
        yield from improbable(cache, logs, windows, random, distinct)
        return
    for n in CHUNKS[:-1]:
        yield inside.draw(random, n), n
    n = CHUNKS[-1]
    while inside.drawn < TRIED or inside.rate >= RARE or not windows:
        yield inside.draw(random, n), n
    if inside.empty():
        raise nothing_inside(cache, windows)
    way: WindowSampler | MeetInTheMiddleSampler = inside
    try:
        completed = MeetInTheMiddleSampler(inside)
    except (TooCoupled, NoPart):
        pass
    else:
        yield completed.draw(random, PILOT), PILOT
        way = completed if completed.rate >= inside.rate else inside
    if way.rate < HOPELESS:
        # What is inside is far less probable than what lies next to it.
        yield from improbable(cache, logs, windows, random, distinct)
        return
    while True:
        yield way.draw(random, n), n


def _race(weight: Array, random: np.random.Generator) -> Array:
    """The order in which all would be drawn without replacement: each arrives at the rate of its
    weight, of which the logarithm is given."""
    with np.errstate(divide="ignore"):
        return np.argsort(np.log(-np.log1p(-random.random(len(weight)))) - weight, kind="stable")


def architectures(
    space: SpaceGraph, at: Array, noted: Mapping[str, Any] | None = None
) -> list[Architecture]:
    """The architectures of assignments [architecture, variable]; ``noted`` is their provenance."""
    at = _own(space, at)
    running = active_decisions(space, at).tolist()
    paths = [d.path for d in space.own]
    # All options in a row, so that numpy looks them up.
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
            noted,
        )
        for options, on in zip(chosen, running, strict=True)
    ]


def _own(space: SpaceGraph, at: Array) -> Array:
    """Assignments in which decisions that are part of joined ones have their options, too: not
    every program has them."""
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
    noted: dict[str, Any] = {"drawn": {"seed": seed, "weights": kind}}
    if windows:
        noted["drawn"]["windows"] = {
            str(cost): [None if abs(end) >= FAR else end for end in window]
            for cost, window in windows.items()
        }
    return noted
