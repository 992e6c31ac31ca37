"""Timing operations and networks: what is run is right, who is visited when, what fails."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from reference import _op as by_definition

import tsdsl
from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.backends import timing
from tsdsl.backends.operation_module import build_operation
from tsdsl.backends.timing import Measurements, Setup, estimate, rounds, shares
from tsdsl.diagnostics import SpecError
from tsdsl.ops import BY_NAME, OPS

EXAMPLES = [
    Configuration.of(op, op.Args(**args), shapes) for op in OPS for args, shapes in op.examples
]


@pytest.mark.parametrize("asked", EXAMPLES, ids=str)
def test_one_operation_computes_what_it_says(asked: Configuration) -> None:
    op = BY_NAME[asked.op]
    args = op.Args(**dict(asked.args))
    module = build_operation(asked).eval()
    torch.manual_seed(0)
    inputs = [torch.rand(2, *shape) for shape in asked.shapes]
    found = module(*inputs)
    assert tuple(found.shape[1:]) == op.infer(args, *asked.shapes)
    state = {k.removeprefix("layer."): v for k, v in module.state_dict().items()}
    expected = by_definition(asked.op, args, state, *inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def setup(**changes: Any) -> Setup:
    return Setup.of(**{"repeats": 4, "warmup": 1, **changes})


def test_a_call_is_what_runs_in_a_network() -> None:
    conv = next(c for c in EXAMPLES if c.op == "conv")
    made = setup(batch=3, dtype="bfloat16")
    with torch.inference_mode():
        found = made.call_of(conv)()
    assert found.shape[0] == 3 and found.dtype is torch.bfloat16
    assert not found.requires_grad


class Clock:
    """Calls that record which of them was made."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def subject(self, name: str) -> Any:
        def call() -> None:
            self.calls.append(name)
            if name.startswith("late") and self.calls.count(name) > 5:
                raise RuntimeError("too much\nat C++ line 7")

        if name.startswith("never"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 EiB")
        return call


@pytest.fixture
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SAMPLE_NS", 1)


def visit(names: list[str], seed: int, repeats: int) -> tuple[Clock, Measurements[str], list[Any]]:
    clock = Clock()
    measured: Measurements[str] = Measurements()
    subjects = {name: partial(clock.subject, name) for name in names}
    seen = list(rounds(setup(repeats=repeats), subjects, seed, measured))
    return clock, measured, seen


def test_rounds_are_shuffled_and_take_all_samples(short_samples: None) -> None:
    names = [f"s{k}" for k in range(20)]
    _, measured, seen = visit(names, 7, 8)
    assert {name: len(found) for name, found in measured.samples.items()} == dict.fromkeys(names, 8)
    orders = [[name for number, name in seen if number == k] for k in range(timing.ROUNDS)]
    assert all(sorted(order) == sorted(names) for order in orders)
    assert len({tuple(order) for order in [*orders, names]}) == timing.ROUNDS + 1
    assert visit(names, 7, 8)[2] == seen != visit(names, 8, 8)[2]


def test_failures_are_named_and_left_out(short_samples: None) -> None:
    _, measured, seen = visit(["a", "never", "late", "b"], 0, 6)
    assert set(measured.samples) == {"a", "b"}
    assert measured.failures == {"never": "out of memory", "late": "too much"}
    assert [name for _, name in seen].count("never") == 1


def test_an_interrupt_keeps_what_is_there(short_samples: None) -> None:
    clock = Clock()
    measured: Measurements[str] = Measurements()
    subjects = {name: partial(clock.subject, name) for name in ("a", "b", "c")}
    for step, _ in enumerate(rounds(setup(), subjects, 0, measured)):
        if step == 1:
            break
    assert len(measured.samples) == 2


@pytest.mark.parametrize("repeats", range(1, 12))
def test_shares(repeats: int) -> None:
    found = shares(repeats)
    assert sum(found) == repeats and min(found) >= 1 and len(found) <= timing.ROUNDS


def test_median_and_interquartile_range() -> None:
    measured: Measurements[str] = Measurements({"a": [5.0, 1.0, 2.0, 100.0, 3.0], "one": [7.4]})
    assert (measured.value("a"), measured.spread("a")) == (3, 3)
    assert (measured.value("one"), measured.spread("one")) == (7, 0)
    assert measured.value("a", "min") == 1


def test_ratios_are_of_one_round_each() -> None:
    """A round in which everything takes ten times as long changes no ratio."""
    measured: Measurements[str] = Measurements(
        {"a": [2.0, 4.0, 6.0, 30.0, 50.0], "b": [8.0, 8.0, 11.0, 80.0, 80.0]},
        visits={"a": [3, 2], "b": [3, 2]},
    )
    assert measured.ratios("b", "a") == [2.0, 2.0]
    assert measured.ratios("a", "b") == [0.5, 0.5]
    assert measured.ratios("a", "a") == [1.0, 1.0]
    measured.visits["a"], measured.visits["b"] = [1, 4], [1, 4]
    assert measured.ratios("b", "a") == [4.0, 45.5 / 18.0]


def test_what_is_kept_is_warmed_up_once(short_samples: None) -> None:
    """Calls of a visit: the warm-up and one more, one that determines the length of samples, the
    samples."""
    for kept, expected in ((False, [5 + 1 + 1 + 2, 5 + 1 + 1 + 1]), (True, [9, 1 + 1 + 1])):
        clock = Clock()
        measured: Measurements[str] = Measurements()
        made = setup(repeats=3, warmup=5)
        subjects = {"a": partial(clock.subject, "a")}
        seen, calls = [], 0
        for _ in rounds(made, subjects, 0, measured, count=2, kept=kept):
            seen.append(len(clock.calls) - calls)
            calls = len(clock.calls)
        assert (seen, measured.visits) == (expected, {"a": [2, 1]})


def test_what_a_users_module_raises_is_named_on_request(short_samples: None) -> None:
    def fails() -> None:
        raise KeyError("weights")

    measured: Measurements[str] = Measurements()
    with pytest.raises(KeyError):
        list(rounds(setup(), {"a": lambda: fails}, 0, measured))
    list(rounds(setup(), {"a": lambda: fails}, 0, measured, failures=(Exception,)))
    assert measured.failures == {"a": "KeyError: 'weights'"}


def test_an_estimate_is_of_all() -> None:
    clock = Clock()
    names = [f"s{k}" for k in range(50)]
    subjects = {name: partial(clock.subject, name) for name in names}
    assert estimate(setup(), subjects, 0) > 0
    assert len(set(clock.calls)) == timing.PILOTS
    assert estimate(setup(), {"never": partial(clock.subject, "never")}, 0) == 0


def test_no_device() -> None:
    with pytest.raises(SpecError, match="cannot be used"):
        Setup.of(device="cuda:99")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    made = setup(device="cuda")
    measured: Measurements[Configuration] = Measurements()
    subjects = {c: partial(made.call_of, c) for c in EXAMPLES}
    for _ in rounds(made, subjects, 0, measured):
        pass
    assert not measured.failures
    assert all(measured.value(c) > 0 for c in EXAMPLES)


def test_identity_says_what_matters() -> None:
    known = setup().identity
    assert known == setup(repeats=9).identity
    assert known != setup(batch=2).identity and known != setup(dtype="float16").identity
    assert known["torch"] == torch.__version__ and tsdsl.__version__
