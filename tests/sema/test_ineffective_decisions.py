"""W0902 is reported if and only if the frozen networks do not depend on the decision."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

import tsdsl
from tsdsl.ir.network import BlockCall, Body, Branch, Network, OpCall

HEAD = """tsnet 1
space S {
  input clip(channels=4, frames=2, height=4, width=4)
"""


def graph(network: Network) -> tuple[Any, list[Any]]:
    """The computation of the result as nested tuples, and the operations of the network."""
    known: dict[int, Any] = {}
    operations: list[Any] = []

    def value(tensor: Any) -> Any:
        return known.get(id(tensor), "clip")

    def read(body: Body, path: tuple[str, ...]) -> None:
        for call in body.calls:
            if isinstance(call, OpCall):
                made = (
                    call.op.name,
                    (*path, *call.path),
                    str(call.args),
                    *(value(t) for t in call.inputs),
                )
                known[id(call.output)] = made
                operations.append(made)
                continue
            if isinstance(call, BlockCall):
                for formal, given in zip(call.formals, call.inputs, strict=True):
                    known[id(formal)] = value(given)
                read(call.body, (*path, *call.path))
            else:
                assert isinstance(call, Branch)
                read(call.body, path)
            known[id(call.output)] = value(call.body.result)

    read(network.body, ())
    return value(network.body.result), operations


def without_effect(space: tsdsl.Space) -> set[str]:
    """The decisions without effect, by brute force: their options give one network, whatever the
    other decisions are."""
    found: set[str] = set()
    for d in space.decisions:
        others = [o for o in space.decisions if o is not d]
        networks: list[set[str]] = []
        for picked in product(*(o.options for o in others)):
            chosen = {o.path: p for o, p in zip(others, picked, strict=True)}
            graphs = [graph(space.network(chosen | {d.path: option})) for option in d.options]
            networks.append({repr(g) for g in graphs})
        if all(len(g) == 1 for g in networks):
            found.add(d.path)
    return found


def said(path: Path) -> set[str]:
    return {d.message.split("'")[1] for d in tsdsl.check(path) if d.code == "W0902"}


def written(rng: Random) -> str:
    """A space whose decisions choose between tensors, operations, arguments, or nothing."""
    names = [f"d{k}" for k in range(4)]
    tensors = ["x"]
    body: list[str] = []
    for k in range(rng.randint(3, 6)):
        a, b = rng.choice(tensors), rng.choice(tensors)
        n, size = rng.choice(names), rng.choice("13")
        inner = f"(if {rng.choice(names)} == {rng.randint(0, 1)} then {a} else {b})"
        body.append(
            f"let t{k} = "
            + rng.choice(
                [
                    f"if {n} == 0 then {a} else {b}",
                    f"if {n} == {rng.randint(0, 2)} then {inner} else {b}",
                    f"{a} -> relu",
                    f"{a} + {b}",
                    f"{a} -> (if {n} == 0 then conv(4, 1x1x1) else conv(4, {size}x1x1))",
                    f"{a} -> conv(4, 1x1x1, bias={n} == 0 and {n} == {rng.randint(0, 1)})",
                    f"if {n} == 1 then {a} -> relu else {a} -> sigmoid",
                ]
            )
        )
        tensors.append(f"t{k}")
    result = " + ".join(rng.sample(tensors, min(3, len(tensors))))
    options = rng.choice(["{skip, none}", "{skip, v.se(4)}", "{v.se(4), v.se(2)}"])
    return (
        HEAD.replace("space", 'import "std/video" as v\nspace')
        + "".join(f"  {n} ~ {{0, 1}}\n" for n in names)
        + f"  stream main(clip) {{ stage s1 {{ use b({', '.join(names)}) }} }}\n"
        + f"  attend main after s1 ~ {options}\n"
        + "  head main -> global_avg_pool -> linear(2)\n}\n"
        + f"block b(x, {', '.join(f'{n}: int' for n in names)}) {{\n  "
        + "\n  ".join(body)
        + f"\n  return {result}\n}}\n"
    )


@pytest.mark.parametrize("seed", range(24))
def test_random_spaces(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "s.tsnet"
    path.write_text(written(Random(seed)))
    space = tsdsl.load(path)
    assert said(path) == without_effect(space)


def outputs(space: tsdsl.Space, path: str) -> list[torch.Tensor]:
    """The outputs for one clip of the networks with each option of a decision. Weights that the
    networks share are equal."""
    clip = torch.rand((1, *space.input_shape), generator=torch.Generator().manual_seed(1))
    arch = dict(space.sample(seed=0))
    supernet = tsdsl.compile(space)
    decision = next(d for d in space.decisions if d.path == path)
    found = []
    for option in decision.options:
        net = space.freeze(supernet, arch | {path: option}).eval()
        with torch.no_grad():
            found.append(net(clip))
    return found


BLOCK = """
block b(x, which: int) {
  let a = x -> conv(4, 1x1x1)
  let b = x -> conv(4, 3x1x1)
  RETURN
}
"""
SPACE = (
    HEAD
    + "  w ~ {0, 1}\n  stream main(clip) { stage s1 { use b(w) } }\n"
    + "  head main -> global_avg_pool -> linear(2)\n}\n"
    + BLOCK
)


@pytest.mark.parametrize(
    ("result", "changes"),
    [
        ("return (if which == 0 then a else b) + x + a + b", True),
        ("return concat(a, if which == 0 then x else a) + concat(b, b)", True),
        ("return (if which == 0 then a else a) + b", False),
        ("let c = if which == 0 then a else b  return a + b", False),
    ],
)
def test_which_tensor_is_read(tmp_path: Path, result: str, changes: bool) -> None:
    path = tmp_path / "s.tsnet"
    path.write_text(SPACE.replace("RETURN", result))
    space = tsdsl.load(path)
    first, second = outputs(space, "w")
    assert torch.equal(first, second) is not changes
    assert said(path) == (set() if changes else {"w"})


def test_a_cell_of_darts(tmp_path: Path) -> None:
    """A cell in which each node reads two earlier nodes, all of which are read elsewhere, too."""
    nodes = range(2, 6)
    edges = [(i, j) for j in nodes for i in range(2)]
    decisions = [f"from{i}_{j}" for i, j in edges]
    lines: list[str] = []
    for j in nodes:
        reads = " + ".join(
            f"(if from{i}_{j} == 0 then n{i} else n{max(j - 1 - i, 0)})" for i in range(2)
        )
        lines.append(f"let n{j} = relu({reads})")
    text = (
        HEAD
        + "".join(f"  {d} ~ {{0, 1}}\n" for d in decisions)
        + f"  stream main(clip) {{ stage s1 {{ use cell({', '.join(decisions)}) }} }}\n"
        + "  head main -> global_avg_pool -> linear(2)\n}\n"
        + f"block cell(x, {', '.join(f'{d}: int' for d in decisions)}) {{\n"
        + "  let n0 = x -> conv(4, 1x1x1)\n  let n1 = x -> conv(4, 3x1x1)\n  "
        + "\n  ".join(lines)
        + "\n  return n2 + n3 + n4 + n5\n}\n"
    )
    path = tmp_path / "s.tsnet"
    path.write_text(text)
    space = tsdsl.load(path)
    # The second input of node 3 is n1 or n1.
    assert said(path) == without_effect(space) == {"from1_3"}
