"""One contract for all operations: what a file of `tsdsl.ops` says is what torch does."""

from __future__ import annotations

import importlib
import inspect
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tsdsl.ir.op import FunctionCall, ModuleCall, Op, Shape, ShapeError
from tsdsl.ops import BY_NAME, OPS

EXAMPLES = [
    pytest.param(op, dict(args), shapes, id=f"{op.name}{i}")
    for op in OPS
    for i, (args, shapes) in enumerate(op.examples)
]


def torch_module(call: ModuleCall, device: str = "meta") -> nn.Module:
    package, name = call.target.rsplit(".", 1)
    return (
        getattr(importlib.import_module(package), name)(*call.args, **call.kwargs, device=device)
        if call.target not in NO_DEVICE
        else getattr(importlib.import_module(package), name)(*call.args, **call.kwargs)
    )


NO_DEVICE = {"torch.nn.Dropout", "torch.nn.MaxPool3d", "torch.nn.AvgPool3d"}


def apply(call: ModuleCall | FunctionCall, module: nn.Module | None, inputs: list[Any]) -> Any:
    """Evaluate a description by plain text substitution: not how the backend does it."""
    names = {f"_{i}": tensor for i, tensor in enumerate(inputs)}
    places = [f"_{i}" for i in range(len(inputs))]
    if isinstance(call, FunctionCall):
        text = call.expression.format(*places, **{k: repr(v) for k, v in call.args.items()})
    else:
        text = (call.apply or "{module}({0})").format(*places, module="_module")
    return eval(text, {"torch": torch, "_module": module, **names})


def check(op: type[Op], arguments: dict[str, Any], shapes: tuple[Shape, ...]) -> None:
    args = op.Args(**arguments)
    result = op.infer(args, *shapes)
    call = op.module(args, *shapes)
    module = torch_module(call) if isinstance(call, ModuleCall) else None
    inputs = [torch.empty(2, *shape, device="meta") for shape in shapes]
    if module is not None and isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = apply(call, module, inputs)
    assert tuple(output.shape) == (2, *result)
    assert counter.get_total_flops() == 2 * 2 * op.macs(args, *shapes)
    theirs = {n: tuple(p.shape) for n, p in module.named_parameters()} if module else {}
    params = op.params(args, *shapes)
    assert {p.name: p.shape for p in params} == theirs
    assert all(len(p.axes) == len(p.shape) for p in params)
    if isinstance(call, ModuleCall):
        own = {"weight": "ones", "bias": "zeros"} if "BatchNorm" in call.target else {}
        assert {p.name: p.init for p in params} == {**own, **call.init}


@pytest.mark.parametrize(("op", "args", "shapes"), EXAMPLES)
def test_an_example_computes_what_its_op_declares(
    op: type[Op], args: dict[str, Any], shapes: tuple[Shape, ...]
) -> None:
    check(op, args, shapes)


@pytest.mark.parametrize(("op", "args", "shapes"), EXAMPLES)
def test_what_may_be_written_over(
    op: type[Op], args: dict[str, Any], shapes: tuple[Shape, ...]
) -> None:
    """A new tensor, which its own backward pass does not read; and what is written over one."""
    call = op.module(op.Args(**args), *shapes)
    module = torch_module(call, "cpu") if isinstance(call, ModuleCall) else None
    torch.manual_seed(0)
    inputs = [torch.randn(2, *shape, requires_grad=True) for shape in shapes]
    if op.overwritable:
        assert isinstance(call, FunctionCall), "hooks on a module have seen its result"
        before = [tensor.detach().clone() for tensor in inputs]
        found = [
            torch.autograd.grad(change(apply(call, module, inputs)).sum(), inputs)
            for change in (torch.relu, torch.relu_)
        ]
        assert all(map(torch.equal, *found)) and all(map(torch.equal, inputs, before))
    if isinstance(call, FunctionCall) and call.in_place:
        over = FunctionCall(call.in_place, call.args)
        fresh = [tensor + 1 for tensor in inputs]
        result = apply(over, None, fresh)
        assert result.data_ptr() == fresh[0].data_ptr()
        plain = apply(call, None, [tensor + 1 for tensor in inputs])
        assert torch.equal(result, plain)
        grads = [torch.autograd.grad(each.square().sum(), inputs) for each in (result, plain)]
        assert all(map(torch.equal, *grads))


@pytest.mark.parametrize(("op", "args", "shapes"), EXAMPLES)
def test_defaults_are_those_of_torch(
    op: type[Op], args: dict[str, Any], shapes: tuple[Shape, ...]
) -> None:
    call = op.module(op.Args(**args), *shapes)
    if isinstance(call, FunctionCall):
        return
    package, name = call.target.rsplit(".", 1)
    parameters = inspect.signature(getattr(importlib.import_module(package), name)).parameters
    for key, default in call.defaults.items():
        theirs = parameters[key].default
        assert default == ((theirs,) * 3 if isinstance(default, tuple) else theirs), key
        assert key in call.kwargs


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_an_op_and_its_arguments_are_documented(op: type[Op]) -> None:
    assert op.__doc__
    assert op.examples
    assert BY_NAME[op.name] is op
    assert all(field.description for field in op.Args.model_fields.values())
    assert op.Args.model_json_schema()["additionalProperties"] is False


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
        check(op, given_args, tuple(shapes))


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
