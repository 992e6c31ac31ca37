"""An option that is left out means what the library function behind the verb does without it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
import pytest

from tsdsl.cli.group import VERBS
from tsdsl.data.check import check_list
from tsdsl.data.dataset import MIN_FRAMES
from tsdsl.data.synth import SynthOptions, synthesise
from tsdsl.measuring import bench, measure
from tsdsl.searching import run
from tsdsl.searching.evolution import run as evolution_run
from tsdsl.searching.evolution.population import Settings
from tsdsl.searching.random_search import run as random_run
from tsdsl.space import Space
from tsdsl.training.evaluation import evaluate
from tsdsl.training.run import run as train_run
from tsdsl.training.run import train
from tsdsl.training.scoring import AT_ONCE

#: Verb -> the functions behind it, and what an option is called there if it is not its own name.
BEHIND: dict[str, tuple[list[Callable[..., Any]], dict[str, str]]] = {
    "search": ([run.search, run.run], {"amp": "mixed_precision"}),
    "train": ([train, train_run], {}),
    "random": ([random_run.random_search, random_run.train_job, train_run], {"count": "n"}),
    "evolve": (
        [evolution_run.evolve, evolution_run.run, Settings],
        {"amp": "mixed_precision", "weights": "supernet"},
    ),
    "eval": ([evaluate], {"amp": "mixed_precision"}),
    "bench": ([bench], {"compiled": "compiled"}),
    "measure": ([measure], {}),
    "sample": ([Space.sample], {}),
    "space": ([Space.mass, Space.histogram], {}),
    "data_check": ([check_list], {}),
    "data_synth": ([synthesise], {}),
}

#: Differences that are meant, each with its reason.
MEANT = {
    # Processes change no result. A library that starts them needs a guarded main module.
    ("search", "workers"),
    ("train", "workers"),
    ("random", "workers"),
    ("evolve", "workers"),
    ("eval", "workers"),
    # Without a folder, the library writes nothing; a command has to leave its result somewhere.
    ("search", "folder"),
    ("train", "folder"),
    ("evolve", "folder"),
    # One architecture, or a list of one.
    ("sample", "count"),
    # Without a seed, the library draws anew each time.
    ("sample", "seed"),
}

#: Defaults that are made from the machine or the spec where they are left out (None on both
#: sides, or None on the command line), and what the verb then passes.
RESOLVED = {
    ("evolve", "batch"): ("at_once", AT_ONCE),
    ("eval", "batch"): ("batch", AT_ONCE),
    # An open folder of jobs: the seed that it has, otherwise the library's.
    ("random", "seed"): ("seed", 0),
}


def library(functions: list[Callable[..., Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                found.setdefault(name, parameter.default)
    return found


def options(verb: str) -> dict[str, Any]:
    """Name of each option -> its default, as the command gets it."""
    command = import_module(f"tsdsl.cli.verbs.{verb}").command
    found: dict[str, Any] = {}
    with command.make_context(verb, [], resilient_parsing=True) as context:
        for p in command.params:
            if isinstance(p, click.Option):
                # Without a default there is None, or a value of click's own that says so.
                given = p.to_info_dict()["default"]
                found[p.name] = None if given is None else p.type_cast_value(context, given)
    return found


def test_every_verb_with_a_function_is_compared() -> None:
    # These give text or files of what `tsdsl.load`, `emit` and the like have no settings for.
    plain = {"check", "compile", "completion", "data", "flops", "init", "plot", "weights"}
    assert {verb for verb in VERBS if verb not in plain} <= set(BEHIND)


@pytest.mark.parametrize("verb", BEHIND)
def test_defaults_are_those_of_the_library(verb: str) -> None:
    functions, names = BEHIND[verb]
    known, compared = library(functions), 0
    for option, default in options(verb).items():
        name = names.get(option, option)
        if (verb, option) in RESOLVED:
            name, default = RESOLVED[verb, option]
        if name not in known or (verb, option) in MEANT:
            continue
        compared += 1
        other = known[name]
        # A flag that is not set, several of which none is given, a value that is left out.
        empty = (None, False, (), {})
        same = default == other or (default in empty and other in empty)
        assert same, f"tsdsl {verb}: {option} is {default!r}, {name} of the library is {other!r}"
    assert compared or verb == "space"


def test_options_of_a_set_of_videos_are_left_to_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Caught(Exception):
        pass

    def caught(folder: str, options: SynthOptions, **others: Any) -> None:
        assert options == SynthOptions()
        raise Caught

    monkeypatch.setattr("tsdsl.data.synth.synthesise", caught)
    with pytest.raises(Caught):
        import_module("tsdsl.cli.verbs.data_synth").command.main(["folder"], standalone_mode=False)


def test_the_least_frames_of_a_video() -> None:
    assert options("data_check")["min_frames"] == MIN_FRAMES


def test_the_samples_of_a_bench_come_from_one_table() -> None:
    from tsdsl.backends.bench import REPEATS, WARMUP
    from tsdsl.cli.timing_options import NetworkTimingOptions

    for device in ("cpu", "cuda"):
        options = NetworkTimingOptions(device=device, repeats=None, warmup=None)
        assert options.samples() == (REPEATS[device], WARMUP[device])
