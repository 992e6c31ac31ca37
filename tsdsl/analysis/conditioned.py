"""Distinct architectures within budgets: exact draws at any selectivity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress

import numpy as np

from tsdsl.analysis.cost_table import Cost
from tsdsl.analysis.costs import active
from tsdsl.analysis.draw import Drawer
from tsdsl.analysis.engine import Engine, engine
from tsdsl.analysis.factors import Array
from tsdsl.analysis.listing import Lister, Windows
from tsdsl.analysis.nothing import no_architecture, too_few
from tsdsl.analysis.window import Weighting, resolve, side, weigh, weights
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.space import SpaceGraph

#: Up to this many, the architectures inside are listed and drawn from.
MAX_LISTED = 1 << 14
#: Draws at once: grows to the last.
CHUNKS = (512, 2048, 8192)
#: Draws without one that is new and inside, after which there is no point in going on.
MAX_MISSES = 2_000_000
#: Bins of the grid at least and at most.
BINS = (256, 4096)


def sample_within(
    space: SpaceGraph,
    seed: int,
    n: int,
    windows: Windows,
    weighting: Weighting = "initial",
    *,
    distinct: bool = True,
) -> list[Architecture]:
    """``n`` architectures whose costs are all inside; all of them, if there are fewer. Raises
    `SpecError` if there is none."""
    return architectures(space, options_within(space, seed, n, windows, weighting, distinct))


def options_within(
    space: SpaceGraph,
    seed: int,
    n: int,
    windows: Windows,
    weighting: Weighting = "initial",
    distinct: bool = True,
) -> Array:
    """`sample_within` as assignments [architecture, variable]."""
    known = engine(space)
    rows, _ = weights(known, weighting)
    for cost, (least, most) in windows.items():
        low, high = known.ends(cost)
        if least > high or most < low:
            raise no_architecture(space, f"{cost} in {least:,}..{most:,}: {low:,}..{high:,} is all")
    random = np.random.Generator(np.random.PCG64(seed))
    listed = Lister(known, tuple(windows)).list(windows, MAX_LISTED)
    if listed is not None:
        return _from_list(space, listed, weigh(known, rows, listed), random, n, distinct)
    found: list[Array] = []
    seen: set[bytes] = set()
    decided = [d.variable.index for d in space.decisions]
    missed = taken = 0
    for at in _inside(known, rows, windows, random):
        if distinct and len(at):
            keys = np.ascontiguousarray(at[:, decided].astype(np.int16))
            new = [k for k, row in enumerate(keys) if not _add(seen, row.tobytes())]
            at = at[new]
        missed = 0 if len(at) else missed + CHUNKS[-1]
        found.append(at)
        taken += len(at)
        if taken >= n:
            break
        if missed > MAX_MISSES:
            raise too_few(space, n, taken)
    return np.concatenate(found)[:n]


def _add(seen: set[bytes], key: bytes) -> bool:
    """Whether it was there."""
    before = len(seen)
    seen.add(key)
    return len(seen) == before


def draws(
    known: Engine, rows: Sequence[Array], windows: Windows, n: int, seed: int
) -> Iterator[Array]:
    """About ``n`` draws at a time, of which those that are inside come back."""
    random = np.random.Generator(np.random.PCG64(seed))
    return _inside(known, rows, windows, random, (n,))


def _inside(
    known: Engine,
    rows: Sequence[Array],
    windows: Windows,
    random: np.random.Generator,
    chunks: Sequence[int] = CHUNKS,
) -> Iterator[Array]:
    """Draws that are inside by their exact costs, without end."""
    drawers = [_drawer(known, rows, cost, window) for cost, window in windows.items()]
    drawer = min(drawers, key=lambda d: d.weight[0] * 2.0 ** d.weight[1])
    if not drawer.weight[0]:
        raise no_architecture(known.space, "these costs and a weight above 0")
    lookups = [(known.lookup(cost), *window) for cost, window in windows.items()]
    k = 0
    while True:
        at = drawer.draw(random, chunks[min(k, len(chunks) - 1)])
        k += 1
        for lookup, least, most in lookups:
            costs = lookup.assigned(at)
            at = at[(costs >= least) & (costs <= most)]
        yield at


def _drawer(known: Engine, rows: Sequence[Array], cost: Cost, window: tuple[int, int]) -> Drawer:
    low, high = known.ends(cost)
    least, most = max(window[0], low), min(window[1], high)
    sign = side(known, cost, (least, most))
    span = most - low if sign > 0 else high - least
    # About one bin for each rounding in the window: half of the draws are inside then.
    wanted = 40 * span // max(most - least, 1)
    bins = min(max(wanted, BINS[0]), BINS[1])
    resolved, _ = resolve(known, rows, cost, (least, most), bins, sign)
    seen = (least, most) if sign > 0 else (-most, -least)
    return Drawer(resolved, len(known.space.variables), seen)


def _from_list(
    space: SpaceGraph,
    listed: Array,
    weight: Array,
    random: np.random.Generator,
    n: int,
    distinct: bool,
) -> Array:
    listed, weight = listed[weight > 0], weight[weight > 0]
    if not len(listed):
        raise no_architecture(space, "costs inside of the window and a weight above 0")
    if distinct:
        # An exponential race is drawing without replacement.
        return listed[np.argsort(random.exponential(size=len(weight)) / weight)[:n]]
    return listed[random.choice(len(weight), n, p=weight / weight.sum())]


def architectures(space: SpaceGraph, at: Array) -> list[Architecture]:
    """The architectures of assignments [architecture, variable]."""
    running = active(space, at).tolist()
    options = [d.options for d in space.decisions]
    paths = [d.path for d in space.decisions]
    columns = [d.variable.index for d in space.decisions]
    name, space_hash = space.name, space.hash
    made: list[Architecture] = []
    for row, on in zip(at[:, columns].tolist(), running, strict=True):
        chosen = [o[k] for o, k in zip(options, row, strict=True)]
        pairs = dict(compress(zip(paths, chosen, strict=True), on))
        made.append(Architecture(pairs, name, space_hash))
    return made
