"""Decisions that fit, and what is said of those that do not."""

from __future__ import annotations

from typing import Any

import pytest
from random_spaces import Maker

from tsdsl.diagnostics import ArchitectureError, Collector
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.graph import Edge
from tsdsl.ir.resolve import assignment, moved, resolve, validate
from tsdsl.ir.space import SpaceGraph
from tsdsl.ir.values import constant, lift


@pytest.fixture(name="space")
def _space() -> SpaceGraph:
    maker = Maker()
    width = maker.decide("sparse.s1.width", "int", (32, 40, 48), default=1)
    depth = maker.decide("sparse.s1.depth", "int", (1, 2))
    runs = maker.under(lift(lambda d: int(d > 1), depth), 1)
    kernels = ((1, 3, 3), (3, 3, 3))
    runs.decide("sparse.s1[1].kernel", "dims", kernels, ("1x3x3", "3x3x3"))
    expand = runs.decide("sparse.s1[1].expand", "ratio", (1.5, 3.0))
    maker.decide("se", "bool", (False, True))
    calls = ("none", "v.se(16, act=relu)")
    maker.decide("attend.sparse.s1", "op", (0, 1), calls)
    maker.require(
        lift(lambda w, e: w * e <= 120, width, expand), "width * expand <= 120", runs.guards
    )
    clip = Edge(constant((3, 2, 6, 6)))
    moves = {"sparse.stage1": "sparse.s1", "attention": "attend.sparse.s1"}
    return maker.space(clip, (), clip, moved=moves)


GOOD: dict[str, Any] = {
    "sparse.s1.width": 40,
    "sparse.s1.depth": 2,
    "sparse.s1[1].kernel": "3x3x3",
    "sparse.s1[1].expand": 3.0,
    "se": True,
    "attend.sparse.s1": "none",
}


def findings(space: SpaceGraph, decisions: Any) -> list[tuple[str, str, str | None]]:
    with pytest.raises(ArchitectureError) as caught:
        validate(space, decisions)
    return [(d.code, d.message, d.help) for d in caught.value.diagnostics]


def test_a_complete_choice_is_an_architecture(space: SpaceGraph) -> None:
    found = resolve(space, GOOD)
    assert dict(found.architecture) == GOOD
    assert found.assignment == [1, 1, 1, 1, 1, 0]
    assert (found.architecture.space, found.architecture.space_hash) == ("Made", "made-hash")
    assert found.warnings == ()


def test_options_are_normalised(space: SpaceGraph) -> None:
    written = {
        "sparse.s1.width": 40.0,
        "sparse.s1[1].expand": 3,
        "attend.sparse.s1": "v.se( 16,act=relu )",
    }
    found = validate(space, GOOD | written)
    assert found["attend.sparse.s1"] == "v.se(16, act=relu)"
    assert type(found["sparse.s1.width"]) is int
    assert type(found["sparse.s1[1].expand"]) is float


@pytest.mark.parametrize(
    ("path", "option"),
    [
        ("sparse.s1.width", True),
        ("sparse.s1.width", "40"),
        ("sparse.s1.width", 41),
        ("sparse.s1.width", float("nan")),
        ("sparse.s1.width", None),
        ("sparse.s1.width", [40]),
        ("se", 1),
        ("se", "true"),
        ("sparse.s1[1].kernel", 3),
        ("attend.sparse.s1", {}),
    ],
)
def test_out_of_range(space: SpaceGraph, path: str, option: Any) -> None:
    ((code, message, help_line),) = findings(space, GOOD | {path: option})
    assert code == "E0713"
    assert path in message
    assert help_line is not None


def test_everything_at_once(space: SpaceGraph) -> None:
    bad = GOOD | {"sparse.s1.widht": 40, "sparse.s1[1].kernel": "3x3x5"}
    del bad["sparse.s1.width"], bad["se"]
    assert findings(space, bad) == [
        (
            "E0711",
            "space Made has no decision 'sparse.s1.widht'",
            "did you mean 'sparse.s1.width'?",
        ),
        ("E0712", "no option for decision 'sparse.s1.width'", "one of 32, 40, 48"),
        (
            "E0713",
            "'3x3x5' is not an option of 'sparse.s1[1].kernel'",
            "did you mean '3x3x3'?",
        ),
        ("E0712", "no option for decision 'se'", "one of false, true"),
    ]


def test_what_depends_on_a_wrong_decision_is_not_asked_for(space: SpaceGraph) -> None:
    bad = {"sparse.s1.width": 40, "se": True, "attend.sparse.s1": "none", "sparse.s1.depth": 7}
    assert [code for code, _, _ in findings(space, bad)] == ["E0713"]


def test_inactive_decisions_are_dropped(space: SpaceGraph) -> None:
    found = resolve(space, GOOD | {"sparse.s1.depth": 1})
    assert set(found.architecture) == set(GOOD) - {"sparse.s1[1].kernel", "sparse.s1[1].expand"}
    assert found.assignment == [1, 0, 0, 0, 1, 0]


def test_requirements_tell_the_values(space: SpaceGraph) -> None:
    ((code, message, help_line),) = findings(space, GOOD | {"sparse.s1.width": 48})
    assert (code, message) == ("E0715", "requirement not met: need width * expand <= 120")
    assert help_line == (
        "'width * expand <= 120' is false for sparse.s1.width = 48, sparse.s1[1].expand = 3.0"
    )
    assert validate(space, GOOD | {"sparse.s1.width": 48, "sparse.s1.depth": 1})


def test_moved_names(space: SpaceGraph) -> None:
    old = {
        key.replace("sparse.s1", "sparse.stage1").replace("attend.sparse.stage1", "attention"): o
        for key, o in GOOD.items()
    }
    assert "sparse.stage1[1].kernel" in old
    assert dict(validate(space, old)) == GOOD
    assert findings(space, GOOD | {"attention": "none"})[0][0] == "E0714"
    assert moved("a", {"a": "b", "b": "c"}) == "c"
    assert moved("a", {"a": "b", "b": "a"}) in ("a", "b")


def test_another_hash_is_a_warning_if_all_fits(space: SpaceGraph) -> None:
    warnings = Collector()
    assert validate(space, Architecture(GOOD, "Made", "other"), warnings) == Architecture(GOOD)
    ((code, severity),) = [(d.code, d.severity) for d in warnings]
    assert (code, severity) == ("W0970", "warning")
    codes = [code for code, _, _ in findings(space, Architecture({}, "Other", "other"))]
    assert "W0970" in codes
    assert resolve(space, Architecture(GOOD, "Made", "made-hash")).warnings == ()


def test_assignment_is_that_of_the_decisions(space: SpaceGraph) -> None:
    assert assignment(space, validate(space, GOOD)) == [1, 1, 1, 1, 1, 0]
