"""What evolution asks for: inside, new, reproducible, children of the best; and that it finds."""

from __future__ import annotations

import sys
from collections import Counter
from math import sqrt
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

import tsdsl
from tsdsl.diagnostics import SpecError
from tsdsl.ir.ordering import TooCoupled
from tsdsl.searching.evolution.population import CHUNK, Candidate, Evolution, Settings

sys.path.insert(0, str(Path(__file__).resolve().parent))

from random_spaces import decisions_of, enumerated, structures
from tiny_spaces import tiny

WIDE = """tsnet 1
block layer(x, width: int, kernel: dims) { return x -> conv(width, kernel) -> relu }
space Wide {
  input clip(channels=3, frames=4, height=8, width=8, interval=1)
  stream main(clip) {
    stem layer(4, 1x3x3)
    stage s1 {
      repeat depth ~ 1..4 {
        use layer(width ~ {4, 6, 8, 10}, kernel ~ {1x1x1: 1, 1x3x3: 2, 3x3x3: 1})
      }
    }
  }
  head main -> global_avg_pool -> linear(3)
}
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tsdsl.Space:
    """22,620 architectures of different depths."""
    path = tmp_path_factory.mktemp("wide") / "wide.tsnet"
    path.write_text(WIDE)
    return tsdsl.load(path)


def worth(architecture: tsdsl.Architecture, seed: int) -> tuple[float, ...]:
    """A sum over choices, as if drawn for each; deeper ones are worth more."""
    keys = (f"{seed} {path} {option}".encode() for path, option in sorted(architecture.items()))
    return (sum(crc32(key) for key in keys) / 2**32,)


def evolve(evolution: Evolution, seed: int = 0) -> list[list[Candidate]]:
    """All generations, measured by `worth`."""
    found = []
    while asked := evolution.next():
        found.append(asked)
        for candidate in asked:
            evolution.add(candidate, worth(candidate.architecture, seed))
    return found


def test_it_finds_the_best(wide: tsdsl.Space) -> None:
    """The best of 1695 with 300, always; as many samples have it now and then."""
    window = (100e3, 200e3)
    inside = list(wide.stream(seed=0, flops=window))
    assert len(inside) == wide.count(flops=window) == 1695
    by_chance = 0
    for seed in range(4):
        best = max(inside, key=lambda each: worth(each, seed))
        evolution = Evolution(wide, Settings(20, 15, 6), seed=seed, within={"flops": window})
        assert sum(map(len, evolve(evolution, seed))) == 300
        assert evolution.best()[0].architecture == best
        by_chance += best in wide.sample(300, seed=seed, flops=window)
    assert by_chance <= 1


def test_a_window_and_no_repetition(wide: tsdsl.Space) -> None:
    within = {"flops": (100e3, 300e3), "params": (500.0, 1500.0)}
    evolution = Evolution(wide, Settings(16, 12, 8), seed=3, within=within)
    found = [each for generation in evolve(evolution) for each in generation]
    assert [each.number for each in found] == list(range(1, len(found) + 1))
    architectures = [each.architecture for each in found]
    assert len(set(architectures)) == len(architectures) == 16 * 12
    for each in architectures:
        assert 100e3 <= wide.flops(each) <= 300e3 and 500 <= wide.params(each) <= 1500
        assert wide.architecture(each) == each
    origins = Counter(each.origin for each in found if each.generation > 1)
    assert min(origins["crossover"], origins["mutation"]) >= 3 * 11


@pytest.mark.parametrize("seed", [k for k in range(10) if len(enumerated(k)[1]) > 3 and k != 4])
def test_random_spaces_to_the_last(seed: int) -> None:
    """Whatever decisions depend on and requirements demand: valid, new, and all in the end."""
    graph, assignments = enumerated(seed)
    space = tsdsl.Space(graph)
    there = [tsdsl.Architecture(decisions_of(graph, at)) for at in assignments]
    costs = sorted(map(space.flops, there))
    low, high = float(costs[len(costs) // 4]), float(costs[len(costs) // 2])
    for within in (None, {"flops": (low, high)}):
        inside = {a for a in there if within is None or low <= space.flops(a) <= high}
        size = 1 + len(inside) // 6
        evolution = Evolution(
            space, Settings(size, 10_000, 3, mutation=0.4), seed=seed, within=within
        )
        found = [each.architecture for generation in evolve(evolution) for each in generation]
        networks = set(structures(graph, list(inside)))
        assert evolution.exhausted and len(found) == len(networks) and set(found) <= inside
        assert set(structures(graph, found)) == networks
        assert evolution.next() == []


def test_parents(wide: tsdsl.Space) -> None:
    """Children are of the best so far, and have their choices."""
    evolution = Evolution(wide, Settings(30, 8, 9, crossover=0.5, mutation=0.2), seed=1)
    known: dict[int, tsdsl.Architecture] = {}
    both = 0
    while asked := evolution.next():
        order = sorted(known, key=lambda n: (-worth(known[n], 0)[0], n))[:9]
        for child in asked:
            assert set(child.parents) <= set(order)
            parents = [known[number] for number in child.parents]
            if child.origin == "sample":
                assert not parents
            elif child.origin == "crossover":
                both += len(parents) == 2
                for path, option in child.architecture.items():
                    had = [parent[path] for parent in parents if path in parent]
                    assert option in had or not had
            else:
                (parent,) = parents
                assert child.architecture != parent
        for child in asked:
            known[child.number] = child.architecture
            evolution.add(child, worth(child.architecture, 0))
    assert both > 50


def test_crossover_takes_from_both_alike(wide: tsdsl.Space) -> None:
    evolution = Evolution(wide, Settings())
    random = np.random.default_rng(0)
    options_PD = np.array([[0] * 9, [1] * 9])
    active_PD = np.ones((2, 9), np.bool_)
    active_PD[0, 7:] = False
    taken = []
    for _ in range(40):
        first_B, second_B, options_BD = evolution._crossed(random, options_PD, active_PD)
        assert (first_B != second_B).all()
        # What only one of them has is from that one.
        assert (options_BD[:, 7:] == 1).all()
        taken.append(options_BD[:, :7])
    share = np.concatenate(taken)
    assert abs(share.mean() - 0.5) < 4 * 0.5 / sqrt(share.size)


def test_mutation_changes_as_often_as_it_says(wide: tsdsl.Space) -> None:
    evolution = Evolution(wide, Settings(mutation=0.3))
    random = np.random.default_rng(0)
    places = [d.path for d in wide.decisions]
    width, kernel = places.index("main.s1[0].width"), places.index("main.s1[0].kernel")
    now = np.zeros((1, len(places)), np.int64)
    now[0, width] = 1
    there = np.ones_like(now, np.bool_)
    rows = np.concatenate([evolution._mutated(random, now, there)[2] for _ in range(200)])
    count = 200 * CHUNK
    assert len(rows) == count
    for column, expected in (
        (width, {0: 0.1, 1: 0.7, 2: 0.1, 3: 0.1}),
        (kernel, {0: 0.7, 1: 0.15, 2: 0.15}),
    ):
        for option, p in expected.items():
            share = (rows[:, column] == option).mean()
            assert abs(share - p) <= 4 * sqrt(p * (1 - p) / count), (column, option)


def test_what_a_parent_does_not_have_is_drawn_by_weights(wide: tsdsl.Space) -> None:
    evolution = Evolution(wide, Settings())
    random = np.random.default_rng(1)
    drawn = np.concatenate([evolution._drawn(random) for _ in range(100)])
    for d, (path, p_O) in enumerate(wide.distribution().probabilities.items()):
        shares = np.bincount(drawn[:, d], minlength=len(p_O)) / len(drawn)
        assert (abs(shares - p_O) <= 4 * np.sqrt(p_O * (1 - p_O) / len(drawn))).all(), path


def test_a_generation_is_a_function_of_what_was_measured(wide: tsdsl.Space) -> None:
    settings = Settings(10, 6, 4)
    whole = evolve(Evolution(wide, settings, seed=5))
    for until in range(6):
        again = Evolution(wide, settings, seed=5)
        for generation in whole[:until]:
            assert [each.architecture for each in again.next()] == [
                each.architecture for each in generation
            ]
            # In any order.
            for each in reversed(generation):
                again.add(each, worth(each.architecture, 0))
        asked = again.next()
        assert [(a.number, a.origin, a.parents, a.architecture) for a in asked] == [
            (a.number, a.origin, a.parents, a.architecture) for a in whole[until]
        ]
    other = evolve(Evolution(wide, settings, seed=6))
    assert other[0][0].architecture != whole[0][0].architecture
    assert evolve(Evolution(wide, settings, seed=5), seed=9)[1:] != whole[1:]


def test_generations_are_drawn_anew(wide: tsdsl.Space) -> None:
    """With the same parents, each has other children."""
    found = []
    for generation in (1, 2):
        evolution = Evolution(wide, Settings(10, 6, 4))
        for each in evolution.next():
            evolution.add(each, (1.0,))
        evolution.generation = generation
        found.append([each.architecture for each in evolution.next()])
    assert found[0] != found[1]


def test_costs_without_tables(wide: tsdsl.Space, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tables would be too large, one by one: the same generations."""
    evolution = Evolution(wide, Settings(8, 3, 3), seed=2, within={"flops": (100e3, 300e3)})
    whole = evolve(evolution)

    def too_large(*arguments: object) -> None:
        raise TooCoupled([], 2, 1, "this")

    again = Evolution(wide, Settings(8, 3, 3), seed=2, within={"flops": (100e3, 300e3)})
    first = again.next()
    for each in first:
        again.add(each, worth(each.architecture, 0))
    monkeypatch.setattr(type(wide.query_cache), "lookup", too_large)
    rest = evolve(again)
    assert [[c.architecture for c in g] for g in (first, *rest)] == [
        [c.architecture for c in g] for g in whole
    ]


def test_ties_go_to_the_first(tmp_path: Path) -> None:
    space = tiny(tmp_path)
    evolution = Evolution(space, Settings(6, 1, 2))
    asked = evolution.next()
    for each in reversed(asked):
        evolution.add(each, (1.0, float(each.number in (3, 5))))
    assert [each.number for each in evolution.best(3)] == [3, 5, 1]


def test_what_cannot_be(tmp_path: Path) -> None:
    space = tiny(tmp_path)
    with pytest.raises(SpecError, match="no architecture of space Tiny has macs in"):
        Evolution(space, Settings(), within={"flops": (1e12, 2e12)}).next()
    with pytest.raises(SpecError, match="no table for the cost 'latency'"):
        Evolution(space, Settings(), within={"latency": (1, 2)})
    for wrong in (
        Settings(population=0),
        Settings(generations=0),
        Settings(parents=0),
        Settings(crossover=1.5),
        Settings(mutation=0.0),
        Settings(mutation=float("nan")),
    ):
        with pytest.raises(SpecError) as refused:
            Evolution(space, wrong)
        assert refused.value.diagnostics[0].code == "E0844"
