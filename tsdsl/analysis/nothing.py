"""What is told where there is no architecture to answer with."""

from __future__ import annotations

from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.ir.space import SpaceGraph


def no_architecture(space: SpaceGraph, within: str = "") -> SpecError:
    """The requirements of a space exclude each other; or a budget (``within``) excludes all."""
    spans = [requirement.span for requirement in space.requirements]
    wanted = f"has {within}" if within else "satisfies all requirements"
    message = f"no architecture of space {space.name} {wanted}"
    span = spans[0] if spans and not within else None
    return SpecError([Diagnostic("E0593", message, span, file=space.source)])


def too_few(space: SpaceGraph, n: int, found: int) -> SpecError:
    """Draws give hardly any new ones."""
    return SpecError(
        [
            Diagnostic(
                "E0594",
                f"{n:,} distinct architectures of space {space.name} were asked for;"
                f" its weights hardly ever give more than {found:,}",
                file=space.source,
                help="draw uniformly, or fewer",
            )
        ]
    )
