"""Behind a concat, each input has its own segment of the shared weights."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tsdsl
from tsdsl.backends.supernet import inherited, placing

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from segment_spaces import HEADS, two
from test_supernet_source import compare
from text_spaces import every_architecture

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_float64() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


# ---------------------------------------------------------------- positions, by hand


def positions(supernet: tsdsl.Supernet, arch: Any) -> dict[str, tuple[list[int], list[int]]]:
    """Rows and columns of the shared tensors that each weight of an architecture uses."""
    numbered = copy.deepcopy(supernet)
    with torch.no_grad():
        for tensor in (*numbered.parameters(), *numbered.buffers()):
            if tensor.dim():
                rows = torch.arange(len(tensor)).reshape(-1, *[1] * (tensor.dim() - 1))
                tensor.copy_((1000 * rows).expand_as(tensor))
            if tensor.dim() > 1:
                columns = torch.arange(tensor.shape[1])
                tensor += columns.reshape(1, -1, *[1] * (tensor.dim() - 2))
    found = {}
    for name, tensor in inherited(numbered, arch).items():
        if tensor.dim():
            flat = tensor.reshape(*tensor.shape[:2], -1)[..., 0] if tensor.dim() > 1 else tensor
            first = flat[:, 0] if tensor.dim() > 1 else flat
            columns = (flat[0] % 1000).long().tolist() if tensor.dim() > 1 else []
            found[name] = (first // 1000).long().tolist(), columns
            if tensor.dim() > 1:
                rows = torch.tensor(found[name][0]).reshape(-1, 1)
                assert torch.equal(flat, rows * 1000.0 + torch.tensor(columns))
    return found


#: Channels of the two inputs -> positions of their channels.
Joined = Callable[[int, int], list[int]]


def expected(kind: str, joined: Joined, a: int, b: int, left: list[int]) -> dict[str, list[int]]:
    """Positions along the axis behind the concat, by name of a weight: rows of operations that keep
    channels apart, else columns. ``left``: positions that are left of the axis by a slice."""
    both = joined(a, b)
    half = len(both) // 2
    twice = [q for p in both for q in (2 * p, 2 * p + 1)]
    last = {"head.linear.weight": both}

    def rows(*names: str) -> dict[str, list[int]]:
        return {name: both for name in names}

    statistics = ("weight", "bias", "running_mean", "running_var")
    match kind:
        case "linear":
            return last
        case "conv" | "activation":
            return {"head.conv.weight": both}
        case "nested":
            return {"head.linear.weight": [*both, *range(12, 12 + a)]}
        case "norm":
            return {**last, **rows(*(f"head.bn.{name}" for name in statistics))}
        case "depthwise":
            names = (f"head.depthwise.bn.{name}" for name in statistics)
            return {**last, **rows("head.depthwise.conv.weight", *names)}
        case "doubled":
            names = ["head.linear.weight", "head.doubled.conv.weight"]
            return dict.fromkeys([*names, *(f"head.bn.{n}" for n in statistics)], twice)
        case "grouped":
            return {**last, **rows("head.grouped.conv.weight")}
        case "gate":
            names = ("conv1.weight", "conv2.weight", "conv2.bias")
            return {**last, **rows(*(f"head.gate.{name}" for name in names))}
        case "residual":
            names = ("conv1.weight", "conv2.weight", *(f"bn.{name}" for name in statistics))
            return {**last, **rows(*(f"head.residual.{name}" for name in names))}
        case "sliced":
            kept = [4 + left.index(p) for p in both[half:]]
            return {"head.linear.weight": [*range(4), *kept]}
        case "shuffled":
            mixed = [p for pair in zip(both[:half], both[half:], strict=True) for p in pair]
            return {"head.linear.weight": mixed}
        case "matrix":
            return {"head.linear1.weight": both}
        case "turned":
            return {"head.turned.linear1.weight": both, "head.turned.linear2.weight": both}
        case "frames":
            return {"head.conv.weight": [*both, *(12 + p for p in both)]}
    raise AssertionError(kind)


#: Weights whose rows are behind the concat, although they have columns.
BY_ROW = ("depthwise.conv", "doubled.conv", "grouped.conv", "gate.conv2", "residual.conv2")


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", HEADS)
def test_positions(kind: str, swapped: bool, tmp_path: Path) -> None:
    """With two inputs of at most 8 and 4 channels, those of the second one always begin at 8 (or
    4)."""
    space = two(tmp_path, kind, swapped)
    supernet = tsdsl.compile(space)
    start = 4 if swapped else 8

    def joined(a: int, b: int) -> list[int]:
        return [*range(a), *range(start, start + b)]

    widths = [(2, 4), (4, 8)] if swapped else [(4, 2), (8, 4)]
    left = sorted(
        {
            p
            for a in {w[0] for w in widths}
            for b in {w[1] for w in widths}
            for p in joined(a, b)[(a + b) // 2 :]
        }
    )
    seen = set()
    for arch in every_architecture(space):
        pair = arch["sparse_width"], arch["dense_width"]
        a, b = reversed(pair) if swapped else pair
        wanted = expected(kind, joined, a, b, left)
        found = positions(supernet, arch)
        for name, both in wanted.items():
            rows, columns = found[name]
            by_row = not columns or any(each in name for each in BY_ROW)
            assert (rows if by_row else columns) == both, (name, dict(arch))
        seen.add(pair)
    assert len(seen) == 4


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    "kind", ["linear", "conv", "activation", "nested", "matrix", "shuffled", "frames"]
)
def test_a_column_is_of_one_stream(kind: str, swapped: bool, tmp_path: Path) -> None:
    """Brute force: if one stream is zero, the gradient of the weight behind the concat is non-zero
    in the columns of the other stream only. Over all architectures, no column belongs to both."""
    space = two(tmp_path, kind, swapped)
    supernet = tsdsl.compile(space)
    assert isinstance(supernet, tsdsl.Supernet)
    name = next(n for n in supernet.state_dict() if n.startswith("head."))
    weight = supernet.get_parameter(name)
    # Positive throughout, so that no unit is dead and no gradient is zero by chance.
    clip = torch.rand(2, *space.input_shape)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.uniform_(0.1, 1)
    owned: dict[str, set[int]] = {"sparse": set(), "dense": set()}
    for arch in every_architecture(space):
        for stream, columns in owned.items():
            other = "dense" if stream == "sparse" else "sparse"
            stem = supernet.get_parameter(f"{other}.stem.weight")
            kept = stem.detach().clone()
            with torch.no_grad():
                stem.zero_()
            supernet.zero_grad()
            supernet(clip, arch).sum().backward()
            with torch.no_grad():
                stem.copy_(kept)
            assert weight.grad is not None
            touched = weight.grad.transpose(0, 1).flatten(1).abs().sum(1).nonzero().flatten()
            times = {"nested": 2, "frames": 2}.get(kind, 1)
            first = ("dense" if swapped else "sparse") == stream
            times = 1 if kind == "nested" and not first else times
            assert len(touched) == times * arch[f"{stream}_width"], dict(arch)
            columns |= set(touched.tolist())
    assert owned["sparse"].isdisjoint(owned["dense"])
    assert owned["sparse"] | owned["dense"] == set(range(weight.shape[1]))


# ---------------------------------------------------------------- one network, many ways


def same_gradients(supernet: tsdsl.Supernet, clip: Tensor, archs: list[Any]) -> None:
    """Gradients in place and those of autograd are equal, and so are running statistics."""
    supernet = copy.deepcopy(supernet).train()
    twin = copy.deepcopy(supernet)
    supernet.zero_grad(), twin.zero_grad()
    with placing(supernet) as place:
        for arch in archs:
            torch.manual_seed(1)
            supernet(clip, arch).square().sum().backward()
            place()
            torch.manual_seed(1)
            twin(clip, arch).square().sum().backward()
    for (name, p), q in zip(supernet.named_parameters(), twin.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None and q.grad is not None:
            assert torch.allclose(p.grad, q.grad, rtol=1e-12, atol=1e-12), name
    for (name, one), other in zip(supernet.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(one, other), name


def agree(space: tsdsl.Space, archs: list[Any]) -> None:
    """The supernet, the networks frozen from it, and its emitted source agree on outputs,
    gradients, running statistics and names."""
    compare(space.graph, archs)
    torch.manual_seed(3)
    supernet = tsdsl.compile(space)
    assert isinstance(supernet, tsdsl.Supernet)
    clip = torch.randn(3, *space.input_shape)
    keys = set()
    for arch in archs:
        for mode in (False, True):
            net = space.freeze(supernet, arch).train(mode)
            before = copy.deepcopy(supernet.state_dict())
            supernet.train(mode)
            torch.manual_seed(1)
            found = supernet(clip, arch)
            torch.manual_seed(1)
            assert torch.allclose(found, net(clip), rtol=1e-12, atol=1e-12), dict(arch)
            keys |= set(net.state_dict())
            # The running statistics of this architecture have changed, and no others.
            own = inherited(supernet, arch)
            for name, tensor in net.state_dict().items():
                assert torch.allclose(own[name], tensor, rtol=1e-12, atol=1e-12), name
            taken = positions(supernet, arch)
            for name, tensor in supernet.state_dict().items():
                if tensor.dim() == 1 and name in taken:
                    rest = torch.ones(len(tensor), dtype=torch.bool)
                    rest[taken[name][0]] = False
                    assert torch.equal(tensor[rest], before[name][rest]), name
            supernet.load_state_dict(before)
    assert keys <= set(supernet.state_dict())
    same_gradients(supernet, clip, archs)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", HEADS)
def test_every_architecture(kind: str, swapped: bool, tmp_path: Path) -> None:
    space = two(tmp_path, kind, swapped)
    agree(space, list(every_architecture(space)))


DEEP = """tsnet 1
import "std/video" as v
block ghost(x, out: int) {
  let half = div(out, 2)
  let primary = x -> conv(half, 1x1x1) -> bn -> relu
  return concat(primary, primary -> conv(half, 1x3x3, groups=half) -> bn)
}
block bottleneck(x, width: int, inner: int) {
  let y = x -> ghost(inner) -> conv(inner, 3x1x1, groups=inner) -> v.squeeze_excite(4)
    -> ghost(width)
  return y + (if x.channels == width then x else x -> conv(width, 1x1x1) -> bn)
}
block shuffle(x, half: int) {
  let left = x -> channel_slice(0, half)
  let right = x -> channel_slice(half, 2 * half)
  return concat(left, right -> conv(half, 1x1x1) -> bn -> relu) -> channel_shuffle(2)
}
space Deep {
  input clip(channels=3, frames=4, height=8, width=8)
  stream a(clip, every=2) {
    stem conv(8, 1x3x3)
    stage s1 {
      width ~ {8, 12}
      repeat depth ~ 1..2 { use bottleneck(width, inner ~ {4, 8}) }
    }
  }
  stream b(clip) {
    half ~ {2, 4}
    stem conv(2 * half, 1x3x3)
    stage s1 { repeat depth ~ 1..2 { use shuffle(half) } }
  }
  fuse b -> a after s1 ~ {v.lateral_concat(3x1x1), v.t_conv(3x1x1), skip}
  attend a after s1 ~ {none, v.se(4)}
  head concat(a, b -> time_sample(2)) -> v.conv5(6) -> linear(3)
}
"""


def test_ghosts_shuffles_and_laterals(tmp_path: Path) -> None:
    """Nested spaces, with options that have layouts and options that have none."""
    (tmp_path / "deep.tsnet").write_text(DEEP)
    space = tsdsl.load(tmp_path / "deep.tsnet")
    assert tsdsl.compile(space)._layouts.digest
    agree(space, space.sample(4, seed=2))


def test_ghost_modules(tmp_path: Path) -> None:
    """The halves of a ghost module have segments in what reads both, and in the shortcut beside
    them."""
    (tmp_path / "deep.tsnet").write_text(DEEP)
    space = tsdsl.load(tmp_path / "deep.tsnet")
    supernet = tsdsl.compile(space)
    for arch in space.sample(12, seed=1):
        found = positions(supernet, arch)
        for k in range(arch["a.s1.depth"]):
            block = f"a.s1.{k}"
            inner, width = arch[f"a.s1[{k}].inner"], arch["a.s1.width"]
            halves = [*range(inner // 2), *range(4, 4 + inner // 2)]
            assert found[f"{block}.conv1.weight"][0] == halves
            assert found[f"{block}.squeeze_excite.conv1.weight"][1] == halves
            assert found[f"{block}.squeeze_excite.conv2.weight"][0] == halves
            assert found[f"{block}.ghost2.conv1.weight"][1] == halves
            both = [*range(width // 2), *range(6, 6 + width // 2)]
            if k == 0 and width != 8:
                assert found[f"{block}.conv2.weight"][0] == both
            if k == 1:
                assert found[f"{block}.ghost1.conv1.weight"][1] == both
        # Joined with the halves of a ghost in some architectures only: ranked in all.
        assert found["a.stem.weight"][0] == list(range(8))


# ---------------------------------------------------------------- plain spaces


def test_what_does_not_shift_stays_as_it_was(tmp_path: Path) -> None:
    """Where no earlier input changes its width, positions are the first ones."""
    two(tmp_path, "norm")
    path = tmp_path / "norm0.tsnet"
    path.write_text(path.read_text().replace("sparse_width ~ {4, 8}", "sparse_width = 8"))
    space = tsdsl.load(path)
    supernet = tsdsl.compile(space)
    assert supernet._layouts.digest == ""
    for arch in every_architecture(space):
        rows, columns = positions(supernet, arch)["head.linear.weight"]
        assert columns == list(range(8 + arch["dense_width"])) and rows == [0, 1, 2]


def test_no_larger_than_needed(tmp_path: Path) -> None:
    """A width that a requirement excludes takes no positions."""
    rule = 'require sparse_width < 8 or dense_width > 4 else "narrow"'
    space = two(tmp_path, "linear", more=rule)
    net = tsdsl.compile(space)
    assert net.state_dict()["head.linear.weight"].shape == (3, 8)
    assert net._layouts.digest == ""
    assert [a["sparse_width"] for a in every_architecture(space)] == [4, 4]


# ---------------------------------------------------------------- the two orders


def columns_of(tensor: Tensor) -> Tensor:
    """The columns [sparse 8 | dense 4] in the other order."""
    return torch.cat([tensor[:, 8:], tensor[:, :8]], 1)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_the_order_of_a_concat_changes_nothing(kind: str, tmp_path: Path) -> None:
    """With equal weights, clips and draws, losses are equal in every step, and weights at the
    end."""
    from tsdsl.searching.distribution import Alpha
    from tsdsl.searching.parsec.step import ParsecStep
    from tsdsl.searching.supernet_step import Clips, classifier
    from tsdsl.sema.sections import Sgd
    from tsdsl.training.optimizer import make_optimizer

    nets: list[tsdsl.Supernet] = []
    losses, start = [], dict[str, Tensor]()
    name = f"head.{kind}.weight"
    for swapped in (False, True):
        space = two(tmp_path, kind, swapped)
        net = tsdsl.compile(space)
        assert isinstance(net, tsdsl.Supernet)
        if nets:
            state = dict(start)
            state[name] = columns_of(state[name])
            net.load_state_dict(state)
        else:
            with torch.no_grad():
                net.get_parameter("head.linear.weight").mul_(30)
            start = copy.deepcopy(net.state_dict())
        alpha = Alpha(space).double()
        step = ParsecStep(net.train(), alpha, classifier(net))
        optimizer = make_optimizer(net, Sgd(momentum=0.9, weight_decay=1e-3), 0.1)
        found = []
        for number in range(12):
            generator = torch.Generator().manual_seed(number)
            clips = torch.randn(4, *space.input_shape, generator=generator)
            labels = torch.randint(0, 3, (4,), generator=generator)
            now = alpha.now()
            archs = now.sample(2, seed=0, step=number)
            found.append((step.step(archs, Clips(clips, labels), now=now).loss, archs))
            optimizer.step()
        nets.append(net)
        losses.append(found)
    for (one, drawn), (other, again) in zip(*losses, strict=True):
        assert drawn == again
        assert one == pytest.approx(other, rel=1e-12)
    assert len({arch for _, drawn in losses[0] for arch in drawn}) == 4
    left, right = (net.state_dict() for net in nets)
    for key, tensor in left.items():
        wanted = columns_of(tensor) if key == name else tensor
        assert torch.allclose(right[key], wanted, rtol=1e-9, atol=1e-12), key


def test_a_step_beside_plain_torch(tmp_path: Path) -> None:
    """The gradient of a step is that of plain torch on the frozen network, at hand-computed
    positions."""
    space = two(tmp_path, "linear")
    supernet = tsdsl.compile(space)
    assert isinstance(supernet, tsdsl.Supernet)
    clip, labels = torch.randn(3, *space.input_shape), torch.tensor([0, 2, 1])
    for arch in every_architecture(space):
        net: nn.Module = space.freeze(supernet, arch)
        F.cross_entropy(net(clip), labels).backward()
        supernet.zero_grad()
        with placing(supernet) as place:
            F.cross_entropy(supernet(clip, arch), labels).backward()
            place()
        at = [*range(arch["sparse_width"]), *range(8, 8 + arch["dense_width"])]
        wanted = torch.zeros(3, 12)
        wanted[:, at] = net.get_parameter("head.linear.weight").grad
        found = supernet.get_parameter("head.linear.weight").grad
        assert found is not None and torch.allclose(found, wanted, rtol=1e-12, atol=1e-15)


def shipped() -> list[Any]:
    """Every space that has decisions."""
    paths = sorted([*(ROOT / "examples").glob("*.tsnet"), *(ROOT / "specs").glob("*.tsnet")])
    return [
        pytest.param(path, marks=[pytest.mark.sweep] if "auto" in path.stem else [], id=path.stem)
        for path in paths
        if " ~ " in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("path", shipped())
def test_shipped_spaces(path: Path) -> None:
    space = tsdsl.load(path, set={"crop": 32} if "crop" in path.read_text() else {})
    supernet = tsdsl.compile(space).eval()
    assert isinstance(supernet, tsdsl.Supernet)
    clip = torch.randn(1, *space.input_shape)
    for arch in space.sample(3, seed=7):
        with torch.no_grad():
            wanted = space.freeze(supernet, arch)(clip)
            assert torch.allclose(supernet(clip, arch), wanted, rtol=1e-12, atol=1e-12)
