"""Loading weights into a network: every difference is reported, and then nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tsdsl
from tsdsl.cli.verbs.weights import NAMES
from tsdsl.weights.matching import export_tensors
from tsdsl.weights.scheme import Scheme
from tsdsl.weights.schemes import PYSLOWFAST_X3D, SCHEMES
from tsdsl.weights.weight_files import (
    StoredWeights,
    WeightsError,
    classes_of,
    load_into,
    save,
    save_torch,
)

SPECS = Path(__file__).resolve().parents[2] / "specs"
SPEC_OF = {"x3d": "x3d_xs", "slowfast": "slowfast_r50_4x16"}


def x3d(**params: object) -> nn.Module:
    return tsdsl.compile(tsdsl.load(SPECS / "x3d_xs.tsnet", set={"crop": 32, **params}))


def copied(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def refused(net: nn.Module, weights: StoredWeights | str | Path, **options: object) -> list[str]:
    """The messages with their help lines. The network is unchanged."""
    before = copied(net)
    with pytest.raises(WeightsError) as caught:
        load_into(net, weights, **options)  # type: ignore[arg-type]
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert {d.code for d in caught.value.diagnostics} == {"E0831"}
    return [f"{d.message} | {d.help or ''}" for d in caught.value.diagnostics]


# ---------------------------------------------------------------- key maps


def test_the_command_line_names_every_scheme() -> None:
    assert sorted(NAMES) == sorted(scheme.name for scheme in SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_a_key_map_is_a_bijection(scheme: Scheme) -> None:
    spec = SPEC_OF[scheme.name.rpartition("-")[2]]
    names = list(tsdsl.compile(tsdsl.load(SPECS / f"{spec}.tsnet")).state_dict())
    theirs = [scheme.theirs(name) for name in names]
    assert None not in theirs and len(set(theirs)) == len(names)
    assert [scheme.ours(name) for name in theirs if name] == names
    assert scheme.signature in theirs
    others = [other.signature for other in SCHEMES if other is not scheme]
    assert not set(others) & set(theirs)


@pytest.mark.parametrize(
    "key",
    [
        "s1.pathway0_stem.conv_xyz.weight",
        "s6.pathway0_res0.branch1.weight",
        "s2.pathway0_res00.branch1.weight",
        "s2.pathway0_res-1.branch1.weight",
        "s2.pathway0_res٣.branch1.weight",
        "s2.pathway1_res0.branch1.weight",
        "xs2.pathway0_res0.branch1.weight",
        "s2.pathway0_res0.branch1",
        "s2.pathway0_nonlocal1.conv_g.weight",
        "weight",
        "",
    ],
)
def test_names_that_are_none_of_theirs(key: str) -> None:
    assert PYSLOWFAST_X3D.ours(key) is None


# ---------------------------------------------------------------- what fits


def test_from_a_file_and_back(tmp_path: Path) -> None:
    given, net = x3d(), x3d()
    tsdsl.save_weights(given, tmp_path / "a.safetensors", epoch="3")
    loaded = tsdsl.load_weights(net, tmp_path / "a.safetensors")
    for name, tensor in given.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor)
    assert loaded.about == {"format": "tsnet-weights/1", "epoch": "3"}
    assert not loaded.scheme and not loaded.filled and not loaded.left_out


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "model.", "module.model."])
@pytest.mark.parametrize("theirs", [False, True])
def test_names_inside_of_another_module(wrapper: str, theirs: bool) -> None:
    given, net = x3d(), x3d()
    state = export_tensors(given, PYSLOWFAST_X3D) if theirs else given.state_dict()
    load_into(net, StoredWeights({wrapper + name: tensor for name, tensor in state.items()}))
    for name, tensor in given.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor)


def test_layouts_counters_and_types(tmp_path: Path) -> None:
    """1x1x1 convolutions as matrices, a linear layer as a convolution, no counters, half
    precision."""
    given, net = x3d(), x3d()
    state = export_tensors(given, PYSLOWFAST_X3D)
    state = {k: t for k, t in state.items() if not k.endswith("num_batches_tracked")}
    state["head.projection.weight"] = state["head.projection.weight"][:, :, None, None, None]
    state["head.lin_5.weight"] = state["head.lin_5.weight"].flatten(1)
    state = {name: tensor.to(torch.bfloat16) for name, tensor in state.items()}
    save_torch(tmp_path / "a.pyth", state)
    loaded = load_into(net, tmp_path / "a.pyth")
    assert len(loaded.filled) == 84
    for name, tensor in given.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor.to(torch.bfloat16).to(tensor.dtype))


def test_another_number_of_classes() -> None:
    given, net = x3d(), x3d(classes=7)
    (*_, last) = refused(net, StoredWeights(given.state_dict()))
    assert "except_for=['head.x3d_head.linear']" in last
    before = copied(net)
    loaded = load_into(net, StoredWeights(given.state_dict()), except_for=["head.x3d_head.linear"])
    assert loaded.left_out == ("head.x3d_head.linear.weight", "head.x3d_head.linear.bias")
    for name, tensor in net.state_dict().items():
        wanted = before[name] if name in loaded.left_out else given.state_dict()[name]
        assert torch.equal(tensor, wanted)


# ---------------------------------------------------------------- what does not


def test_everything_that_differs_is_said_at_once() -> None:
    net = x3d()
    state = copied(net)
    state["main.stem.conv_1.weight"] = state.pop("main.stem.conv1.weight") + 1
    state["main.stem.bn.bias"] = torch.zeros(25)
    state["main.stem.bn.weight"] = torch.zeros(24, dtype=torch.int64)
    state["main.s1.0.conv1.weight"] = torch.zeros(54, 24, 1, 1, 1, dtype=torch.complex64)
    state["main.s4.0.conv1.weight"] = torch.zeros(96, 432, 1, 1, 1)
    found = refused(net, StoredWeights(state, {"space": "X3D_M", "epoch": "3"}, "a.safetensors"))
    assert "lacks a tensor of the network: main.stem.conv1.weight" in found[0]
    assert "did you mean 'main.stem.conv_1" in found[0]
    assert "main.stem.conv_1.weight" in found[1]
    text = "\n".join(found[2:])
    assert "main.stem.bn.bias is 25, the network's is 24" in text
    assert "main.stem.bn.weight is int64, the network's is float32" in text
    assert "main.s1.0.conv1.weight is complex64" in text
    assert "432 x 96 x 1 x 1 x 1" in text
    assert "of space X3D_M, epoch 3" in text


def test_many_names_are_counted() -> None:
    net = x3d()
    found = refused(net, StoredWeights({f"a{n}": torch.zeros(1) for n in range(1000)}))
    assert "and 558 more" in found[0] and "and 990 more" in found[1]
    assert len(found) == 2 and all(len(line) < 1000 for line in found)


def test_weights_of_another_network(tmp_path: Path) -> None:
    """Messages use the names of the file's code base."""
    state = export_tensors(x3d(), PYSLOWFAST_X3D)
    net = tsdsl.compile(tsdsl.load(SPECS / "slowfast_r50_4x16.tsnet"))
    found = refused(net, StoredWeights(state))
    assert "slow.stem.conv.weight" in found[0]
    assert "s1.pathway0_stem.conv_xy.weight in the file" in found[1]
    assert "pyslowfast-x3d" in found[1]


