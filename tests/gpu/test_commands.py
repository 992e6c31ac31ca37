"""Each command that computes, with ``--device cuda``: one after the other, as they build on what
the one before has left."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tiny import write_space

import tsdsl
from tsdsl.cli.__main__ import cli
from tsdsl.weights.weight_files import load

DEVICE = "cuda"

Command = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Path:
    """A space, and the result of a search in it."""
    made = tmp_path_factory.mktemp("commands")
    write_space(made / "space.tsnet", norm=True)
    command(
        *("search", made / "space.tsnet", "--data", videos, "-o", made / "search"),
        *("--amp", "--set", "search.joint_from=2", "--save-every", "2", "--micro-batch", "2"),
        *("--tensorboard", "--workers", "1"),
    )
    return made


def command(verb: str, *arguments: object) -> str:
    """The output of a command that has to succeed."""
    given = [verb, "--device", DEVICE, *map(str, arguments)]
    done = CliRunner().invoke(cli, given, prog_name="tsdsl")
    assert done.exit_code == 0, done.output
    return done.stdout


def test_search(folder: Path, videos: Path) -> None:
    """A repeated search gives the same result, which is within the budgets."""
    space = tsdsl.load(folder / "space.tsnet")
    arch = tsdsl.Architecture.load(folder / "search/arch.json")
    assert 120_000 <= space.flops(arch) <= 1_000_000
    events = [json.loads(x) for x in (folder / "search/log.jsonl").read_text().splitlines()]
    losses = [each["loss"] for each in events if each["event"] == "step"]
    assert losses and all(map(math.isfinite, losses))
    net = tsdsl.compile(space, frozen=arch)
    tsdsl.load_weights(net, folder / "search/model.safetensors")


def test_evolve(folder: Path, videos: Path, tmp_path: Path) -> None:
    command(
        *("evolve", folder / "space.tsnet", "--data", videos, "--val", videos, "--amp"),
        *("--weights", folder / "search/supernet.safetensors", "-o", tmp_path / "evolved"),
        *("--population", "4", "--generations", "2", "--bn-batches", "2", "--workers", "0"),
    )
    assert (tmp_path / "evolved/arch.json").exists()
    assert load(tmp_path / "evolved/model.safetensors").tensors


def test_random(folder: Path, videos: Path, tmp_path: Path) -> None:
    told: dict[str, Any] = json.loads(
        command(
            *("random", folder / "space.tsnet", "-n", "2", "--data", videos, "--val", videos),
            *("--against", folder / "search/arch.json", "-o", tmp_path / "random"),
            *("--set", "train.epochs=1", "--workers", "0", "--json"),
        )
    )
    assert told["random"]["done"] == 2


@pytest.mark.parametrize("options", [[], ["--channels-last", "--micro-batch", "2"]])
def test_train_and_eval(folder: Path, videos: Path, tmp_path: Path, options: list[str]) -> None:
    """From the weights of the search; scores agree with the CPU's."""
    frozen = [folder / "space.tsnet", "--frozen", folder / "search/arch.json", "--data", videos]
    command(
        *("train", *frozen, "--val", videos, "-o", tmp_path / "run", *options),
        *("--weights", folder / "search/model.safetensors", "--set", "train.epochs=2"),
        *("--set", "train.mixed_precision=true", "--set", "train.clip_gradient=1"),
        *("--set", "train.ema=0.9", "--workers", "1", "--save-every", "2"),
    )
    scores = []
    for number, device in enumerate((DEVICE, "cpu")):
        told = command(
            *("eval", *frozen, "--weights", tmp_path / "run/best.safetensors", "--json"),
            *("--views", "2x3", "-o", tmp_path / f"{number}.npz", "--device", device),
        )
        assert math.isfinite(json.loads(told)["log_loss"])
        scores.append(np.load(tmp_path / f"{number}.npz")["probabilities"])
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_bench_and_measure(folder: Path, tmp_path: Path) -> None:
    frozen = [folder / "space.tsnet", "--frozen", folder / "search/arch.json"]
    short = ["--batch", "2", "--repeats", "5", "--warmup", "1"]
    command("bench", *frozen, *short, "--dtype", "float16", "-o", tmp_path / "bench.json")
    (network,) = json.loads((tmp_path / "bench.json").read_text())["networks"]
    assert network["peak_bytes"] > 0 and network["latency_ns"]["median"] > 0
    command(
        *("measure", folder / "space.tsnet", *short, "--check", "2"),
        *("-o", tmp_path / "latency.json"),
    )
    table = json.loads((tmp_path / "latency.json").read_text())
    assert table["entries"]
