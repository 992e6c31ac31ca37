"""The errors of queries that no architecture, or hardly any, can answer (E0593 and E0594)."""

from __future__ import annotations

from collections.abc import Sequence

from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.space import SpaceGraph


def no_architecture(space: SpaceGraph, within: str = "", hint: str | None = None) -> SpecError:
    """E0593: the requirements of a space exclude each other; or, with ``within``, no architecture
    has that property."""
    spans = [requirement.span for requirement in space.requirements]
    wanted = f"has {within}" if within else "satisfies all requirements"
    message = f"no architecture of space {space.name} {wanted}"
    span = spans[0] if spans and not within else None
    return SpecError([Diagnostic("E0593", message, span, file=space.source, help=hint)])


def too_few(space: SpaceGraph, found: int) -> SpecError:
    """E0594: there may be more networks, but draws only repeat the ``found`` ones."""
    return _rare(
        space,
        f"the weights of space {space.name} hardly ever give more than the {found:,}"
        " distinct networks that were drawn",
        "draw uniformly, or fewer",
    )


def mostly_alike(space: SpaceGraph, ranked: int, found: int) -> SpecError:
    """E0594: the ``ranked`` most probable architectures are only ``found`` networks."""
    return _rare(
        space,
        f"the {ranked:,} most probable architectures of space {space.name} are"
        f" {found:,} distinct networks",
        f"ask for {found:,} or fewer; a decision that has no effect under the probable options"
        " multiplies architectures, not networks",
    )


def rarely_inside(space: SpaceGraph, found: int, draws: int, what: str) -> SpecError:
    """E0594: after ``found`` architectures, none of ``draws`` draws was inside of ``what``."""
    before = f", after {found:,} that were" if found else ""
    return _rare(
        space,
        f"of {draws:,} draws from space {space.name}, none was inside of {what}{before}",
        "there may be such architectures; wider windows find them sooner",
    )


def rarely_met(space: SpaceGraph, found: int, draws: int, requirements: Sequence[str]) -> SpecError:
    """E0594: after ``found`` architectures, none of ``draws`` draws satisfied the requirements that
    are too coupled to plan for."""
    before = f", after {found:,} that did" if found else ""
    first = f"'require {requirements[0]}'"
    shown = f"{first} and {len(requirements) - 1} more" if len(requirements) > 1 else first
    return _rare(
        space,
        f"of {draws:,} draws from space {space.name}, none met {shown}{before}",
        "its decisions are too coupled for exact treatment, so that draws are tried: weights that"
        " favour what is required, or a requirement on fewer decisions at once, would help",
    )


def _rare(space: SpaceGraph, message: str, hint: str) -> SpecError:
    return SpecError([Diagnostic("E0594", message, file=space.source, help=hint)])
