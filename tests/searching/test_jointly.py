"""Distributions that are joint within blocks, against the enumeration of all architectures."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import tsdsl
from tsdsl.analysis.costs.counted import MACS
from tsdsl.analysis.distribution import Distribution
from tsdsl.cli.__main__ import cli
from tsdsl.diagnostics import SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.decision_groups import MAX_COMBINED, InvalidGroups, block_groups, join_decisions
from tsdsl.searching.distribution import Alpha, Categoricals
from tsdsl.searching.parsec.cost_term import CostTerm, penalty
from tsdsl.sema.sections import Budget

sys.path.insert(0, str(Path(__file__).resolve().parent))

from joint_spaces import GROUPS, KINDS, architectures_of, joint, odds_of, space_of
from tiny_spaces import stirred


def paths_of(space: tsdsl.Space, groups: tuple[tuple[int, ...], ...]) -> list[tuple[str, ...]]:
    return [tuple(space.decisions[k].path for k in group) for group in groups]


@pytest.mark.parametrize("kind", KINDS)
def test_the_conversion_changes_no_probability(kind: str, tmp_path: Path) -> None:
    space = space_of(kind, tmp_path)
    groups = block_groups(space.graph).joined
    assert paths_of(space, groups) == GROUPS[kind]
    given = stirred(space, 1, 2.0)
    before, after = Categoricals(space, given), Categoricals(space, given.with_groups(groups))
    every = architectures_of(space)
    logs = before.log_probability(every)
    assert after.log_probability(every) == pytest.approx(logs, abs=1e-12)
    assert after.size == sum(
        np.prod([len(space.decisions[k].options) for k in part])
        for part in after.distribution.layout.parts
    )
    assert after.entropy().value == pytest.approx(before.entropy().value, abs=1e-12)
    # And back: marginals of a product are its factors.
    again = Categoricals(space, after.distribution.with_groups(()))
    assert again.log_probability(every) == pytest.approx(logs, abs=1e-12)
    assert space.most_probable(after.distribution) == space.most_probable(given)


def test_what_is_less_probable_than_any_float_stays_so(tmp_path: Path) -> None:
    space = space_of("gated", tmp_path)
    flat = stirred(space, 2).flat.copy()
    # Of the first block's width.
    flat[4:7] = 0.0, -2000.0, -np.inf
    given = Distribution(space.graph, flat)
    path = "main.s1[0].width"
    assert given.logits[path].tolist() == [0.0, -2000.0, -np.inf]
    made = given.with_groups(block_groups(space.graph).joined)
    assert made.logits[path] == pytest.approx([0.0, -2000.0, -np.inf])
    assert made.with_groups(()).logits[path] == pytest.approx([0.0, -2000.0, -np.inf])


@pytest.mark.parametrize("kind", KINDS)
def test_against_enumeration(kind: str, tmp_path: Path) -> None:
    space = space_of(kind, tmp_path)
    now = Categoricals(space, joint(space, 3))
    given = now.distribution
    odds = odds_of(space, given)
    every, p = list(odds), np.array(list(odds.values()))
    assert np.exp(now.log_probability(every)) == pytest.approx(p, rel=1e-9)
    assert now.entropy() == (pytest.approx(-(p @ np.log(p)), rel=1e-12), 0.0)
    costs = space.flops(every)
    mean = p @ costs
    assert space.expectation("macs", given) == pytest.approx(mean, rel=1e-12)
    assert space.variance("macs", given) == pytest.approx(p @ (costs - mean) ** 2, rel=1e-9)
    assert sum(space.breakdown("macs", "block", given).values()) == pytest.approx(mean, rel=1e-12)
    # A factorised distribution with the same marginals is another one.
    assert space.variance("macs", given.with_groups(())) != pytest.approx(
        space.variance("macs", given)
    )
    for low, high in [(0, int(costs.max())), *np.quantile(costs, [(0.2, 0.5), (0.6, 0.9)])]:
        inside = (costs >= low) & (costs <= high)
        window = (float(low), float(high))
        assert space.mass(given, flops=window) == pytest.approx([p[inside].sum()] * 2, rel=1e-9)
        best = max((q, a) for q, a, ok in zip(p, range(len(p)), inside, strict=True) if ok)[1]
        found = space.most_probable(given, flops=window)
        assert found == every[best] and found.provenance["proven"]
        drawn = space.sample(10**6, seed=0, weights=given, flops=window)
        assert set(drawn) == {a for a, ok in zip(every, inside, strict=True) if ok}
    ranked = [every[k] for k in np.argsort(-p)[:10]]
    assert space.most_probable(given, k=10) == ranked
    # Marginals, given that a decision is active.
    for d in space.decisions:
        if space.graph.requirements:
            break
        on = [d.path in a for a in every]
        marginal = [
            p[[a.get(d.path) == option for a in every]].sum() / p[on].sum() for option in d.options
        ]
        assert given.probabilities[d.path] == pytest.approx(marginal, rel=1e-9)


def log_p(space: tsdsl.Space, given: Distribution, every: list[Architecture]) -> torch.Tensor:
    """log P of all architectures, with a graph back to the first result's ``flat``."""
    flat = torch.tensor(given.flat, requires_grad=True)
    parts = torch.split(flat, list(given.layout.sizes))
    weights = []
    for architecture in every:
        total = torch.zeros((), dtype=torch.float64)
        for numbers, row in zip(given.layout.parts, parts, strict=True):
            members = [space.decisions[k] for k in numbers]
            if members[0].path in architecture:
                at = 0
                for d in members:
                    at = at * len(d.options) + d.options.index(architecture[d.path])
                total = total + torch.log_softmax(row, 0)[at]
        weights.append(total)
    stacked = torch.stack(weights)
    logs = stacked - torch.logsumexp(stacked, 0)
    logs.flat = flat
    return logs


