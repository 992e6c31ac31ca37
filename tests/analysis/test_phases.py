"""The cost in each phase of a search equals sums over all architectures, each frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import swept
from text_spaces import MORE, QUICK_PAIRS, SLOW_PAIRS, SPARSE, TEXT, every_architecture

import tsdsl
from tsdsl.analysis.costs.counted import ELEMENTS
from tsdsl.analysis.costs.items import CostItem, cost_items

RECIPE = "epochs = 1 lr = (weights=0.4, arch=0.01)"
SEARCH = f"""search parsec {{
    budget flops in 1M..2M
    budget params in 1k..2k
    phase one {{ streams sparse learn sparse, width {RECIPE} budget flops in 0..1M weight 0.5 }}
    phase two {{ learn dense.s1[0], fuse {RECIPE} }}
    phase three {{ learn LAST, sparse.s1 {RECIPE} }}
  }}"""
FUSED = {"fuse.dense_to_sparse.stem": ("sparse", "dense")}
ATTENDED = {"attend.sparse.s1": ("sparse",)}


def spec(folder: Path, sparse: int, more: int, dense: str = "width") -> tsdsl.Space:
    last = "attend" if "attend" in MORE[more] else "dense.s1.depth"
    file = folder / "small.tsnet"
    search = MORE[more] + "\n  " + SEARCH.replace("LAST", last)
    file.write_text(TEXT.format(sparse=SPARSE[sparse], dense=dense, more=search))
    return tsdsl.load(file)


def random_weights(space: tsdsl.Space, seed: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {d.path: rng.uniform(0.1, 1.0, len(d.options)).tolist() for d in space.decisions}


def part(found: list[CostItem], streams: set[str], cost: str) -> int:
    """The cost of the operations that run where only some streams exist."""
    total = 0
    for item in found:
        path = ".".join(item.path)
        needed = {item.path[0]} & {"sparse", "dense"}
        for place, ends in {**FUSED, **ATTENDED}.items():
            if path.startswith(place + "."):
                needed = set(ends)
        if needed <= streams:
            total += item.costs[0] if cost == "elements" else getattr(item, cost)
    return total


@pytest.mark.parametrize(("sparse", "more"), [*QUICK_PAIRS, *(swept(*p) for p in SLOW_PAIRS)])
def test_costs_of_phases_equal_enumeration(sparse: int, more: int, tmp_path: Path) -> None:
    space = spec(tmp_path, sparse, more)
    given = random_weights(space, sparse)
    p = space.distribution(given).probabilities
    learned = [("sparse", "width"), ("dense.s1[0]", "fuse"), ("attend", "sparse.s1")]
    if "attend" not in MORE[more]:
        learned[2] = ("dense.s1.depth", "sparse.s1")
    networks = {
        arch: cost_items(space.network(arch), [ELEMENTS]) for arch in every_architecture(space)
    }
    for cost in ("macs", "params", "elements"):
        earlier: set[str] = set()
        for phase, targets in zip(space.phases(cost, given), learned, strict=True):
            now = {
                d.path
                for d in space.decisions
                if any(d.path == t or d.path.startswith((t + ".", t + "[")) for t in targets)
            }
            odds = {}
            for d in space.decisions:
                if d.path in now:
                    odds[d.path] = dict(zip(d.options, p[d.path], strict=True))
                elif d.path in earlier:
                    odds[d.path] = {d.options[int(np.argmax(p[d.path]))]: 1.0}
                else:
                    odds[d.path] = {d.options[d.default]: 1.0}
            earlier |= now
            weights = np.array(
                [np.prod([odds[k].get(v, 0.0) for k, v in arch.items()]) for arch in networks]
            )
            streams = {"sparse"} if phase.name == "one" else {"sparse", "dense"}
            values = np.array([part(n, streams, cost) for n in networks.values()], float)
            assert set(phase.streams) == streams
            assert set(phase.learned) == now
            possible = values[weights > 0]
            if not len(possible):
                assert (phase.mean, phase.std, phase.min, phase.max) == (None,) * 4
                continue
            weights /= weights.sum()
            mean = weights @ values
            assert phase.mean == pytest.approx(mean, rel=1e-10)
            spread = (weights @ (values - mean) ** 2) ** 0.5
            assert phase.std == pytest.approx(spread, rel=1e-6, abs=1e-3)
            assert (phase.min, phase.max) == (possible.min(), possible.max())


def test_budgets(tmp_path: Path) -> None:
    space = spec(tmp_path, 0, 1)

    def told(cost: str) -> list[list[tuple[float, float]]]:
        return [[(b.low, b.high) for b in phase.budgets] for phase in space.phases(cost)]

    assert told("macs") == [[(0, 1e6)], [(1e6, 2e6)], [(1e6, 2e6)]]
    assert told("params") == [[(1e3, 2e3)]] * 3
    assert told("elements") == [[]] * 3


def test_ties_stand_at_the_default(tmp_path: Path) -> None:
    """Before a search, options are equally probable."""
    text = TEXT.format(sparse=SPARSE[0], dense="8", more=SEARCH.replace("LAST", "dense.s1.depth"))
    file = tmp_path / "small.tsnet"
    file.write_text(text.replace("width ~ {8, 16}", "width ~ {8, 16} default 16"))
    space = tsdsl.load(file)
    odds = {d.path: [1.0] * len(d.options) for d in space.decisions}
    wide = {**odds, "width": [1.0, 2.0]}
    narrow = {**odds, "width": [2.0, 1.0]}
    equal, high, low = (space.phases("macs", given)[1].mean for given in (odds, wide, narrow))
    assert equal == high != low


def test_what_stands_still_can_be_impossible(tmp_path: Path) -> None:
    file = tmp_path / "small.tsnet"
    more = 'require width > 8 else "wide"\n' + SEARCH.replace("LAST", "dense.s1.depth")
    text = TEXT.format(sparse=SPARSE[0], dense="8", more=more)
    file.write_text(text.replace("learn sparse, width", "learn sparse"))
    first, *_ = tsdsl.load(file).phases()
    assert first.mean is None and first.max is None


def test_without_phases() -> None:
    root = Path(__file__).resolve().parents[2]
    assert tsdsl.load(root / "specs" / "x3d_xs.tsnet").phases() == []
    assert tsdsl.load(root / "examples" / "ghost.tsnet").phases() == []
