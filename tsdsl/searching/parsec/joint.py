"""When, and in which groups, the decisions of a search are distributed jointly: the setting
``joint_from`` (FP-NAS, arXiv 2011.10949)."""

from __future__ import annotations

from tsdsl.analysis.elimination.cache import query_cache
from tsdsl.diagnostics import Diagnostic
from tsdsl.ir.decision_groups import (
    MAX_COMBINED,
    DecisionGroup,
    block_groups,
    combination_count,
    group_name,
    join_decisions,
)
from tsdsl.record import Record
from tsdsl.searching.algorithm import PlanDetails
from tsdsl.searching.plan import PhasePlan, Plan, present
from tsdsl.sema.sections import Adaptive, ParsecSettings
from tsdsl.space import Space


class JointPlan(Record):
    #: The first step at which the distribution is joint; None if it never is.
    first_step: int | None
    #: By phase, the groups of decisions that it learns and that can be joint.
    groups: dict[str, tuple[DecisionGroup, ...]]

    def at_end(self, phase: PhasePlan) -> tuple[DecisionGroup, ...]:
        """The groups that are joint at the end of a phase."""
        start = self.first_step
        joint = start is not None and start < phase.first + phase.steps
        return self.groups[phase.name] if joint else ()


def joint_plan(space: Space, plan: Plan) -> JointPlan:
    epoch = _settings(plan).joint_from
    # The first epoch is epoch 1.
    first = (epoch - 1) * plan.steps_per_epoch if epoch else None
    return JointPlan(
        first if first is not None and first < plan.total else None,
        {
            phase.name: block_groups(space.graph, phase.learned).joined if epoch else ()
            for phase in plan.phases
        },
    )


def check(space: Space, plan: Plan) -> list[Diagnostic]:
    """A warning for each way in which ``joint_from`` has less effect than it seems. Raises
    `TooCoupled` where the most probable architecture of a joint distribution could not be computed
    at the end of a phase."""
    start = _settings(plan).joint_from
    if not start:
        return []
    joint = joint_plan(space, plan)
    messages: list[tuple[str, str]] = []
    if joint.first_step is None:
        epochs = sum(phase.epochs for phase in plan.phases)
        messages.append(
            (
                f"joint_from is {start}, and the search ends after {epochs:g} epochs:"
                " the distribution is never joint",
                "an epoch of the whole search, all phases one after the other; the first is 1",
            )
        )
    elif not any(map(joint.at_end, plan.phases)):
        messages.append(
            (
                "joint_from changes nothing: from then on, no block has two decisions to learn",
                "decisions of one block that are active together are joint",
            )
        )
    for phase in plan.phases:
        for group in block_groups(space.graph, phase.learned).too_large:
            paths = [space.decisions[k].path for k in group]
            count = combination_count(space.graph, group)
            messages.append(
                (
                    f"phase '{phase.name}': {group_name(paths)} stays factorised:"
                    f" {count:,} combinations are too many",
                    f"{MAX_COMBINED:,} are the most; options that matter less can be fixed",
                )
            )
    for phase in plan.phases:
        if groups := joint.at_end(phase):
            there = present(space, phase)
            costs = [there.cost(budget.cost) for budget in phase.budgets]
            query_cache(join_decisions(there.graph, groups)).bucket_tree(*costs)
    file = space.graph.source
    return [Diagnostic("W0975", m, file=file, help=h, severity="warning") for m, h in messages]


def details(space: Space, plan: Plan, known_steps: bool) -> PlanDetails:
    """How much is joint: for ``--plan``."""
    joint = joint_plan(space, plan)
    sizes = {
        phase.name: (
            len(groups := joint.at_end(phase)),
            sum(combination_count(space.graph, group) for group in groups),
        )
        for phase in plan.phases
    }
    epoch = _settings(plan).joint_from
    lines: list[str] = []
    if any(count for count, _ in sizes.values()):
        first = f" (step {joint.first_step + 1})" if joint.first_step and known_steps else ""
        each = "; ".join(
            f"{name} {count} with {logits:,} logits"
            for name, (count, logits) in sizes.items()
            if count
        )
        lines.append(f"joint within blocks from epoch {epoch}{first} on: {each}")
    return PlanDetails(
        {"joint_from": None if joint.first_step is None else epoch},
        [
            {"joint_groups": count, "joint_logits": logits}
            for count, logits in (sizes[phase.name] for phase in plan.phases)
        ],
        lines,
        isinstance(_settings(plan).samples, Adaptive),
    )


def _settings(plan: Plan) -> ParsecSettings:
    assert isinstance(plan.search, ParsecSettings)
    return plan.search