@pytest.mark.parametrize("kind", ["gated", "widths"])
def test_gradients_against_autograd(kind: str, tmp_path: Path) -> None:
    space = space_of(kind, tmp_path)
    now = Categoricals(space, joint(space, 4))
    every = architectures_of(space)
    factors = np.random.default_rng(5).normal(size=len(every))
    logs = log_p(space, now.distribution, every)
    (torch.tensor(factors) @ logs).backward(retain_graph=True)
    assert now.gradient(every, factors) == pytest.approx(logs.flat.grad.numpy(), abs=1e-10)
    # The exact gradient of a mean, and of the cost term, from the query_cache.
    costs = torch.tensor(space.flops(every), dtype=torch.float64)
    logs.flat.grad = None
    mean = logs.exp() @ costs
    mean.backward(retain_graph=True)
    told = np.concatenate(list(space.gradient("macs", now.distribution).values()))
    assert told == pytest.approx(logs.flat.grad.numpy(), rel=1e-8, abs=1e-6)
    middle = mean.item()
    low, high = middle * 1.2, middle * 1.3
    term = CostTerm(space, [Budget(cost="flops", low=low, high=high, weight=0.3)], kind="exact")
    assert term.means(now) == pytest.approx([middle])
    spread = (logs.exp() @ (costs - mean) ** 2).item() ** 0.5
    size = max(1 - middle / low, spread / (low * (2 * np.pi) ** 0.5))
    wanted = -0.3 / (low * size) * logs.flat.grad.numpy()
    assert term.gradient(now, []) == pytest.approx(wanted, rel=1e-8, abs=1e-12)
    # As printed: over samples, which here are all architectures.
    sampled = CostTerm(space, term.budgets)
    share = penalty(space.flops(every), low, high)
    logs.flat.grad = None
    (torch.tensor(0.3 * share / share.sum()) @ logs).backward()
    assert sampled.gradient(now, every) == pytest.approx(logs.flat.grad.numpy(), abs=1e-10)


