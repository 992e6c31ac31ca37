"""Statements that an extending space adds to its base and nothing uses: mostly misspelt names.

``param fraes = 16`` over a base with ``frames`` declares a new param, and the network keeps its
frames. A name that the extending space reads itself is no mistake. A name that nothing reads is an
error if the base has a similar one, and else a warning. Nothing needs to read a new stage or a new
evaluation: these are errors only if their name is one typing error away from a name of the base.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from tsdsl.diagnostics import Label, Span, nearest
from tsdsl.sema.context import Context
from tsdsl.sema.merge import Added
from tsdsl.syntax import ast


def check_additions(
    added: Sequence[Added], read: Collection[tuple[str | None, str]], context: Context
) -> None:
    """Report additions that have no effect. ``read`` are the names that elaboration read, each with
    the path of the part that has it."""
    for new in added:
        statement = new.statement
        name = statement.name
        assert name is not None
        if name.text in _mentioned(new.own, statement) or (new.place, name.text) in read:
            continue
        kind = _kind(statement)
        if isinstance(statement, ast.Stage | ast.Section):
            meant = _slip(name.text, new.beside)
        else:
            meant = nearest(name.text, new.beside)
        labels: tuple[Label, ...] = ()
        if meant is None and not isinstance(statement, ast.Stage | ast.Section | ast.Stream):
            elsewhere = dict(_named(new.base))
            meant = _slip(name.text, [path.rpartition(".")[2] for path in elsewhere])
            if meant is not None:
                path = next(p for p in elsewhere if p.rpartition(".")[2] == meant)
                labels = (Label(elsewhere[path], f"'{path}' is declared here"),)
                meant = path
        if meant is not None:
            context.error(
                "E0214",
                f"{kind} '{name.text}' is new, and nothing uses it"
                if not isinstance(statement, ast.Stage | ast.Section)
                else f"{kind} '{name.text}' is new beside '{meant}' of the base",
                name.span,
                f"did you mean '{meant}'? A name that the base does not have changes nothing of it",
                labels,
            )
        elif not isinstance(statement, ast.Stage | ast.Section):
            context.warn(
                "W0908",
                f"{kind} '{name.text}' is new, and nothing uses it",
                name.span,
                "use it, or remove it; to change something of the base, write its name",
            )


def _kind(statement: Any) -> str:
    if isinstance(statement, ast.Section):
        return statement.kind
    return "binding" if isinstance(statement, ast.Binding) else type(statement).__name__.lower()


def _mentioned(statements: Sequence[Any], declaration: Any) -> set[str]:
    """All words of some statements that may be uses of a name. The names that they declare are no
    uses, and nothing in ``declaration`` is."""
    found: set[str] = set()
    for node in ast.descendants(statements, declaration):
        match node:
            case ast.Name(text):
                found.add(text)
            case ast.Member(_, name):
                found.add(name.text)
            case ast.Fuse(source, target, points):
                found.update((source.text, target.text, *(p.text for p in points)))
            case ast.Attend(target, points):
                found.update((target.text, *(p.text for p in points)))
            case ast.Streams(names):
                found.update(name.text for name in names)
            case ast.DecisionPath(text):
                found.update(re.split(r"[.\[\]]|->", text))
            case _:
                pass
    return found


def _named(statements: Iterable[Any], place: str = "") -> Iterator[tuple[str, Span]]:
    """Path and place of each param, let, binding and repeat among some statements."""
    for statement in statements:
        name = getattr(statement, "name", None)
        path = f"{place}.{name.text}" if place and name else name.text if name else place
        if isinstance(statement, ast.Param | ast.Let | ast.Binding | ast.Repeat) and name:
            yield path, name.span
        if isinstance(statement, ast.Stream | ast.Stage):
            yield from _named(statement.body, path)
        elif isinstance(statement, ast.Repeat):
            yield from _named(statement.body, place)


def _slip(name: str, known: Sequence[str]) -> str | None:
    """A known name that differs by one typing error: a letter left out, added, changed, or two
    swapped. The next number is no typing error: ``s5`` beside ``s4`` is meant, ``s11`` is not."""
    for other in known:
        if not _one_edit(name.lower(), other.lower()):
            continue
        stem, number = _numbered(name)
        if number is not None and _numbered(other)[0] == stem:
            numbers = [n for k in known if (n := _numbered(k)[1]) is not None]
            if number <= max(numbers, default=1) + 1:
                continue
        return other
    return None


def _numbered(name: str) -> tuple[str, int | None]:
    """A name without the digits at its end, and the number that these are."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :]) if stem != name else None


def _one_edit(a: str, b: str) -> bool:
    """Whether two different words of at least two letters differ by one typing error."""
    if abs(len(a) - len(b)) > 1 or min(len(a), len(b)) < 2:
        return False
    at = next(
        (k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    rests = {(a[at + 1 :], b[at:]), (a[at:], b[at + 1 :]), (a[at + 1 :], b[at + 1 :])}
    swapped = a[at + 1 : at + 2] + a[at : at + 1] + a[at + 2 :]
    return any(x == y for x, y in rests) or swapped == b[at:]
