"""Small spaces written as text, and all of their architectures by brute force."""

from __future__ import annotations

from itertools import combinations, product

import tsdsl
from tsdsl.analysis.distribution import DistributionLike
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
#: Indices into `SPARSE` and `MORE`: each occurs with some of the others, and is in a quick pair.
#: Slow pairs have the most architectures.
PAIRS = ((0, 1), (0, 2), (1, 2), (2, 0), (2, 1))
SLOW_PAIRS = ((0, 1), (2, 0))
QUICK_PAIRS = tuple(pair for pair in PAIRS if pair not in SLOW_PAIRS)


def every_architecture(
    space: tsdsl.Space, given: DistributionLike = None
) -> dict[Architecture, float]:
    """All architectures with their probabilities under a distribution."""
    p = space.distribution(given).probabilities
    odds: dict[Architecture, float] = {}
    for picked in product(*(d.options for d in space.decisions)):
        chosen = dict(zip((d.path for d in space.decisions), picked, strict=True))
        try:
            arch = space.architecture(without_inactive(space, chosen))
        except ArchitectureError:
            continue
        if arch not in odds:
            odds[arch] = 1.0
            for d in space.decisions:
                if d.path in arch:
                    odds[arch] *= p[d.path][d.options.index(arch[d.path])]
    total = sum(odds.values())
    return {arch: weight / total if total else 0.0 for arch, weight in odds.items()}


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


def coupled(decisions: int = 12) -> str:
    """A space with an operation for each pair of decisions: no order of elimination is narrow."""
    names = [f"w{k}" for k in range(decisions)]
    widths = "\n".join(f"    {name} ~ 8..64 step 8" for name in names)
    pairs = "\n".join(f"      use pair({a}, {b})" for a, b in combinations(names, 2))
    return f"""tsnet 1
import "std/video" as v
block pair(x, a: int, b: int) {{ return x -> conv(a, 1x1x1) -> conv(b, 1x1x1) -> conv(8, 1x1x1) }}
space Coupled {{
  input clip(channels=3, frames=4, height=16, width=16, interval=1)
  stream main(clip) {{
{widths}
    stem v.x3d_stem(8)
    stage s1 {{
{pairs}
    }}
  }}
  head main -> global_avg_pool -> linear(5)
}}
"""
