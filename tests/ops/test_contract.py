"""One contract for all operations: what a file of `tsdsl.ops` says is what torch does."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdsl import testing
from tsdsl.ir.op import Op, Shape, ShapeError
from tsdsl.ops import BY_NAME, OPS

EXAMPLES = [
    pytest.param(op, dict(args), shapes, id=f"{op.name}{i}")
    for op in OPS
    for i, (args, shapes) in enumerate(op.examples)
]


@pytest.mark.parametrize(("op", "args", "shapes"), EXAMPLES)
def test_an_example_computes_what_its_op_declares(
    op: type[Op], args: dict[str, Any], shapes: tuple[Shape, ...]
) -> None:
    testing.check_example(op, args, shapes)
    testing.check_overwriting(op, args, shapes)
    testing.check_defaults(op, args, shapes)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_an_op_and_its_arguments_are_documented(op: type[Op]) -> None:
    testing.check_declaration(op)


extent = st.integers(1, 9)
triple = st.tuples(*[st.integers(1, 5)] * 3)
maps = st.tuples(st.integers(1, 12), extent, extent, extent)
anything = st.one_of(maps, st.tuples(extent), st.tuples(extent, extent))

ARGUMENTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "conv": {
        "out": st.integers(1, 12),
        "kernel": triple,
        "stride": triple,
        "groups": st.integers(1, 4),
        "padding": st.none() | st.tuples(*[st.integers(0, 4)] * 3),
        "dilation": triple,
        "bias": st.booleans(),
    },
    "bn": {"init": st.sampled_from([0, 1]), "eps": st.floats(1e-9, 1)},
    "max_pool": {
        "kernel": triple,
        "stride": st.none() | triple,
        "padding": st.tuples(*[st.integers(0, 3)] * 3),
    },
    "global_avg_pool": {"keep": st.booleans()},
    "dropout": {"p": st.floats(0, 1)},
    "linear": {"out": st.integers(1, 12), "bias": st.booleans()},
    "softmax": {"axis": st.sampled_from(["channels", "positions"])},
    "time_sample": {"every": st.integers(1, 4), "start": st.integers(0, 3)},
    "time_to_channel": {"n": st.integers(1, 4)},
    "channel_slice": {"start": st.integers(0, 9), "stop": st.integers(1, 12)},
    "channel_shuffle": {"groups": st.integers(1, 4)},
}
ARGUMENTS["avg_pool"] = ARGUMENTS["max_pool"]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_arguments(op: type[Op], data: st.DataObject) -> None:
    """Either a `ShapeError`, or torch agrees."""
    given_args = data.draw(st.fixed_dictionaries(ARGUMENTS.get(op.name, {})))
    first = data.draw(maps if op.name in ("conv", "max_pool", "avg_pool") else anything)
    shapes = [first]
    for _ in range((op.inputs or 3) - 1):
        shapes.append(first if data.draw(st.booleans()) else data.draw(anything))
    try:
        op.infer(op.Args(**given_args), *shapes)
    except ShapeError as error:
        assert any(character.isdigit() for character in str(error))
    else:
        testing.check_example(op, given_args, tuple(shapes))


@pytest.mark.parametrize(
    ("name", "args", "shapes", "message"),
    [
        ("conv", {"out": 8, "kernel": (1, 1, 1), "groups": 4}, [(54, 2, 5, 5)],
         "54 channels do not divide into 4 groups"),
        ("conv", {"out": 54, "kernel": (1, 1, 1), "groups": 4}, [(8, 2, 5, 5)],
         "54 output channels do not divide into 4 groups"),
        ("conv", {"out": 8, "kernel": (5, 1, 1), "padding": (0, 0, 0)}, [(8, 4, 7, 7)],
         "conv: kernel 5 is larger than the frames 4 (kernel 5x1x1 on 4x7x7)"),
        ("avg_pool", {"kernel": (4, 1, 2), "padding": (2, 0, 1)}, [(8, 1, 1, 1)],
         "avg_pool: kernel 4x1x2 is larger than its input 1x1x1; padding does not count here"),
        ("conv", {"out": 8, "kernel": (1, 1, 1)}, [(8,)],
         "conv takes a feature map [channels, frames, height, width], not a vector [8]"),
        ("add", {}, [(8, 4, 7, 7), (8, 4, 8, 8)],
         "shapes [8, 4, 7, 7] and [8, 4, 8, 8] cannot be added"),
        ("add", {}, [(8, 1, 7, 7), (8, 4, 7, 7)],
         "shapes [8, 1, 7, 7] and [8, 4, 7, 7] cannot be added"),
        ("time_sample", {"every": 3}, [(8, 4, 7, 7)],
         "time_sample: 4 frames are not a multiple of every = 3"),
        ("matmul", {}, [(3, 4), (5, 6)], "matmul of [3, 4] and [5, 6]: 4 columns against 5 rows"),
        ("concat", {}, [(1 << 20, 1), (1, 1)],
         "concat would give 1,048,577 channels; the limit is 1,048,576"),
    ],
)  # fmt: skip
def test_a_wrong_shape_has_its_message(
    name: str, args: dict[str, Any], shapes: list[Shape], message: str
) -> None:
    op = BY_NAME[name]
    with pytest.raises(ShapeError) as caught:
        op.infer(op.Args(**args), *shapes)
    assert str(caught.value) == message


def test_conv_macs_by_hand() -> None:
    op = BY_NAME["conv"]
    args = op.Args(out=54, kernel=(3, 3, 3), groups=54)
    assert op.macs(args, (54, 4, 80, 80)) == 54 * 27 * prod((4, 80, 80))


class Wrong(BY_NAME["linear"]):  # type: ignore[misc]
    """A linear layer."""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"infer": staticmethod(lambda args, *shapes: shapes[0])},
         "linear(out=4) on [7]: infer gives the shape [7], torch gives [4]"),
        ({"macs": staticmethod(lambda args, *shapes: 1)},
         "linear(out=4) on [7]: macs gives 1, torch counts 28"),
        ({"params": staticmethod(lambda args, *shapes: ())},
         "linear(out=4) on [7]: params gives {}, the module of torch has"
         " {'weight': (4, 7), 'bias': (4,)}"),
        ({"overwritable": True},
         "linear(out=4) on [7]: the result of a module is not overwritable: hooks have seen it"),
        ({"examples": ()}, "linear has no examples"),
        ({"__doc__": None}, "linear has no docstring"),
        ({}, "linear is not the operation that a spec finds under this name"),
    ],
)  # fmt: skip
def test_a_fault_is_found_and_named(changes: dict[str, Any], message: str) -> None:
    changed = type("Wrong", (Wrong,), {"__doc__": "A linear layer.", **changes})
    with pytest.raises(AssertionError) as caught:
        testing.check_operation(changed)
    assert str(caught.value).startswith(message)
