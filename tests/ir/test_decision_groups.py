"""Groups that cannot be joined have an error of their own."""

from __future__ import annotations

import pytest
from random_spaces import enumerated

from tsdsl.ir import decision_groups
from tsdsl.ir.decision_groups import DecisionGroup, InvalidGroups, join_decisions, partition


@pytest.mark.parametrize("groups", [((0,),), ((0, 0),), ((1, 0),), ((0, 1), (0, 1))])
def test_invalid_groups_are_refused(groups: tuple[DecisionGroup, ...]) -> None:
    space, _ = next((s, f) for s, f in map(enumerated, range(60)) if len(s.decisions) > 1)
    for function in (partition, join_decisions):
        with pytest.raises(InvalidGroups, match="decisions"):
            function(space, groups)


def test_another_value_error_is_not_an_invalid_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ValueError("injected")

    space, _ = enumerated(3)
    monkeypatch.setattr(decision_groups, "group_problem", broken)
    with pytest.raises(ValueError, match="injected") as caught:
        partition(space, ())
    assert not isinstance(caught.value, InvalidGroups)
