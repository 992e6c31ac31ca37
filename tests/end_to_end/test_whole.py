"""Specs that nobody would write, all the way to networks.

Each spec of the folder, and spaces made at random as text: what is checked is sound, the frozen
graph costs what the tables say, and the emitted code does what the graph says.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from checks import assert_sound
from random_text import random_space

import tsdsl

HERE = Path(__file__).parent


def assert_whole(space: tsdsl.Space, count: int) -> None:
    archs = space.sample(count, seed=0)
    macs, params = space.flops(archs), space.params(archs)
    low, high = space.bounds("macs")
    for arch, mac, param in zip(archs, macs, params, strict=True):
        network = space.network(arch)
        assert space.flops(arch) == mac
        assert space.params(arch) == param
        assert low.value <= mac <= high.value
        assert_sound(network)


@pytest.mark.parametrize("spec", sorted((HERE / "specs").glob("*.tsnet")), ids=lambda p: p.stem)
def test_a_spec_goes_through_every_stage(spec: Path) -> None:
    assert [d.code for d in tsdsl.check(spec) if d.severity == "error"] == []
    assert_whole(tsdsl.load(spec), 6)


@pytest.mark.parametrize("seed", range(10))
def test_a_random_text_goes_through_every_stage(seed: int, tmp_path: Path) -> None:
    spec = tmp_path / "random.tsnet"
    spec.write_text(random_space(seed), encoding="utf-8")
    assert_whole(tsdsl.load(spec), 3)
