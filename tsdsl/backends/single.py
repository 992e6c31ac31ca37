"""One operation as a module of torch: the same text as it has in an emitted network."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tsdsl.analysis.costs.cost_table import Configuration
from tsdsl.backends.source.expression import alias, fill
from tsdsl.backends.source.text import call, flat, literal
from tsdsl.ir.op import ModuleCall
from tsdsl.ops import BY_NAME


def single_source(asked: Configuration) -> str:
    """The class ``Single``, whose forward takes the inputs of the operation in order."""
    op = BY_NAME[asked.op]
    made = op.module(op.Args(**dict(asked.args)), *asked.shapes)
    inputs = {str(k): f"x{k}" for k in range(len(asked.shapes))}
    lines = ["class Single(nn.Module):"]
    if isinstance(made, ModuleCall):
        args = (literal(value) for value in made.args)
        kwargs = {name: literal(value) for name, value in made.kwargs.items()}
        target = alias(made.target)
        layer = flat(call(target, *args, **kwargs))
        if target == made.target:
            lines.insert(0, f"import {target.rpartition('.')[0]}")
        lines += [
            "    def __init__(self):",
            "        super().__init__()",
            f"        self.layer = {layer}",
            "",
        ]
        result = fill(made.apply or "{module}({0})", {"module": "self.layer", **inputs})
    else:
        values = {name: literal(value) for name, value in made.args.items()}
        result = fill(made.expression, {**values, **inputs})
    lines += [
        f"    def forward(self, {', '.join(inputs.values())}):",
        f"        return {result}",
    ]
    return "\n".join(lines) + "\n"


def single(asked: Configuration) -> nn.Module:
    """The module, on torch's current default device and dtype."""
    known: dict[str, Any] = {"torch": torch, "nn": nn, "F": F}
    exec(compile(single_source(asked), f"<{asked.op}>", "exec"), known)
    made = known["Single"]()
    assert isinstance(made, nn.Module)
    return made
