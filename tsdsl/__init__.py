"""A language and compiler for two-stream video networks and the spaces they are searched in.

    space = tsdsl.load("specs/auto_tsnet_s.tsnet")
    arch = space.sample(seed=0)
    net = tsdsl.compile(space, frozen=arch)

Names are imported on first use: `import tsdsl` alone costs next to nothing, and nothing but
`compile`, `train` and what has to do with weights import torch.
"""

__version__ = "0.1.0"

# Type checkers take this name for true; importing typing for it would be most of the cost.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tsdsl.analysis.costs.cost_table import CostTable
    from tsdsl.analysis.distribution import Distribution
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
    from tsdsl.ir.architecture import Architecture
    from tsdsl.measuring import MeasuringError, bench, measure
    from tsdsl.searching.evolution.run import evolve
    from tsdsl.searching.random_search.run import random_search
    from tsdsl.searching.run import search
    from tsdsl.space import Space
    from tsdsl.training.evaluation import Evaluation, evaluate
    from tsdsl.training.run import train
    from tsdsl.weights.weight_files import load_weights, save_weights

__all__ = [
    "Architecture",
    "ArchitectureError",
    "BenchReport",
    "CostTable",
    "Diagnostic",
    "DiagnosticError",
    "Distribution",
    "Evaluation",
    "FileError",
    "MeasuringError",
    "Space",
    "SpecError",
    "Supernet",
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
    "random_search",
    "save_weights",
    "search",
    "train",
]

_HOME = {
    "Architecture": "tsdsl.ir.architecture",
    "ArchitectureError": "tsdsl.diagnostics",
    "BenchReport": "tsdsl.backends.bench",
    "CostTable": "tsdsl.analysis.costs.cost_table",
    "Diagnostic": "tsdsl.diagnostics",
    "DiagnosticError": "tsdsl.diagnostics",
    "Distribution": "tsdsl.analysis.distribution",
    "Evaluation": "tsdsl.training.evaluation",
    "FileError": "tsdsl.diagnostics",
    "MeasuringError": "tsdsl.measuring",
    "Space": "tsdsl.space",
    "SpecError": "tsdsl.diagnostics",
    "Supernet": "tsdsl.backends.supernet",
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
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
