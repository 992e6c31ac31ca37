"""A language and compiler for two-stream video networks and the spaces that they are searched in.

    space = tsdsl.load("specs/auto_tsnet_s.tsnet")
    arch = space.sample(seed=0)
    net = tsdsl.compile(space, frozen=arch)

`__all__` is the stable interface (docs/api.md). Its names are imported when they are first used, so
that `import tsdsl` costs next to nothing, and only networks, weights, videos, training, searching
and timing import torch.
"""

__version__ = "0.1.0"

# Type checkers take this name to be true. Importing typing for it would cost most of the time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tsdsl import plots
    from tsdsl.analysis.costs.cost_table import CostTable
    from tsdsl.analysis.distribution import Distribution
    from tsdsl.analysis.elimination.bounds import Bounds
    from tsdsl.analysis.elimination.phases import PhaseCost
    from tsdsl.analysis.windows.window import Between, CountBetween, Histogram
    from tsdsl.backends.bench import BenchReport
    from tsdsl.backends.supernet import Supernet
    from tsdsl.compiler import check, compile, emit, load
    from tsdsl.diagnostics import (
        ArchitectureError,
        Diagnostic,
        DiagnosticError,
        FileError,
        SpecError,
    )
    from tsdsl.diagnostics.unknown_name import UnknownName
    from tsdsl.ir.architecture import Architecture
    from tsdsl.ir.space import Decision
    from tsdsl.measuring import MeasuringError, bench, measure
    from tsdsl.searching.evolution.run import EvolutionFinished, evolve
    from tsdsl.searching.random_search.run import random_search
    from tsdsl.searching.run import SearchFinished, search
    from tsdsl.space import Space
    from tsdsl.training.evaluation import Evaluation, evaluate
    from tsdsl.training.events import TrainingFinished
    from tsdsl.training.run import train
    from tsdsl.training.scores import Scores
    from tsdsl.weights.weight_files import load_weights, save_weights

__all__ = [
    "Architecture",
    "ArchitectureError",
    "BenchReport",
    "Between",
    "Bounds",
    "CostTable",
    "CountBetween",
    "Decision",
    "Diagnostic",
    "DiagnosticError",
    "Distribution",
    "Evaluation",
    "EvolutionFinished",
    "FileError",
    "Histogram",
    "MeasuringError",
    "PhaseCost",
    "Scores",
    "SearchFinished",
    "Space",
    "SpecError",
    "Supernet",
    "TrainingFinished",
    "UnknownName",
    "__version__",
    "bench",
    "check",
    "compile",
    "emit",
    "evaluate",
    "evolve",
    "load",
    "load_weights",
    "measure",
    "plots",
    "random_search",
    "save_weights",
    "search",
    "train",
]

#: The module that defines each name.
_HOME = {
    "Architecture": "tsdsl.ir.architecture",
    "ArchitectureError": "tsdsl.diagnostics",
    "BenchReport": "tsdsl.backends.bench",
    "Between": "tsdsl.analysis.windows.window",
    "Bounds": "tsdsl.analysis.elimination.bounds",
    "CostTable": "tsdsl.analysis.costs.cost_table",
    "CountBetween": "tsdsl.analysis.windows.window",
    "Decision": "tsdsl.ir.space",
    "Diagnostic": "tsdsl.diagnostics",
    "DiagnosticError": "tsdsl.diagnostics",
    "Distribution": "tsdsl.analysis.distribution",
    "Evaluation": "tsdsl.training.evaluation",
    "EvolutionFinished": "tsdsl.searching.evolution.run",
    "FileError": "tsdsl.diagnostics",
    "Histogram": "tsdsl.analysis.windows.window",
    "MeasuringError": "tsdsl.measuring",
    "PhaseCost": "tsdsl.analysis.elimination.phases",
    "Scores": "tsdsl.training.scores",
    "SearchFinished": "tsdsl.searching.run",
    "Space": "tsdsl.space",
    "SpecError": "tsdsl.diagnostics",
    "Supernet": "tsdsl.backends.supernet",
    "TrainingFinished": "tsdsl.training.events",
    "UnknownName": "tsdsl.diagnostics.unknown_name",
    "bench": "tsdsl.measuring",
    "check": "tsdsl.compiler",
    "compile": "tsdsl.compiler",
    "emit": "tsdsl.compiler",
    "evaluate": "tsdsl.training.evaluation",
    "evolve": "tsdsl.searching.evolution.run",
    "load": "tsdsl.compiler",
    "load_weights": "tsdsl.weights.weight_files",
    "measure": "tsdsl.measuring",
    "random_search": "tsdsl.searching.random_search.run",
    "save_weights": "tsdsl.weights.weight_files",
    "search": "tsdsl.searching.run",
    "train": "tsdsl.training.run",
}


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name == "plots":
        return import_module("tsdsl.plots")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
