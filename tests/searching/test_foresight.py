"""Phases whose choices leave later ones room, against brute force; budgets that are missed."""

from __future__ import annotations

from itertools import product
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsdsl
from tsdsl.analysis.costs.counted import MACS, PARAMS
from tsdsl.analysis.costs.items import total
from tsdsl.analysis.distribution import Distribution
from tsdsl.diagnostics import SpecError
from tsdsl.searching.foresight import check_reach, choose, forecast, missed, reachable
from tsdsl.searching.plan import PhasePlan, Plan, plan_of

SPEC = """tsnet 1
block layer(x, width: int, kernel: dims) { return x -> conv(width, kernel) -> relu }
space S {
  input clip(channels=3, frames=2, height=4, width=4)
  stream a(clip) {
    stem layer(4, 1x1x1)
    stage s1 { use layer(width ~ {2, 4, 6}, kernel ~ {1x1x1, 1x3x3}) }
    stage s2 { use layer(width ~ {2, 5}, kernel ~ {1x1x1, 1x3x3}) }
    stage s3 { use layer(width ~ {3, 4, 7}, kernel ~ {1x1x1, 1x3x3}) }
  }
  head a -> global_avg_pool -> linear(3)
  REQUIRE
  search parsec {
    samples = 2 batch = 4
    PHASES
  }
}
"""
REQUIRE = "require a.s3[0].width != 7 or a.s1[0].width != 6"


def space_of(folder: Path, budgets: list[list[str]], require: str = "") -> tsdsl.Space:
    learned = ["a.s1", "a.s2", "a.s3"] if len(budgets) == 3 else ["a.s1, a.s2", "a.s3"]
    phases = "\n".join(
        f"phase p{k} {{ learn {names} epochs = 1 lr = (weights=0.05, arch=0.1)"
        f" {' '.join(f'budget {b} weight 0.1' for b in own)} }}"
        for k, (names, own) in enumerate(zip(learned, budgets, strict=True))
    )
    text = SPEC.replace("REQUIRE", require).replace("PHASES", phases)
    (folder / "s.tsnet").write_text(text)
    return tsdsl.load(folder / "s.tsnet")


