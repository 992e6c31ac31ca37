"""The emitted source of every shipped spec is the built module: same keys, same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from figures import SPECS, spec_files
from torch import nn

import tsdsl

#: A family equals its first member.
FAMILIES = {"x3d", "slowfast_r50", "auto_tsnet"}
SPACES = [
    path
    for path in spec_files()
    if "\nspace " in path.read_text(encoding="utf-8") and path.stem not in FAMILIES
]
REFERENCES = ("auto_tsnet_s.r1", "auto_tsnet_s.r2", "auto_tsnet_l.r1")
#: The smallest crop at which attention windows fit into the last map.
CROP = 64


def assert_emitted(space: tsdsl.Space, arch: tsdsl.Architecture | None) -> None:
    names: dict[str, type[nn.Module]] = {}
    exec(compile(tsdsl.emit(space, frozen=arch), "emitted.py", "exec"), names)
    net = tsdsl.compile(space, frozen=arch).eval()
    with torch.no_grad():
        for module in net.modules():
            # Normalisations that start at zero would hide what is before them.
            if isinstance(module, nn.BatchNorm3d):
                module.weight.uniform_(0.2, 0.4)
    twin = names[space.name]().eval()
    assert list(twin.state_dict()) == list(net.state_dict())
    twin.load_state_dict(net.state_dict())
    clip_NCTHW = torch.randn(2, *space.input_shape)
    with torch.no_grad():
        logits = net(clip_NCTHW)
        assert logits.shape == (2, *space.network(arch).body.result.shape)
        assert torch.equal(logits, twin(clip_NCTHW))
        assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_the_source_is_the_module(path: Path) -> None:
    space = tsdsl.load(path, set={"crop": CROP})
    assert_emitted(space, space.sample(seed=1) if space.decisions else None)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_source_of_reference_architectures(name: str) -> None:
    space = tsdsl.load(SPECS / f"{name.split('.')[0]}.tsnet", set={"crop": CROP})
    assert_emitted(space, tsdsl.Architecture.load(SPECS / f"{name}.arch.json"))


def test_the_head_at_several_places() -> None:
    settings = {"crop": 48, "train_crop": 32, "head_pool_of_train_crop": True}
    assert_emitted(tsdsl.load(SPECS / "x3d_xs.tsnet", set=settings), None)
    assert_emitted(tsdsl.load(SPECS / "slowfast_r50_4x16.tsnet", set=settings), None)
