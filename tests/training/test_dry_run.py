"""Dry runs of networks on the meta device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tsdsl
from tsdsl.diagnostics import SpecError
from tsdsl.training.dry_run import dry_run, gives_probabilities

SPECS = Path(__file__).resolve().parents[2] / "specs"


def test_cost_of_another_crop(crop: int = 182) -> None:
    space = tsdsl.load(SPECS / "x3d_xs.tsnet")
    net = tsdsl.compile(space).train()
    found = dry_run(net, (3, 4, crop, crop))
    assert found.macs == tsdsl.load(SPECS / "x3d_xs.tsnet", set={"crop": crop}).flops()
    assert found.outputs == 400 and net.training
    assert next(net.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("net", "match"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(5, 3)), "does not accept clips of 3 x 2 x 4 x 4: "),
        (nn.Conv3d(3, 4, (1, 9, 9)), "does not accept clips"),
        (nn.Identity(), r"returns \(1, 3, 2, 4, 4\)"),
    ],
)
def test_networks_that_do_not_fit(net: nn.Module, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        dry_run(net, (3, 2, 4, 4))


def test_heads_that_give_probabilities() -> None:
    for name, settings, expected in (
        ("x3d_s", {}, False),
        ("x3d_s", {"head_pool_of_train_crop": True, "crop": 182}, True),
        ("slowfast_r50_4x16", {}, False),
    ):
        space = tsdsl.load(SPECS / f"{name}.tsnet", set=settings)
        assert gives_probabilities(space.network()) is expected


def test_what_they_give_sums_to_one() -> None:
    settings = {"head_pool_of_train_crop": True, "train_crop": 64, "crop": 96, "frames": 4}
    space = tsdsl.load(SPECS / "x3d_s.tsnet", set=settings)
    with torch.inference_mode():
        given = tsdsl.compile(space).eval()(torch.randn(1, 3, 4, 96, 96))
    assert float(given.sum()) == pytest.approx(1, abs=1e-5) and bool((given >= 0).all())
