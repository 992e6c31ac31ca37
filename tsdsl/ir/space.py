"""A whole space: its decisions, its constraints and its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tsdsl.diagnostics import Span
from tsdsl.ir.architecture import Option, option_text
from tsdsl.ir.graph import Edge, Guard, Region
from tsdsl.ir.values import Val, Variable
from tsdsl.record import Record, factory

DecisionKind = Literal["int", "ratio", "dims", "bool", "string", "op"]


class Decision(Record):
    """One searched value of a space.

    ``options[i]`` is option i as ``arch.json`` writes it; ``variable.domain[i]`` is its value.
    """

    path: str
    kind: DecisionKind
    variable: Variable
    options: tuple[Option, ...]
    #: Relative weights of the options in the initial distribution; None for uniform.
    weights: tuple[float, ...] | None
    #: Index of the option that the decision has before its phase of a search.
    default: int
    #: The decision is active where all of these hold (its block runs, its option is chosen).
    guards: tuple[Guard, ...]
    span: Span
    doc: str = ""

    def __repr__(self) -> str:
        from tsdsl.notebook import listed, shortened

        options = listed(map(option_text, self.options), " | ")
        default = option_text(self.options[self.default])
        return f"<Decision {shortened(self.path)}: {options} (default {default})>"

    def _repr_html_(self) -> str:
        from tsdsl.notebook import html_table, shortened

        weights = self.weights or (1.0,) * len(self.options)
        rows = zip(map(option_text, self.options), (f"{w:g}" for w in weights), strict=True)
        caption = f"Decision {shortened(self.path)}, {self.kind}"
        return html_table(caption, ["option", "weight"], rows, len(self.options))


def path_prefixes(path: str) -> set[str]:
    """The names by which ``learn`` can select a decision: its path and the leading parts of it."""
    return {path, *(path[:at] for at, sign in enumerate(path) if sign in ".[")}


class Requirement(Record):
    """A ``require`` of a spec: ``condition`` (a table of booleans) must hold wherever all guards
    hold."""

    condition: Val
    guards: tuple[Guard, ...]
    message: str
    text: str
    span: Span


class SpaceGraph(Record):
    """A search space after elaboration: decisions, requirements, and the graph of all
    architectures."""

    name: str
    doc: str
    #: Path of the spec, as the user wrote it.
    source: str
    #: The input: a constant shape (channels, frames, height, width).
    clip: Edge
    #: Frames of the video per frame of the clip.
    interval: int
    #: In order of first appearance.
    decisions: tuple[Decision, ...]
    #: Decisions' variables and derived ones; ``variables[v.index] is v``. A derived variable comes
    #: after everything that its definition depends on.
    variables: tuple[Variable, ...]
    requirements: tuple[Requirement, ...]
    root: Region
    #: Stream -> names of its stem and stages; both in order.
    streams: Mapping[str, tuple[str, ...]]
    #: Earlier decision path -> today's (``moved old -> new``).
    moved: Mapping[str, str] = factory(default_factory=dict)
    #: Replaces the computed `hash`, for a graph that is derived from a space; empty for none.
    stated_hash: str = ""
    #: Value of each param, after ``--set``.
    params: Mapping[str, Any] = factory(default_factory=dict)
    #: The decisions of the spec, in a graph where `decision_groups` has replaced groups of them by
    #: joint decisions. Empty in any other graph, where `decisions` are those of the spec.
    members: tuple[Decision, ...] = ()

    @property
    def own(self) -> tuple[Decision, ...]:
        """The decisions of the spec: an architecture has an option for each active one."""
        return self.members or self.decisions

    @property
    def hash(self) -> str:
        """Hash of the space (see `tsdsl.ir.identity`): equal for specs that describe the same
        networks, whatever their clip size, recipe and layout of the file."""
        from tsdsl.ir.identity import space_hash

        return self.stated_hash or space_hash(self)
