"""Queries about spaces written as text, against every architecture frozen and counted."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

import tsdsl
from tsdsl.analysis.items import items
from tsdsl.diagnostics import ArchitectureError
from tsdsl.ir.architecture import Architecture

TEXT = """tsnet 1
import "std/video" as v
space Small {{
  input clip(channels=3, frames=8, height=32, width=32, interval=2)
  width ~ {{8, 16}}
  stream sparse(clip, every=4) {{
    stem v.x3d_stem(width)
    stage s1(stride=1x2x2) {{
      {sparse}
    }}
  }}
  stream dense(clip, every=1) {{
    stem v.x3d_stem(8)
    stage s1(stride=1x2x2) {{
      repeat depth ~ 1..2 {{
        use v.mbconv3d({dense}, kernel ~ {{1x3x3: 0.7, 3x3x3: 0.3}}, expand = 1.5)
      }}
    }}
  }}
  fuse dense -> sparse after stem ~ {{v.t_conv(5x1x1), v.t_sample, skip}}
  {more}
  head concat(sparse -> v.conv5(32), dense -> v.conv5(16)) -> linear(10)
}}
"""
SPARSE = (
    "repeat depth ~ 1..2 { use v.mbconv3d(width, kernel ~ {1x3x3, 3x3x3}, expand ~ {1.5, 3.0}) }",
    "wide ~ 8..24 step 8 repeat 1 { use v.mbconv3d(wide, kernel ~ {1x3x3, 3x3x3}, expand = 2.0) }",
    "repeat 2 { use v.mbconv3d(width ~ {8, 16}, kernel = 1x3x3, expand ~ {1.5, 2.25}) }",
)
MORE = (
    "",
    "attend sparse after s1 ~ {none, v.se(8)}",
    'require width <= 8 or dense.s1.depth == 1 else "not both"',
)


@pytest.mark.parametrize("sparse", range(len(SPARSE)))
@pytest.mark.parametrize("dense", ["8", "width"])
@pytest.mark.parametrize("more", range(len(MORE)))
def test_every_query(sparse: int, dense: str, more: int, tmp_path: Path) -> None:
    file = tmp_path / "small.tsnet"
    file.write_text(TEXT.format(sparse=SPARSE[sparse], dense=dense, more=MORE[more]))
    space = tsdsl.load(file)
    costs: dict[Architecture, tuple[int, int]] = {}
    odds: dict[Architecture, float] = {}
    p = space.distribution().probabilities
    for picked in product(*(d.options for d in space.decisions)):
        chosen = dict(zip((d.path for d in space.decisions), picked, strict=True))
        try:
            arch = space.architecture(without_inactive(space, chosen))
        except ArchitectureError:
            continue
        if arch not in costs:
            found = items(space.network(arch))
            costs[arch] = (sum(i.macs for i in found), sum(i.params for i in found))
            odds[arch] = 1.0
            for d in space.decisions:
                if d.path in arch:
                    odds[arch] *= p[d.path][d.options.index(arch[d.path])]
    weights = np.array(list(odds.values())) / sum(odds.values())
    both = np.array(list(costs.values()))
    assert space.size == len(costs)
    for k, cost in enumerate(("macs", "params")):
        ends = space.bounds(cost)
        assert (ends.min.value, ends.max.value) == (both[:, k].min(), both[:, k].max())
        assert space.expectation(cost) == pytest.approx(float(weights @ both[:, k]))
    low, high = np.quantile(both[:, 0], [0.2, 0.6], method="nearest").tolist()
    inside = (both[:, 0] >= low) & (both[:, 0] <= high)
    assert space.count(flops=(low, high)) == inside.sum()
    assert space.mass(flops=(low, high)).middle == pytest.approx(weights[inside].sum())
    drawn = space.sample(len(costs) + 1, seed=0, flops=(low, high))
    assert {a for a, fits in zip(costs, inside, strict=True) if fits} == set(drawn)
    best = space.most_probable(flops=(low, high))
    right = max(o for o, fits in zip(odds.values(), inside, strict=True) if fits)
    assert odds[best] == pytest.approx(right)
    assert space.flops(list(costs)).tolist() == both[:, 0].tolist()


def without_inactive(space: tsdsl.Space, chosen: dict) -> dict:
    """What of a full choice an architecture mentions."""
    from tsdsl.ir.constraints import entry_at, is_active

    at: list[int] = []
    ours = {d.variable.index: d for d in space.decisions}
    kept: dict = {}
    for v in space.graph.variables:
        if v.definition is not None:
            at.append(entry_at(v.definition, at))
            continue
        d = ours[v.index]
        active = is_active(d, at)
        at.append(d.options.index(chosen[d.path]) if active else d.default)
        if active:
            kept[d.path] = chosen[d.path]
    return kept
