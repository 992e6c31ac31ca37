"""Weights of a supernet from before each input of a concat had a segment of its own."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

import tsdsl
from tsdsl.training.checkpoint import _digest
from tsdsl.weights.weight_files import WeightsError, load

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny import SPACE, write_space, write_videos

TRAIN = {"device": "cpu", "save_every": 1}
#: No decision comes before another input of the concat.
PLAIN = SPACE.replace("width ~ {4, 8}", "width = 4")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Videos, and the folder of a search that stopped after two steps."""
    folder = tmp_path_factory.mktemp("old")
    videos = write_videos(folder)
    run(write_space(folder / "space.tsnet"), videos, folder / "run")
    (folder / "plain.tsnet").write_text(PLAIN.replace("NORM", ""))
    run(folder / "plain.tsnet", videos, folder / "plain")
    return folder, videos


def run(spec: Path, videos: Path, folder: Path, **options: Any) -> None:
    steps = iter([False, True] + [True] * 99)
    tsdsl.search(
        tsdsl.load(spec), videos, folder=folder, stop=lambda: next(steps), **TRAIN, **options
    )


def age(path: Path) -> None:
    """Take from a file what it says of segments."""
    with safetensors.safe_open(path, framework="pt") as file:
        about = dict(file.metadata())
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    about.pop("layout", None)
    safetensors.torch.save_file(tensors, path, about)


def age_run(run: Path) -> None:
    age(run / "supernet.safetensors")
    for step in (run / "checkpoints").glob("step-*"):
        age(step / "weights.safetensors")
        contents = json.loads((step / "contents.json").read_text())
        contents["blake2b"]["weights.safetensors"] = _digest(str(step / "weights.safetensors"))
        (step / "contents.json").write_text(json.dumps(contents))


@pytest.fixture
def old(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """The same folder, as an earlier version would have left it."""
    shutil.copytree(made[0], tmp_path / "old", dirs_exist_ok=True)
    for name in ("run", "plain"):
        age_run(tmp_path / "old" / name)
    return tmp_path / "old"


def test_a_file_says_where_channels_lie(made: tuple[Path, Path]) -> None:
    space = tsdsl.load(made[0] / "space.tsnet")
    held = load(made[0] / "run/supernet.safetensors")
    net = tsdsl.compile(space)
    assert held.about["layout"].startswith("segments/1 ")
    tsdsl.load_weights(net, held)
    tsdsl.save_weights(net, made[0] / "again.safetensors")
    assert load(made[0] / "again.safetensors").about["layout"] == held.about["layout"]
    assert "layout" not in load(made[0] / "plain/supernet.safetensors").about


def test_an_old_file_is_refused(old: Path) -> None:
    net = tsdsl.compile(tsdsl.load(old / "space.tsnet"))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(WeightsError) as bad:
        tsdsl.load_weights(net, old / "run/supernet.safetensors")
    (found,) = bad.value.diagnostics
    assert found.code == "E0834" and "has a segment of its own" in found.message
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    # Where nothing shifts, it is as right as it was.
    tsdsl.load_weights(
        tsdsl.compile(tsdsl.load(old / "plain.tsnet")), old / "plain/supernet.safetensors"
    )


def test_other_segments_of_equal_shapes_are_refused(made: tuple[Path, Path]) -> None:
    """12 columns either way: 8 and 4, or 4 and 8."""
    text = SPACE.replace("NORM", "")
    text = text.replace("concat(a -> global_avg_pool, b -> global_avg_pool)", "HEAD")
    nets = []
    for number, head in enumerate(("a, b", "b, a")):
        one, other = head.split(", ")
        path = made[0] / f"order{number}.tsnet"
        joined = f"concat({one} -> global_avg_pool, {other} -> global_avg_pool)"
        wide = text.replace("use layer(4, kernel", "use layer(width ~ {2, 4}, kernel")
        path.write_text(wide.replace("HEAD", joined))
        nets.append(tsdsl.compile(tsdsl.load(path)))
    shapes = [{n: t.shape for n, t in net.state_dict().items()} for net in nets]
    assert shapes[0] == shapes[1]
    tsdsl.save_weights(nets[0], made[0] / "order.safetensors")
    tsdsl.load_weights(nets[0], made[0] / "order.safetensors")
    with pytest.raises(WeightsError, match="have other segments"):
        tsdsl.load_weights(nets[1], made[0] / "order.safetensors")


def test_an_old_run_is_not_resumed(old: Path) -> None:
    videos = old / "list.csv"
    before = sorted(path.name for path in (old / "run/checkpoints").iterdir())
    with pytest.raises(WeightsError) as bad:
        run(old / "space.tsnet", videos, old / "run", resume=True)
    (found,) = bad.value.diagnostics
    assert found.code == "E0834" and "another folder" in (found.help or "")
    assert sorted(path.name for path in (old / "run/checkpoints").iterdir()) == before
    run(old / "plain.tsnet", videos, old / "plain", resume=True)


def test_evolution_refuses_it(old: Path) -> None:
    space = tsdsl.load(old / "space.tsnet")
    videos = old / "list.csv"
    with pytest.raises(WeightsError, match="segment of its own"):
        tsdsl.evolve(space, old / "run/supernet.safetensors", videos, videos, device="cpu")


def test_on_the_command_line(old: Path) -> None:
    from click.testing import CliRunner

    from tsdsl.cli.__main__ import cli

    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(cli, [*arguments, "--device", "cpu"], prog_name="tsdsl")
        assert done.exit_code == 1, done.output
        assert "Traceback" not in done.output
        return done.stderr

    spec, videos = str(old / "space.tsnet"), str(old / "list.csv")
    begun = ("search", spec, "--data", videos, "-o", str(old / "begun"))
    assert CliRunner().invoke(cli, [*begun, "--device", "cpu"], prog_name="tsdsl").exit_code == 0
    age_run(old / "begun")
    said = refused(*begun, "--resume")
    assert "E0834" in said and "start a new run in another folder" in said
    weights = str(old / "run/supernet.safetensors")
    lists = ("--data", videos, "--val", videos)
    said = refused("evolve", spec, *lists, "--weights", weights, "-o", str(old / "evolved"))
    assert "E0834" in said and "tsdsl search" in said


def test_phases_carry_on(made: tuple[Path, Path]) -> None:
    """A run that stopped in its first phase goes on, through the second."""
    shutil.copytree(made[0] / "run", made[0] / "on")
    videos = made[1]
    found = tsdsl.search(
        tsdsl.load(made[0] / "space.tsnet"), videos, folder=made[0] / "on", resume=True, **TRAIN
    )
    assert not found.interrupted
    assert load(made[0] / "on/supernet.safetensors").about["layout"].startswith("segments/1 ")
    assert "layout" not in load(made[0] / "on/model.safetensors").about
