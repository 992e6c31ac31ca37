"""Variable elimination in each semiring equals sums over all assignments."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest
from cases import cases

from tsdsl.analysis.costs.factors import Factor
from tsdsl.analysis.elimination import eliminate as module
from tsdsl.analysis.elimination.eliminate import (
    POSSIBLE,
    PROBABILITY,
    best,
    counting,
    eliminate,
    minimising,
    trace,
)
from tsdsl.ir.ordering import TooCoupled, plan


def problem(seed: int) -> tuple[list[int], list[str], list[Factor]]:
    """Random tables of small integers over random variables, some of a single value."""
    random = Random(seed)
    sizes = [random.choice((1, 2, 2, 3, 4)) for _ in range(6)]
    factors: list[Factor] = []
    for _ in range(7):
        scope = tuple(sorted(random.sample(range(6), random.choice((0, 1, 2, 3)))))
        shape = [sizes[v] for v in scope]
        table = np.array([random.randrange(-5, 9) for _ in range(int(np.prod(shape)))], np.int64)
        factors.append(Factor(scope, table.reshape(shape)))
    return sizes, [f"v{k}" for k in range(6)], factors


def rows(sizes: list[int], factors: list[Factor]) -> list[list[Any]]:
    """The entries of all factors, for each assignment of the variables that occur."""
    used = sorted({v for f in factors for v in f.scope})
    found: list[list[Any]] = []
    for values in product(*(range(sizes[v]) for v in used)):
        at = dict(zip(used, values, strict=True))
        found.append([f.table[tuple(at[v] for v in f.scope)].item() for f in factors])
    return found


@pytest.mark.parametrize("seed", cases(20, sweep=60))
@pytest.mark.parametrize("scale", [1, 10**30], ids=["int64", "exact"])
def test_the_minimum_and_its_assignment_are_exact(seed: int, scale: int) -> None:
    sizes, names, factors = problem(seed)
    ring = minimising(9 * len(factors) * scale)
    scaled = [
        Factor(f.scope, np.asarray(f.table.astype(ring.dtype) * scale, ring.dtype)) for f in factors
    ]
    value, steps = eliminate(scaled, sizes, names, ring, best)
    assert value == scale * min(map(sum, rows(sizes, factors)))
    at = {**dict.fromkeys(range(6), 0), **trace(steps)}
    assert value == sum(int(f.table[tuple(at[v] for v in f.scope)]) for f in scaled)


@pytest.mark.parametrize("seed", cases(20, sweep=60))
def test_every_semiring_gives_its_sum_of_products(seed: int) -> None:
    sizes, names, factors = problem(seed)
    masks = [Factor(f.scope, f.table > -4) for f in factors]
    right = rows(sizes, masks)
    assert eliminate(masks, sizes, names, POSSIBLE)[0] == any(map(all, right))
    for ring in (counting(sizes), counting([2] * 100)):
        embedded = [Factor(f.scope, ring.embed(f.table)) for f in masks]
        assert eliminate(embedded, sizes, names, ring)[0] == sum(map(all, right))
    floats = [Factor(f.scope, np.abs(f.table).astype(float)) for f in factors]
    total = sum(float(np.prod(row)) for row in rows(sizes, floats))
    assert eliminate(floats, sizes, names, PROBABILITY)[0] == pytest.approx(total)


def test_counts_are_exact_beyond_64_bits() -> None:
    sizes = [4] * 90
    ring = counting(sizes)
    pairs = [Factor((k, k + 1), ring.embed(np.ones((4, 4), np.bool_))) for k in range(89)]
    assert eliminate(pairs, sizes, [str(k) for k in range(90)], ring)[0] == 4**90


def test_no_factors_give_the_neutral_element() -> None:
    assert eliminate([], [], [], PROBABILITY) == (1.0, [])


def test_the_error_of_too_large_a_table_has_names_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 100)
    sizes, names = [5] * 4, ["a.width", "b.width", "c.width", "d.width"]
    table = np.ones((5, 5), np.float64)
    clique = [Factor((i, j), table) for i in range(4) for j in range(i + 1, 4)]
    with pytest.raises(TooCoupled) as caught:
        eliminate(clique, sizes, names, PROBABILITY)
    assert caught.value.size == 625
    assert set(caught.value.names) == set(names)
    assert "625" in str(caught.value)
    assert "a.width" in str(caught.value)


def test_a_chain_is_eliminated_with_tables_of_two_variables() -> None:
    found = plan([(k, k + 1) for k in range(200)], [10] * 201)
    assert found.peak == 100
    assert sorted(found.order) == list(range(201))


def test_a_star_is_eliminated_from_its_leaves() -> None:
    found = plan([(0, k) for k in range(1, 50)], [7] * 50)
    assert found.peak == 49
