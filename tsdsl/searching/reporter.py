"""What a search tells of itself while it runs: its log, the distribution over time, curves.

`log.jsonl` has, beside the phases and the end,

- ``step``, each ``log_every`` steps: means over the steps since the last such line, and how the
  distribution stands: its entropy, the exact mean of its costs, what its most probable architecture
  costs. A few milliseconds.
- ``distribution``, now and then and at the end of each phase: the mass inside the budgets (exact,
  or proven bounds), the most probable architecture, of all and within the budgets, and the variance
  of the cost term's gradient. Each can take a second in a large space: they are asked as often as
  `SHARE` of the time allows, and at most `MOMENTS` times.

- ``joint``: from this step on, the decisions of each of these groups are distributed jointly.

`alpha.jsonl` has the (marginal) probability of every option at most `MOMENTS` times, behind a first
line that says whose they are. Lines are written before each checkpoint, so that a search that was
killed has those of one that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from statistics import fmean
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tsdsl.analysis.distribution import Distribution, Floats
from tsdsl.diagnostics import SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.ordering import TooCoupled
from tsdsl.searching.alpha_image import image
from tsdsl.searching.distribution import Categoricals
from tsdsl.searching.parsec.cost_term import CostTerm, variances
from tsdsl.searching.plan import PhasePlan, present
from tsdsl.searching.searcher import DecisionsJoined, PhaseFinished, Searcher, SearchStepDone
from tsdsl.space import Space, Window
from tsdsl.training.folder import ALPHA, RunFolder
from tsdsl.training.tensorboard import TensorBoardWriter

#: Of the time of a search, what is asked of its distribution may take so much.
SHARE = 0.02
#: Of a whole search, the moments at which its distribution is kept.
MOMENTS = 500
#: Steps that the variance of the cost term's gradient is measured over.
DRAWS = 20
#: Decimals of a probability.
DIGITS = 4

Answer = TypeVar("Answer")


class Reporter:
    """Of the first rank. It goes on with the files of a folder from where the searcher stands."""

    def __init__(
        self,
        searcher: Searcher,
        folder: RunFolder,
        log_every: int,
        board: TensorBoardWriter | None = None,
    ) -> None:
        self._searcher = searcher
        self._folder = folder
        self._log_every = log_every
        self._board = board
        plan, space = searcher.plan, searcher.space
        lines = ceil(plan.total / MOMENTS / log_every)
        #: Steps between two moments at which the distribution is kept.
        self._every = log_every * max(1, lines)
        self._seen: list[SearchStepDone] = []
        self._start = perf_counter()
        #: Seconds that all of this has taken, and that the last dear questions have.
        self.seconds = 0.0
        self._last = 0.0
        self._there: tuple[str, Space] | None = None
        #: The distribution at the end of a phase, until the phase's end is told.
        self._end: tuple[PhasePlan, Categoricals, CostTerm] | None = None
        folder.open_log(searcher.step)
        found = folder.open_lines(ALPHA, searcher.step, head(space, searcher))
        self._moments: list[Floats] = []
        self._learned: list[NDArray[np.bool_]] = []
        phases = {phase.name: phase for phase in plan.phases}
        for each in found:
            self._show(np.concatenate([*map(np.array, each["p"]), []]), phases[each["phase"]])
        if not found:
            self._keep(searcher.now(), 0, plan.phases[0])

    # ------------------------------------------------------------ events

    def step(self, event: SearchStepDone) -> None:
        """Called after each step, before anything else of alpha changes."""
        self._seen.append(event)
        phase = self._searcher.plan.phases[self._searcher.plan.at(event.step - 1)]
        ends = event.step == phase.first + phase.steps
        if ends or event.step % self._log_every == 0:
            self.flush()
        if ends:
            self._end = phase, self._searcher.now(), self._searcher.term

    def flush(self) -> None:
        """A line of the steps that have none."""
        if not self._seen:
            return
        start = perf_counter()
        seen, self._seen = self._seen, []
        last = seen[-1]
        plan = self._searcher.plan
        phase = plan.phases[plan.at(last.step - 1)]
        now = self._searcher.now()
        there = self._space(phase)
        probable = _asked(lambda: there.most_probable(_of(there, now)))
        values = {
            "loss": fmean(each.loss for each in seen),
            "samples": fmean(each.samples for each in seen),
            "effective_samples": fmean(each.effective_samples for each in seen),
            "gradient_norm": last.gradient_norm,
            "arch_gradient_norm": last.arch_gradient_norm,
            "lr": last.lr,
            "lr_arch": phase.lr.arch if last.learned else 0.0,
            "entropy": _asked(lambda: now.entropy().value),
            "seconds": fmean(each.seconds for each in seen),
            "waited": fmean(each.waited for each in seen),
        }
        expected = {
            cost: _asked(lambda cost=cost: there.expectation(cost, _of(there, now)))  # type: ignore[misc]
            for cost in _costs(phase)
        }
        costs = None if probable is None else _values(there, phase, probable)
        self._folder.log(
            "step",
            last.step,
            phase=last.phase,
            **values,
            learned=last.learned,
            expected=expected,
            most_probable=costs,
        )
        if self._board is not None:
            self._board.scalars("search", values, last.step)
            self._board.scalars("expected", expected, last.step)
            self._board.scalars("most_probable", costs or {}, last.step)
        if last.step % self._every == 0 or last.step == phase.first + phase.steps:
            self._keep(now, last.step, phase)
        self.seconds += perf_counter() - start
        ends = last.step == phase.first + phase.steps
        allowed = SHARE * (perf_counter() - self._start)
        if not ends and last.step % self._every == 0 and self.seconds + self._last <= allowed:
            self._distribution(phase, now, self._searcher.term, last.step, None)

    def phase(self, event: PhaseFinished) -> None:
        assert self._end is not None
        phase, now, term = self._end
        self._end = None
        self._distribution(phase, now, term, event.step, event)
        self._folder.log(
            "phase",
            event.step,
            phase=event.phase,
            met=event.met,
            values={cost: value for cost, (value, _, _) in event.values.items()},
            decisions=dict(event.architecture),
        )
        if self._board is not None:
            options = [len(d.options) for d in self._searcher.space.decisions]
            drawn = image(np.stack(self._moments, 1), np.stack(self._learned, 1), options)
            self._board.image("alpha", drawn, event.step)

    def joined(self, event: DecisionsJoined) -> None:
        # Under the number of the first step that is drawn so: a search that goes on from before it
        # tells it again.
        self._folder.log(
            "joint",
            event.step + 1,
            phase=event.phase,
            groups=[list(group) for group in event.groups],
            logits=event.logits,
        )

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    # ------------------------------------------------------------ parts

    def _keep(self, now: Categoricals, step: int, phase: PhasePlan) -> None:
        """The distribution at this moment, as a line of `alpha.jsonl`."""
        p = now.distribution.flat_marginals.round(DIGITS)
        self._show(p, phase)
        rows = [row.round(DIGITS).tolist() for row in now.distribution.probabilities.values()]
        self._folder.append(ALPHA, {"step": step, "phase": phase.name, "p": rows})

    def _show(self, p: Floats, phase: PhasePlan) -> None:
        """Keep a moment for the image."""
        decisions = self._searcher.space.decisions
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
        """What is dear to know. At the end of a phase, its choice within the budgets is known."""
        start = perf_counter()
        there = self._space(phase)
        windows: dict[str, Window] = {b.cost: (b.low, b.high) for b in phase.budgets}
        given = _of(there, now)
        told: dict[str, Any] = {"phase": phase.name}
        probable = _asked(lambda: there.most_probable(given))
        if probable is not None:
            told["most_probable"] = _told(there, phase, probable)
        mass = None
        if windows:
            mass = _asked(lambda: there.mass(given, within=windows))
            told["mass"] = None if mass is None else [mass.low, mass.high]
            within: Architecture | None = None
            if ended is not None:
                within = ended.architecture if ended.met else None
            elif mass is None or mass.high > 0:
                within = _asked(lambda: there.most_probable(given, within=windows))
            told["inside"] = None if within is None else _told(there, phase, within)
            found = _asked(lambda: self._variances(now, term, step))
            told["cost_variance"] = found
            if self._board is not None and found is not None:
                self._board.scalars("cost_variance", found, step)
        if self._board is not None and mass is not None:
            self._board.scalars("budget", {"mass": mass.low, "mass_at_most": mass.high}, step)
        self._folder.log("distribution", step, **told)
        self._last = perf_counter() - start
        self.seconds += self._last

    def _variances(self, now: Categoricals, term: CostTerm, step: int) -> dict[str, float]:
        samples = self._searcher.samples(now)
        found = variances(term, now, samples, draws=DRAWS, seed=step)
        return {
            "sampled": found.sampled,
            "centred": found.centred,
            "exact": found.exact,
            "signal": found.signal,
        }

    def _space(self, phase: PhasePlan) -> Space:
        """The space of a phase, with what is known of it."""
        if self._there is None or self._there[0] != phase.name:
            self._there = phase.name, present(self._searcher.space, phase)
        return self._there[1]


def head(space: Space, searcher: Searcher) -> dict[str, Any]:
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


def _of(there: Space, now: Categoricals) -> Distribution:
    """The same logits in the space of a phase."""
    return now.distribution.on_graph(there.graph)


def _costs(phase: PhasePlan) -> list[str]:
    """Multiply-adds, and what has a budget."""
    named: list[str] = [budget.cost for budget in phase.budgets]
    return named if {"flops", "macs"} & set(named) else ["flops", *named]


def _values(there: Space, phase: PhasePlan, found: Architecture) -> dict[str, int]:
    return {cost: int(there.value(cost, found)) for cost in _costs(phase)}


def _told(there: Space, phase: PhasePlan, found: Architecture) -> dict[str, Any]:
    """An architecture with what it costs in a phase, and log P of its active decisions."""
    return {
        **_values(there, phase, found),
        "log_probability": found.provenance.get("log_probability"),
        "decisions": dict(found),
    }


def _asked(question: Callable[[], Answer]) -> Answer | None:
    """None where there is no answer: tables would be too large, or nothing lies inside."""
    try:
        return question()
    except (TooCoupled, SpecError):
        return None