@pytest.mark.parametrize("kind", ["gated", "depth"])
def test_frequencies_of_samples(kind: str, tmp_path: Path) -> None:
    space = space_of(kind, tmp_path)
    now = Categoricals(space, joint(space, 6, 0.7))
    odds = odds_of(space, now.distribution)
    seen = Counter(a for step in range(60) for a in now.sample(200, seed=7, step=step))
    total = seen.total()
    assert set(seen) <= set(odds)
    # The rarest together, so that each part is expected often enough.
    ranked = sorted(odds, key=lambda a: odds[a], reverse=True)
    common = [a for a in ranked if odds[a] * total >= 10]
    cells = [(seen[a], odds[a] * total) for a in common]
    rest = [a for a in ranked if odds[a] * total < 10]
    if rest:
        cells.append((sum(seen[a] for a in rest), sum(odds[a] for a in rest) * total))
    chi = sum((n - expected) ** 2 / expected for n, expected in cells)
    assert abs(chi - (len(cells) - 1)) < 4 * (2 * (len(cells) - 1)) ** 0.5


@pytest.mark.parametrize("kind", ["gated", "required"])
def test_with_streams_of_a_phase_only(kind: str, tmp_path: Path) -> None:
    from tsdsl.ir.stream_subset import restrict

    space = space_of(kind, tmp_path)
    stream = next(iter(space.graph.streams))
    there = tsdsl.Space(restrict(space.graph, [stream]))
    given = joint(space, 8)
    odds = odds_of(space, given)
    costs = there.query_cache.lookup(MACS).many(space.encode(list(odds)))
    assert there.expectation("macs", given.on_graph(there.graph)) == pytest.approx(
        np.array(list(odds.values())) @ costs, rel=1e-12
    )


def test_the_joined_graph_is_the_same_space(tmp_path: Path) -> None:
    """Counts, ends and costs of a joined graph are the space's."""
    from tsdsl.analysis.elimination.count import count

    for kind in KINDS:
        space = space_of(kind, tmp_path)
        graph = join_decisions(space.graph, block_groups(space.graph).joined)
        other = tsdsl.Space(graph)
        assert count(graph) == space.size
        assert graph.hash == space.hash
        for end in ("min", "max"):
            assert (
                getattr(other.bounds("macs"), end).value == getattr(space.bounds("macs"), end).value
            )
        assert [v.index for v in graph.variables] == list(range(len(graph.variables)))
        for v in graph.variables:
            if v.definition is not None:
                assert all(u.index < v.index for u in v.definition.variables)
                assert all(graph.variables[u.index] is u for u in v.definition.variables)


def test_groups_that_are_none(tmp_path: Path) -> None:
    space = space_of("gated", tmp_path)
    at = {d.path: k for k, d in enumerate(space.decisions)}
    plain = Distribution.initial(space.graph)
    with pytest.raises(InvalidGroups, match="not active together"):
        plain.with_groups([(at["main.s1[0].width"], at["main.s1[1].width"])])
    with pytest.raises(InvalidGroups, match="cannot be a group"):
        plain.with_groups([(0, 0)])
    assert block_groups(space.graph, ["main.s1[0].width", "main.s1[1].body"]).joined == ()