def test_parts_that_no_key_map_has() -> None:
    state = export_tensors(x3d(), PYSLOWFAST_X3D)
    state["s3.pathway0_nonlocal1.conv_g.weight"] = torch.zeros(4)
    (found,) = refused(x3d(), StoredWeights(state))
    assert "s3.pathway0_nonlocal1.conv_g.weight" in found


def test_both_names_of_a_tensor() -> None:
    net = x3d()
    state = export_tensors(net, PYSLOWFAST_X3D)
    state["main.stem.conv1.weight"] = torch.zeros(24, 3, 1, 3, 3)
    (found,) = refused(net, StoredWeights(state))
    assert "a tensor of the file: main.stem.conv1.weight (once more)" in found


def test_a_normalisation_that_is_missing_is_filled_in_for_pytorchvideo_only() -> None:
    net = x3d()
    whole = export_tensors(net, PYSLOWFAST_X3D)
    state = {k: t for k, t in whole.items() if not k.startswith("s2.pathway0_res0.branch1_bn")}
    assert len(state) == len(whole) - 5
    (found,) = refused(net, StoredWeights(state))
    assert "main.s1.0.projection.bn.weight" in found


def test_left_out_modules_have_to_exist() -> None:
    net = x3d()
    (found,) = refused(net, StoredWeights(net.state_dict()), except_for=["head.x3d_head.linea"])
    assert "did you mean 'head.x3d_head.linear'" in found


def test_saved_weights_say_where_they_do_not_fit(tmp_path: Path) -> None:
    given = x3d()
    save(tmp_path / "a", given.state_dict(), {"space": "X3D_XS", "architecture": "{}"})
    found = refused(x3d(classes=3), tmp_path / "a")
    assert "'tsdsl weights' shows" in found[0]


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "7", '["a", 1]', "null", ""])
def test_damaged_class_names_are_no_class_names(text: str) -> None:
    assert classes_of({"classes": text}) is None
    assert classes_of({}) is None and classes_of({"classes": '["a"]'}) == ["a"]
