"""A penalty on the distribution that comes from outside: a bonus for entropy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tsdsl
from tsdsl.analysis.distribution import Floats
from tsdsl.searching.distribution import Alpha, Categoricals, Chosen


class EntropyBonus:
    """Minus the entropy, times a weight; its gradient is estimated from the draws."""

    name = "entropy_bonus"

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def value(self, now: Categoricals) -> float:
        return -self.weight * now.entropy().value

    def gradient(self, now: Categoricals, chosen: Chosen) -> Floats:
        logs = now.log_probability(chosen)
        factors: Floats = self.weight * (logs - logs.mean()) / len(logs)
        return now.gradient(chosen, factors)


def entropy(folder: Path, space: tsdsl.Space) -> float:
    # Of the first phase's last line: later, what it learned is certain.
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [each for each in lines if each["event"] == "step" and each["phase"] == "first"]
    return float(steps[-1]["entropy"])


def test_a_term_from_outside_changes_the_distribution_and_is_logged(
    tiny: Callable[..., tsdsl.Space], videos: Path, tmp_path: Path
) -> None:
    space = tiny(search__samples=8)
    for weight in (-50.0, 50.0):
        terms = [EntropyBonus(weight)]
        folder = tmp_path / str(weight)
        tsdsl.search(space, videos, device="cpu", folder=folder, log_every=1, terms=terms)
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        step = next(each for each in lines if each["event"] == "step")
        assert step["terms"]["entropy_bonus"] == pytest.approx(-weight * step["entropy"])
        assert json.loads((folder / "run.json").read_text())["terms"] == ["entropy_bonus"]
    assert entropy(tmp_path / "50.0", space) > entropy(tmp_path / "-50.0", space)
    assert np.isfinite(Alpha.load(space, tmp_path / "50.0/distribution.json").now().log_p).any()
