"""Checks that an operation computes with torch what it declares: for the tests of its package.

    from tsdsl.testing import check_operation

    def test_layer_norm():
        check_operation(LayerNorm)

Every check raises AssertionError with the example that fails. The checks evaluate an operation's
description on their own, not as the backends do, so that neither can hide a fault of the other.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from tsdsl.ir.op import FunctionCall, Init, ModuleCall, Op, Shape
from tsdsl.ops import BY_NAME
from tsdsl.ops.common import show

__all__ = [
    "check_declaration",
    "check_defaults",
    "check_example",
    "check_operation",
    "check_overwriting",
]

#: Batch size of the checks.
_BATCH = 2


def check_operation(op: type[Op]) -> None:
    """Run all checks on all examples of an operation.

    Raises AssertionError, which names the example, where the operation is not what it declares.
    """
    for args, shapes in getattr(op, "examples", ()):
        check_example(op, args, shapes)
        check_overwriting(op, args, shapes)
        check_defaults(op, args, shapes)
    check_declaration(op)


def check_declaration(op: type[Op]) -> None:
    """Check that an operation and its arguments are documented, that it has examples, and that a
    spec finds it under its name."""
    _require(bool(op.__doc__), f"{op.name} has no docstring")
    _require(bool(getattr(op, "examples", ())), f"{op.name} has no examples")
    for name, field in op.Args.model_fields.items():
        _require(bool(field.description), f"{op.name}: the argument '{name}' has no description")
    closed = op.Args.model_json_schema()["additionalProperties"] is False
    _require(closed, f"{op.name} has to refuse unknown arguments, as OpArgs does")
    _require(
        BY_NAME.get(op.name) is op,
        f"{op.name} is not the operation that a spec finds under this name: its package is not"
        " installed with an entry point 'tsdsl.ops', or the name is taken",
    )


def check_example(op: type[Op], args: Mapping[str, Any], shapes: tuple[Shape, ...]) -> None:
    """Check that torch gives the shape, the multiply-adds, the parameters and the initialisation
    that an operation declares for one example."""
    where = _title(op, args, shapes)
    parsed = op.Args(**args)
    declared = op.infer(parsed, *shapes)
    call = op.module(parsed, *shapes)
    module = None
    if isinstance(call, ModuleCall):
        _require(
            call.target.startswith("torch."),
            f"{where}: the module {call.target} is none of torch, which is all that emitted"
            " networks import",
        )
        module = _module(call, "meta")
    if isinstance(module, _BatchNorm):
        module.eval()
    inputs = [torch.empty(_BATCH, *shape, device="meta") for shape in shapes]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = _evaluate(call, module, inputs)
    _require(
        tuple(output.shape) == (_BATCH, *declared),
        f"{where}: infer gives the shape {show(declared)}, torch gives {show(output.shape[1:])}",
    )
    # torch counts a multiply-add as two operations.
    counted, macs = counter.get_total_flops() // (2 * _BATCH), op.macs(parsed, *shapes)
    _require(counted == macs, f"{where}: macs gives {macs}, torch counts {counted}")
    params = op.params(parsed, *shapes)
    own = {n: tuple(p.shape) for n, p in module.named_parameters()} if module is not None else {}
    given = {param.name: param.shape for param in params}
    _require(given == own, f"{where}: params gives {given}, the module of torch has {own}")
    for param in params:
        _require(
            len(param.axes) == len(param.shape),
            f"{where}: the parameter {param.name} has {len(param.shape)} axes, not {param.axes}",
        )
    if isinstance(call, ModuleCall):
        stated = {**_torch_init(call), **call.init}
        for param in params:
            _require(
                param.init == stated.get(param.name),
                f"{where}: params initialises {param.name} with {param.init!r}, module with"
                f" {stated.get(param.name)!r}",
            )


def check_overwriting(op: type[Op], args: Mapping[str, Any], shapes: tuple[Shape, ...]) -> None:
    """Check what may be written over: a result that is ``overwritable`` is a new tensor that its
    own backward pass does not read, and ``in_place`` computes the same values and gradients over
    its input."""
    where = _title(op, args, shapes)
    call = op.module(op.Args(**args), *shapes)
    if op.overwritable:
        _require(
            isinstance(call, FunctionCall),
            f"{where}: the result of a module is not overwritable: hooks have seen it",
        )
    if not isinstance(call, FunctionCall) or not (op.overwritable or call.in_place):
        return
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(_BATCH, *shape, generator=generator).requires_grad_(True) for shape in shapes
    ]
    if op.overwritable:
        before = [tensor.detach().clone() for tensor in inputs]
        activations: tuple[Callable[[Tensor], Tensor], ...] = (torch.relu, torch.relu_)
        plain, over = (
            torch.autograd.grad(activation(_evaluate(call, None, inputs)).sum(), inputs)
            for activation in activations
        )
        _require(
            _equal(plain, over) and _equal(inputs, before),
            f"{where}: is not overwritable: its gradients or inputs change with it",
        )
    if call.in_place:
        fresh = [tensor + 1 for tensor in inputs]
        result = _evaluate(FunctionCall(call.in_place, call.args), None, fresh)
        _require(
            result.data_ptr() == fresh[0].data_ptr(), f"{where}: in_place makes a tensor of its own"
        )
        expected = _evaluate(call, None, [tensor + 1 for tensor in inputs])
        gradients = [
            torch.autograd.grad(each.square().sum(), inputs) for each in (result, expected)
        ]
        _require(
            torch.equal(result, expected) and _equal(*gradients),
            f"{where}: in_place computes other values or gradients",
        )


def check_defaults(op: type[Op], args: Mapping[str, Any], shapes: tuple[Shape, ...]) -> None:
    """Check that ``ModuleCall.defaults`` are those of torch, and that ``kwargs`` has them all."""
    where = _title(op, args, shapes)
    call = op.module(op.Args(**args), *shapes)
    if not isinstance(call, ModuleCall):
        return
    parameters = inspect.signature(_class(call)).parameters
    for key, default in call.defaults.items():
        _require(key in call.kwargs, f"{where}: the module's kwargs lack '{key}'")
        _require(key in parameters, f"{where}: {call.target} has no parameter '{key}'")
        own = parameters[key].default
        # torch gives one number for the three axes of a kernel.
        expanded = (own,) * 3 if isinstance(default, tuple) else own
        _require(default == expanded, f"{where}: the default of '{key}' is {own}, not {default}")


def _require(condition: bool, message: str) -> None:
    """Raise AssertionError, also where Python runs with ``-O``."""
    if not condition:
        raise AssertionError(message)


def _title(op: type[Op], args: Mapping[str, Any], shapes: tuple[Shape, ...]) -> str:
    """An example as messages name it: ``linear(out=4) on [7]``."""
    said = ", ".join(f"{name}={value!r}" for name, value in args.items())
    return f"{op.name}({said}) on {', '.join(map(show, shapes))}"


def _class(call: ModuleCall) -> type[nn.Module]:
    package, _, name = call.target.rpartition(".")
    found: type[nn.Module] = getattr(importlib.import_module(package), name)
    return found


def _module(call: ModuleCall, device: str) -> nn.Module:
    with torch.device(device):
        return _class(call)(*call.args, **call.kwargs)


def _torch_init(call: ModuleCall) -> dict[str, Init]:
    """How torch initialises the parameters of a module by itself, as far as that is constant."""
    names: tuple[tuple[Init, float], ...] = (("zeros", 0.0), ("ones", 1.0))
    return {
        parameter: init
        for parameter, value in _module(call, "cpu").named_parameters()
        for init, constant in names
        if bool((value == constant).all())
    }


def _evaluate(
    call: ModuleCall | FunctionCall, module: nn.Module | None, inputs: list[Tensor]
) -> Tensor:
    """Evaluate a description by plain substitution of text."""
    names = [f"_{k}" for k in range(len(inputs))]
    if isinstance(call, FunctionCall):
        text = call.expression.format(*names, **{k: repr(v) for k, v in call.args.items()})
    else:
        text = (call.apply or "{module}({0})").format(*names, module="_module")
    known = {"torch": torch, "_module": module, **dict(zip(names, inputs, strict=True))}
    result: Tensor = eval(text, known)
    return result


def _equal(left: Iterable[Tensor], right: Iterable[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(left, right, strict=True))
