"""`Space`: what a user of the library holds. Each question goes to the module that answers it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from tsdsl.diagnostics import ArchitectureError, Collector, Diagnostic, SpecError, did_you_mean
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.space import Decision, SpaceGraph

if TYPE_CHECKING:
    from numpy import float64, int64
    from numpy.typing import NDArray
    from torch import nn

    from tsdsl.analysis.costs.cost_table import Cost, CostTable
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

#: Stands for a number of networks that nobody has asked for yet.
_UNCOUNTED = -1
Architectures = Sequence[Mapping[str, Any]]
#: The least and the greatest of a cost, both inside; None for all.
Window = tuple[float, float] | None
#: Windows by the name of their cost.
Within = Mapping[str, Window] | None


class Space:
    """A family of networks: its decisions and everything that follows from them.

    Where an architecture is asked for, any mapping of decision paths to options is taken; it is
    validated (`ArchitectureError`).
    """

    def __init__(
        self,
        graph: SpaceGraph,
        sections: Sections | None = None,
        costs: Mapping[str, CostTable] | None = None,
    ) -> None:
        #: The typed graph of all architectures.
        self.graph = graph
        #: The validated search, train and evaluate sections.
        self.sections = sections
        #: Cost tables by name, such as measured latency.
        self.costs: Mapping[str, CostTable] = dict(costs or {})
        self._frozen: tuple[Architecture, Network] | None = None
        self._size: int | None = None
        self._networks: int | None = _UNCOUNTED
        self._asked = 0
        #: Costs whose tables are too large.
        self._wide: set[Cost] = set()

    def __repr__(self) -> str:
        return f"<Space {self.name}: {len(self.decisions)} decisions>"

    @property
    def document(self) -> SpecDocument:
        """The validated spec as a pydantic document, which dumps to JSON and back."""
        from tsdsl.sema.document import describe
        from tsdsl.sema.settings import Sections

        return describe(self.graph, self.sections or Sections())

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def hash(self) -> str:
        """Identity of what can be built: equal for equal meaning."""
        return self.graph.hash

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return self.graph.decisions

    @property
    def size(self) -> int:
        """The exact number of architectures that satisfy all requirements: of assignments of the
        decisions that are active. Several may be one network; see `networks`."""
        if not self.decisions:
            return 1
        if self._size is None:
            from tsdsl.analysis.elimination.count import count

            self._size = count(self.graph)
        return self._size

    @property
    def networks(self) -> int | None:
        """The exact number of distinct networks, at most `size`; None if it is not known, as in a
        space of more than 65,536 architectures."""
        if not self.decisions:
            return 1
        if self._networks == _UNCOUNTED:
            from tsdsl.analysis.windows.network_count import count_networks

            self._networks = count_networks(self.graph)
        return self._networks

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """The clip: channels, frames, height, width."""
        channels, frames, height, width = self.graph.clip.shape.value
        return channels, frames, height, width

    def architecture(
        self, decisions: Mapping[str, Any], warnings: Collector | None = None
    ) -> Architecture:
        """The architecture that a mapping means, validated: everything that does not fit is in
        one `ArchitectureError`. ``warnings`` collects what fits but looks wrong."""
        from tsdsl.ir.resolve import validate

        return validate(self.graph, decisions, warnings)

    def network(self, architecture: Mapping[str, Any] | None = None) -> Network:
        """The frozen network of an architecture; of a space without decisions, the only one."""
        from tsdsl.ir.freeze import freeze

        if architecture is None and self.decisions:
            raise self._undecided()
        if architecture is not None and not isinstance(architecture, Architecture):
            return freeze(self.graph, architecture)
        key = architecture or Architecture({})
        if self._frozen is None or self._frozen[0] != key:
            self._frozen = (key, freeze(self.graph, key))
        return self._frozen[1]

    def freeze(self, supernet: Supernet, architecture: Mapping[str, Any]) -> nn.Module:
        """The frozen network of an architecture with the weights, and the running statistics, that
        it has in a supernet of this space. It shares no memory with it."""
        from tsdsl.backends.supernet import frozen

        return frozen(supernet, self.network(architecture), architecture)

    @overload
    def flops(self, architecture: Mapping[str, Any] | None = None) -> int: ...
    @overload
    def flops(self, architecture: Architectures | NDArray[Any]) -> NDArray[int64]: ...
    def flops(
        self, architecture: Mapping[str, Any] | Architectures | NDArray[Any] | None = None
    ) -> Any:
        """Multiply-accumulates for one clip: an int for one architecture (none, for a space
        without decisions), an array for a list of them. A matrix of option indices [architecture,
        decision] is looked up without validation, millions a second."""
        return self._cost("macs", architecture)

    @overload
    def params(self, architecture: Mapping[str, Any] | None = None) -> int: ...
    @overload
    def params(self, architecture: Architectures | NDArray[Any]) -> NDArray[int64]: ...
    def params(
        self, architecture: Mapping[str, Any] | Architectures | NDArray[Any] | None = None
    ) -> Any:
        """Parameters, as `flops`."""
        return self._cost("params", architecture)

    def encode(self, architectures: Architectures) -> NDArray[int64]:
        """Option indices [architecture, decision], which `flops` and the like read much faster
        than mappings; the default where a decision is not active. Validated: raises
        `ArchitectureError`."""
        from tsdsl.analysis.costs.assignments import assignments

        at = assignments(self.graph, architectures)
        return at[:, [d.variable.index for d in self.decisions]]

    def decode(self, options: NDArray[Any]) -> list[Architecture]:
        """The architectures of option indices [architecture, decision]; what a decision that is
        not active has does not count. Validated: raises `ArchitectureError`, and `ValueError`
        for an index that is none."""
        from tsdsl.analysis.costs.assignments import assignments, assignments_from_indices
        from tsdsl.analysis.sampling.sampler import architectures

        made = architectures(self.graph, assignments_from_indices(self.graph, options))
        assignments(self.graph, made)
        return made

    @property
    def query_cache(self) -> QueryCache:
        """The plans and tables that exact answers come from; each is made on first use."""
        from tsdsl.analysis.elimination.cache import query_cache

        return query_cache(self.graph)

    def _engine_of(self, given: Distribution) -> QueryCache:
        """Of the graph in which a distribution is one of single decisions."""
        from tsdsl.analysis.elimination.cache import query_cache

        return query_cache(given.graph)

    def distribution(self, given: DistributionLike = None) -> Distribution:
        """The distribution that is meant: the spec's initial weights, or weights by decision
        path."""
        from tsdsl.analysis.distribution import as_distribution

        return as_distribution(self.graph, given)

    def expectation(self, cost: str, distribution: DistributionLike = None) -> float:
        """The exact mean of a cost under a distribution (left out: the initial one).

        An architecture has the product of the probabilities of its *active* decisions' options, on
        the condition that all requirements hold (renormalised)."""
        given = self.distribution(distribution)
        means = self._engine_of(given).expectation(self.cost(cost))
        return means.mean(given.flat_probabilities, lambda: given.flat_logs)

    def variance(self, cost: str, distribution: DistributionLike = None) -> float:
        """The exact variance of a cost; see `expectation`."""
        given = self.distribution(distribution)
        return self._engine_of(given).expectation(self.cost(cost)).moments(given).variance

    def std(self, cost: str, distribution: DistributionLike = None) -> float:
        """The exact standard deviation of a cost; see `expectation`."""
        return float(self.variance(cost, distribution) ** 0.5)

    def gradient(
        self, cost: str, distribution: DistributionLike = None
    ) -> dict[str, NDArray[float64]]:
        """The exact gradient of `expectation` with respect to the logits of each decision, or of
        each group that a joint distribution has."""
        given = self.distribution(distribution)
        means = self._engine_of(given).expectation(self.cost(cost))
        _, flat = means.gradient(given.flat_probabilities, lambda: given.flat_logs)
        return dict(zip(given.layout.paths, given.layout.split(flat), strict=True))

    def breakdown(
        self, cost: str, by: Grouping = "stage", distribution: DistributionLike = None
    ) -> dict[str, float]:
        """The exact mean of a cost in each "stream", "stage", "block" or kind of "op", by name, in
        order of appearance; they sum to `expectation`."""
        from tsdsl.analysis.elimination.breakdown import breakdown

        return breakdown(self.graph, self.cost(cost), by, distribution)

    def phases(self, cost: str = "macs", distribution: DistributionLike = None) -> list[PhaseCost]:
        """Mean, deviation, least and greatest of a cost in each phase of the search section, with
        the budgets that hold there.

        Only the phase's streams exist; what it learns follows the distribution, what was learned
        before stands at its most probable option, everything else at its default. Exact for what
        exists; the head counts with all of its inputs, and shapes are those of the whole
        network, also where streams are absent."""
        from tsdsl.analysis.elimination.phases import phases

        search = self.sections.search if self.sections else None
        return phases(self.graph, search, self.cost(cost), distribution)

    def bounds(self, cost: str) -> Bounds:
        """The exact ``min`` and ``max`` over all architectures, each a value and an architecture
        that has it."""
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
        """How many architectures lie in all windows (ends included): the exact number, or
        ``(low, high)`` where only these bounds are proven, with an ``estimate``. ``within`` has
        windows of other costs by name: ``{"latency": (8_000_000, 10_000_000)}``, in the unit of
        their table. ``precision`` asks for bounds that differ by this share at most, if minutes
        are enough for them."""
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
        """The probability of all windows under a distribution, as proven bounds (equal where it
        is exact). ``"architectures"``: the share of all architectures."""
        from tsdsl.analysis.windows.window import mass

        return mass(self.graph, self.windows(flops, params, within), distribution, precision)

    def histogram(self, cost: str, bins: int = 40, distribution: Weighting = None) -> Histogram:
        """The share of each of some equal bins from the least to the greatest cost, with proven
        bounds."""
        from tsdsl.analysis.windows.window import histogram

        return histogram(self.graph, self.cost(cost), bins, distribution)

    def quantiles(
        self, cost: str, shares: Sequence[float], distribution: Weighting = None
    ) -> list[Between]:
        """The cost that a share of all mass does not exceed, for each share, as proven bounds."""
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
        """An architecture, or a list of ``n`` that are distinct networks (all, if there are fewer),
        drawn with the weights that the spec gives its options, on the condition that all
        requirements hold and that each cost lies in its window (ends included): exactly what
        drawing freely and turning away what does not fit gives. Architectures that are one network
        (a decision that the chosen options ignore, an option that is written in two ways) are drawn
        once: the first stands for all, with the sum of their probabilities. ``weights`` may be a
        distribution; ``"architectures"`` makes all architectures equally probable."""
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
        """What `sample` gives, one after the other for as long as there are more: the first n of
        them are ``sample(n)`` with the same seed."""
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
        """The most probable architecture of all that lie in the windows, or the ``k`` most
        probable that are distinct networks (all, if there are fewer), best first: each is the most
        probable architecture of its network. ``provenance["proven"]`` says whether that is
        proven."""
        from tsdsl.analysis.sampling.most_probable_networks import most_probable_networks

        windows = self.windows(flops, params, within)
        found = most_probable_networks(self.graph, 1 if k is None else k, windows, distribution)
        return found[0] if k is None else found

    def cost(self, name: str) -> Cost:
        """What a name means: ``"macs"`` (also ``"flops"``), ``"params"``, ``"elements"`` (values
        of all results of operations, for one clip) or the name of a cost table of this space.
        Raises `SpecError`."""
        from tsdsl.analysis.costs.cost_table import COUNTED

        for counted in COUNTED:
            if name == counted or (name == "flops" and counted == "macs"):
                return counted
        if name in self.costs:
            return self.costs[name]
        known = [*COUNTED, *self.costs]
        if name == "latency":
            hint: str | None = (
                f"'tsdsl measure {self.graph.source} -o latency.json' makes its table,"
                " --costs latency.json reads it"
            )
        else:
            hint = did_you_mean(name, known, f"the costs are: {', '.join(known)}")
        message = f"space {self.name} has no table for the cost '{name}'"
        raise SpecError([Diagnostic("E0723", message, file=self.graph.source, help=hint)])

    def value(self, cost: str, architecture: Any = None) -> Any:
        """Any cost by its name, of one architecture or many; see `flops`."""
        return self._cost(cost, architecture)

    def with_costs(self, *tables: CostTable) -> Space:
        """The same space with more cost tables."""
        held = {**self.costs, **{table.name: table for table in tables}}
        return Space(self.graph, self.sections, held)

    def windows(
        self, flops: Window = None, params: Window = None, within: Within = None
    ) -> dict[Cost, tuple[int, int]]:
        """Windows as the analysis takes them: whole numbers by cost. Raises `SpecError` for an
        unknown cost, `ValueError` for one that has two windows."""
        from tsdsl.analysis.windows.window import windows_of

        found: dict[Cost, tuple[float, float]] = {}
        given = [("macs", flops), ("params", params), *(within or {}).items()]
        for name, window in given:
            if window is not None:
                if self.cost(name) in found:
                    raise ValueError(f"{name} has two windows: {found[self.cost(name)]}, {window}")
                found[self.cost(name)] = window
        return windows_of(found)

    def _cost(
        self, name: str, asked: Mapping[str, Any] | Architectures | NDArray[Any] | None
    ) -> Any:
        cost = self.cost(name)
        if asked is None or isinstance(asked, Mapping):
            # Tables for the whole space pay for themselves from the second question on.
            if isinstance(asked, Architecture):
                self._asked += 1
                found = self._look_up(cost, asked) if self._asked > 1 else None
                if found is not None:
                    return found
            from tsdsl.analysis.costs.items import total

            return total(self.network(asked), cost)
        if not isinstance(asked, Sequence):
            return self.query_cache.lookup(cost).many(asked)
        from tsdsl.analysis.costs.assignments import assignments

        return self.query_cache.lookup(cost).assigned(assignments(self.graph, asked))

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
