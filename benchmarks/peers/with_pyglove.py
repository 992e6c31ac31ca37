"""PyGlove: hyper values and DNA. Conditions are nested choices, so its space size is exact.

It has no costs. Its way to a budget is to draw and to turn away (`pyglove/core/geno/random.py`,
`deduping.py` of google/pyglove).
"""

from __future__ import annotations

import random
from typing import Any

import described
import numpy as np
import pyglove as pg
from described import Decision, Described, rate, rejection, run

BATCH = 10


class Tree:
    """The decisions as nested choices, and the inverse map from a DNA."""

    def __init__(self, decisions: list[Decision]) -> None:
        self._decisions = decisions
        self._children: dict[int | None, list[int]] = {}
        for k, d in enumerate(decisions):
            self._children.setdefault(d.parent, []).append(k)
        self.spec = pg.dna_spec(pg.Dict({f"d{k}": self._choice(k) for k in self._children[None]}))

    def _under(self, parent: int, option: int) -> list[int]:
        return [k for k in self._children.get(parent, []) if option in self._decisions[k].when]

    def _choice(self, k: int) -> Any:
        return pg.oneof([self._option(k, o) for o in range(len(self._decisions[k].options))])

    def _option(self, k: int, option: int) -> Any:
        under = self._under(k, option)
        return pg.Dict({f"d{c}": self._choice(c) for c in under}) if under else option

    def options(self, dna: pg.DNA) -> list[int]:
        """Option index of each decision; 0 for an inactive one."""
        numbers = iter(dna.to_numbers())
        found = [0] * len(self._decisions)

        def read(members: list[int]) -> None:
            for k in members:
                found[k] = next(numbers)
                read(self._under(k, found[k]))

        read(self._children[None])
        return found


def measure(space: Described) -> dict[str, Any]:
    start = described.now()
    tree = Tree(space.decisions())
    size = tree.spec.space_size
    built = described.now() - start
    source = random.Random(0)

    def draw() -> list[pg.DNA]:
        return [pg.random_dna(tree.spec, source) for _ in range(BATCH)]

    def drawn() -> np.ndarray:
        return np.array([tree.options(dna) for dna in draw()], np.int64)

    return {
        "version": pg.__version__,
        "figures": {
            "size": {
                "value": built,
                "note": "equal" if size == space.size else f"it says {size}",
            },
            "sample": {"value": rate(lambda: len(draw()), space.seconds)},
            **rejection(space, drawn),
        },
        "cannot": [
            "anything about costs: minimum, maximum, expectation, gradient, count, histogram"
        ],
    }


if __name__ == "__main__":
    run(measure)
