"""What public functions say to arguments of a wrong type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsdsl

CASES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "a path for an architecture": (lambda s, a: s.flops("arch.json"), "Architecture.load"),
    "a Path for an architecture": (lambda s, a: s.network(Path("a.json")), "Architecture.load"),
    "a number for an architecture": (lambda s, a: s.params(3), "is a mapping .* not int"),
    "paths for architectures": (lambda s, a: s.flops(["arch.json"]), "Architecture.load"),
    "options without paths": (lambda s, a: s.architecture([8, 1]), "is a mapping .* not list"),
    "nothing": (lambda s, a: s.architecture(None), "not NoneType"),
    "one for a list": (lambda s, a: s.encode(a), "a list of architectures"),
    "a frozen number": (lambda s, a: tsdsl.compile(s, frozen=3), "not int"),
    "a path for a space": (lambda s, a: tsdsl.compile("small.tsnet"), r"tsdsl\.load"),
    "a path to emit": (lambda s, a: tsdsl.emit("small.tsnet"), r"tsdsl\.load"),
    "a path to measure": (lambda s, a: tsdsl.measure("small.tsnet"), r"tsdsl\.load"),
    "a space to train": (lambda s, a: tsdsl.train(s, "v.csv", s), r"tsdsl\.compile"),
    "a space to evaluate": (lambda s, a: tsdsl.evaluate(s, "v.csv", s), r"tsdsl\.compile"),
    "no supernet": (lambda s, a: s.freeze(s, a), r"tsdsl\.compile"),
    "a text for a number": (lambda s, a: s.sample("3"), "n is a whole number"),
    "half an architecture": (lambda s, a: s.sample(1.5), "n is a whole number"),
    "half of the best": (lambda s, a: s.most_probable(k=1.5), "k is a whole number"),
    "a number for a cost": (lambda s, a: s.bounds(3), "a cost is a str"),
    "a path for a table": (lambda s, a: s.with_costs("latency.json"), r"CostTable\.load"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_type_is_named(space: tsdsl.Space, case: str) -> None:
    call, message = CASES[case]
    with pytest.raises(TypeError, match=message):
        call(space, space.sample(seed=0))


def test_a_missing_decision_is_named(space: tsdsl.Space) -> None:
    for call in (space.flops, space.architecture, space.network):
        with pytest.raises(
            tsdsl.ArchitectureError, match=r"no option for decision 'main\.s1\.depth'"
        ):
            call({"main.s1.width": 8})
    with pytest.raises(tsdsl.ArchitectureError, match="no option for decision"):
        space.flops([{"main.s1.width": 8}])


def test_numbers_of_numpy_are_whole_numbers(space: tsdsl.Space) -> None:
    assert len(space.sample(np.int64(2), seed=0)) == 2


def test_a_distribution_may_be_a_file(space: tsdsl.Space, tmp_path: Path) -> None:
    own = space.distribution({"main.s1.depth": [1, 3]})
    own.save(tmp_path / "distribution.json")
    for path in (tmp_path / "distribution.json", str(tmp_path / "distribution.json")):
        loaded = space.distribution(path)
        assert loaded.probabilities["main.s1.depth"].tolist() == [0.25, 0.75]
    with pytest.raises(tsdsl.FileError):
        space.distribution("initail")
