"""An emitted supernet has the weights, and computes the outputs, of the supernet, bit for bit."""

from __future__ import annotations

import ast
import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch
from cases import cases, swept
from torch import nn

import tsdsl
from tsdsl.backends import supernet_source
from tsdsl.backends.supernet import Supernet
from tsdsl.backends.supernet_source import emit_supernet
from tsdsl.ir.graph import CallNode, Node, Region, Switch
from tsdsl.ir.space import SpaceGraph
from tsdsl.record import replace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))

import random_spaces
import random_text
from text_spaces import MORE, PAIRS, SPARSE, TEXT

ROOT = Path(__file__).resolve().parents[2]
ODD = sorted((ROOT / "tests/end_to_end/specs").glob("*.tsnet"))


@pytest.fixture(autouse=True)
def in_float64() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def built(source: str) -> Any:
    """The class that a source defines, in a module of its own."""
    module = ModuleType("emitted_supernet")
    sys.modules["emitted_supernet"] = module
    exec(compile(source, "<emitted>", "exec"), module.__dict__)
    last = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)][-1]
    return getattr(module, last.name)


def stirred(net: nn.Module) -> None:
    """Statistics and scales that differ from channel to channel."""
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.dim() == 1 and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)


def equal(one: nn.Module, other: nn.Module) -> None:
    left, right = one.state_dict(), other.state_dict()
    assert list(left) == list(right)
    assert all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def compare(space: SpaceGraph, archs: list[dict[str, Any]]) -> Any:
    torch.manual_seed(0)
    supernet = Supernet(space)
    source = emit_supernet(space)
    made = built(source)
    torch.manual_seed(0)
    net = made()
    # The same start from the same seed, too.
    equal(supernet, net)
    stirred(supernet)
    net.load_state_dict(supernet.state_dict())
    clip = torch.randn(2, *space.clip.shape.value)
    for mode in (False, True):
        supernet.train(mode), net.train(mode)
        for arch in archs:
            outputs = []
            for each in (supernet, net):
                torch.manual_seed(1)
                outputs.append(each(clip, dict(arch)))
            assert torch.equal(*outputs), dict(arch)
            if mode:
                for each, output in zip((supernet, net), outputs, strict=True):
                    each.zero_grad()
                    output.square().mean().backward()
                left, right = (
                    {n: p.grad for n, p in each.named_parameters() if p.grad is not None}
                    for each in (supernet, net)
                )
                assert left.keys() == right.keys()
                assert all(torch.equal(g, right[n]) for n, g in left.items())
    # Running statistics went the same way.
    equal(supernet, net)
    return net


@pytest.mark.parametrize("spec", ODD, ids=lambda path: path.stem)
def test_sources_of_odd_specs_compute_what_the_supernet_does(spec: Path) -> None:
    space = tsdsl.load(spec)
    archs = space.sample(2, seed=0) if space.decisions else [{}]
    compare(space.graph, archs)


@pytest.mark.parametrize("kind", [swept(1), 4])
def test_sources_of_small_spaces_compute_what_the_supernet_does(kind: int, tmp_path: Path) -> None:
    sparse, more = PAIRS[kind]
    text = TEXT.format(sparse=SPARSE[sparse], dense="8", more=MORE[more])
    (tmp_path / "a.tsnet").write_text(text)
    space = tsdsl.load(tmp_path / "a.tsnet")
    compare(space.graph, space.sample(3, seed=1))


@pytest.mark.parametrize("seed", [swept(0), 1, *(swept(k) for k in range(2, 40))])
def test_sources_of_random_texts_compute_what_the_supernet_does(seed: int, tmp_path: Path) -> None:
    (tmp_path / "a.tsnet").write_text(random_text.random_space(seed))
    space = tsdsl.load(tmp_path / "a.tsnet")
    archs = space.sample(3, seed=seed) if space.decisions else [{}]
    compare(space.graph, archs)


def with_paths(region: Region, number: Iterator[int]) -> Region:
    """The graphs are made for counting: several of their nodes have one path."""
    nodes: list[Node] = []
    for node in region.nodes:
        path = (*node.path[:-1], f"{node.path[-1]}_{next(number)}") if node.path else ()
        if isinstance(node, CallNode):
            node = replace(node, body=with_paths(node.body, number))
        elif isinstance(node, Switch):
            node = replace(node, cases=tuple(with_paths(case, number) for case in node.cases))
        nodes.append(replace(node, path=path))
    return replace(region, nodes=tuple(nodes))


