"""What a plan says before anything runs: phases that cannot work, or that do not learn."""

from __future__ import annotations

from pathlib import Path

import pytest

import tsdsl
from tsdsl.diagnostics import SpecError
from tsdsl.searching.plan import check, plan_of

SPEC = """tsnet 1
import "std/video" as v
block layer(x, width: int, kernel: dims) { return x -> conv(width, kernel) -> relu }
block gate(s, t) {
  return t * (s -> global_avg_pool(keep=true) -> conv(t.channels, 1x1x1) -> sigmoid)
}
space S {
  input clip(channels=3, frames=4, height=8, width=8)
  stream a(clip, every=2) {
    stem layer(4, 1x3x3)
    stage s1 { use layer(4, kernel ~ {1x1x1, 1x3x3}) }
  }
  stream b(clip) {
    stem layer(4, 1x3x3)
    stage s1 { use layer(width ~ {2, 4}, kernel ~ {1x1x1, 1x3x3}) }
  }
  stream c(clip) { stem layer(4, 1x3x3) stage s1 { use relu } }
  fuse b -> a after s1 ~ {FUSED}
  HEAD
  search parsec {
    samples = 2 batch = 4
    phase one { PHASE epochs = 1 lr = (weights=0.05, arch=0.1) }
    phase two { learn a, b, fuse epochs = 1 lr = (weights=0.05, arch=0.1) }
  }
}
"""
JOINED = (
    "head concat(a -> global_avg_pool, b -> global_avg_pool, c -> global_avg_pool) -> linear(3)"
)
TIMES = "head mul(a -> global_avg_pool, b -> conv(4, 1x1x1) -> global_avg_pool) -> linear(3)"
ALONE = "head a -> global_avg_pool -> linear(3)"


def space_of(
    folder: Path, phase: str, head: str = JOINED, fused: str = "skip, v.t_conv(3x1x1)"
) -> tsdsl.Space:
    text = SPEC.replace("PHASE", phase).replace("HEAD", head).replace("FUSED", fused)
    (folder / "s.tsnet").write_text(text)
    return tsdsl.load(folder / "s.tsnet")


@pytest.mark.parametrize(
    ("phase", "head", "fused", "said"),
    [
        ("streams b learn b", ALONE, "skip, v.t_conv(3x1x1)", "with stream b alone, nothing re"),
        ("streams b, c learn b", TIMES, "skip, v.t_conv(3x1x1)", "with streams b and c alone, no"),
        ("streams a learn b", JOINED, "skip, v.t_conv(3x1x1)", "has nothing to learn: of what"),
        ("streams a learn fuse", JOINED, "skip, v.t_conv(3x1x1)", "has nothing to learn: of what"),
    ],
)
def test_phases_that_cannot_be(
    tmp_path: Path, phase: str, head: str, fused: str, said: str
) -> None:
    space = space_of(tmp_path, phase, head, fused)
    with pytest.raises(SpecError, match=said) as bad:
        plan_of(space, 4)
    (found,) = bad.value.diagnostics
    assert found.code == "E0842" and found.help and "'one'" in found.message


@pytest.mark.parametrize(
    ("phase", "head", "fused"),
    [
        ("streams a learn a", JOINED, "skip, v.lateral_concat, v.t_conv(3x1x1)"),
        # What is not there gates nothing: the target is as wide as before.
        ("streams a learn a", ALONE, "skip, gate"),
        ("streams a, b learn a, b, fuse", JOINED, "gate, v.lateral_concat"),
        ("learn a, b, fuse", TIMES, "gate, skip"),
    ],
)
def test_phases_that_run(tmp_path: Path, phase: str, head: str, fused: str) -> None:
    space = space_of(tmp_path, phase, head, fused)
    plan = plan_of(space, 4)
    assert check(space, plan) == [] and plan.phases[0].unheard == ()
    import torch

    supernet = tsdsl.compile(space)
    assert isinstance(supernet, tsdsl.Supernet)
    clip = torch.randn(1, *space.input_shape)
    for arch in space.sample(6, seed=0):
        assert supernet(clip, arch, streams=plan.phases[0].streams).isfinite().all()


def test_what_a_phase_cannot_learn(tmp_path: Path) -> None:
    """It stands at its default, and is learned by a later phase."""
    space = space_of(tmp_path, "streams a, c learn a, b, fuse")
    plan = plan_of(space, 8)
    one, two = plan.phases
    assert one.learned == ("a.s1[0].kernel",)
    assert set(one.unheard) == {"b.s1[0].width", "b.s1[0].kernel", "fuse.b->a.s1"}
    assert len(two.learned) == 4 and two.unheard == ()
    (found,) = check(space, plan)
    assert found.code == "W0976" and "with streams a and c alone" in found.message
    assert "phase 'one' cannot learn" in found.message and "fuse.b->a.s1" in found.message


def test_a_phase_that_is_warm_up_only(tmp_path: Path) -> None:
    space = space_of(tmp_path, "learn a")
    assert check(space, plan_of(space, 8)) == []
    one, two = check(space, plan_of(space, 1))
    assert one.code == two.code == "W0976"
    assert "phase 'one' decides nothing: its only step is warm-up" in one.message
    # Without a list, steps are not known.
    assert check(space, plan_of(space, 1), known_steps=False) == []
    whole = tsdsl.load(tmp_path / "s.tsnet", set={"search.two.warmup": 1.0})
    (said,) = check(whole, plan_of(whole, 8))
    assert "phase 'two' decides nothing: all of its 8 steps are warm-up" in said.message
    assert len(check(whole, plan_of(whole, 1), known_steps=False)) == 1


def test_defaults_that_contradict_a_requirement(tmp_path: Path) -> None:
    """What no phase has learned yet is at its default: that has to be an architecture."""
    head = JOINED + "\n  wide ~ {16, 8}\n  require wide < 16 or a.s1[0].kernel != 1x1x1"
    space = space_of(tmp_path, "learn b", head)
    with pytest.raises(SpecError, match="phase 'one' has no architecture") as bad:
        check(space, plan_of(space, 8))
    (found,) = bad.value.diagnostics
    assert found.code == "E0842" and "(wide = 16, a.s1[0].kernel = 1x1x1)" in found.message
    fixed = tsdsl.load(tmp_path / "s.tsnet", set={"wide": 8})
    assert check(fixed, plan_of(fixed, 8)) == []


def test_a_last_budget_of_some_streams(tmp_path: Path) -> None:
    space = space_of(tmp_path, "learn a, fuse")
    text = (tmp_path / "s.tsnet").read_text()
    last = "phase two { streams b, c budget flops in 1..1G weight 0.1"
    (tmp_path / "s.tsnet").write_text(text.replace("phase two {", last))
    space = tsdsl.load(tmp_path / "s.tsnet")
    assert space.sections is not None
    found = [w for w in check(space, plan_of(space, 8)) if w.code == "W0974"]
    assert len(found) == 1 and "are of streams b and c alone" in found[0].message
