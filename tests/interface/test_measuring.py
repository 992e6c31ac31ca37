"""`tsdsl.measure` and `tsdsl.bench` as functions. No test looks at how long anything took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tsdsl
from tsdsl.analysis.elimination.configurations import configurations
from tsdsl.backends import timing
from tsdsl.measuring import BenchFinished, MeasuringFinished, MeasuringStarted

QUICK: dict[str, Any] = {"repeats": 2, "warmup": 0, "threads": 1}


def test_a_table_of_all_operations(space: tsdsl.Space) -> None:
    events: list[Any] = []
    table = tsdsl.measure(space, **QUICK, check=2, on_event=events.append)
    assert set(table.values) == set(configurations(space.graph).configurations)
    assert min(table.values.values()) > 0 and (table.name, table.unit) == ("latency", "ns")
    assert table.provenance["check"]["architectures"] == 2
    costed = space.with_costs(table)
    assert costed.bounds("latency").max.value >= costed.value("latency", space.sample(seed=0)) > 0
    assert isinstance(events[0], MeasuringStarted) and isinstance(events[-1], MeasuringFinished)


def test_a_file_is_extended(space: tsdsl.Space, tmp_path: Path) -> None:
    path, arch = tmp_path / "latency.json", space.sample(seed=0)
    first = tsdsl.measure(space, arch, path=path, **QUICK, check=0)
    assert tsdsl.CostTable.load(path).values == first.values
    table = tsdsl.measure(space, path=path, **QUICK, check=0)
    assert first.values.items() < table.values.items()
    with pytest.raises(tsdsl.SpecError, match="batch was 1, is 2"):
        tsdsl.measure(space, path=path, **QUICK, batch=2, check=0)


def test_what_fails_is_named_and_the_rest_is_kept(
    space: tsdsl.Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = timing.build_operation

    def fails(operation: Any) -> Any:
        if operation.op == "linear":
            raise RuntimeError("no kernel")
        return build(operation)

    monkeypatch.setattr(timing, "build_operation", fails)
    with pytest.raises(tsdsl.MeasuringError, match="no kernel") as caught:
        tsdsl.measure(space, **QUICK)
    kept = {operation.op for operation in caught.value.table.values}
    assert "linear" not in kept and "conv" in kept


def test_spaces_architectures_and_modules_side_by_side(space: tsdsl.Space) -> None:
    arch, events = space.sample(seed=0), list[Any]()
    fixed = tsdsl.compile(space, frozen=arch)
    report = tsdsl.bench(
        {
            "pair": (space, arch),
            "module": fixed,
            "own input": (nn.Linear(3, 4), torch.rand(1, 3)),
            "made": lambda: fixed,
            "undecided": lambda: None,
        },
        space.input_shape,
        **QUICK,
        on_event=events.append,
    )
    assert report.row("pair").macs == report.row("module").macs == space.flops(arch)
    assert report.row("own input").inputs == ((1, 3),)
    assert [row.name for row in report.rows if row.failure] == ["undecided"]
    assert report.base == "pair" and isinstance(events[-1], BenchFinished)


def test_a_space_with_decisions_needs_an_architecture(space: tsdsl.Space) -> None:
    with pytest.raises(tsdsl.ArchitectureError, match="an architecture is needed"):
        tsdsl.bench({"space": space}, **QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clock": "cpu", "threads": 2}, "threads=1"),
        ({"repeats": 0}, "repeats is at least 1"),
        ({"batch": -1}, "batch is at least 1"),
    ],
)
def test_options_that_make_no_sense(
    space: tsdsl.Space, options: dict[str, Any], message: str
) -> None:
    for call in (tsdsl.measure, lambda s, **o: tsdsl.bench({"s": (s, s.sample(seed=0))}, **o)):
        with pytest.raises(ValueError, match=message):
            call(space, **{**QUICK, **options})


def test_a_device_that_is_not_there(space: tsdsl.Space) -> None:
    with pytest.raises(tsdsl.SpecError, match="E0726"):
        tsdsl.measure(space, device="cuda:98")