@pytest.mark.parametrize("seed", cases(2, sweep=60))
def test_sources_of_random_graphs_compute_what_the_supernet_does(seed: int) -> None:
    """With derived variables, faults and requirements under guards."""
    graph = random_spaces.random_space(seed)
    graph = replace(graph, root=with_paths(graph.root, count()))
    ats = list(random_spaces.architectures(graph))
    if not ats:
        return
    archs = [random_spaces.decisions_of(graph, at) for at in ats[:: max(1, len(ats) // 6)]]
    compare(graph, archs)


@pytest.mark.parametrize(
    ("spec", "architectures"),
    [
        ("examples/glyphs_space.tsnet", 2),
        swept("examples/two_stream.tsnet", 20),
        swept("specs/auto_tsnet_s.tsnet", 20),
        swept("specs/auto_tsnet_l.tsnet", 5),
    ],
)
def test_sources_of_specs_compute_what_the_supernet_does(spec: str, architectures: int) -> None:
    space = tsdsl.load(ROOT / spec, set={"crop": 64 if "auto" in spec else 32})
    compare(space.graph, space.sample(architectures, seed=3))


REQUIRED = """tsnet 1
space S {
  input clip(channels=3, frames=4, height=12, width=12)
  stream main(clip) {
    stem conv(8, 1x3x3)
    stage eval {
      repeat depth ~ 1..2 { use layer(width ~ {4, 8}, bias ~ {true, false}) }
    }
  }
  require main.eval.depth < 2 or main.eval[0].width == 8 else "a \\"wide\\" {first} layer"
  head main -> global_avg_pool -> linear(5)
}
block layer(x, width: int, bias: bool) { return x -> conv(width, 1x1x1, bias=bias) -> relu }
"""


@pytest.fixture
def required(tmp_path: Path) -> tsdsl.Space:
    (tmp_path / "r.tsnet").write_text(REQUIRED)
    return tsdsl.load(tmp_path / "r.tsnet")


def test_what_is_no_architecture(required: tsdsl.Space) -> None:
    net = built(tsdsl.emit(required))()
    clip = torch.randn(1, *required.input_shape)
    good = {
        "main.eval.depth": 2,
        "main.eval[0].width": 8,
        "main.eval[0].bias": True,
        "main.eval[1].width": 4,
        "main.eval[1].bias": False,
    }
    assert set(required.architecture(good)) == set(good)
    net(clip, good)
    for change, said in (
        ({"main.eval[0].width": 4}, 'requirement not met: a "wide" {first} layer'),
        ({"main.eval[0].width": 5}, "5 is not an option of 'main.eval[0].width'"),
        ({"main.eval[0].bias": 1}, "1 is not an option"),
        ({"main.eval[3].width": 5}, "there is no decision 'main.eval[3].width'"),
    ):
        with pytest.raises(ValueError) as bad:
            net(clip, {**good, **change})
        assert said in str(bad.value)
    with pytest.raises(ValueError, match=r"no option for decision 'main\.eval\.depth'"):
        net(clip, {})


def test_copies_keep_their_own_weights(required: tsdsl.Space) -> None:
    net = built(tsdsl.emit(required))().eval()
    clip = torch.randn(1, *required.input_shape)
    arch = required.sample(seed=0)
    with torch.no_grad():
        wanted = net(clip, arch)
        twins = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
        for p in net.parameters():
            p.zero_()
        for twin in twins:
            assert torch.equal(twin(clip, arch), wanted)
        assert net.float()(clip.float(), arch).dtype == torch.float32


def test_a_source_runs_without_tsdsl(required: tsdsl.Space, tmp_path: Path) -> None:
    """A process without tsdsl reads what a search leaves, and runs it."""
    torch.manual_seed(5)
    supernet = tsdsl.compile(required).eval()
    clip = torch.randn(1, *required.input_shape)
    arch = required.sample(seed=0)
    (tmp_path / "supernet.py").write_text(tsdsl.emit(required), encoding="utf-8")
    safetensors.torch.save_file(supernet.state_dict(), tmp_path / "supernet.safetensors")
    arch.save(tmp_path / "arch.json")
    torch.save(clip, tmp_path / "clip.pt")
    program = """
import json, sys
sys.modules["tsdsl"] = None
import safetensors.torch, torch
torch.set_default_dtype(torch.float64)
from supernet import S
net = S().eval()
net.load_state_dict(safetensors.torch.load_file("supernet.safetensors"))
logits = net(torch.load("clip.pt"), json.load(open("arch.json"))["decisions"])
torch.save(logits.detach(), "logits.pt")
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "logits.pt"), supernet(clip, arch))


def test_lines_are_short(required: tsdsl.Space) -> None:
    for source in (
        tsdsl.emit(required),
        tsdsl.emit(tsdsl.load(ROOT / "examples/glyphs_space.tsnet")),
    ):
        ast.parse(source)
        assert max(map(len, source.splitlines())) <= 130
        assert "tsdsl" not in source.partition("import")[2]


@pytest.mark.parametrize("processes", [2, swept(5)])
def test_the_same_text_in_every_process(processes: int) -> None:
    """Whatever strings hash to, and wherever objects lie. (With three streams there are sets in
    which that showed.)"""
    program = (
        "import sys, tsdsl\n"
        "kept = [object() for _ in range(int(sys.argv[2]))]\n"
        "sys.stdout.write(tsdsl.emit(tsdsl.load(sys.argv[1])))\n"
    )
    texts = {
        subprocess.run(
            [
                sys.executable,
                "-c",
                program,
                ROOT / "tests/end_to_end/specs/three_streams.tsnet",
                str(k * 997),
            ],
            env={**os.environ, "PYTHONHASHSEED": str(k)},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for k in range(processes)
    }
    assert len(texts) == 1 and b"class " in texts.pop()


def test_an_error_in_an_operation_is_not_taken_for_an_impossible_combination(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = tsdsl.load(ROOT / "examples/glyphs_space.tsnet").graph

    def fails(*given: Any) -> Any:
        raise ValueError("a bug")

    node = next(n for _, n in _nodes_of(graph) if n.op.name == "conv")
    monkeypatch.setattr(node.op, "module", staticmethod(fails))
    with pytest.raises(ValueError, match="a bug"):
        supernet_source._forms(node)


def _nodes_of(graph: SpaceGraph) -> Iterator[tuple[Any, Any]]:
    from tsdsl.backends.channel_layouts import _nodes
    from tsdsl.ir.graph import OpNode

    for path, node in _nodes(graph.root, ()):
        if isinstance(node, OpNode):
            yield path, node