def test_what_belongs_to_a_block(tmp_path: Path) -> None:
    (tmp_path / "places.tsnet").write_text("""tsnet 1
import "std/video" as v
space Places {
  input clip(channels=3, frames=8, height=32, width=32)
  every ~ {8, 16}
  stream a(clip, every=2) {
    stem v.x3d_stem(width ~ {8, 16}, kernel ~ {3x3x3, 5x3x3})
    stage s1(stride=1x2x2) {
      width ~ {16, 24}
      expand ~ {1.5, 2.25}
      use v.mbconv3d(width, kernel ~ {1x3x3, 3x3x3}, expand = expand, se ~ {true, false})
    }
    stage s2 {
      width ~ {16, 24}
      act ~ {swish, relu}
      use v.mbconv3d(width, kernel ~ {1x3x3, 3x3x3}, act = act)
      use v.mbconv3d(width, kernel ~ {1x3x3, 3x3x3}, expand ~ {1.5, 2.25}, se = true)
    }
  }
  stream b(clip) { stem v.x3d_stem(8) stage s1(stride=1x2x2) { use v.mbconv3d(every) } }
  fuse b -> a after stem = v.t_conv(kernel ~ {3x1x1, 5x1x1})
  fuse b -> a after s1 ~ {v.t_conv(kernel ~ {3x1x1, 5x1x1}), skip}
  attend a after s1 = v.nonlocal(inner ~ {4, 8}, pool ~ {1x1x1, 1x2x2})
  head concat(a -> v.conv5(width ~ {32, 64}), b -> v.conv5(32)) -> linear(10)
}
""")
    space = tsdsl.load(tmp_path / "places.tsnet")
    assert paths_of(space, block_groups(space.graph).joined) == [
        ("a.stem.width", "a.stem.kernel"),
        ("a.s1.width", "a.s1.expand", "a.s1[0].kernel", "a.s1[0].se"),
        ("attend.a.s1.inner", "attend.a.s1.pool"),
        ("a.s2[1].kernel", "a.s2[1].expand"),
    ]


def test_too_many_combinations_stay_apart(tmp_path: Path) -> None:
    wide = ", ".join(map(str, range(8, 8 + 72)))
    (tmp_path / "wide.tsnet").write_text(f"""tsnet 1
block pair(x, a: int, b: int) {{ return x -> conv(a, 1x1x1) -> conv(b, 1x1x1) -> conv(8, 1x1x1) }}
space Wide {{
  input clip(channels=3, frames=4, height=16, width=16, interval=1)
  stream main(clip) {{
    stem conv(8, 1x1x1)
    stage s1 {{
      use pair(a ~ {{{wide}}}, b ~ {{{wide}}})
      use pair(a ~ {{8, 16}}, b ~ {{8, 16}})
    }}
  }}
  head main -> global_avg_pool -> linear(5)
}}
""")
    space = tsdsl.load(tmp_path / "wide.tsnet")
    found = block_groups(space.graph)
    assert MAX_COMBINED < 72**2
    assert paths_of(space, found.joined) == [("main.s1[1].a", "main.s1[1].b")]
    assert paths_of(space, found.too_large) == [("main.s1[0].a", "main.s1[0].b")]


# ---------------------------------------------------------------- files


def test_files(tmp_path: Path) -> None:
    space = space_of("gated", tmp_path)
    given = joint(space, 9)
    flat = given.flat.copy()
    flat[given.layout.starts[2] + 1] = -np.inf
    given = Distribution(space.graph, flat, given.groups)
    given.save(tmp_path / "dist.json")
    again = Distribution.load(space.graph, tmp_path / "dist.json")
    assert again.groups == given.groups and (again.flat == given.flat).all()
    # In any order: options, decisions within a group, groups.
    held = json.loads((tmp_path / "dist.json").read_text())
    assert held["format"] == "tsnet-dist/1"
    path = "main.s1[0].width"
    marginal = np.exp([-np.inf if x is None else x for x in held["decisions"][path]["logits"]])
    assert marginal / marginal.sum() == pytest.approx(given.probabilities[path])
    entry = held["decisions"][path]
    entry["options"].reverse()
    entry["logits"].reverse()
    first = held["joint"][0]
    assert first["decisions"] == [path, "main.s1[0].body"]
    table = np.array(first["logits"], object).reshape(3, 2)[::-1].T
    first["decisions"].reverse()
    first["logits"] = table.reshape(-1).tolist()
    held["joint"].reverse()
    mixed = Distribution.parse(space.graph, json.dumps(held))
    assert mixed.groups == given.groups and (mixed.flat == given.flat).all()
    # Who leaves the joint part out has the marginals.
    del held["joint"]
    apart = Distribution.parse(space.graph, json.dumps(held))
    assert apart.flat_marginals == pytest.approx(given.flat_marginals)


