"""Random graphs with random, clashing names: emitted code against the reference interpreter."""

from __future__ import annotations

from typing import Any

from checks import (
    assert_same_cost,
    assert_same_gradients,
    assert_same_numbers,
    assert_same_parameters,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from networks import Hand, block_info, network

from tsdsl.backends.network_module import build
from tsdsl.ir.network import Network, Tensor

HINTS = ["", "", "x", "y", "h", "self", "F", "shortcut", "x2", "_", "out", "Block", "torch", "é"]
UNARY = ["relu", "softmax", "bn", "conv", "identity", "swish", "depthwise", "gate"]


@st.composite
def plans(draw: st.DrawFn, depth: int = 0) -> list[Any]:
    """A random body: each step has an operation, the earlier tensors that it reads, and a hint."""
    steps: list[Any] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from([*UNARY, "add", "mul"] + ["if"] * (depth < 2)))
        a, b = draw(st.integers(0, 9)), draw(st.integers(0, 9))
        hint = draw(st.sampled_from(HINTS))
        if kind == "if":
            cases = draw(st.tuples(st.none() | plans(depth + 1), st.none() | plans(depth + 1)))
            steps.append(("if", a, draw(st.integers(0, 2)), hint, cases))
        else:
            steps.append((kind, a, b, hint, draw(st.booleans())))
    return steps


def write(
    b: Hand, scope: list[Tensor], steps: list[Any], flags: tuple[bool, ...], path: str
) -> Tensor:
    """Write the body of a plan, whose result depends on its last tensors."""
    channels = scope[0].shape[0]
    for at, (kind, first, second, hint, extra) in enumerate(steps):
        x, y = scope[-1 - first % len(scope)], scope[-1 - second % len(scope)]
        name = f"{path}{kind}{at}"
        match kind:
            case "if":
                case = int(flags[second])
                plan = extra[case]

                def inside(
                    c: Hand, plan: Any = plan, x: Tensor = x, name: str = name, case: int = case
                ) -> Tensor:
                    return x if plan is None else write(c, [*scope], plan, flags, f"{name}c{case}")

                made = b.choose("if", case, 2, inside, hint=hint)
            case "conv":
                made = b.op(
                    "conv", x, at=name, out=channels, kernel=(1, 3, 1), bias=extra, hint=hint
                )
            case "depthwise":
                made = b.op(
                    "conv", x, at=name, out=channels, kernel=(3, 1, 1), groups=channels, hint=hint
                )
            case "bn":
                made = b.op("bn", x, at=name, init=int(extra), hint=hint)
            case "softmax":
                made = b.op("softmax", x, at=name, axis="positions", hint=hint)
            case "gate":
                mean = b.op("global_avg_pool", x, at=name + "m", keep=True)
                made = b.op("mul", x, b.op("sigmoid", mean, at=name + "s"), at=name, hint=hint)
            case "add" | "mul":
                made = b.op(kind, x, y, at=name, hint=hint)
            case _:
                made = b.op(kind, x, at=name, hint=hint)
        scope.append(made)
    return scope[-1]


calls = st.lists(
    st.tuples(st.tuples(*[st.booleans()] * 3), st.integers(0, 5)), min_size=1, max_size=5
)


def build_network(steps: list[Any], formals: list[str], instances: Any) -> Network:
    info = block_info("block", tuple(formals), ("flag0", "n"))

    def body(b: Hand, *inputs: Tensor, flags: tuple[bool, ...], **args: Any) -> Tensor:
        b.locals["flag1"] = flags[1]
        return write(b, list(inputs), steps, flags, "")

    def make(b: Hand, clip: Tensor) -> Tensor:
        known = [clip]
        for at, (flags, source) in enumerate(instances):
            inputs = [known[-1 - (source * k) % len(known)] for k in range(len(formals))]
            known.append(
                b.block(
                    info,
                    lambda c, *t, flag0, n, flags=flags: body(c, *t, flags=flags),
                    *inputs,
                    at=f"s.{at}",
                    flag0=flags[0],
                    n=4,
                )
            )
        return known[-1]

    return network((4, 3, 4, 2), make)


@settings(max_examples=40, deadline=None)
# A convolution whose activation is not used.
@example(
    steps=[("conv", 0, 0, "", False), ("relu", 0, 0, "", False), ("relu", 2, 0, "", False)],
    formals=["x"],
    instances=[((False, False, False), 0)],
)
@given(
    steps=plans(),
    formals=st.lists(st.sampled_from(["x", "y", "F", "self", "class"]), min_size=1, max_size=2),
    instances=calls,
)
def test_the_module_of_a_random_network_is_its_source(
    steps: list[Any], formals: list[str], instances: Any
) -> None:
    made = build_network(steps, list(dict.fromkeys(formals)), instances)
    module = build(made)
    assert_same_parameters(made, module)
    assert_same_numbers(made, module)
    assert_same_gradients(made, module)
    assert_same_cost(made)
