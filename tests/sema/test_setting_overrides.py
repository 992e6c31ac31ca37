"""``--set train.lr=0.1``: settings of sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tsdsl
from tsdsl import SpecError
from tsdsl.sema.sections import Adam, Constant, Cosine, Sgd, Train

TEXT = """tsnet 1
space S {
  param size = 8
  input clip(channels=3, frames=4, height=size, width=size)
  stream main(clip) { stage s1 { repeat depth ~ 1..2 { use conv(8, 1x1x1) } } }
  head main -> global_avg_pool -> linear(5)
  search parsec { phase first { learn main  epochs = 4  lr = (weights=0.1, arch=0.2) } }
  SECTIONS
}
"""


def load(tmp_path: Path, given: dict[str, Any], sections: str = "train { lr = 0.3 }") -> Any:
    path = tmp_path / "a.tsnet"
    path.write_text(TEXT.replace("SECTIONS", sections))
    found = tsdsl.load(path, given)
    assert found.sections is not None
    return found.sections


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"train.lr": 0.1}, {"lr": 0.1}),
        ({"train.lr": "0.1"}, {"lr": 0.1}),
        ({"train.lr": 1e-5}, {"lr": 1e-5}),
        ({"train.jitter": "10..12"}, {"jitter": (10, 12)}),
        ({"train.jitter": (10, 12)}, {"jitter": (10, 12)}),
        ({"train.flip": False}, {"flip": False}),
        ({"train.augment": "autoaugment"}, {"augment": "autoaugment"}),
        ({"train.optimizer": "adam(beta1=0.8)"}, {"optimizer": Adam(beta1=0.8)}),
        ({"train.optimizer.momentum": 0.5}, {"optimizer": Sgd(momentum=0.5)}),
        # A part of a setting that the spec leaves out: the other parts keep their defaults.
        (
            {"train.schedule.warmup_start": 0.5},
            {"schedule": Cosine(warmup_epochs=34, warmup_start=0.5)},
        ),
        ({"train.schedule": "constant"}, {"schedule": Constant()}),
        ({"train.crop": 8, "train.epochs": 2}, {"crop": 8, "epochs": 2}),
    ],
    ids=str,
)
def test_settings_of_train(tmp_path: Path, given: dict[str, Any], changed: dict[str, Any]) -> None:
    wanted = {**dict(Train(lr=0.3)), **changed}
    assert dict(load(tmp_path, given).train) == wanted


def test_a_section_that_is_not_there(tmp_path: Path) -> None:
    assert load(tmp_path, {"train.lr": 0.1}, "").train == Train(lr=0.1)
    assert load(tmp_path, {}, "").train is None


def test_other_sections(tmp_path: Path) -> None:
    sections = "evaluate a { clips = 2 } evaluate b { clips = 3 }"
    found = load(tmp_path, {"evaluate.b.clips": 4, "search.first.epochs": 9}, sections)
    assert [e.clips for e in found.evaluations] == [2, 4]
    assert found.search.phases[0].epochs == 9
    assert load(tmp_path, {"search.first.lr.arch": 0.5}).search.phases[0].lr.arch == 0.5


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("train.lrr", 1, "E0602"),
        ("train.lr", "x", "E0605"),
        ("train.lr", -1, "E0605"),
        ("train.lr", "1 } stem", "E0508"),
        ("train.lr", None, "E0605"),
        ("train.lr", "unknown + 1", "E0201"),
        ("train.lr.x", 1, "E0508"),
        ("train.optimizer.momentun", 0.5, "E0602"),
        ("train.nothing.momentum", 0.5, "E0508"),
        ("train.", 1, "E0508"),
        ("train", 1, "E0508"),
        ("evaluate", 1, "E0508"),
        ("evaluate.c.clips", 1, "E0508"),
        ("search.second.epochs", 1, "E0508"),
        ("train.jitter", "12..10", "E0605"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(
    tmp_path: Path, key: str, value: Any, code: str
) -> None:
    with pytest.raises(SpecError) as error:
        load(tmp_path, {key: value})
    assert [d.code for d in error.value.diagnostics] == [code]
    # A contradiction between two settings is reported at the section.
    assert key == "train.jitter" or f"--set {key}" in str(error.value)
