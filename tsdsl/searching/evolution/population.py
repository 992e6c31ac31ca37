"""Evolution over the architectures of a space: which ones to measure next. No torch.

As in single-path one-shot search (Guo et al., arXiv 1904.00420, section 3.4 and its settings): the
best of all that were measured are parents; a share of each generation are crossovers of two of
them, the others are mutations of one, in which every choice changes with some probability. What is
outside of the windows, or is a network that was measured before, is drawn again before it costs
anything. The first
generation, and what children cannot fill, are exact samples of the windows.

A generation is a function of the seed, its number, and what was measured before: replaying what was
measured gives the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tsdsl.analysis.costs.assignments import active_decisions, assignments, complete_assignments
from tsdsl.analysis.networks import Distinct, labels
from tsdsl.analysis.sampling.sampler import architectures, stream
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.ordering import TooCoupled
from tsdsl.record import Record
from tsdsl.searching.windows import DrawWeights
from tsdsl.space import Space, Within

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Origin = Literal["sample", "crossover", "mutation"]

#: Children that are drawn at once, and how often without a new one: what one draw in a thousand
#: gives is found.
CHUNK, CHUNKS = 256, 16


class Settings(Record, eq=True):
    """``parents``: how many of the best have children. ``crossover``: the share of a generation
    that has two parents; ``mutation``: the probability that a choice of the others changes."""

    population: int = 50
    generations: int = 20
    parents: int = 10
    crossover: float = 0.5
    mutation: float = 0.1

    def check(self) -> None:
        """Raises `SpecError`."""
        wrong = [
            f"{name} is {value}, not {what}"
            for name, value, what, right in (
                ("population", self.population, "1 or more", self.population >= 1),
                ("generations", self.generations, "1 or more", self.generations >= 1),
                ("parents", self.parents, "1 or more", self.parents >= 1),
                ("crossover", self.crossover, "from 0 to 1", 0 <= self.crossover <= 1),
                ("mutation", self.mutation, "above 0, up to 1", 0 < self.mutation <= 1),
            )
            if not right
        ]
        if wrong:
            raise SpecError([Diagnostic("E0844", "; ".join(wrong))])


class Candidate(Record):
    """``number``: from 1 on, in the order in which they were asked for; so are ``parents``."""

    number: int
    generation: int
    origin: Origin
    parents: tuple[int, ...]
    architecture: Architecture


class Evolution:
    """``fitness`` is any tuple of numbers, larger ones are better; of equal ones, that which came
    first is. ``distinct``: what no two candidates have in common."""

    def __init__(
        self,
        space: Space,
        settings: Settings,
        *,
        seed: int = 0,
        weights: DrawWeights = "initial",
        within: Within = None,
        distinct: Distinct = "networks",
    ) -> None:
        settings.check()
        self.space = space
        self.settings = settings
        self.seed = seed
        self.windows = {str(space.cost(name)): w for name, w in (within or {}).items() if w}
        #: Generations that were planned.
        self.generation = 0
        self.distinct = distinct
        #: Whether nothing is left that was not measured.
        self.exhausted = False
        self._fitness: list[tuple[Candidate, tuple[float, ...]]] = []
        #: Keys of all candidates.
        self._known: set[bytes] = set()
        within_costs = space.windows(within=self.windows)
        self._samples = stream(space.graph, seed, weights, within_costs, distinct=distinct)
        #: Candidates that were planned.
        self.asked = 0
        rows = space.distribution().probabilities
        self._weights = [rows[d.path] for d in space.decisions]

    # ------------------------------------------------------------ what is known

    def add(self, candidate: Candidate, fitness: tuple[float, ...]) -> None:
        self._fitness.append((candidate, fitness))

    def best(self, count: int = 1) -> list[Candidate]:
        """The best of all that were measured, the best one first."""
        order = sorted(self._fitness, key=lambda each: each[0].number)
        order.sort(key=lambda each: each[1], reverse=True)
        return [candidate for candidate, _ in order[:count]]

    # ------------------------------------------------------------ what comes next

    def next(self) -> list[Candidate]:
        """The next generation; what it had before has to be measured. Empty where all generations
        are done, or no architecture is left. Raises `SpecError` where none is in the windows."""
        if self.generation >= self.settings.generations or self.exhausted:
            return []
        made: list[Candidate] = []
        size = self.settings.population
        if self.generation:
            made += self._children("crossover", round(size * self.settings.crossover), 0)
            made += self._children("mutation", size - len(made), len(made))
        while len(made) < size:
            sample = self._sample()
            if sample is None:
                self.exhausted = True
                break
            made.append(self._candidate(len(made), "sample", (), *sample))
        self.generation += bool(made)
        self.asked += len(made)
        return made

    def _candidate(
        self,
        before: int,
        origin: Origin,
        parents: tuple[int, ...],
        architecture: Architecture,
        key: bytes,
    ) -> Candidate:
        self._known.add(key)
        number = self.asked + before + 1
        return Candidate(number, self.generation + 1, origin, parents, architecture)

    def _keys(self, at: Ints) -> list[bytes]:
        """What tells candidates apart, of assignments [architecture, variable]."""
        return labels(self.space.graph, at, self.distinct)

    def _sample(self) -> tuple[Architecture, bytes] | None:
        """The next one of the windows that is new, with its key; None if there is none."""
        try:
            for architecture in self._samples:
                (key,) = self._keys(assignments(self.space.graph, [architecture]))
                if key not in self._known:
                    return architecture, key
        except SpecError:
            # None at all, or none that could be found after those that are known.
            if not self._known:
                raise
        return None

    def _children(self, origin: Origin, count: int, before: int) -> list[Candidate]:
        """So many new ones inside of the windows, fewer if they are too rare."""
        key = [self.seed, self.generation, int(origin == "mutation")]
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
        parents = self.best(self.settings.parents)
        graph = self.space.graph
        at = assignments(graph, [each.architecture for each in parents])
        options_PD: Ints = at[:, [d.variable.index for d in graph.decisions]]
        active_PD = active_decisions(graph, at)
        made: list[Candidate] = []
        left = CHUNKS
        while left and len(made) < count:
            left -= 1
            breed = self._crossed if origin == "crossover" else self._mutated
            first_B, second_B, options_BD = breed(random, options_PD, active_PD)
            for row, architecture, label in self._valid(options_BD):
                if len(made) == count:
                    break
                if label in self._known:
                    continue
                pair = dict.fromkeys((int(first_B[row]), int(second_B[row])))
                numbers = tuple(parents[p].number for p in pair)
                made.append(
                    self._candidate(before + len(made), origin, numbers, architecture, label)
                )
                left = CHUNKS
        return made

    def _crossed(
        self, random: np.random.Generator, options_PD: Ints, active_PD: Bools
    ) -> tuple[Ints, Ints, Ints]:
        """Each choice from one of two parents; where only one of them has it, from that one."""
        parents = len(options_PD)
        first_B = random.integers(parents, size=CHUNK)
        second_B = (first_B + random.integers(1, max(2, parents), size=CHUNK)) % parents
        decisions = options_PD.shape[1]
        second_BD = random.random((CHUNK, decisions)) < 0.5
        a_BD, b_BD = active_PD[first_B], active_PD[second_B]
        second_BD = np.where(a_BD & b_BD, second_BD, b_BD)
        options_BD = np.where(second_BD, options_PD[second_B], options_PD[first_B])
        return first_B, second_B, np.where(a_BD | b_BD, options_BD, self._drawn(random))

    def _mutated(
        self, random: np.random.Generator, options_PD: Ints, active_PD: Bools
    ) -> tuple[Ints, Ints, Ints]:
        """Each choice of a parent changes with some probability, to any other option alike."""
        of_B = random.integers(len(options_PD), size=CHUNK)
        options_BD = np.where(active_PD[of_B], options_PD[of_B], self._drawn(random))
        changes_BD = random.random(options_BD.shape) < self.settings.mutation
        # One of the others: the place of its own option is left out.
        sizes_D = np.array([len(weight) for weight in self._weights])
        other_BD = (random.random(options_BD.shape) * (sizes_D - 1)).astype(np.int64)
        other_BD += other_BD >= options_BD
        options_BD = np.where(changes_BD & (sizes_D > 1), other_BD, options_BD)
        return of_B, of_B, options_BD

    def _drawn(self, random: np.random.Generator) -> Ints:
        """An option of each decision by the spec's weights, for what a parent does not have."""
        draw_BD = random.random((CHUNK, len(self._weights)))
        columns = [
            # A sum of probabilities may end a little below 1.
            np.searchsorted(np.cumsum(weight)[:-1], draw_BD[:, d], side="right")
            for d, weight in enumerate(self._weights)
        ]
        return np.stack(columns, 1).astype(np.int64)

    def _valid(self, options_BD: Ints) -> Iterator[tuple[int, Architecture, bytes]]:
        """Rows that meet all requirements and lie in the windows, with their architectures and
        keys."""
        graph = self.space.graph
        at, odd = complete_assignments(graph, options_BD)
        rows = np.flatnonzero(~odd)
        # Of equal ones the first.
        _, first = np.unique(at[rows], axis=0, return_index=True)
        rows = rows[np.sort(first)]
        inside: Bools = np.ones(len(rows), np.bool_)
        for name, window in self.windows.items():
            assert window is not None
            cost = self._costs(name, at[rows])
            inside &= (cost >= window[0]) & (cost <= window[1])
        rows = rows[inside]
        if len(rows):
            made = architectures(graph, at[rows])
            yield from zip(rows.tolist(), made, self._keys(at[rows]), strict=True)

    def _costs(self, name: str, at: Ints) -> NDArray[Any]:
        """Of assignments [architecture, variable]."""
        try:
            return self.space.query_cache.lookup(self.space.cost(name)).assigned(at)
        except TooCoupled:
            # Tables would be too large: one by one.
            return np.array(
                [self.space.value(name, a) for a in architectures(self.space.graph, at)]
            )
