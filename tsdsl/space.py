"""`Space`: what a user of the library holds. Each question goes to the module that answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from tsdsl.diagnostics import ArchitectureError, Collector, Diagnostic
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.space import Decision, SpaceGraph

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray

    from tsdsl.analysis.bounds import Bounds
    from tsdsl.analysis.sample import Weights
    from tsdsl.ir.network import Network
    from tsdsl.sema.document import SpecDocument
    from tsdsl.sema.settings import Sections

Architectures = Sequence[Mapping[str, Any]]


class Space:
    """A family of networks: its decisions and everything that follows from them.

    Where an architecture is asked for, any mapping of decision paths to options is taken; it is
    validated (`ArchitectureError`).
    """

    def __init__(self, graph: SpaceGraph, sections: Sections | None = None) -> None:
        #: The typed graph of all architectures.
        self.graph = graph
        #: The validated search, train and evaluate sections.
        self.sections = sections
        self._frozen: tuple[Architecture, Network] | None = None
        self._size: int | None = None

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
        """The exact number of architectures that satisfy all requirements; decisions that are not
        active do not count."""
        if not self.decisions:
            return 1
        if self._size is None:
            from tsdsl.analysis.count import count

            self._size = count(self.graph)
        return self._size

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

    @overload
    def flops(self, architecture: Mapping[str, Any] | None = None) -> int: ...
    @overload
    def flops(self, architecture: Architectures) -> NDArray[int64]: ...
    def flops(self, architecture: Mapping[str, Any] | Architectures | None = None) -> Any:
        """Multiply-accumulates for one clip: an int for one architecture (none, for a space
        without decisions), an array for a list of them."""
        return self._cost("macs", architecture)

    @overload
    def params(self, architecture: Mapping[str, Any] | None = None) -> int: ...
    @overload
    def params(self, architecture: Architectures) -> NDArray[int64]: ...
    def params(self, architecture: Mapping[str, Any] | Architectures | None = None) -> Any:
        """Parameters, as `flops`."""
        return self._cost("params", architecture)

    def bounds(self, cost: Literal["macs", "params"]) -> Bounds:
        """The exact ``min`` and ``max`` over all architectures, each a value and an architecture
        that has it."""
        if not self.decisions:
            from tsdsl.analysis.bounds import Bound, Bounds

            only = Bound(self._cost(cost, None), self.architecture({}))
            return Bounds(only, only)
        from tsdsl.analysis.bounds import bounds

        return bounds(self.graph, cost)

    @overload
    def sample(
        self, n: None = None, *, seed: int | None = None, weights: Weights = "initial"
    ) -> Architecture: ...
    @overload
    def sample(
        self, n: int, *, seed: int | None = None, weights: Weights = "initial"
    ) -> list[Architecture]: ...
    def sample(
        self, n: int | None = None, *, seed: int | None = None, weights: Weights = "initial"
    ) -> Architecture | list[Architecture]:
        """An architecture, or a list of ``n`` distinct ones (all, if there are fewer), drawn with
        the weights that the spec gives its options, on the condition that all requirements hold.
        ``weights="architectures"`` makes all architectures equally probable."""
        from tsdsl.analysis.sample import sample

        if seed is None:
            from secrets import randbits

            seed = randbits(64)
        drawn = sample(self.graph, seed, 1 if n is None else n, weights)
        return drawn[0] if n is None else drawn

    def _cost(
        self, cost: Literal["macs", "params"], asked: Mapping[str, Any] | Architectures | None
    ) -> Any:
        if asked is None or isinstance(asked, Mapping):
            from tsdsl.analysis.items import items

            return sum(getattr(item, cost) for item in items(self.network(asked)))
        from tsdsl.analysis.costs import costs

        return costs(self.graph, asked, cost)

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
