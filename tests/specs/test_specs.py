"""Every shipped spec is right, and counts what torch counts, for its network or for any of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cases import cases
from figures import spec_files
from torch.utils.flop_counter import FlopCounterMode

import tsdsl

#: Number of architectures in one test, so that a sweep is distributed over workers. By default one
#: test runs for each searchable space.
CHUNK = 5
#: Number of architectures of each searchable space with --sweep.
SWEPT = 200
#: Specs with open decisions. All other specs must have none.
SEARCHED = {
    *("auto_tsnet_s", "auto_tsnet_m", "auto_tsnet_l", "two_stream"),
    *("glyphs_space", "glyphs_one_phase"),
}


#: Specs with a space (a file may have blocks only), and those among them that are searched. The
#: family auto_tsnet equals S.
SPACES = [path for path in spec_files() if "\nspace " in path.read_text(encoding="utf-8")]
SEARCHABLE = [path for path in SPACES if path.stem in SEARCHED]
FIXED = [path for path in SPACES if path.stem not in {*SEARCHED, "auto_tsnet"}]


def by_name(path: Path) -> str:
    return path.stem


def counted(space: tsdsl.Space, arch: tsdsl.Architecture | None = None) -> tuple[int, int]:
    """Multiply-adds and parameters as torch counts them, on the meta device."""
    with torch.device("meta"), torch.no_grad():
        net = tsdsl.compile(space, frozen=arch).eval()
        clip_NCTHW = torch.empty(1, *space.input_shape)
        with FlopCounterMode(display=False) as counter:
            net(clip_NCTHW)
    total = counter.get_total_flops()
    assert total % 2 == 0
    return total // 2, sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("path", spec_files(), ids=by_name)
def test_nothing_is_wrong(path: Path) -> None:
    assert [f"{d.code} {d.message}" for d in tsdsl.check(path)] == []


@pytest.mark.parametrize("path", FIXED, ids=by_name)
def test_fixed_networks_cost_what_torch_counts(path: Path) -> None:
    space = tsdsl.load(path)
    assert space.decisions == ()
    assert (space.flops(), space.params()) == counted(space)


@pytest.mark.parametrize("seed", cases(1, sweep=SWEPT // CHUNK))
@pytest.mark.parametrize("path", SEARCHABLE, ids=by_name)
def test_architectures_cost_what_torch_counts(path: Path, seed: int) -> None:
    space = tsdsl.load(path)
    assert space.decisions
    for arch in space.sample(CHUNK, seed=seed):
        found = counted(space, arch)
        assert (space.flops(arch), space.params(arch)) == found
