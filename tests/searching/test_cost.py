"""The cost term against its definition, enumeration and finite differences."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import tsdsl
from tsdsl.analysis.distribution import Distribution
from tsdsl.diagnostics import SpecError
from tsdsl.searching.distribution import Categoricals
from tsdsl.searching.parsec.cost_term import CostTerm, penalty, variances
from tsdsl.sema.sections import Budget

sys.path.insert(0, str(Path(__file__).resolve().parent))

from text_spaces import every_architecture
from tiny_spaces import stirred, tiny

ROOT = Path(__file__).resolve().parents[2]


def budget(low: float, high: float, weight: float = 0.2, cost: str = "flops") -> Budget:
    return Budget(cost=cost, low=low, high=high, weight=weight)  # type: ignore[arg-type]


def test_penalty_is_equation_2_without_its_misprint() -> None:
    found = penalty(np.array([1.0e9, 1.37e9, 1.4e9, 1.43e9, 2.86e9]), 1.37e9, 1.43e9)
    assert found == pytest.approx([1 - 1 / 1.37, 0, 0, 0, 1], abs=1e-12)
    assert penalty(np.array([0, 5, 20]), 0, 10).tolist() == [0, 0, 1]


def test_shares(tmp_path: Path) -> None:
    space = tiny(tmp_path)
    now = Categoricals(space)
    every = list(every_architecture(space))
    flops, params = space.flops(every), space.params(every)
    low, high = np.quantile(flops, [0.4, 0.6])
    chosen = now.choose(every)
    both = CostTerm(space, [budget(low, high, 0.3), budget(0, params.min() + 1, 0.7, "params")])
    assert both.values(chosen).tolist() == [flops.tolist(), params.tolist()]
    first = np.maximum(0, flops / high - 1) + np.maximum(0, 1 - flops / low)
    second = np.maximum(0, params / (params.min() + 1) - 1)
    assert both.costs(chosen) == pytest.approx(np.stack([first, second]))
    expected = 0.3 * first / first.sum() + 0.7 * second / second.sum()
    assert both.coefficients(chosen) == pytest.approx(expected)
    assert both.gradient(now, every) == pytest.approx(now.gradient(every, expected))
    assert both.means(now) == pytest.approx([space.expectation(c) for c in ("macs", "params")])
    # All inside: nothing, in every way.
    for kind in ("sampled", "exact"):
        for centred in (False, True):
            wide = CostTerm(space, [budget(0, 1e12)], kind=kind, centred=centred)  # type: ignore[arg-type]
            assert not wide.gradient(now, every).any()
    assert not CostTerm(space, []).gradient(now, every).any()
    with pytest.raises(SpecError, match="latency"):
        CostTerm(space, [budget(0, 1e6, cost="latency")])


def test_costs_of_any_size_have_shares(tmp_path: Path) -> None:
    space = tiny(tmp_path)
    chosen = Categoricals(space).choose(list(every_architecture(space)))
    for high in (1e-300, 1e300):
        term = CostTerm(space, [budget(0 if high < 1 else high, high, 1.0)])
        assert term.coefficients(chosen).sum() == pytest.approx(1, abs=1e-12)


def test_centring_takes_no_mean_away(tmp_path: Path) -> None:
    """Over all triples of architectures, with their probabilities."""
    space = tiny(tmp_path, require=True)
    now = Categoricals(space, stirred(space))
    every = list(every_architecture(space))
    p = np.exp(now.log_probability(every))
    # A narrow one, so that no, one, two or three samples are outside.
    flops = np.sort(space.flops(every))
    around = budget(int(flops[3]), int(flops[10]))
    means = []
    for centred in (False, True):
        term = CostTerm(space, [around], centred=centred)
        mean = np.zeros(now.size)
        for triple in product(range(len(every)), repeat=3):
            chosen = now.choose([every[k] for k in triple])
            mean += p[list(triple)].prod() * now.gradient(chosen, term.coefficients(chosen))
        means.append(mean)
    assert means[0] == pytest.approx(means[1], abs=1e-12)
    assert np.abs(means[0]).max() > 1e-3


@pytest.mark.parametrize("far", [0.5, 0.98, 1.02, 2.0])
def test_the_exact_one_is_a_chain_rule(far: float, tmp_path: Path) -> None:
    space = tiny(tmp_path)
    given = stirred(space, 1, 0.1)
    mean, sigma = space.expectation("macs", given), space.std("macs", given)
    edge = mean * far
    held = budget(0, edge) if far < 1 else budget(edge, 1e12)
    now = Categoricals(space, given)
    found = CostTerm(space, [held], kind="exact").gradient(now, [])
    least = sigma / edge / (2 * np.pi) ** 0.5

    def cost(flat: np.ndarray) -> float:
        m = space.expectation("macs", Distribution(space.graph, flat))
        return float(penalty(np.array(m), held.low, held.high))

    at = max(cost(given.flat), least)
    for k in range(now.size):
        step = np.zeros(now.size)
        step[k] = 1e-5
        slope = (cost(given.flat + step) - cost(given.flat - step)) / 2e-5
        assert found[k] == pytest.approx(0.2 * slope / at, rel=1e-5, abs=1e-9)
    # It asks for what the printed term asks for, far from the window.
    if far in (0.5, 2.0):
        one = variances(CostTerm(space, [held]), now, 13, draws=200)
        assert one.agreement > 0.9 and one.exact == 0 < one.centred < one.sampled


def test_only_what_exists_costs() -> None:
    space = tsdsl.load(ROOT / "examples" / "two_stream.tsnet")
    now = Categoricals(space)
    phase = space.phases("macs")[0]
    assert phase.streams == ("sparse",)
    term = CostTerm(space, [budget(1, 2)], streams=phase.streams)
    drawn = now.sample(2000, seed=0, step=0)
    values = term.values(now.choose(drawn))[0]
    assert (values < space.flops(drawn)).all()
    exact = term.means(now)[0]
    assert abs(values.mean() - exact) < 4 * values.std() / len(values) ** 0.5
    assert phase.min <= values.min() and values.max() <= phase.max
    everything = CostTerm(space, [budget(1, 2)], streams=tuple(space.graph.streams))
    assert everything.values(now.choose(drawn))[0].tolist() == space.flops(drawn).tolist()
