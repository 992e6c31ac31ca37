"""Architectures have equal keys exactly where they freeze to the same network."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from random_spaces import chain, enumerated, structures
from text_spaces import MORE, PAIRS, SPARSE, TEXT, every_architecture

import tsdsl
from tsdsl.analysis import networks as module
from tsdsl.analysis.costs.assignments import assignments
from tsdsl.analysis.networks import network_keys
from tsdsl.analysis.sampling import most_probable_networks, sampler
from tsdsl.diagnostics import SpecError
from tsdsl.ir.resolve import architecture_at

SPECS = Path(__file__).resolve().parents[2] / "specs"

HEAD = """tsnet 1
import "std/video" as v
block alike(x, width: int, act: op = relu) { return x -> conv(width, 1x1x1) -> act }
block picks(x, which: int) {
  let a = x -> conv(4, 1x1x1)
  let b = x -> conv(4, 1x1x1)
  return (if which == 0 then a else b) + a + b
}
block ignores(x, width: int, kernel: dims) { return x -> conv(width, 1x1x1) }
block sums(x, a: int, b: int) { return x -> conv(a + b, 1x1x1) -> conv(4, 1x1x1) }
space Some {
  input clip(channels=3, frames=4, height=16, width=16, interval=1)
"""
TAIL = """
  head main -> global_avg_pool -> linear(3)
}
"""
#: The body of a space, its number of architectures and of distinct networks, counted by hand.
CASES = {
    "a kernel that one of two blocks ignores": (
        """kernel ~ {1x3x3, 3x3x3}
        stream main(clip) {
          stem v.x3d_stem(8)
          body ~ {v.mbconv3d(8, kernel=kernel, expand=2.0), v.bottleneck(8)}
          stage s1(stride=1x2x2) { use body }
        }""",
        4,
        3,
    ),
    "one option in two spellings": (
        """stream main(clip) {
          stem v.x3d_stem(8)
          stage s1 { use v.mbconv3d(64, expand=1.0) }
        }
        attend main after s1 ~ {none, v.se(4), v.se(reduction=4), v.se(8)}""",
        4,
        3,
    ),
    "options that rounding to a multiple of 8 makes equal": (
        """stream main(clip) {
          stem v.x3d_stem(8)
          stage s1 { use alike(8) }
        }
        attend main after s1 ~ {none, v.se(4), v.se(8)}""",
        3,
        2,
    ),
    "none, skip and identity are the same": (
        """stream main(clip) {
          stem alike(4)
          stage s1 { use alike(4) }
        }
        attend main after s1 ~ {none, skip, identity, swish}""",
        4,
        2,
    ),
    "a width that no block uses at depth 0": (
        """width ~ {4, 8, 16}
        stream main(clip) {
          stem ignores(4, 1x1x1)
          depth ~ 0..1
          stage s1 { repeat depth { use alike(width) } }
          stage s2 { use alike(4) }
        }""",
        6,
        4,
    ),
    "a decision that nothing reads": (
        """kernel ~ {1x1x1, 1x3x3, 3x3x3}
        stream main(clip) {
          stem ignores(kernel=kernel, width ~ {4, 8})
          stage s1 { use alike(4) }
        }""",
        6,
        2,
    ),
    "decisions of which only the sum counts": (
        """stream main(clip) {
          stem alike(4)
          stage s1 { use sums(a ~ {1, 2, 3}, b ~ {1, 2, 3}) }
        }""",
        9,
        5,
    ),
    "activations are distinguished, but not their spellings": (
        """stream main(clip) {
          stem alike(4, act ~ {relu, swish, none})
          stage s1 { use alike(4, act ~ {relu, relu()}) }
        }""",
        6,
        3,
    ),
    "the tensor that is read is distinguished": (
        """stream main(clip) {
          stem alike(4)
          stage s1 { use picks(which ~ {0, 1}) }
        }""",
        2,
        2,
    ),
    "blocks with parameters of the same names, in other places": (
        """stream main(clip) {
          stem alike(4)
          stage s1 { use alike(4) }
          stage s2 { use alike(4) }
        }
        attend main after s1 ~ {none, alike(4)}
        attend main after s2 ~ {none, alike(4)}""",
        4,
        4,
    ),
}


def space_of(tmp_path: Path, inside: str) -> tsdsl.Space:
    (tmp_path / "some.tsnet").write_text(HEAD + inside + TAIL)
    return tsdsl.load(tmp_path / "some.tsnet")


def keys(space: tsdsl.Space, found: list[tsdsl.Architecture]) -> list[tuple[int, int]]:
    return [tuple(row) for row in network_keys(space.graph).keys(assignments(space.graph, found))]


def agree(left: list, right: list) -> bool:
    """Whether two labellings define the same partition."""
    return len(set(left)) == len(set(right)) == len(set(zip(left, right, strict=True)))


def emitted(space: tsdsl.Space, architecture: tsdsl.Architecture) -> str:
    """The source of an architecture, without the list of decisions in its docstring."""
    return re.sub(r"\nDecisions:\n(    .*\n)+", "\n", tsdsl.emit(space, architecture))


@pytest.mark.parametrize("case", CASES)
def test_networks_are_those_counted_by_hand(case: str, tmp_path: Path) -> None:
    inside, size, count = CASES[case]
    space = space_of(tmp_path, inside)
    every = list(every_architecture(space))
    assert len(every) == space.size == size
    assert space.networks == count
    found = keys(space, every)
    assert len(set(found)) == count
    assert agree(found, structures(space.graph, every))
    assert not network_keys(space.graph).are_architectures or count == size
    for seed in range(4):
        drawn = space.sample(100, seed=seed)
        assert len(drawn) == count == len({structures(space.graph, [a])[0] for a in drawn})
        assert list(space.stream(seed=seed)) == drawn
    ranked = space.most_probable(k=100)
    assert len({structures(space.graph, [a])[0] for a in ranked}) == len(ranked) == count


@pytest.mark.parametrize("case", list(CASES)[:2])
def test_architectures_of_one_network_have_the_same_source(case: str, tmp_path: Path) -> None:
    space = space_of(tmp_path, CASES[case][0])
    every = list(every_architecture(space))
    assert agree(keys(space, every), [emitted(space, a) for a in every])


@pytest.mark.parametrize("case", CASES)
def test_architectures_of_one_network_share_weights_and_results(case: str, tmp_path: Path) -> None:
    import torch

    space = space_of(tmp_path, CASES[case][0])
    every = list(every_architecture(space))
    clip = torch.randn(2, *space.input_shape, generator=torch.Generator().manual_seed(0))
    first: dict = {}
    for key, architecture in zip(keys(space, every), every, strict=True):
        torch.manual_seed(0)
        net = tsdsl.compile(space, frozen=architecture).eval()
        if key not in first:
            # Batch norm scales that start at 0 would hide everything before them.
            for tensor in net.parameters():
                torch.nn.init.normal_(tensor, 0.3)
            first[key] = net
            continue
        net.load_state_dict(first[key].state_dict())
        with torch.no_grad():
            assert torch.equal(net(clip), first[key](clip))
    outputs = [net(clip) for net in first.values()]
    assert not any(torch.equal(a, b) for k, a in enumerate(outputs) for b in outputs[:k])


def test_networks_are_counted_where_architectures_can_be_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seed in range(2, 9):
        graph, found = enumerated(seed)
        every = [architecture_at(graph, at) for at in found]
        if len(every) <= 300:
            assert tsdsl.Space(graph).networks == len(set(structures(graph, every)))
    assert tsdsl.Space(chain(40)).networks is None
    monkeypatch.setattr(module, "MAX_CELLS", 1)
    network_keys.cache_clear()
    # Networks that cannot be distinguished are not counted; each architecture is drawn.
    graph, found = enumerated(10)
    assert tsdsl.Space(graph).networks is None
    assert len(tsdsl.Space(graph).sample(1000, seed=0)) == len(found)
    network_keys.cache_clear()


@pytest.mark.parametrize("seed", range(60))
def test_keys_of_generated_spaces_agree_with_structures(seed: int) -> None:
    graph, found = enumerated(seed)
    found = found[:: max(1, len(found) // 150)]
    if not found:
        return
    every = [architecture_at(graph, at) for at in found]
    right = structures(graph, every)
    assert agree([tuple(row) for row in network_keys(graph).keys(np.array(found))], right)


@pytest.mark.parametrize("seed", range(0, 60, 5))
def test_choices_that_are_too_wide_to_follow(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer architectures are found to be the same network, but never two that differ."""
    monkeypatch.setattr(module, "MAX_FOLLOWED", 2)
    network_keys.cache_clear()
    graph, found = enumerated(seed)
    found = found[:: max(1, len(found) // 150)]
    right = structures(graph, [architecture_at(graph, at) for at in found])
    made = [tuple(row) for row in network_keys(graph).keys(np.array(found))] if found else []
    network_keys.cache_clear()
    assert len(set(made)) == len(set(zip(made, right, strict=True)))


@pytest.mark.parametrize("pair", PAIRS)
def test_keys_of_written_spaces_agree_with_structures(
    pair: tuple[int, int], tmp_path: Path
) -> None:
    text = TEXT.format(sparse=SPARSE[pair[0]], dense="8", more=MORE[pair[1]])
    (tmp_path / "small.tsnet").write_text(text)
    space = tsdsl.load(tmp_path / "small.tsnet")
    some = space.sample(120, seed=0, weights="architectures")
    assert agree(keys(space, some), structures(space.graph, some))


def test_without_redundancy_draws_are_those_of_architectures() -> None:
    """Where each architecture is a network of its own, both kinds of distinct draws are equal."""
    for graph, n in ((chain(40), 600), (tsdsl.load(SPECS / "auto_tsnet_s.tsnet").graph, 50)):
        plain = sampler.sample(graph, 5, n, distinct="architectures")
        assert sampler.sample(graph, 5, n) == plain


def test_the_network_has_the_sum_of_the_probabilities(tmp_path: Path) -> None:
    """The first of two draws, over many seeds: bottleneck is one network of probability 1/2."""
    space = space_of(tmp_path, CASES["a kernel that one of two blocks ignores"][0])
    firsts = [space.sample(2, seed=seed)[0]["main.body"] for seed in range(400)]
    assert abs(firsts.count("v.bottleneck(8)") - 200) < 4 * 10
    # The second is drawn from the rest: 2/3, where the first was one of the other two.
    seconds = [
        b["main.body"] == "v.bottleneck(8)"
        for a, b in (space.sample(2, seed=seed) for seed in range(400))
        if a["main.body"] != "v.bottleneck(8)"
    ]
    share = 2 / 3
    assert (
        abs(sum(seconds) - share * len(seconds)) < 4 * (len(seconds) * share * (1 - share)) ** 0.5
    )


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_draws_from_a_space_that_is_not_listed(
    case: str, listed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the space were large; the rest is enumerated in the end, or too large for that."""
    monkeypatch.setattr(sampler, "MAX_LISTED", -1)
    monkeypatch.setattr(sampler, "MAX_MISSES", 20_000)
    inside, _, count = CASES[case]
    space = space_of(tmp_path, inside)
    if listed:
        drawn = space.sample(100, seed=1)
    else:
        monkeypatch.setattr(sampler, "MAX_REST", -1)
        drawing = space.stream(seed=1)
        drawn = list(islice(drawing, count))
        with pytest.raises(SpecError, match=f"more than the {count} distinct networks"):
            next(drawing)
    assert len(drawn) == count == len(set(structures(space.graph, drawn)))


def test_more_networks_than_the_most_probable_architectures_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = CASES["a decision that nothing reads"][0]
    space = space_of(tmp_path, inside.replace("{4, 8}", "{4: 0.999, 8: 0.001}"))
    first, second = space.most_probable(k=2)
    assert (first["main.stem.width"], second["main.stem.width"]) == (4, 8)
    monkeypatch.setattr(most_probable_networks, "MAX_RANKED", 2)
    monkeypatch.setattr(most_probable_networks, "MOST_RANKED", 1)
    with pytest.raises(SpecError, match="1 distinct network") as few:
        space.most_probable(k=2)
    assert few.value.diagnostics[0].code == "E0594"


#: A depth, with a kernel for each block: each architecture is a network of its own.
NESTED = """stream main(clip) {
  stem v.x3d_stem(8)
  stage s1(stride=1x2x2) {
    width ~ {8, 12}
    repeat depth ~ 1..3 { use v.mbconv3d(width, kernel ~ {1x3x3, 3x3x3}, expand=2.0) }
  }
}
attend main after s1 ~ {none, v.se(4)}"""


def test_each_architecture_is_proven_to_be_a_network_only_where_it_is(tmp_path: Path) -> None:
    """The proof is given for a space of 2 x (2 + 4 + 8) x 2 networks and for the shipped ones, and
    never where two architectures are one network."""
    space = space_of(tmp_path, NESTED)
    assert network_keys(space.graph).are_architectures
    every = list(every_architecture(space))
    assert len(every) == space.size == 56 == len(set(structures(space.graph, every)))
    for name in ("auto_tsnet_s", "auto_tsnet_m", "auto_tsnet_l"):
        assert network_keys(tsdsl.load(SPECS / f"{name}.tsnet").graph).are_architectures
    for seed in range(60):
        graph, found = enumerated(seed)
        some = structures(graph, [architecture_at(graph, at) for at in found[:200]])
        if len(set(some)) < len(some):
            assert not network_keys(graph).are_architectures