BAD = [
    (lambda j: j[0].update(decisions=["main.s1[0].width", "nowhere"]), "no decision 'nowhere'"),
    (lambda j: j[0].update(logits=[0.0] * 5), "together need 6 logits, not 5"),
    (lambda j: j[0].update(logits=[None] * 6), "no options that can be taken together"),
    (lambda j: j.append(j[0]), "given twice"),
    (lambda j: j[0].update(decisions=["main.s1[0].width", "main.s1[1].body"]), "not active tog"),
    (lambda j: j[0].update(decisions=["main.s1[0].width"]), "at least 2"),
    (lambda j: j[0].update(logits=["a"] * 6), "joint.0.logits"),
]


@pytest.mark.parametrize(("spoil", "says"), BAD)
def test_bad_files(tmp_path: Path, spoil, says: str) -> None:  # type: ignore[no-untyped-def]
    space = space_of("gated", tmp_path)
    held = json.loads(joint(space).dump())
    spoil(held["joint"])
    (tmp_path / "bad.json").write_text(json.dumps(held))
    with pytest.raises(SpecError) as refused:
        Distribution.load(space.graph, tmp_path / "bad.json")
    (found,) = refused.value.diagnostics
    assert found.code == "E0721" and says in found.message, found.message


def test_the_tools_read_them(tmp_path: Path) -> None:
    space = space_of("gated", tmp_path)
    given = joint(space, 10, 2.0)
    given.save(tmp_path / "dist.json")
    spec, dist = str(tmp_path / "joint.tsnet"), str(tmp_path / "dist.json")
    told = CliRunner().invoke(cli, ["space", spec, "--distribution", dist, "--json"])
    found = json.loads(told.stdout)["macs"]
    assert found["mean"] == pytest.approx(space.expectation("macs", given))
    assert found["std"] == pytest.approx(space.std("macs", given))
    drawn = CliRunner().invoke(
        cli, ["sample", spec, "--distribution", dist, "-n", "5", "--seed", "3"]
    )
    lines = [json.loads(line)["decisions"] for line in drawn.stdout.splitlines()]
    assert lines == [dict(a) for a in space.sample(5, seed=3, weights=given)]


# ---------------------------------------------------------------- alpha


def test_alpha_joined_and_taken_apart(tmp_path: Path) -> None:
    space = space_of("gated", tmp_path)
    alpha = Alpha(space, stirred(space, 11))
    every = architectures_of(space)
    logs = alpha.now().log_probability(every)
    kept = alpha.logits[0]
    groups = block_groups(space.graph).joined
    alpha.join(groups)
    assert alpha.logits[0] is kept and alpha.groups == groups
    assert alpha.now().log_probability(every) == pytest.approx(logs, abs=1e-12)
    assert alpha.learned == tuple(d.path for d in space.decisions)
    with torch.no_grad():
        for row in alpha.logits:
            row += torch.randn(row.shape, generator=torch.Generator().manual_seed(1))
    body = next(d for d in space.decisions if d.path == "main.s1[0].body")
    stands = {"main.s1[0].width": 6, body.path: body.options[0]}
    alpha.stand(stands)
    assert alpha.learned == tuple(d.path for d in space.decisions if d.path not in stands)
    p = alpha.now().log_probability(every)
    for a, log in zip(every, p, strict=True):
        assert (log > -np.inf) == all(a[path] == option for path, option in stands.items())
    alpha.save(tmp_path / "dist.json")
    again = Alpha.load(space, tmp_path / "dist.json")
    assert again.groups == groups and again.learned == alpha.learned
    assert again.now().log_probability(every) == pytest.approx(p, abs=1e-12)
    with pytest.raises(ValueError, match="a part of"):
        alpha.stand({"main.s1[0].width": 6})
    # Free again: the logits are still there; one group stays, the others leave their marginals.
    alpha.stand({})
    before = alpha.now().distribution
    alpha.join(groups[1:2])
    after = alpha.now().distribution
    assert (after.logits_of(groups[1]) == before.logits_of(groups[1])).all()
    assert after.flat_marginals == pytest.approx(before.flat_marginals, rel=1e-12)
    assert alpha.state_dict().keys() == Alpha(space, after).state_dict().keys()


