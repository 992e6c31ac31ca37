"""``tsdsl weights``: what it says of a file, what it converts, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

import tsdsl
from tsdsl.weights.matching import export_tensors
from tsdsl.weights.schemes import PYSLOWFAST_X3D
from tsdsl.weights.weight_files import load, save, save_torch

Run = Callable[..., Result]

SPECS = Path(__file__).resolve().parents[2] / "specs"
SPEC = SPECS / "x3d_xs.tsnet"


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    return tsdsl.compile(tsdsl.load(SPEC))


@pytest.fixture
def published(net: torch.nn.Module, tmp_path: Path) -> str:
    save_torch(tmp_path / "x3d_xs.pyth", export_tensors(net, PYSLOWFAST_X3D))
    return "x3d_xs.pyth"


def test_what_a_file_has(run: Run, published: str) -> None:
    done = run("weights", published)
    assert done.exit_code == 0, done.stderr
    for text in ("torch", "pyslowfast-x3d", "3,794,322", "568", "float32", "int64"):
        assert text in done.stdout
    found = json.loads(run("weights", published, "--json").stdout)
    assert found["format_version"] == 1 and found["names"] == "pyslowfast-x3d"
    assert found["parameters"] == tsdsl.load(SPEC).params() and found["network"] is None
    first = {
        "name": "s1.pathway0_stem.conv_xy.weight",
        "shape": [24, 3, 1, 3, 3],
        "dtype": "float32",
    }
    assert found["tensors"][0] == first and len(found["tensors"]) == 568


def test_numbers_that_are_not_finite(run: Run, tmp_path: Path) -> None:
    bad = torch.tensor([1.0, float("nan")])
    save(tmp_path / "a", {"fine": torch.ones(2), "bad": bad, "count": torch.tensor(3)}, {})
    assert "not finite" in run("weights", "a").stdout
    assert json.loads(run("weights", "a", "--json").stdout)["not_finite"] == ["bad"]


def test_converted_and_back(run: Run, net: torch.nn.Module, published: str, tmp_path: Path) -> None:
    """PySlowFast -> ours -> pytorchvideo's names, which the shortcut's normalisation prevents, and
    -> PySlowFast: the same tensors."""
    done = run("weights", published, "--spec", SPEC, "-o", "a.safetensors")
    assert done.exit_code == 0 and "fits" in done.stdout and "X3D_XS" in done.stdout
    held = load(tmp_path / "a.safetensors")
    assert held.about["space_hash"] == tsdsl.load(SPEC).hash
    assert held.about["format"] == "tsnet-weights/1"
    for name, tensor in net.state_dict().items():
        assert torch.equal(held.tensors[name], tensor)
    done = run("weights", "a.safetensors", "--spec", SPEC, "--as", "pytorchvideo-x3d", "-o", "b.pt")
    assert done.exit_code == 1 and "main.s1.0.projection.bn" in done.stderr
    assert not (tmp_path / "b.pt").exists()
    done = run("weights", "a.safetensors", "--spec", SPEC, "--as", "pyslowfast-x3d", "-o", "b.pyth")
    assert done.exit_code == 0
    back, first = load(tmp_path / "b.pyth").tensors, load(tmp_path / published).tensors
    assert list(back) and sorted(back) == sorted(first)
    assert all(torch.equal(back[name], tensor) for name, tensor in first.items())


def test_what_is_filled_in_is_said(run: Run, tmp_path: Path) -> None:
    from tsdsl.weights.schemes import PYTORCHVIDEO_X3D

    given = tsdsl.compile(tsdsl.load(SPEC, set={"pytorchvideo_shortcut": True}))
    save_torch(tmp_path / "a.pyth", export_tensors(given, PYTORCHVIDEO_X3D))
    done = run("weights", "a.pyth", "--spec", SPEC)
    assert done.exit_code == 0 and "identity: main.s1.0.projection.bn\n" in done.stderr


def test_the_architecture_comes_with_the_weights(run: Run, tmp_path: Path) -> None:
    from tsdsl.ir.arch_file import dump

    spec = SPECS / "auto_tsnet_s.tsnet"
    space = tsdsl.load(spec)
    arch = space.sample(seed=1)
    state = tsdsl.compile(space, frozen=arch).state_dict()
    save(tmp_path / "a", state, {"architecture": dump(arch), "space": space.name})
    done = run("weights", "a", "--spec", spec, "-o", "b.safetensors")
    assert done.exit_code == 0, done.stderr
    assert f"{len(arch)} decisions" in run("weights", "b.safetensors").stdout
    space.sample(seed=2).save(tmp_path / "other.json")
    done = run("weights", "a", "--spec", spec, "--frozen", "other.json")
    assert done.exit_code == 1 and "error[E0831]" in done.stderr
    # What the file says of itself is not believed.
    save(tmp_path / "c", state, {"architecture": '{"format": "tsnet-arch/1", "decisions": 3}'})
    done = run("weights", "c", "--spec", spec)
    assert done.exit_code == 1 and "error[E07" in done.stderr
    assert "cannot be read" in run("weights", "c").stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (["missing"], 3, "E0801"),
        (["."], 3, "E0802"),
        (["text"], 1, "E0832"),
        (["x3d_xs.pyth", "--spec", "missing.tsnet"], 3, "E0801"),
        (["x3d_xs.pyth", "--spec", str(SPECS / "slowfast_r50.tsnet")], 1, "E0831"),
        (["x3d_xs.pyth", "--spec", str(SPECS / "auto_tsnet_s.tsnet")], 2, "--frozen"),
        (["x3d_xs.pyth", "--spec", str(SPEC), "-o", "no/a.safetensors"], 3, "E0807"),
        (["x3d_xs.pyth", "--spec", str(SPEC), "-o", "a.onnx"], 2, ".safetensors"),
        (["x3d_xs.pyth", "--spec", str(SPEC), "--as", "pyslowfast-x3d"], 2, "-o OUT"),
        (["x3d_xs.pyth", "-o", "a.safetensors"], 2, "--spec SPEC"),
        (["x3d_xs.pyth", "--set", "crop=64"], 2, "--spec SPEC"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refused(
    run: Run, published: str, tmp_path: Path, arguments: list[str], exit_code: int, text: str
) -> None:
    (tmp_path / "text").write_text("hello\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    done = run("weights", *arguments)
    assert done.exit_code == exit_code and text in done.stderr
    assert not done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_training_begins_with_weights_of_other_classes(run: Run, tmp_path: Path) -> None:
    """All but the classifier: the rest is what the file has, before the first step."""
    from tiny import write_spec, write_videos

    spec = write_spec(tmp_path / "tiny.tsnet", norm=True)
    write_videos(tmp_path, 6)
    space = tsdsl.load(spec)
    state = tsdsl.compile(space).state_dict()
    layer = next(name for name in state if name.startswith("head") and name.endswith(".weight"))
    layer = layer.removesuffix(".weight")
    given = {name: t[:2] if name.startswith(layer) else t for name, t in state.items()}
    save(tmp_path / "a", given, {})
    wanted = ["train", spec, "--data", "list.csv", "--workers", "0", "--device", "cpu"]
    # Steps that change nothing but the statistics of normalisation.
    wanted += ["--set", "train.lr=1e-30", "--set", "train.epochs=1", "--weights", "a", "-o", "run"]
    done = run(*wanted)
    assert done.exit_code == 1 and f"--weights-except {layer}" in done.stderr
    done = run(*wanted, "--weights-except", layer)
    assert done.exit_code == 0, done.stderr
    assert f"not from a: {layer}.weight, {layer}.bias" in done.stderr
    trained = load(tmp_path / "run" / "last.safetensors").tensors
    kept = [name for name in state if name.startswith("main") and "running" not in name]
    kept = [name for name in kept if not name.endswith("num_batches_tracked")]
    assert len(kept) == 6
    for name in kept:
        torch.testing.assert_close(trained[name], state[name])
    assert run("train", spec, "--data", "list.csv", "--weights-except", layer).exit_code == 2
