"""What PARSEC writes while it runs beside the log of every search: the distribution over time.

`log.jsonl` has

- in each ``step`` line: how the distribution stands: its entropy, the exact mean of its costs, the
  costs of its most probable architecture, the value of each term. A few milliseconds.
- ``distribution``, now and then and at the end of each phase: the mass inside the budgets (exact,
  or proven bounds), the most probable architecture, of all and within the budgets, and the variance
  of the cost term's gradient. Each can take a second in a large space: they are computed at the end
  of each phase, and otherwise only while reporting takes less than `SHARE` of the run time, at most
  `MOMENTS` times.
- ``joint``: from this step on, the decisions of each of these groups are distributed jointly.

`alpha.jsonl` has the (marginal) probability of every option at most `MOMENTS` times, behind a first
line with the decisions and phases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from statistics import fmean
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.logits import Floats
from tsdsl.diagnostics import SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.ordering import TooCoupled
from tsdsl.searching.alpha_image import image
from tsdsl.searching.distribution import Categoricals
from tsdsl.searching.events import PhaseFinished, SearchStepDone
from tsdsl.searching.parsec.algorithm import Parsec, arch_rate
from tsdsl.searching.parsec.cost_term import CostTerm, variances
from tsdsl.searching.plan import PhasePlan, no_architecture, present
from tsdsl.searching.reporter import Reporter, RunningSearch
from tsdsl.space import Space, Window
from tsdsl.training.folder import ALPHA, RunFolder
from tsdsl.training.tensorboard import TensorBoardWriter

#: Largest share of the run time spent on queries of the distribution.
SHARE = 0.02
#: Most moments of a whole search at which its distribution is kept.
MOMENTS = 500
#: Steps that the variance of the cost term's gradient is measured over.
DRAWS = 20
#: Decimals of a probability.
DIGITS = 4

Answer = TypeVar("Answer")


class ParsecReporter(Reporter):
    def __init__(
        self,
        searcher: RunningSearch,
        folder: RunFolder,
        log_every: int,
        board: TensorBoardWriter | None = None,
    ) -> None:
        assert isinstance(searcher.algorithm, Parsec)
        self._parsec = searcher.algorithm
        plan, space = searcher.plan, searcher.space
        lines = ceil(plan.total / MOMENTS / log_every)
        #: Steps between two moments at which the distribution is kept.
        self._every = log_every * max(1, lines)
        self._start = perf_counter()
        #: Seconds that the last expensive queries have taken.
        self._last = 0.0
        self._space_of_phase: tuple[str, Space] | None = None
        #: The distribution at the end of a phase, until that is reported.
        self._end: tuple[PhasePlan, Categoricals, CostTerm] | None = None
        super().__init__(searcher, folder, log_every, board)
        kept = folder.open_lines(ALPHA, searcher.step, head(space, searcher))
        self._moments: list[Floats] = []
        self._learned: list[NDArray[np.bool_]] = []
        phases = {phase.name: phase for phase in plan.phases}
        for each in kept:
            self._show(np.concatenate([*map(np.array, each["p"]), []]), phases[each["phase"]])
        if not kept:
            self._keep(self._parsec.now(), 0, plan.phases[0])

    # ------------------------------------------------------------ events

    def step(self, event: SearchStepDone) -> None:
        super().step(event)
        if self.ends(event.step):
            self._end = self.phase_of(event.step), self._parsec.now(), self._parsec.term

    def flush(self) -> None:
        if not self._seen:
            return
        step = self._seen[-1].step
        super().flush()
        start = perf_counter()
        phase, ends = self.phase_of(step), self.ends(step)
        if step % self._every == 0 or ends:
            self._keep(self._parsec.now(), step, phase)
        self.seconds += perf_counter() - start
        allowed = SHARE * (perf_counter() - self._start)
        if not ends and step % self._every == 0 and self.seconds + self._last <= allowed:
            self._distribution(phase, self._parsec.now(), self._parsec.term, step, None)

    def describe(
        self, seen: list[SearchStepDone], phase: PhasePlan
    ) -> tuple[Mapping[str, float | None], Mapping[str, Any]]:
        last, now = seen[-1], self._parsec.now()
        there = self._space(phase)
        probable = _answer(lambda: there.most_probable(_within(there, now)))
        effective = [each.values["effective_samples"] for each in seen]
        norm = last.values["arch_gradient_norm"]
        numbers: dict[str, float | None] = {
            "effective_samples": fmean(number for number in effective if number is not None),
            "arch_gradient_norm": norm,
            "lr_arch": arch_rate(phase) if last.values["learned"] else 0.0,
            "entropy": _answer(lambda: now.entropy().value),
        }
        expected = {
            cost: _answer(lambda cost=cost: there.expectation(cost, _within(there, now)))  # type: ignore[misc]
            for cost in _costs(phase)
        }
        costs = None if probable is None else _values(there, phase, probable)
        terms = {term.name: term.value(now) for term in self._parsec.context.terms}
        if self.board is not None:
            self.board.scalars("expected", expected, last.step)
            self.board.scalars("most_probable", costs or {}, last.step)
            self.board.scalars("terms", terms, last.step)
        others = {
            "learned": last.values["learned"],
            "expected": expected,
            "most_probable": costs,
            **({"terms": terms} if terms else {}),
        }
        return numbers, others

    def phase(self, event: PhaseFinished) -> None:
        assert self._end is not None
        phase, now, term = self._end
        self._end = None
        self._distribution(phase, now, term, event.step, event)
        super().phase(event)
        if self.board is not None:
            options = [len(d.options) for d in self.searcher.space.decisions]
            drawn = image(np.stack(self._moments, 1), np.stack(self._learned, 1), options)
            self.board.image("alpha", drawn, event.step)

    # ------------------------------------------------------------ parts

    def _keep(self, now: Categoricals, step: int, phase: PhasePlan) -> None:
        """The distribution at this moment, as a line of `alpha.jsonl`."""
        p = now.distribution.flat_marginals.round(DIGITS)
        self._show(p, phase)
        rows = [row.round(DIGITS).tolist() for row in now.distribution.probabilities.values()]
        self.folder.append(ALPHA, {"step": step, "phase": phase.name, "p": rows})

    def _show(self, p: Floats, phase: PhasePlan) -> None:
        """Keep a moment for the image."""
        decisions = self.searcher.space.decisions
        learned = [d.path in phase.learned for d in decisions]
        self._moments.append(p)
        self._learned.append(np.repeat(learned, [len(d.options) for d in decisions]))

    def _distribution(
        self,
        phase: PhasePlan,
        now: Categoricals,
        term: CostTerm,
        step: int,
        ended: PhaseFinished | None,
    ) -> None:
        """Write what is expensive to compute. At the end of a phase, its choice within the budgets
        is known."""
        start = perf_counter()
        there = self._space(phase)
        windows: dict[str, Window] = {b.cost: (b.low, b.high) for b in phase.budgets}
        given = _within(there, now)
        values: dict[str, Any] = {"phase": phase.name}
        probable = _answer(lambda: there.most_probable(given))
        if probable is not None:
            values["most_probable"] = _described(there, phase, probable)
        mass = None
        if windows:
            mass = _answer(lambda: there.mass(given, within=windows))
            values["mass"] = None if mass is None else [mass.low, mass.high]
            within: Architecture | None = None
            if ended is not None:
                within = ended.architecture if ended.met else None
            elif mass is None or mass.high > 0:
                within = _answer(lambda: there.most_probable(given, within=windows))
            values["inside"] = None if within is None else _described(there, phase, within)
            found = _answer(lambda: self._variances(now, term, step))
            values["cost_variance"] = found
            if self.board is not None and found is not None:
                self.board.scalars("cost_variance", found, step)
        if self.board is not None and mass is not None:
            self.board.scalars("budget", {"mass": mass.low, "mass_at_most": mass.high}, step)
        self.folder.log("distribution", step, **values)
        self._last = perf_counter() - start
        self.seconds += self._last

    def _variances(self, now: Categoricals, term: CostTerm, step: int) -> dict[str, float]:
        samples = self._parsec.samples_of(now)
        found = variances(term, now, samples, draws=DRAWS, seed=step)
        return {
            "sampled": found.sampled,
            "centred": found.centred,
            "exact": found.exact,
            "signal": found.signal,
        }

    def _space(self, phase: PhasePlan) -> Space:
        """The space of a phase, with what is known of it."""
        if self._space_of_phase is None or self._space_of_phase[0] != phase.name:
            self._space_of_phase = phase.name, present(self.searcher.space, phase)
        return self._space_of_phase[1]


def head(space: Space, searcher: RunningSearch) -> dict[str, Any]:
    """The first line of `alpha.jsonl`: what the numbers of the others are, and when phases are."""
    at = {d.path: k for k, d in enumerate(space.decisions)}
    return {
        "format": "tsnet-alpha/1",
        "space": space.name,
        "space_hash": space.hash,
        "steps_per_epoch": searcher.steps_per_epoch,
        "decisions": [{"path": d.path, "options": list(d.options)} for d in space.decisions],
        "phases": [
            {
                "name": phase.name,
                "first": phase.first,
                "steps": phase.steps,
                "warmup": phase.warmup,
                "learned": [at[path] for path in phase.learned],
                "budgets": [b.model_dump(mode="json") for b in phase.budgets],
            }
            for phase in searcher.plan.phases
        ],
    }


def _within(there: Space, now: Categoricals) -> Distribution:
    """The same logits in the space of a phase."""
    return now.distribution.on_graph(there.graph)


def _costs(phase: PhasePlan) -> list[str]:
    """Multiply-adds, and what has a budget."""
    named: list[str] = [budget.cost for budget in phase.budgets]
    return named if any(map(MACS.is_called, named)) else ["flops", *named]


def _values(there: Space, phase: PhasePlan, found: Architecture) -> dict[str, int]:
    return {cost: int(there.value(cost, found)) for cost in _costs(phase)}


def _described(there: Space, phase: PhasePlan, found: Architecture) -> dict[str, Any]:
    """An architecture with what it costs in a phase, and log P of its active decisions."""
    return {
        **_values(there, phase, found),
        "log_probability": found.provenance.get("log_probability"),
        "decisions": dict(found),
    }


def _answer(question: Callable[[], Answer]) -> Answer | None:
    """The answer to a query of the analysis; None where its tables would be too large, or nothing
    lies inside the windows."""
    try:
        return question()
    except TooCoupled:
        return None
    except SpecError as none:
        if not no_architecture(none):
            raise
        return None
