"""The supernet at an architecture is the frozen network with its weights, bit for bit."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from cases import swept
from torch import Tensor, nn

import tsdsl
from tsdsl.backends.elastic import window
from tsdsl.backends.supernet import Supernet, inherited

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from text_spaces import MORE, PAIRS, SPARSE, TEXT, every_architecture

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_float64() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def stirred(net: nn.Module) -> Any:
    """Randomise statistics and scales per channel, so that a wrong slice shows."""
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.dim() == 1 and tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return net


def agree(supernet: Supernet, net: nn.Module, arch: Mapping[str, Any], clip: Tensor) -> None:
    supernet.eval(), net.eval()
    with torch.no_grad():
        assert torch.equal(supernet(clip, arch), net(clip))


def emitted(space: tsdsl.Space, arch: Mapping[str, Any]) -> nn.Module:
    """The network that the emitted source makes, without its initialisation."""
    names: dict[str, Any] = {"__name__": "emitted"}
    exec(tsdsl.emit(space, frozen=arch), names)
    made = names[space.name]()
    assert isinstance(made, nn.Module)
    return made


@pytest.mark.parametrize("kind", [swept(0), 1, 2, swept(3), 4])
def test_every_architecture_of_small_spaces(kind: int, tmp_path: Path) -> None:
    sparse, more = PAIRS[kind]
    text = TEXT.format(sparse=SPARSE[sparse], dense="8", more=MORE[more])
    (tmp_path / "a.tsnet").write_text(text)
    space = tsdsl.load(tmp_path / "a.tsnet")
    supernet = stirred(tsdsl.compile(space))
    assert isinstance(supernet, tsdsl.Supernet)
    every = list(every_architecture(space))
    clip = torch.randn(2, *space.input_shape)
    for arch in every if len(every) <= 8 else Random(kind).sample(every, 8):
        net = space.freeze(supernet, arch)
        agree(supernet, net, arch, clip)
        again = emitted(space, arch)
        again.load_state_dict(net.state_dict())
        agree(supernet, again, arch, clip)
    largest: dict[str, tuple[int, ...]] = {}
    for arch in every:
        for name, tensor in inherited(supernet, arch).items():
            shape = tuple(tensor.shape)
            largest[name] = tuple(map(max, largest.get(name, shape), shape))
    # Tensors are as large as some architecture needs, and no larger.
    assert largest == {name: tuple(t.shape) for name, t in supernet.state_dict().items()}


def covering(space: tsdsl.Space, drawn: int = 300) -> list[tsdsl.Architecture]:
    """A few architectures that together have every option of every decision active."""
    left = {(d.path, option) for d in space.decisions for option in d.options}
    candidates = space.sample(drawn, seed=3)
    found = []
    while left:
        best = max(candidates, key=lambda arch: len(left & set(arch.items())))
        assert left & set(best.items()), left
        left -= set(best.items())
        found.append(best)
    return found


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("examples/glyphs_space.tsnet", 0),
        ("examples/two_stream.tsnet", 0),
        ("specs/auto_tsnet_s.tsnet", 0),
        *(
            swept(spec, 300)
            for spec in (
                "examples/glyphs_space.tsnet",
                "examples/two_stream.tsnet",
                "specs/auto_tsnet_s.tsnet",
                "specs/auto_tsnet_m.tsnet",
                "specs/auto_tsnet_l.tsnet",
            )
        ),
    ],
)
def test_frozen_networks_of_specs_compute_what_the_supernet_does(spec: str, count: int) -> None:
    """For every option of every decision: the frozen network, and the one that its source makes."""
    space = tsdsl.load(ROOT / spec, set={"crop": 48 if "auto" in spec else 32})
    supernet = stirred(tsdsl.compile(space))
    clip = torch.randn(1, *space.input_shape)
    for at, arch in enumerate(covering(space) + space.sample(count, seed=4)):
        net = space.freeze(supernet, arch)
        agree(supernet, net, arch, clip)
        if at % 5 and not count:
            continue
        again = emitted(space, arch)
        again.load_state_dict(net.state_dict())
        agree(supernet, again, arch, clip)


SMALL = """tsnet 1
space S {
  input clip(channels=3, frames=4, height=12, width=12)
  stream parts(clip) {
    stem conv(8, 1x3x3)
    stage eval {
      repeat depth ~ 1..2 { use layer(width ~ {4, 8}, kernel ~ {1x1x1, 1x3x3, 3x5x5}) }
    }
    stage s2 { use op ~ {conv(8, 1x1x1), conv(8, 3x3x3), relu} }
  }
  attend parts after s2 ~ {none, dropout(0.5)}
  head parts -> global_avg_pool -> linear(5)
}
block layer(x, width: int, kernel: dims) {
  return x -> conv(width, kernel, bias=true) -> bn -> relu
}
"""


@pytest.fixture
def small(tmp_path: Path) -> tsdsl.Space:
    (tmp_path / "small.tsnet").write_text(SMALL)
    return tsdsl.load(tmp_path / "small.tsnet")


def test_training_gradients_and_statistics(small: tsdsl.Space) -> None:
    """In training mode, outputs, gradients and running statistics agree, and no other part
    changes."""
    for arch in [a for a in every_architecture(small) if a["attend.parts.s2"] == "none"]:
        supernet = stirred(tsdsl.compile(small)).train()
        net = small.freeze(supernet, arch)
        assert net.training
        before = {name: t.clone() for name, t in supernet.state_dict().items()}
        clip = torch.randn(3, *small.input_shape)
        one, other = supernet(clip, arch), net(clip)
        assert torch.equal(one, other)
        one.square().sum().backward()
        other.square().sum().backward()
        parts = inherited(supernet, arch)
        for name, tensor in net.state_dict().items():
            assert torch.equal(parts[name], tensor), name
        whole = {name: p.grad for name, p in supernet.named_parameters()}
        for name, p in net.named_parameters():
            grad, own = whole[name], p.grad
            assert grad is not None and own is not None
            # Outside of the slice, gradients are zero: the sums agree.
            assert torch.allclose(grad.abs().sum(), own.abs().sum(), rtol=1e-12)
        for name, grad in whole.items():
            assert (grad is None) == (name not in net.state_dict())
        for name, tensor in supernet.state_dict().items():
            if name not in parts:
                assert torch.equal(tensor, before[name])


def silenced(net: nn.Module, inputs: slice) -> nn.Module:
    """The network with zeros in some channels of what its head concatenates."""
    head = net.get_submodule("head.linear")

    def hook(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        joined = given[0].clone()
        joined[:, inputs] = 0
        return (joined,)

    head.register_forward_pre_hook(hook)
    return net


TWO = """tsnet 1
import "std/video" as v
space Two {
  input clip(channels=3, frames=4, height=16, width=16)
  stream a(clip, every=2) { stem v.x3d_stem(8) stage s1 { use relu } }
  stream b(clip) { stem v.x3d_stem(4) stage s1 { use relu } }
  fuse b -> a after stem ~ {v.t_conv(5x1x1), v.t_sample, skip}
  attend b after s1 ~ {none, v.se(4)}
  head concat(a -> v.conv5(6), b -> v.conv5(5)) -> linear(3)
}
"""


@pytest.mark.parametrize("present", ["a", "b"])
def test_absent_streams(tmp_path: Path, present: str) -> None:
    """Equals the whole network without fusion, whose head reads zeros in place of the absent
    stream."""
    (tmp_path / "two.tsnet").write_text(TWO)
    space = tsdsl.load(tmp_path / "two.tsnet")
    supernet = stirred(tsdsl.compile(space)).eval()
    clip = torch.randn(2, *space.input_shape)
    for arch in every_architecture(space):
        alone = {**arch, "fuse.b->a.stem": "skip"}
        other = slice(6, 11) if present == "a" else slice(0, 6)
        net = silenced(space.freeze(supernet, alone), other)
        with torch.no_grad():
            found = supernet(clip, arch, streams=[present])
            assert torch.equal(found, net(clip))
            assert not torch.equal(found, supernet(clip, arch))
            assert torch.equal(supernet(clip, arch, streams=["a", "b"]), supernet(clip, arch))
    supernet.train().zero_grad()
    supernet(clip, arch, streams=[present]).sum().backward()
    touched = {name.split(".")[0] for name, p in supernet.named_parameters() if p.grad is not None}
    assert touched - {"attend"} == {present, "head"} and ("attend" in touched) == (present == "b")


LATERAL = """tsnet 1
import "std/video" as v
space Lateral {
  input clip(channels=3, frames=4, height=16, width=16)
  stream slow(clip, every=2) {
    stem v.x3d_stem(8)
    stage s1 { width ~ {8, 16} use v.mbconv3d(width, kernel ~ {1x3x3, 3x3x3}) }
  }
  stream fast(clip) { stem v.x3d_stem(width ~ {4, 6}) stage s1 { use relu } }
  fuse fast -> slow after stem, s1 ~ {v.lateral_concat, v.t_conv(5x1x1), skip}
  head concat(slow -> global_avg_pool, fast -> global_avg_pool) -> linear(3)
}
"""


def test_a_lateral_connection_of_an_absent_stream(tmp_path: Path) -> None:
    """Equals the whole network in which the lateral connection is zero."""
    (tmp_path / "lateral.tsnet").write_text(LATERAL)
    space = tsdsl.load(tmp_path / "lateral.tsnet")
    supernet = stirred(tsdsl.compile(space)).eval()
    clip = torch.randn(2, *space.input_shape)
    archs = list(every_architecture(space))
    for arch in Random(0).sample(archs, 24):
        net = space.freeze(supernet, arch)
        for name, tensor in net.state_dict().items():
            # The last normalisation of a fusion returns zeros, or nothing is added.
            if name.startswith("fuse.") and ".bn" in name and name.endswith(("weight", "bias")):
                tensor.zero_()
        width = net.get_submodule("head.linear").in_features
        fast = arch["fast.stem.width"]
        silent = silenced(net, slice(width - fast, width))
        with torch.no_grad():
            found = supernet(clip, arch, streams=["slow"])
            assert torch.allclose(found, silent(clip), rtol=1e-12, atol=1e-14), dict(arch)
    supernet.train().zero_grad()
    supernet(clip, archs[0], streams=["slow"]).sum().backward()
    touched = {name.split(".")[0] for name, p in supernet.named_parameters() if p.grad is not None}
    assert touched == {"slow", "head"}
    with pytest.raises(ValueError, match="nothing reaches the head"):
        supernet(clip, archs[0], streams=[])


def test_no_state(small: tsdsl.Space) -> None:
    supernet = stirred(tsdsl.compile(small)).eval()
    clip = torch.randn(2, *small.input_shape)
    archs = list(every_architecture(small))
    with torch.no_grad():
        first = [supernet(clip, arch) for arch in archs]
        order = list(range(len(archs)))
        Random(1).shuffle(order)
        for k in order:
            assert torch.equal(supernet(clip, dict(archs[k])), first[k])
    assert len({tuple(t.flatten().tolist()) for t in first}) > len(archs) // 3


def test_frozen_shares_nothing(small: tsdsl.Space) -> None:
    supernet = tsdsl.compile(small)
    arch = small.sample(seed=0)
    net = small.freeze(supernet, arch)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.zero_()
    assert any(bool(t.any()) for t in inherited(supernet, arch).values())
    assert all(p.requires_grad for p in net.parameters())
    assert not any(m.__module__.startswith("tsdsl.") for m in net.modules())


def test_other_dtype_and_copies(small: tsdsl.Space) -> None:
    import copy
    import pickle

    supernet = tsdsl.compile(small).float().eval()
    arch = small.sample(seed=2)
    clip = torch.randn(1, *small.input_shape, dtype=torch.float32)
    with torch.no_grad():
        wanted = supernet(clip, arch)
        assert wanted.dtype == torch.float32
        assert small.freeze(supernet, arch)(clip).dtype == torch.float32
        twin = copy.deepcopy(supernet)
        for p in supernet.parameters():
            p.zero_()
        assert torch.equal(twin(clip, arch), wanted)
        stored = pickle.loads(pickle.dumps(twin))
        assert torch.equal(stored(clip, arch), wanted)


def test_an_architecture_of_another_space(small: tsdsl.Space) -> None:
    supernet = tsdsl.compile(small)
    clip = torch.randn(1, *small.input_shape)
    with pytest.raises(tsdsl.ArchitectureError):
        supernet(clip, {})
    with pytest.raises(tsdsl.ArchitectureError):
        supernet(clip, {**small.sample(seed=0), "nothing": 1})


def test_windows() -> None:
    whole = (8, 6, 5, 5, 5)
    axes = ("OUT", "IN", "KT", "KH", "KW")
    assert window(axes, whole, whole) is None
    found = window(axes, whole, (4, 6, 1, 3, 5))
    assert found == (slice(0, 4), slice(0, 6), slice(2, 3), slice(1, 4), slice(0, 5))


SHARED = """tsnet 1
space S {
  input clip(channels=3, frames=4, height=12, width=12)
  stream main(clip) { stem conv(8, 1x3x3) stage s1 { use relu } }
  attend main after s1 ~ {none, gated(inner ~ {4, 6}), gated(2)}
  head main -> global_avg_pool -> linear(5)
}
block gated(x, inner: int) {
  return x * (x -> global_avg_pool(keep=true) -> conv(inner, 1x1x1) -> conv(8, 1x1x1) -> sigmoid)
}
"""


def test_options_of_one_block_share_its_tensors(tmp_path: Path) -> None:
    (tmp_path / "shared.tsnet").write_text(SHARED)
    space = tsdsl.load(tmp_path / "shared.tsnet")
    supernet = stirred(tsdsl.compile(space))
    clip = torch.randn(2, *space.input_shape)
    archs = list(every_architecture(space))
    assert len(archs) == 4
    for arch in archs:
        agree(supernet, space.freeze(supernet, arch), arch, clip)
    assert supernet.get_parameter("attend.main.s1.gated.conv1.weight").shape[0] == 6


def test_an_error_in_the_hash_of_an_architecture_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """An `Architecture` is looked up by its hash; a plain dict is resolved without one."""
    space = tsdsl.load(ROOT / "examples/glyphs_space.tsnet")
    arch, net = space.sample(seed=1), tsdsl.compile(space)
    assert isinstance(net, Supernet)
    assert net._assignment(arch) == net._assignment(dict(arch))

    def fails(self: Any) -> int:
        raise TypeError("a bug")

    monkeypatch.setattr(tsdsl.Architecture, "__hash__", fails)
    with pytest.raises(TypeError, match="a bug"):
        net._assignment(arch)
    assert net._assignment(dict(arch))