class Brute:
    """Everything by enumeration: costs are those of frozen networks."""

    def __init__(self, space: tsdsl.Space, plan: Plan, logits: dict[str, Any]) -> None:
        self.space, self.plan = space, plan
        self.log = {path: [x - log(sum(np.exp(row))) for x in row] for path, row in logits.items()}
        self.defaults = {d.path: d.options[d.default] for d in space.decisions}
        self._known: dict[Any, Any] = {}

    def ways(self, at: int, chosen: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
        """Log-probability and decisions of each architecture inside the budgets of a phase."""
        key = at, tuple(sorted(chosen.items()))
        if key not in self._known:
            phase = self.plan.phases[at]
            options = [
                [(d.path, o, self.log[d.path][k]) for k, o in enumerate(d.options)]
                for d in self.space.decisions
                if d.path in phase.learned
            ]
            found = []
            for taken in product(*options):
                own = {path: o for path, o, _ in taken}
                whole = {**self.defaults, **chosen, **own}
                if self.fits(phase, whole):
                    found.append((sum(x for _, _, x in taken), {**chosen, **own}))
            self._known[key] = sorted(found, key=lambda each: -each[0])
        return self._known[key]

    def fits(self, phase: PhasePlan, whole: dict[str, Any]) -> bool:
        try:
            network = self.space.network(self.space.architecture(whole))
        except tsdsl.ArchitectureError:
            return False
        costs = {"flops": MACS, "params": PARAMS}
        values = [(b, total(network, costs[b.cost])) for b in phase.budgets]
        return all(b.low <= value <= b.high for b, value in values)

    def reaches(self, at: int, chosen: dict[str, Any]) -> bool:
        if at == len(self.plan.phases):
            return True
        return any(self.reaches(at + 1, each) for _, each in self.ways(at, chosen))

    def stranded(self, at: int = 0, chosen: dict[str, Any] | None = None) -> float:
        if at == len(self.plan.phases):
            return 0.0
        ways = self.ways(at, chosen or {})
        shares = np.exp([x for x, _ in ways])
        if not ways:
            return 1.0
        below = [self.stranded(at + 1, each) for _, each in ways]
        return float(np.dot(shares / shares.sum(), below))


def made(space: tsdsl.Space, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {d.path: random.normal(0, 1.5, len(d.options)).tolist() for d in space.decisions}


def simulated(folder: Path, seed: int) -> tsdsl.Space:
    """Two or three phases, one or two budgets each, with a requirement or none."""
    random = np.random.default_rng(1000 + seed)
    count = 2 + seed % 2
    empty: list[list[str]] = [[] for _ in range(count)]
    require = REQUIRE if seed % 3 == 0 else ""
    plain = space_of(folder, empty, require)
    plan = plan_of(plain, 4)
    budgets: list[list[str]] = [[] for _ in range(count)]
    # Windows around an outcome that there is, so that there is a way through them all.
    member = dict(plain.sample(seed=seed))
    free: set[str] = set()
    for k, phase in enumerate(plan.phases):
        free |= set(phase.learned)
        whole = {
            d.path: member[d.path] if d.path in free else d.options[d.default]
            for d in plain.decisions
        }
        for cost in ("flops", "params") if seed % 4 == 1 else ("flops",):
            value = plain.value(cost, whole)
            low = int(value * random.uniform(0.75, 0.98))
            high = int(value * random.uniform(1.02, 1.2)) + 1
            budgets[k].append(f"{cost} in {low}..{high}")
    return space_of(folder, budgets, require)


@pytest.mark.parametrize("part", range(4))
def test_no_search_strands(tmp_path: Path, part: int) -> None:
    """None of 60 simulated searches strands, each phase takes what brute force says, and some
    would strand without foresight."""
    changed = 0
    for seed in range(15 * part, 15 * part + 15):
        space = simulated(tmp_path, seed)
        plan = plan_of(space, 4)
        logits = made(space, seed)
        brute = Brute(space, plan, logits)
        chosen: dict[str, Any] = {}
        for at, phase in enumerate(plan.phases):
            free = Distribution.from_logits(space.graph, logits)
            number = {d.path: k for k, d in enumerate(space.decisions)}
            stands = {
                number[d.path]: d.options.index(chosen.get(d.path, d.options[d.default]))
                for d in space.decisions
                if d.path not in phase.learned
            }
            ways = brute.ways(at, chosen)
            best = next(each for each in ways if brute.reaches(at + 1, each[1]))
            found = choose(space, plan, at, chosen, free.with_fixed(stands))
            assert found.met and found.open and found.proven
            own = {p: o for p, o in found.architecture.items() if p in phase.learned}
            assert {**chosen, **own} == best[1], (seed, phase.name)
            said = found.warning(phase, "s")
            if best is ways[0]:
                assert said is None
            else:
                changed += 1
                assert said is not None and said.code == "W0977"
                assert found.free_log_probability == pytest.approx(ways[0][0], abs=1e-6)
                assert found.log_probability == pytest.approx(best[0], abs=1e-6)
            chosen = best[1]
            assert missed(space, phase, found.architecture) == []
    assert changed > 0


@pytest.mark.parametrize("seed", range(8))
def test_the_chance_of_stranding(tmp_path: Path, seed: int) -> None:
    space = simulated(tmp_path, seed)
    plan = plan_of(space, 4)
    even = {d.path: [0.0] * len(d.options) for d in space.decisions}
    brute = Brute(space, plan, even)
    told = forecast(space, plan)
    assert told.exact and told.error == 0
    assert told.stranded == pytest.approx(brute.stranded(), abs=1e-9)
    # The means of all phases, given their budgets and the earlier ones.
    outcomes: list[tuple[float, dict[str, Any]]] = [(1.0, {})]
    for at, own in enumerate(told.phases):
        reached = []
        for share, chosen in outcomes:
            ways = brute.ways(at, chosen)
            reached += [(share / len(ways), each) for _, each in ways]
        flops = [space.flops(space.architecture({**brute.defaults, **each})) for _, each in reached]
        shares = np.array([share for share, _ in reached])
        assert own.macs == pytest.approx(float(np.dot(shares, flops) / shares.sum()))
        outcomes = reached


def test_budgets_that_exclude_each_other(tmp_path: Path) -> None:
    """The last phase needs a first one that its own budget forbids."""
    free = space_of(tmp_path, [[], []])
    low, high = (free.bounds("macs").min.value, free.bounds("macs").max.value)
    budgets = [[f"flops in {low}..{low + (high - low) // 20}"], [f"flops in {high - 1}..{high}"]]
    space = space_of(tmp_path, budgets)
    plan = plan_of(space, 4)
    assert reachable(space, plan, 0, {}) is False
    with pytest.raises(SpecError, match="no search of 'S' meets the budgets of all") as bad:
        check_reach(space, plan)
    assert bad.value.diagnostics[0].code == "E0847" and bad.value.diagnostics[0].help
    # At the end of a phase, the most probable one inside its own budget; and that is said.
    even = Distribution.uniform(space.graph)
    found = choose(space, plan, 0, {}, even)
    said = found.warning(plan.phases[0], "s")
    assert found.met and not found.open and said is not None and said.code == "W0978"
