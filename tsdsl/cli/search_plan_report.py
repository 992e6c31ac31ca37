"""``tsdsl search --plan``: the phases of a search and estimates of its compute and memory."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import tsdsl
from tsdsl.analysis.costs.cost_table import LATENCY
from tsdsl.cli.output import aligned, data, note, show
from tsdsl.cli.quantities import amount, amount_of_flops, bytes_text
from tsdsl.cli.space_report import window_text
from tsdsl.ir.ordering import TooCoupled

if TYPE_CHECKING:
    from tsdsl.searching.estimate import Expenses
    from tsdsl.searching.foresight import Forecast
    from tsdsl.searching.plan import PhasePlan, Plan
    from tsdsl.sema.sections import Budget


def plan(
    space: tsdsl.Space,
    source: str | None,
    root: str | None,
    micro_batch: int | None,
    as_json: bool,
) -> None:
    """Prints phases, costs and memory; with a list of videos also steps, videos and multiply-adds.
    Raises the errors that a search would raise for the space and the list."""
    from tsdsl.searching.estimate import expenses
    from tsdsl.searching.foresight import check_reach, expected_inside, forecast
    from tsdsl.searching.plan import check, describe, plan_of
    from tsdsl.searching.registry import algorithm_of

    steps = None if source is None else _steps(space, source, root)
    made = plan_of(space, steps or 1)
    algorithm = algorithm_of(made.search)
    warnings = [
        *check(space, made, known_steps=steps is not None),
        *algorithm.check(space, made),
    ]
    ahead = None
    if any(phase.budgets for phase in made.phases) and not any(w.code == "W0974" for w in warnings):
        check_reach(space, made)
        with suppress(TooCoupled):
            ahead = forecast(space, made)
    expected = {} if ahead is None else expected_inside(made, ahead)
    taken = expenses(space, made, micro_batch, expected)
    macs = {
        **algorithm.mean_costs(space, made, "macs"),
        **{name: own["macs"] for name, own in expected.items()},
    }
    details = algorithm.details(space, made, steps is not None)
    phases = describe(made, macs)
    if as_json:
        document = {
            "format_version": 1,
            "space": space.name,
            "decisions": len(space.decisions),
            "batch": made.search.batch,
            "steps_per_epoch": steps,
            **details.values,
            "supernet_params": taken.parameters,
            "weights_bytes": taken.weights,
            "phases": [
                _merged({**phase, **details.phases[k]}, taken, k, steps is not None)
                for k, phase in enumerate(phases)
            ],
            "stranding": ahead
            and {"share": ahead.stranded, "error": ahead.error, "exact": ahead.exact},
        }
        data(json.dumps(document, indent=2))
        return
    show([*warnings, *([] if ahead is None else ahead.warnings(space.graph.source))])
    data(aligned(_phases(made, phases, steps is not None), (2, 3, 4, 7)))
    data("")
    data(
        aligned(_expenses(made, taken, details.samples_vary, steps is not None), (1, 2, 3, 4, 5, 6))
    )
    data("")
    data(
        f"batch {made.search.batch}; the supernet has {taken.parameters:,} parameters,"
        f" {bytes_text(taken.weights)} with running statistics"
    )
    for line in details.lines:
        data(line)
    note(
        "FLOPs: expected multiply-adds of the streams in a phase, for one clip, under"
        f" {details.over} and the budgets so far{_how(ahead)};"
        " compute: for all steps of a phase, a backward pass counted as two forward ones.\n"
        "activations: an upper estimate for one process in float32, for the mean architecture and"
        " the largest; only one architecture is in memory at a time, however many a step samples"
    )


def _how(ahead: Forecast | None) -> str:
    if ahead is None:
        return ""
    if ahead.exact:
        return " (exact)"
    errors = [own.error / own.macs for own in ahead.phases if own.macs]
    worst = f", standard error {max(errors):.2%} at most" if errors else ""
    return f" (an estimate from {ahead.outcomes} draws{worst})"


def _steps(space: tsdsl.Space, source: str, root: str | None) -> int:
    """The number of steps in an epoch."""
    from tsdsl.data.lists import read_list
    from tsdsl.data.loader import check_fills
    from tsdsl.searching.plan import plan_of

    batch = plan_of(space, 1).search.batch
    videos = read_list(source, root)
    check_fills(len(videos), batch, videos.source, "search.batch")
    return len(videos) // batch


def _merged(told: dict[str, Any], taken: Expenses, at: int, counted: bool) -> dict[str, Any]:
    own = taken.phases[at]
    activations = own.activations and dict(zip(("mean", "max"), own.activations, strict=True))
    more: dict[str, Any] = {"samples": own.samples}
    if counted:
        more |= {"videos": own.videos, "compute_macs": own.macs}
    else:
        told = {k: v for k, v in told.items() if k not in ("steps", "warmup_steps")}
    return {
        **told,
        **more,
        "gradient_bytes": own.gradients,
        "optimizer_bytes": own.optimizer,
        "activation_bytes": activations,
    }


def _phases(made: Plan, phases: list[dict[str, Any]], counted: bool) -> list[list[str]]:
    rates = list(made.phases[0].settings.lr.model_dump())
    # Without a distribution there is one rate.
    lr = f"lr ({', '.join(rates)})".replace("arch", "alpha") if len(rates) > 1 else "lr"
    head = ["phase", "streams", "decisions", "epochs", "steps", lr, "budgets"]
    rows = [[*head, "FLOPs"]]
    for phase, told in zip(made.phases, phases, strict=True):
        steps = f"{phase.steps} ({phase.warmup} warm-up)" if counted else "-"
        rows.append(
            [
                phase.name,
                ", ".join(phase.streams),
                str(len(phase.learned)),
                f"{phase.epochs:g}",
                steps,
                ", ".join(f"{rate:g}" for rate in told["lr"].values()),
                _budgets(phase),
                "-" if told["macs"] is None else amount(round(told["macs"])),
            ]
        )
    return rows


def _expenses(made: Plan, taken: Expenses, vary: bool, counted: bool) -> list[list[str]]:
    rows = [
        [
            "phase",
            "architectures/step",
            "videos",
            "compute",
            "gradients",
            "optimiser",
            "activations (mean, largest)",
        ]
    ]
    for phase, own in zip(made.phases, taken.phases, strict=True):
        samples = "-" if own.samples is None else str(own.samples)
        activations = (
            "-" if own.activations is None else ", ".join(map(bytes_text, own.activations))
        )
        rows.append(
            [
                phase.name,
                f"{samples} at first" if vary else samples,
                f"{own.videos:,}" if counted else "-",
                amount_of_flops(own.macs) if counted and own.macs is not None else "-",
                bytes_text(own.gradients),
                bytes_text(own.optimizer),
                activations,
            ]
        )
    if counted and len(rows) > 2:
        known = [own.macs for own in taken.phases if own.macs is not None]
        videos = sum(own.videos for own in taken.phases)
        total = amount_of_flops(sum(known)) if len(known) == len(taken.phases) else "-"
        rows.append(["total", "", f"{videos:,}", total, "", "", ""])
    return rows


def _budgets(phase: PhasePlan) -> str:
    return "; ".join(map(_budget, phase.budgets)) or "none"


def _budget(budget: Budget) -> str:
    unit = "ns" if budget.cost == LATENCY else ""
    return f"{window_text(budget.cost, (budget.low, budget.high), unit)} (beta {budget.weight:g})"
