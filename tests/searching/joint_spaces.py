"""Spaces whose blocks have several decisions, random joint distributions, and all architectures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from text_spaces import MORE, SPARSE, TEXT, every_architecture

import tsdsl
from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.logits import Floats
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.decision_groups import block_groups

#: Depth, a decision of all blocks (grain), a decision of a block that gates others of it (body), a
#: requirement on a decision that is in a group and one that is not, options that are never taken.
GATED = """tsnet 1
block plain(x, width: int, kernel: dims) { return x -> conv(width, kernel) -> relu }
block twice(x, width: int, kernel: dims, inner: int, grain: dims) {
  return x -> conv(inner, grain) -> relu -> conv(width, kernel)
}
space Gated {
  input clip(channels=3, frames=4, height=8, width=8, interval=1)
  grain ~ {1x1x1, 1x3x3}
  stream main(clip) {
    stem plain(4, 1x3x3)
    stage s1 {
      repeat depth ~ {1: 0.3, 2: 0.7} {
        width ~ {4, 6, 8}
        use body ~ {
          plain(width, grain),
          twice(width, kernel ~ {1x1x1: 0.2, 3x1x1: 0.8}, inner ~ {2, 3}, grain = grain),
        }
      }
    }
  }
  require main.s1[0].width <= 6 or main.s1.depth == 1 else "too much"
  head main -> global_avg_pool -> linear(3)
}
"""
KINDS = ["gated", "depth", "widths", "required"]
#: Groups of each, by paths.
GROUPS = {
    "gated": [
        ("main.s1[0].width", "main.s1[0].body"),
        ("main.s1[0].body.twice.kernel", "main.s1[0].body.twice.inner"),
        ("main.s1[1].width", "main.s1[1].body"),
        ("main.s1[1].body.twice.kernel", "main.s1[1].body.twice.inner"),
    ],
    "depth": [(f"sparse.s1[{k}].kernel", f"sparse.s1[{k}].expand") for k in (0, 1)],
    "widths": [(f"sparse.s1[{k}].width", f"sparse.s1[{k}].expand") for k in (0, 1)],
    "required": [(f"sparse.s1[{k}].kernel", f"sparse.s1[{k}].expand") for k in (0, 1)],
}


#: Of each kind, its space and all architectures: made once.
_KNOWN: dict[str, tuple[tsdsl.Space, list[Architecture]]] = {}


def space_of(kind: str, folder: Path) -> tsdsl.Space:
    text = GATED
    if kind != "gated":
        sparse, more = {"depth": (0, 1), "widths": (2, 0), "required": (0, 2)}[kind]
        text = TEXT.format(sparse=SPARSE[sparse], dense="8", more=MORE[more])
    (folder / "joint.tsnet").write_text(text)
    if kind not in _KNOWN:
        space = tsdsl.load(folder / "joint.tsnet")
        _KNOWN[kind] = space, list(every_architecture(space))
    return _KNOWN[kind][0]


def architectures_of(space: tsdsl.Space) -> list[Architecture]:
    """All of a space that `space_of` gave."""
    return next(every for known, every in _KNOWN.values() if known is space)


def joint(space: tsdsl.Space, seed: int = 0, scale: float = 1.0) -> Distribution:
    """Logits that are all different, joint within all blocks."""
    groups = block_groups(space.graph).joined
    empty = Distribution.uniform(space.graph).with_groups(groups)
    return Distribution(
        space.graph, np.random.default_rng(seed).normal(0, scale, len(empty.flat)), groups
    )


def tables(space: tsdsl.Space, given: Distribution) -> list[tuple[list[int], Floats]]:
    """For each decision or group: which decisions, and the probabilities of their options, one axis
    for each. Written out without the package's own way."""
    grouped = {k for group in given.groups for k in group}
    parts = [
        *map(list, given.groups),
        *([k] for k in range(len(space.decisions)) if k not in grouped),
    ]
    found = []
    start = 0
    for part in sorted(parts):
        shape = [len(space.decisions[k].options) for k in part]
        row = given.flat[start : start + int(np.prod(shape))]
        start += len(row)
        p = np.exp(row - row.max())
        found.append((part, (p / p.sum()).reshape(shape)))
    assert start == len(given.flat)
    return found


def odds_of(space: tsdsl.Space, given: Distribution) -> dict[Architecture, float]:
    """All architectures with their probabilities, by enumeration."""
    known = tables(space, given)
    odds: dict[Architecture, float] = {}
    for architecture in architectures_of(space):
        weight = 1.0
        for part, table in known:
            members = [space.decisions[k] for k in part]
            active = [d.path in architecture for d in members]
            assert len(set(active)) == 1
            if active[0]:
                at = tuple(d.options.index(architecture[d.path]) for d in members)
                weight *= float(table[at])
        odds[architecture] = weight
    total = sum(odds.values())
    return {a: weight / total for a, weight in odds.items()}