def test_a_correlated_target_needs_a_joint_distribution(tmp_path: Path) -> None:
    """The step's own gradient of alpha, on a likelihood that rewards two options of a block only
    together: a product of categoricals cannot give both pairs half of the mass."""
    space = space_of("widths", tmp_path)
    (group, *_) = block_groups(space.graph).joined
    first, second = (space.decisions[k] for k in group)

    def likelihood(a: Architecture) -> float:
        return 3.0 if (a[first.path] == 8) == (a[second.path] == 1.5) else 0.0

    def searched(alpha: Alpha) -> float:
        """The probability of the two good pairs."""
        optimizer = torch.optim.Adam(alpha.parameters(), lr=0.1)
        for step in range(80):
            now = alpha.now()
            drawn = now.sample(16, seed=1, step=step)
            logs = np.array([likelihood(a) for a in drawn])
            w = np.exp(logs - logs.max())
            alpha.set_gradient(now.gradient(drawn, 1 / len(drawn) - w / w.sum()))
            optimizer.step()
        odds = odds_of(space, alpha.now().distribution)
        return sum(p for a, p in odds.items() if likelihood(a))

    def even() -> Alpha:
        """Where the gradient of a product of categoricals vanishes."""
        return Alpha(space, Distribution.uniform(space.graph))

    together = even()
    together.join(block_groups(space.graph).joined)
    assert searched(together) > 0.97
    row = together.now().distribution.logits_of(group)
    table = np.exp(row - row.max())
    table /= table.sum()
    pairs = table.reshape(2, 2)
    # Both pairs have mass: the distribution itself is correlated.
    good = [pairs[0, 0], pairs[1, 1]]
    assert min(good) > 0.1 and sum(good) > 0.97
    # What a factorised one with these marginals makes of it.
    apart = odds_of(space, together.now().distribution.with_groups(()))
    assert sum(p for a, p in apart.items() if likelihood(a)) < 0.9


def test_large_groups_need_no_large_tables(tmp_path: Path) -> None:
    """640 combinations in each of ten blocks of one width; 520 in each of twelve whose widths meet:
    tables over all pairs of combinations would be refused, or slow."""
    from tsdsl.analysis.elimination.bucket_tree import bucket_tree

    head = """tsnet 1
import "std/video" as v
space Many {
  input clip(channels=3, frames=8, height=64, width=64, interval=2)
  stream main(clip) {
    stem v.x3d_stem(16)
    stage s1(stride=1x2x2) {"""
    kernels = "{1x3x3, 3x3x3, 5x3x3, 1x5x5, 3x5x5, 5x5x5, 3x7x7, 1x7x7}"
    expands = "{1.5, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0}"
    shared = f"""
      width ~ 16..64 step 8
      repeat depth ~ 4..10 {{
        use v.mbconv3d(
          width, kernel ~ {kernels}, expand ~ {expands}, se ~ {{true, false}},
          act ~ {{swish, relu}}, se_ratio ~ {{0.0625, 0.125}}
        )
      }}"""
    met = f"""
      repeat 12 {{
        use v.mbconv3d(width ~ 16..64 step 4, kernel ~ {kernels}, expand ~ {{1.5, 2.0, 3.0, 4, 6}})
      }}"""
    tail = """
    }
  }
  head main -> global_avg_pool -> linear(5)
}
"""
    for body, blocks_, each in ((shared, 10, 640), (met, 12, 520)):
        (tmp_path / "many.tsnet").write_text(head + body + tail)
        space = tsdsl.load(tmp_path / "many.tsnet")
        plain = stirred(space, 12)
        made = plain.with_groups(block_groups(space.graph).joined)
        assert [len(made.logits_of(g)) for g in made.groups] == [each] * blocks_
        for ask in (space.expectation, space.variance):
            assert ask("macs", made) == pytest.approx(ask("macs", plain), rel=1e-9)
        steps = bucket_tree(made.graph, (MACS,)).steps
        assert sum(int(np.prod(step.shape)) for step in steps) < 1 << 19
