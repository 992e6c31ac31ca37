"""A single operation as an `nn.Module`, with the expression that it has in an emitted network."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.backends.source.expression import fill
from tsdsl.backends.source.text import literal
from tsdsl.ir.op import ModuleCall
from tsdsl.ops import BY_NAME

#: The call of most layers in a forward: on their only input.
CALL = "{module}({0})"


def build_operation(configuration: Configuration) -> nn.Module:
    """The module of one configuration, on torch's current default device and dtype. Its forward
    takes the operation's inputs in order. The attribute ``layer`` holds the torch layer; an
    operation without weights has none."""
    op = BY_NAME[configuration.op]
    made = op.module(op.Args(**dict(configuration.args)), *configuration.shapes)
    if not isinstance(made, ModuleCall):
        values = tuple((name, literal(value)) for name, value in made.args.items())
        return _forward(made.expression, len(configuration.shapes), values)()
    package, _, name = made.target.rpartition(".")
    layer = getattr(import_module(package), name)(*made.args, **made.kwargs)
    text = made.apply or CALL
    module = _forward(text, len(configuration.shapes), (("module", "self.layer"),))()
    module.layer = layer
    return module


@lru_cache(maxsize=4096)
def _forward(template: str, inputs: int, values: tuple[tuple[str, str], ...]) -> type[nn.Module]:
    """A module class whose forward computes a template of an expression. The class is cached: most
    operations of a space share one."""
    names = [f"x{k}" for k in range(inputs)]
    result = fill(template, {**dict(values), **{str(k): name for k, name in enumerate(names)}})
    source = (
        "class Single(nn.Module):\n"
        f"    calls_its_layer = {template == CALL}\n"
        f"    def forward(self, {', '.join(names)}):\n"
        f"        return {result}\n"
    )
    known: dict[str, Any] = {"torch": torch, "nn": nn, "F": F}
    exec(compile(source, "<operation>", "exec"), known)
    made: type[nn.Module] = known["Single"]
    return made
