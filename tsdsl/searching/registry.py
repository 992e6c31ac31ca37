"""The search algorithms. A search section names one of them: ``search parsec { ... }``."""

from __future__ import annotations

from tsdsl.searching.algorithm import SearchAlgorithm
from tsdsl.searching.parsec.algorithm import Parsec
from tsdsl.searching.uniform.algorithm import Uniform
from tsdsl.sema.sections import SearchSettings

ALGORITHMS: tuple[type[SearchAlgorithm], ...] = (Parsec, Uniform)


def algorithm_of(settings: SearchSettings) -> type[SearchAlgorithm]:
    """The algorithm whose settings these are."""
    return next(each for each in ALGORITHMS if type(settings) is each.settings)
