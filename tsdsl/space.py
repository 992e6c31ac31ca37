"""`Space`: a spec as an object. Each question about it goes to the module that answers it.

One class and not several, because users look for the questions in one place; a method has no logic
of its own beyond choosing who answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

from tsdsl.arguments import check_architecture, check_count, check_type
from tsdsl.diagnostics import ArchitectureError, Collector, Diagnostic
from tsdsl.diagnostics.unknown_name import UnknownName
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.space import Decision, SpaceGraph

if TYPE_CHECKING:
    from numpy import float64, int64
    from numpy.typing import NDArray
    from torch import nn

    from tsdsl.analysis.costs.cost import Cost
    from tsdsl.analysis.costs.items import Grouping
    from tsdsl.analysis.distribution import Distribution, DistributionLike
    from tsdsl.analysis.elimination.bounds import Bounds
    from tsdsl.analysis.elimination.cache import QueryCache
    from tsdsl.analysis.elimination.phases import PhaseCost
    from tsdsl.analysis.windows.window import Between, CountBetween, Histogram, Weighting
    from tsdsl.backends.supernet import Supernet
    from tsdsl.ir.network import Network
    from tsdsl.sema.document import SpecDocument
    from tsdsl.sema.settings import Sections

#: Stands for a number of networks that is not computed yet.
_UNCOUNTED = -1
#: Options of a decision that a table of the space lists.
_SHOWN = 12
Architectures = Sequence[Mapping[str, Any]]
#: The smallest and the largest value of a cost, both included; None for any value.
Window = tuple[float, float] | None
#: Windows by the name of their cost.
Within = Mapping[str, Window] | None


class Space:
    """A family of networks: its decisions, and everything that follows from them exactly.

    `tsdsl.load` makes it from a spec. A spec without decisions is a space of one network. All
    answers are exact unless a method says otherwise.

    - An *architecture* is an `Architecture` or any mapping from decision path to option. It is
      validated where it is used (`ArchitectureError` lists everything that does not fit).
    - A *cost* is a name: ``"macs"`` or ``"flops"`` (multiply-accumulates for one clip),
      ``"params"``, ``"elements"`` (values of all results of operations for one clip), or the name
      of a cost table of the space, such as ``"latency"`` (its table says the unit).
    - A *window* ``(low, high)`` includes both ends. ``flops=`` and ``params=`` are windows of these
      costs; ``within={"latency": (0, 8_000_000)}`` has windows of any costs by name.
    - A *distribution* is a `Distribution`; ``None`` or ``"initial"`` for the weights that the spec
      gives its options; or a mapping from decision path to weights, others as in the spec.
      An architecture has the product of the probabilities of its *active* decisions' options, on
      the condition that all requirements hold.

    Every question raises `SpecError` for an unknown cost, for a space whose requirements exclude
    every architecture, and for one whose decisions are too coupled for an exact answer.

        >>> space
        <Space Small: 4 decisions, clip 3x4x16x16>
        >>> space.size
        27
    """

    def __init__(
        self,
        graph: SpaceGraph,
        sections: Sections | None = None,
        costs: Mapping[str, Cost] | None = None,
    ) -> None:
        #: The typed graph of all architectures.
        self.graph = graph
        #: The validated `search`, `train` and `evaluate` sections of the spec, as typed fields;
        #: ``sections.search.samples``, ``sections.train.lr``. None where the space has none.
        self.sections = sections
        #: Costs beside those that are counted, by name, such as a measured latency.
        self.costs: Mapping[str, Cost] = dict(costs or {})
        self._frozen: tuple[Architecture, Network] | None = None
        self._size: int | None = None
        self._networks: int | None = _UNCOUNTED
        self._lookups = 0
        #: Costs whose tables are too large.
        self._wide: set[Cost] = set()

    def __repr__(self) -> str:
        count = len(self.decisions)
        clip = "x".join(map(str, self.input_shape))
        noun = "decision" if count == 1 else "decisions"
        return f"<Space {self.name}: {count} {noun}, clip {clip}>"

    def _repr_html_(self) -> str:
        from tsdsl.ir.architecture import option_text
        from tsdsl.notebook import html_table

        def row(decision: Decision) -> tuple[str, str, str]:
            texts = [option_text(option) for option in decision.options[:_SHOWN]]
            more = len(decision.options) - len(texts)
            options = " | ".join(texts) + (f" | ... {more} more" if more else "")
            return decision.path, options, option_text(decision.options[decision.default])

        # Counting architectures can take long: the size is shown where it is known already.
        size = "" if self._size is None else f", {self._size:,} architectures"
        caption = f"{repr(self)[1:-1]}{size}"
        header = ["decision", "options", "default"]
        return html_table(caption, header, map(row, self.decisions), len(self.decisions))

    @property
    def document(self) -> SpecDocument:
        """The validated spec as a pydantic document, which dumps to JSON and back."""
        from tsdsl.sema.document import describe
        from tsdsl.sema.settings import Sections

        return describe(self.graph, self.sections or Sections())

    @property
    def name(self) -> str:
        """The name of the space in its spec."""
        return self.graph.name

    @property
    def hash(self) -> str:
        """A digest of the networks that can be built, 32 hexadecimal digits.

        Two specs that differ in layout, comments, clip size or recipe only have the same one.
        """
        return self.graph.hash

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Every decision, in order of first appearance in the spec; `decision` finds one by path.

        Each has ``path``, ``kind``, ``options`` (as ``arch.json`` writes them), ``weights``,
        ``default`` (an index into ``options``) and ``doc``.

            >>> space.decisions[0]
            <Decision main.s1.width: 8 | 16 | 24 (default 8)>
        """
        return self.graph.decisions

    def decision(self, path: str) -> Decision:
        """The decision of a path. Raises `UnknownName`, a `KeyError` that suggests the nearest one.

        >>> space.decision("main.s1.depth").options
        (1, 2)
        """
        for decision in self.decisions:
            if decision.path == path:
                return decision
        known = [decision.path for decision in self.decisions]
        raise UnknownName("decision", path, known, f" in space {self.name}")

    @property
    def size(self) -> int:
        """The number of architectures that satisfy all requirements: of combinations of options of
        active decisions. Several may be the same network; see `networks`."""
        if not self.decisions:
            return 1
        if self._size is None:
            from tsdsl.analysis.elimination.count import count

            self._size = count(self.graph)
        return self._size

    @property
    def networks(self) -> int | None:
        """The number of distinct networks, at most `size`; None where it is not known, as in a
        space of more than 65,536 architectures whose options overlap."""
        if not self.decisions:
            return 1
        if self._networks == _UNCOUNTED:
            from tsdsl.analysis.windows.network_count import count_networks

            self._networks = count_networks(self.graph)
        return self._networks

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """The clip (C, T, H, W): channels, frames, height and width in pixels."""
        channels, frames, height, width = self.graph.clip.shape.value
        return channels, frames, height, width

    def architecture(
        self, decisions: Mapping[str, Any], warnings: Collector | None = None
    ) -> Architecture:
        """Validate a mapping from decision path to option, and return it as an `Architecture`.

        Earlier paths of decisions that a spec has ``moved`` are accepted, and so is an option
        written as text ("2.25", "3x3x3"). ``warnings`` collects what fits but looks wrong, such as
        an option of a decision that is not active. Raises one `ArchitectureError` with everything
        that does not fit.

            >>> space.architecture({"main.s1.width": 8})
            Traceback (most recent call last):
            tsdsl...ArchitectureError: error[E0712]: no option for decision ...
        """
        from tsdsl.ir.resolve import validate

        check_architecture(decisions)

        return validate(self.graph, decisions, warnings)

    def network(self, architecture: Mapping[str, Any] | None = None) -> Network:
        """The frozen network of an architecture as a graph in which every attribute is a number
        and every edge has a shape. No argument for a space without decisions.

            >>> len(list(space.network(arch).ops()))
            4
        """
        from tsdsl.ir.freeze import freeze

        if architecture is None and self.decisions:
            raise self._undecided()
        if architecture is not None:
            check_architecture(architecture)
        if architecture is not None and not isinstance(architecture, Architecture):
            return freeze(self.graph, architecture)
        key = architecture or Architecture({})
        if self._frozen is None or self._frozen[0] != key:
            self._frozen = (key, freeze(self.graph, key))
        return self._frozen[1]

    def freeze(self, supernet: Supernet, architecture: Mapping[str, Any]) -> nn.Module:
        """The network of an architecture as a plain module, with a copy of the weights and running
        statistics that it has in a supernet of this space.

            >>> supernet = tsdsl.compile(space)
            >>> net = space.freeze(supernet, arch)
            >>> clip = torch.rand(1, *space.input_shape)
            >>> torch.equal(net.eval()(clip), supernet.eval()(clip, arch))
            True
        """
        from tsdsl.backends.supernet import Supernet, frozen

        check_type("supernet", supernet, Supernet, "tsdsl.compile(space) makes one")

        return frozen(supernet, self.network(architecture), architecture)

    @overload
    def flops(self, architecture: Mapping[str, Any] | None = None) -> int: ...
    @overload
    def flops(self, architecture: Architectures | NDArray[Any]) -> NDArray[int64]: ...
    def flops(
        self, architecture: Mapping[str, Any] | Architectures | NDArray[Any] | None = None
    ) -> Any:
        """Multiply-accumulates for one clip. (One multiply-add counts 1, as in the literature's
        "FLOPs" of these networks.)

        An int for one architecture, or without an argument for a space without decisions; an array
        [architectures] for a list of them. A matrix of option indices [architecture, decision] (see
        `encode`) is looked up without validation, millions a second.

            >>> space.flops(arch)
            153632
        """
        return self._cost("macs", architecture)

    @overload
    def params(self, architecture: Mapping[str, Any] | None = None) -> int: ...
    @overload
    def params(self, architecture: Architectures | NDArray[Any]) -> NDArray[int64]: ...
    def params(
        self, architecture: Mapping[str, Any] | Architectures | NDArray[Any] | None = None
    ) -> Any:
        """The number of learned parameters; arguments and result as in `flops`."""
        return self._cost("params", architecture)

    def encode(self, architectures: Architectures) -> NDArray[int64]:
        """Option indices [architecture, decision], which `flops` and `params` read much faster than
        mappings; the default option where a decision is not active. Raises `ArchitectureError`.

            >>> space.encode([arch])
            array([[0, 1, 0, 1]])
        """
        from tsdsl.analysis.costs.assignments import assignments

        _check_architectures(architectures)
        at = assignments(self.graph, architectures)
        return at[:, [d.variable.index for d in self.decisions]]

    def decode(self, options: NDArray[Any]) -> list[Architecture]:
        """The architectures of option indices [architecture, decision]; the index of a decision
        that is not active is ignored. Raises `ArchitectureError` where requirements do not hold,
        `ValueError` for a wrong shape and for an index that no option has.

            >>> space.decode(space.encode([arch])) == [arch]
            True
        """
        from tsdsl.analysis.costs.assignments import assignments, assignments_from_indices
        from tsdsl.analysis.sampling.sampler import architectures

        made = architectures(self.graph, assignments_from_indices(self.graph, options))
        assignments(self.graph, made)
        return made

    @property
    def query_cache(self) -> QueryCache:
        """The elimination orders and tables that exact answers are computed from, each made when it
        is first needed. For measurements of this package; not a stable interface."""
        from tsdsl.analysis.elimination.cache import query_cache

        return query_cache(self.graph)

    def _engine_of(self, given: Distribution) -> QueryCache:
        """Of the graph in which a distribution is one of single decisions."""
        from tsdsl.analysis.elimination.cache import query_cache

        return query_cache(given.graph)

    def distribution(self, given: DistributionLike | PathLike[str] = None) -> Distribution:
        """The initial distribution of the spec; or one from weights by decision path, or from a
        file (``distribution.json`` of a search).

        Raises `SpecError` and `FileError` for a file, `ValueError` for weights that do not fit.

            >>> space.distribution({"main.s1.depth": [1, 3]}).probabilities["main.s1.depth"]
            array([0.25, 0.75])
        """
        from tsdsl.analysis.distribution import Distribution, as_distribution

        if isinstance(given, PathLike) or (isinstance(given, str) and given != "initial"):
            return Distribution.load(self.graph, given)
        return as_distribution(self.graph, given)

    def _given(self, distribution: DistributionLike) -> Distribution:
        from tsdsl.analysis.distribution import as_distribution

        return as_distribution(self.graph, distribution)

    def expectation(self, cost: str, distribution: DistributionLike = None) -> float:
        """The mean of a cost under a distribution, in the unit of the cost.

        >>> round(space.expectation("macs"))
        338524
        """
        given = self._given(distribution)
        means = self._engine_of(given).expectation(self.cost(cost))
        return means.mean(given.flat_probabilities, lambda: given.flat_logs)

    def variance(self, cost: str, distribution: DistributionLike = None) -> float:
        """The variance of a cost under a distribution."""
        given = self._given(distribution)
        return self._engine_of(given).expectation(self.cost(cost)).moments(given).variance

    def std(self, cost: str, distribution: DistributionLike = None) -> float:
        """The standard deviation of a cost under a distribution, in the unit of the cost."""
        return float(self.variance(cost, distribution) ** 0.5)

    def gradient(
        self, cost: str, distribution: DistributionLike = None
    ) -> dict[str, NDArray[float64]]:
        """The gradient of `expectation` with respect to the logits: by decision path, or by group
        where the distribution is joint, an array over its options.

            >>> space.gradient("macs")["main.s1.depth"].round()
            array([-112145.,  112145.])
        """
        given = self._given(distribution)
        means = self._engine_of(given).expectation(self.cost(cost))
        _, flat = means.gradient(given.flat_probabilities, lambda: given.flat_logs)
        return dict(zip(given.layout.paths, given.layout.split(flat), strict=True))

    def breakdown(
        self, cost: str, by: Grouping = "stage", distribution: DistributionLike = None
    ) -> dict[str, float]:
        """The mean of a cost in each "stream", "stage", "block" or kind of "op", by name, in order
        of appearance; they sum to `expectation`.

            >>> {name: round(value) for name, value in space.breakdown("macs").items()}
            {'main.s1': 338466, 'head': 58}
        """
        from tsdsl.analysis.elimination.breakdown import breakdown

        return breakdown(self.graph, self.cost(cost), by, distribution)

    def phases(self, cost: str = "macs", distribution: DistributionLike = None) -> list[PhaseCost]:
        """Mean, standard deviation, minimum and maximum of a cost in each phase of the `search`
        section, with the budgets of the phase.

        Only the streams of the phase exist. Decisions that it learns follow the distribution, those
        of earlier phases have their most probable option, and all others their default. The head
        counts with all of its inputs, and shapes are those of the whole network, also where streams
        are absent.

            >>> [(phase.name, phase.min, phase.max) for phase in space.phases()]
            [('main', 6176, 2101312)]
        """
        from tsdsl.analysis.elimination.phases import phases

        search = self.sections.search if self.sections else None
        return phases(self.graph, search, self.cost(cost), distribution)

    def bounds(self, cost: str) -> Bounds:
        """The smallest and the largest cost of all architectures: ``min`` and ``max``, each with a
        ``value`` and an ``architecture`` that has it.

            >>> ends = space.bounds("macs")
            >>> ends.min.value, ends.max.value, ends.min.architecture["main.s1.width"]
            (6176, 2101312, 8)
        """
        if not self.decisions:
            from tsdsl.analysis.elimination.bounds import Bound, Bounds

            only = Bound(self._cost(cost, None), self.architecture({}))
            return Bounds(only, only)
        from tsdsl.analysis.elimination.bounds import bounds

        return bounds(self.graph, self.cost(cost))

    def count(
        self,
        *,
        flops: Window = None,
        params: Window = None,
        within: Within = None,
        precision: float = float("inf"),
    ) -> int | CountBetween:
        """The number of architectures in all windows: an int, or a `CountBetween` (low, high) with
        an ``estimate`` where only these bounds are proven.

        ``precision`` asks for bounds that differ by at most this share of the larger one; it can
        take minutes, and wider bounds are returned where minutes do not suffice.

            >>> space.count(flops=(100_000, 1_000_000))
            17
        """
        from tsdsl.analysis.windows.window import count

        return count(self.graph, self.windows(flops, params, within), precision)

    def mass(
        self,
        distribution: Weighting = None,
        *,
        flops: Window = None,
        params: Window = None,
        within: Within = None,
        precision: float = float("inf"),
    ) -> Between:
        """The probability of all windows under a distribution, as proven bounds (low, high) that
        are equal where the answer is exact. Under ``"architectures"``, the share of all
        architectures. ``precision`` as in `count`.

            >>> space.mass("architectures", flops=(100_000, 1_000_000)).high
            0.6296296296296297
        """
        from tsdsl.analysis.windows.window import mass

        return mass(self.graph, self.windows(flops, params, within), distribution, precision)

    def histogram(self, cost: str, bins: int = 40, distribution: Weighting = None) -> Histogram:
        """The probability of each of ``bins`` bins of equal width between the smallest and the
        largest cost: ``edges`` [bins + 1], ``share`` [bins], and proven bounds ``low``, ``high``.

            >>> space.histogram("macs", bins=3).share.round(3)
            array([0.911, 0.022, 0.067])
        """
        from tsdsl.analysis.windows.window import histogram

        return histogram(self.graph, self.cost(cost), bins, distribution)

    def quantiles(
        self, cost: str, shares: Sequence[float], distribution: Weighting = None
    ) -> list[Between]:
        """For each share (0 to 1), the smallest cost that at least this share of the probability
        does not exceed, as proven bounds (low, high).

            >>> space.quantiles("macs", [0.5])
            [Between(low=165984, high=165984)]
        """
        from tsdsl.analysis.windows.window import quantiles

        return quantiles(self.graph, self.cost(cost), shares, distribution)

    @overload
    def sample(
        self,
        n: None = None,
        *,
        seed: int | None = None,
        weights: Weighting = "initial",
        flops: Window = None,
        params: Window = None,
        within: Within = None,
    ) -> Architecture: ...
    @overload
    def sample(
        self,
        n: int,
        *,
        seed: int | None = None,
        weights: Weighting = "initial",
        flops: Window = None,
        params: Window = None,
        within: Within = None,
    ) -> list[Architecture]: ...
    def sample(
        self,
        n: int | None = None,
        *,
        seed: int | None = None,
        weights: Weighting = "initial",
        flops: Window = None,
        params: Window = None,
        within: Within = None,
    ) -> Architecture | list[Architecture]:
        """An architecture; or a list of ``n`` distinct networks, or all where there are fewer.

        The draws are exactly distributed: as drawing each decision with the ``weights``, and
        rejecting what violates a requirement or lies outside a window, would give, however rare
        that is. Architectures that are the same network (a decision that the chosen options ignore,
        an option that is written in two ways) are drawn as one: the first of them, with the sum of
        their probabilities.

        - ``seed``: equal seeds give equal draws, and the first n draws do not depend on n; left
          out, each call draws anew.
        - ``weights``: a distribution, or ``"architectures"`` for equal probabilities.

        Raises `SpecError` where no architecture is in all windows, with the nearest one that is.

            >>> space.sample(3, seed=0, flops=(100_000, 1_000_000))[0]
            <Architecture of Small, 4 decisions: main.s1.width=16, main.s1.depth=2, ...>
        """
        if n is not None:
            check_count("n", n)
        if seed is None:
            from secrets import randbits

            seed = randbits(64)
        wanted = 1 if n is None else n
        windows = self.windows(flops, params, within)
        from tsdsl.analysis.sampling.sampler import sample

        drawn = sample(self.graph, seed, wanted, weights, windows)
        return drawn[0] if n is None else drawn

    def stream(
        self,
        *,
        seed: int | None = None,
        weights: Weighting = "initial",
        flops: Window = None,
        params: Window = None,
        within: Within = None,
    ) -> Iterator[Architecture]:
        """Draw one after another, as long as there are more: the first n are those of `sample` with
        the same seed.

            >>> next(space.stream(seed=0)) == space.sample(seed=0)
            True
        """
        if seed is None:
            from secrets import randbits

            seed = randbits(64)
        from tsdsl.analysis.sampling.sampler import stream

        return stream(self.graph, seed, weights, self.windows(flops, params, within))

    @overload
    def most_probable(
        self,
        distribution: DistributionLike = None,
        *,
        k: None = None,
        flops: Window = None,
        params: Window = None,
        within: Within = None,
    ) -> Architecture: ...
    @overload
    def most_probable(
        self,
        distribution: DistributionLike = None,
        *,
        k: int,
        flops: Window = None,
        params: Window = None,
        within: Within = None,
    ) -> list[Architecture]: ...
    def most_probable(
        self,
        distribution: DistributionLike = None,
        *,
        k: int | None = None,
        flops: Window = None,
        params: Window = None,
        within: Within = None,
    ) -> Architecture | list[Architecture]:
        """The most probable architecture in all windows; or the ``k`` most probable distinct
        networks, best first, or all where there are fewer. Each is the most probable architecture
        of its network. ``provenance["proven"]`` says whether this is proven.

        Raises `SpecError` where no architecture is in all windows.

            >>> best = space.most_probable(k=2, flops=(100_000, 1_000_000))
            >>> [space.flops(found) for found in best]
            [165984, 497760]
        """
        if k is not None:
            check_count("k", k, 1)
        from tsdsl.analysis.sampling.most_probable_networks import most_probable_networks

        windows = self.windows(flops, params, within)
        found = most_probable_networks(self.graph, 1 if k is None else k, windows, distribution)
        return found[0] if k is None else found

    def cost(self, name: str) -> Cost:
        """The cost of a name; see the head of this class. Raises `SpecError` for an unknown one."""
        from tsdsl.analysis.costs.named import cost_named

        check_type("a cost", name, str, 'such as "macs", or the name of a cost table')
        span = self.sections.cost_spans.get(name) if self.sections else None
        return cost_named(name, self.costs, self.name, self.graph.source, span)

    def value(self, cost: str, architecture: Any = None) -> Any:
        """Any cost by its name, of one architecture or of many; see `flops`. In the unit of the
        cost: nanoseconds for a table that `tsdsl.measure` made.

            >>> space.value("elements", arch)
            4108
        """
        return self._cost(cost, architecture)

    def with_costs(self, *costs: Cost) -> Space:
        """The same space with more costs, which replace costs of the same name: tables, or objects
        of another subclass of `tsdsl.analysis.costs.cost.Cost`.

        Raises `ValueError` for the name of a counted cost, such as "macs".
        """
        from tsdsl.analysis.costs.cost import Cost
        from tsdsl.analysis.costs.named import counted

        for cost in costs:
            check_type("a table", cost, Cost, "tsdsl.CostTable.load(path) reads one")
            if counted(cost.name) is not None and counted(cost.name) is not cost:
                raise ValueError(f"'{cost.name}' is counted by a rule: give the cost another name")
        return Space(self.graph, self.sections, {**self.costs, **{c.name: c for c in costs}})

    def windows(
        self, flops: Window = None, params: Window = None, within: Within = None
    ) -> dict[Cost, tuple[int, int]]:
        """Windows as the analysis needs them: whole numbers by cost. Raises `SpecError` for an
        unknown cost, `ValueError` for a cost that has two windows."""
        from tsdsl.analysis.costs.named import windows_by_name
        from tsdsl.analysis.windows.window import windows_of

        found: dict[Cost, tuple[float, float]] = {}
        for name, window in windows_by_name(flops, params, within):
            cost = self.cost(name)
            if cost in found:
                raise ValueError(f"{name} has two windows: {found[cost]}, {window}")
            found[cost] = window
        return windows_of(found)

    def _cost(self, name: str, given: Any) -> Any:
        cost = self.cost(name)
        if given is None or isinstance(given, Mapping):
            # Tables for the whole space pay for themselves from the second question on.
            if isinstance(given, Architecture):
                self._lookups += 1
                value = self._look_up(cost, given) if self._lookups > 1 else None
                if value is not None:
                    return value
            from tsdsl.analysis.costs.items import total

            return total(self.network(given), cost)
        if not isinstance(given, Sequence) and hasattr(given, "dtype"):
            return self.query_cache.lookup(cost).many(given)
        from tsdsl.analysis.costs.assignments import assignments

        _check_architectures(given)
        return self.query_cache.lookup(cost).assigned(assignments(self.graph, given))

    def _look_up(self, cost: Cost, architecture: Architecture) -> int | None:
        """From tables; None if they are too large or the architecture has anything unusual."""
        if cost in self._wide:
            return None
        from tsdsl.ir.ordering import TooCoupled

        try:
            return self.query_cache.lookup(cost).one(architecture)
        except TooCoupled:
            self._wide.add(cost)
            return None

    def _undecided(self) -> ArchitectureError:
        count = len(self.decisions)
        noun = "decision" if count == 1 else "decisions"
        return ArchitectureError(
            [
                Diagnostic(
                    "E0717",
                    f"space {self.name} has {count} {noun}: an architecture is needed",
                    file=self.graph.source,
                    help="'tsdsl sample' draws one; --frozen names it",
                )
            ]
        )


def _check_architectures(given: Any) -> None:
    """Raise `TypeError` unless each is a mapping."""
    if isinstance(given, str | PathLike | Mapping) or not isinstance(given, Sequence):
        check_architecture(given)
        raise TypeError("a list of architectures is expected, not one: put it into a list")
    for one in given:
        if type(one) is not Architecture:
            check_architecture(one)
