"""Decoding processes end with their loader, not with the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path

import pytest
from tiny import write_space

import tsdsl
from tsdsl.training.events import WarningRaised
from tsdsl.training.trainer import TrainingError

Tiny = Callable[..., tsdsl.Space]


def test_training_leaves_no_workers(tiny: Tiny, videos: Path) -> None:
    space, others = tiny(train__epochs=1), set(active_children())
    seen = []

    def tell(event: object) -> None:
        seen.append(len(set(active_children()) - others))

    done = tsdsl.train(
        tsdsl.compile(space), videos, space, val=videos, workers=1, device="cpu", on_event=tell
    )
    # One worker for training, one for evaluation.
    assert max(seen) == 2 and done.step == 3
    assert set(active_children()) == others

    def stumble(event: object) -> None:
        if active_children():
            raise TrainingError(())

    with pytest.raises(TrainingError):
        tsdsl.train(
            tsdsl.compile(space),
            videos,
            space,
            val=videos,
            workers=1,
            device="cpu",
            on_event=stumble,
        )
    assert set(active_children()) == others


def test_searching_leaves_no_workers(tmp_path: Path, videos: Path) -> None:
    space = tsdsl.load(write_space(tmp_path / "s.tsnet"), set={"search.first.epochs": 1})
    others = set(active_children())
    done = tsdsl.search(space, videos, workers=1, device="cpu")
    assert done.step > 0 and set(active_children()) == others


def test_evaluating_leaves_no_workers(
    spec: Callable[..., Path], videos: Path, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from tsdsl.cli.__main__ import cli

    others = set(active_children())
    net = tsdsl.compile(tsdsl.load(spec()))
    tsdsl.save_weights(net, tmp_path / "w.safetensors", space="Tiny")
    given = ["eval", spec(), "--data", videos, "--weights", tmp_path / "w.safetensors"]
    done = CliRunner().invoke(cli, [*map(str, given), "--workers", "2", "--device", "cpu"])
    assert done.exit_code == 0, done.stderr
    assert set(active_children()) == others


def test_a_training_that_is_all_warm_up(tiny: Tiny, videos: Path) -> None:
    """3 epochs of 3 steps: the last learning rate is 0.1 x (0.1 + 0.9 x 8/9)."""

    def told(**settings: float) -> list[str]:
        space, said = tiny(**settings), []
        tsdsl.train(tsdsl.compile(space), videos, space, device="cpu", on_event=said.append)
        found = [d for event in said if isinstance(event, WarningRaised) for d in event.diagnostics]
        return [f"{d.message}; {d.help}" for d in found if d.code == "W0986"]

    (message,) = told(train__schedule__warmup_epochs=3)
    assert "the learning rate ends at 0.09, lr is 0.1" in message
    assert "--set train.schedule.warmup_epochs=0.3" in message
    assert told(train__schedule__warmup_epochs=0.3) == []
