"""Rank correlations against their definitions, pair by pair."""

from __future__ import annotations

from itertools import combinations
from math import isclose, sqrt
from random import Random

import pytest
from cases import cases

from tsdsl.analysis.costs.rank import kendall, ranks, spearman

Values = list[float]


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)


def brute_kendall(left: Values, right: Values) -> float | None:
    same = other = free_left = free_right = 0
    for i, j in combinations(range(len(left)), 2):
        a, b = _sign(left[i] - left[j]), _sign(right[i] - right[j])
        same += a * b > 0
        other += a * b < 0
        free_left += a != 0
        free_right += b != 0
    scale = sqrt(free_left * free_right)
    return (same - other) / scale if scale else None


def brute_ranks(values: Values) -> Values:
    """One, plus those below, plus half of the others that are equal."""
    return [
        1 + sum(other < v for other in values) + (sum(other == v for other in values) - 1) / 2
        for v in values
    ]


def brute_spearman(left: Values, right: Values) -> float | None:
    a, b = brute_ranks(left), brute_ranks(right)
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    scale = sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return covariance / scale if scale else None


def pairs(seed: int) -> tuple[Values, Values]:
    random = Random(seed)
    n, few = random.randint(1, 30), random.choice((2, 5, 1000))
    left = [float(random.randint(0, few)) for _ in range(n)]
    right = [v + random.randint(0, few) if random.random() < 0.7 else 0.0 for v in left]
    return left, right


@pytest.mark.parametrize("seed", cases(50, sweep=200))
def test_as_defined(seed: int) -> None:
    left, right = pairs(seed)
    assert ranks(left).tolist() == brute_ranks(left)
    for mine, theirs in ((spearman, brute_spearman), (kendall, brute_kendall)):
        found, expected = mine(left, right), theirs(left, right)
        if expected is None or found is None:
            assert found is expected
        else:
            assert isclose(found, expected, abs_tol=1e-12)


def test_ends() -> None:
    up = [1, 2, 3, 10**15, 10**15 + 1]
    for correlation in (spearman, kendall):
        assert correlation(up, up) == pytest.approx(1)
        assert correlation(up, up[::-1]) == pytest.approx(-1)
        assert correlation(up, [7] * 5) is None
        assert correlation([1], [2]) is None
