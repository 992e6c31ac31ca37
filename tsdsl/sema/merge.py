"""``extends``: the statements of a space and of its bases, merged into one list.

A statement with a name replaces the statement of that name in the base, at its place. A stream or
stage written without parentheses amends that of the base. Everything else is appended. In an
amended stage, ``name = ...`` or ``name ~ ...`` replaces the binding of that name, or the count of
the repeat of that name; ``use`` and ``repeat`` replace all blocks of the stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from tsdsl.diagnostics import Collector, Diagnostic, Label, Span, did_you_mean
from tsdsl.record import Record, replace
from tsdsl.sema.modules import Loader
from tsdsl.syntax import ast


class StatementKey(Record, eq=True):
    """What a statement declares. Of two statements with one key, the later one replaces the
    other."""

    #: "name" for all that share the names of values, else the kind of the statement.
    kind: str
    #: Empty where a space has at most one such statement (``input``, ``head``, ``train``).
    name: str = ""


class Added(Record):
    """A statement of an extending space that replaces nothing of the base: it is new."""

    statement: ast.Param | ast.Let | ast.Binding | ast.Stream | ast.Stage | ast.Section
    #: Path of the part in which it stands; empty for the space itself.
    place: str
    #: Names of statements of its kind that the base has in that part.
    beside: tuple[str, ...]
    #: All statements of the extending space, and all of its base.
    own: tuple[Any, ...]
    base: tuple[Any, ...]


def merged(
    space: ast.Space, loader: Loader, findings: Collector, added: list[Added]
) -> list[ast.Statement] | None:
    """All statements of a space, those of its base included.

    Returns None where a base cannot be found, which is reported. New statements of extending spaces
    are appended to ``added``. No space of the chain may extend itself (`tsdsl.sema.check` reports
    that before).
    """
    own = _without_repetitions(space.body, findings)
    if space.base is None:
        return own
    base = base_of(space, loader, findings)
    inherited = merged(base, loader, findings, added) if base is not None else None
    if inherited is None:
        return None
    merge = _Merge(tuple(own), tuple(inherited), findings, added)
    return merge.apply(inherited, own, "")


def base_of(space: ast.Space, loader: Loader, findings: Collector) -> ast.Space | None:
    """The space that another one extends; None where it cannot be found, which is reported."""
    base = space.base
    assert base is not None
    module = loader.by_source(base.span.source)
    name = base.text if isinstance(base, ast.Name) else base.name.text
    if isinstance(base, ast.Member):
        assert isinstance(base.object, ast.Name)
        alias = base.object.text
        if alias not in module.imports:
            hint = did_you_mean(alias, module.imports, "import the file first")
            findings.add(
                Diagnostic("E0201", f"'{alias}' is no import", base.object.span, help=hint)
            )
            return None
        imported = module.imports[alias]
        if imported is None:
            return None
        module = imported
    if name not in module.spaces:
        if name not in module.lost:
            hint = did_you_mean(name, module.spaces)
            findings.add(Diagnostic("E0201", f"there is no space '{name}'", base.span, help=hint))
        return None
    return module.spaces[name]


def key_of(statement: Any) -> StatementKey | None:
    """What a statement declares; None for a statement that can stand any number of times."""
    match statement:
        case ast.Param(name) | ast.Let(name) | ast.Binding(name):
            return StatementKey("name", name.text)
        case ast.Repeat(name) | ast.Use(name) if name is not None:
            return StatementKey("name", name.text)
        case ast.Stream(name):
            return StatementKey("stream", name.text)
        case ast.Stage(name):
            return StatementKey("stage", name.text)
        case ast.Section(kind, name):
            return StatementKey(kind, name.text if name and kind == "evaluate" else "")
        case ast.Input() | ast.Head() | ast.Stem():
            return StatementKey(type(statement).__name__.lower())
        case _:
            return None


def _without_repetitions(statements: Sequence[Any], findings: Collector) -> list[Any]:
    """The statements of one body, without those whose key another one has, which are reported."""
    seen: dict[StatementKey, Any] = {}
    kept: list[Any] = []
    for statement in statements:
        key = key_of(statement)
        if key is not None and key in seen:
            _report_repetition(statement, seen[key], findings)
            continue
        if key is not None:
            seen[key] = statement
        kept.append(statement)
    return kept


def _report_repetition(statement: Any, first: Any, findings: Collector) -> None:
    name = getattr(statement, "name", None)
    kind = statement.kind if isinstance(statement, ast.Section) else type(statement).__name__
    shown = f"'{name.text}'" if name else f"'{kind.lower()}'"
    findings.add(
        Diagnostic(
            "E0202",
            f"{shown} is declared twice",
            _head(statement),
            labels=(Label(_head(first), "declared here first"),),
            help="remove one, or give it another name" if name else "remove one",
        )
    )


def _head(statement: Any) -> Span:
    """The name of a statement, or its first word."""
    name = getattr(statement, "name", None)
    if name:
        return cast(Span, name.span)
    word = type(statement).__name__ if not isinstance(statement, ast.Section) else statement.kind
    whole: Span = statement.span
    return Span(whole.source, whole.start, whole.start + len(word))


class _Merge(Record):
    """Merges the statements of one extending space, ``own``, into those of its ``base``."""

    own: tuple[Any, ...]
    base: tuple[Any, ...]
    findings: Collector
    added: list[Added]

    def _note(self, statement: Any, place: str, beside: Iterable[StatementKey]) -> None:
        """Remember a new statement, and the names that the base has ``beside`` it."""
        names = tuple(key.name for key in beside if key.name)
        self.added.append(Added(statement, place, names, self.own, self.base))

    def apply(self, base: list[Any], changes: Sequence[Any], place: str) -> list[Any]:
        """The statements of the space, or of the stream at ``place``, with changes."""
        result = list(base)
        index = {key: at for at, s in enumerate(result) if (key := key_of(s)) is not None}
        for change in changes:
            if self.findings.is_full:
                break
            key = key_of(change)
            at = index.get(key) if key is not None else None
            if isinstance(change, ast.Fuse | ast.Attend):
                _release(result, len(base), change)
                result.append(change)
            elif isinstance(change, ast.Stream) and change.arguments is None:
                if at is None:
                    name = change.name.text
                    hint = f"a new stream names its input: stream {name}(clip) {{"
                    self._report_no_base(change, "stream", index, hint)
                else:
                    stream = result[at]
                    body = self.apply(list(stream.body), change.body, stream.name.text)
                    result[at] = replace(stream, body=tuple(body))
            elif isinstance(change, ast.Stage) and change.arguments is None and at is not None:
                _check_amended(result[at], change, self.findings)
                result[at] = self._amend(result[at], change, place)
            elif isinstance(change, ast.Stage) and at is None and _only_amends(change):
                self._report_no_base(change, "stage", index, "a new stage has blocks (use)")
            elif at is not None:
                result[at] = _replaced(result[at], change)
            else:
                if key is not None and key.name:
                    self._note(change, place, (k for k in index if k.kind == key.kind))
                if key is not None:
                    index[key] = len(result)
                result.append(change)
        return result

    def _report_no_base(
        self,
        change: ast.Stream | ast.Stage,
        kind: str,
        index: Iterable[StatementKey],
        otherwise: str,
    ) -> None:
        names = [key.name for key in index if key.kind == kind]
        self.findings.add(
            Diagnostic(
                "E0208",
                f"there is no {kind} '{change.name.text}' to amend",
                change.name.span,
                help=did_you_mean(change.name.text, names, otherwise),
            )
        )

    def _amend(self, stage: ast.Stage, change: ast.Stage, place: str) -> ast.Stage:
        """A stage of the base with the changes that a stage without parentheses makes to it."""
        body: list[Any] = list(stage.body)
        known = [key for s in ast.descendants(stage.body) if (key := key_of(s)) is not None]
        if any(isinstance(s, ast.Use | ast.Repeat) for s in change.body):
            body = [s for s in body if not isinstance(s, ast.Use | ast.Repeat)]
            for new in change.body:
                if isinstance(new, ast.Let | ast.Binding) and key_of(new) not in known:
                    self._note(new, f"{place}.{stage.name.text}", known)
        return replace(stage, body=tuple(_amended_body(body, change.body)))


def _replaced(old: Any, new: Any) -> Any:
    """What takes the place of a statement. A binding replaces only the count of a repeat, and only
    the operation of a ``use``."""
    if isinstance(old, ast.Repeat) and isinstance(new, ast.Binding):
        return replace(old, count=new.value)
    if isinstance(old, ast.Use) and isinstance(new, ast.Binding):
        return replace(old, value=new.value)
    return new


def _only_amends(stage: ast.Stage) -> bool:
    """Whether a stage can only be meant as a change of another: it has no parentheses and no
    blocks."""
    return stage.arguments is None and not any(
        isinstance(s, ast.Use | ast.Repeat) for s in stage.body
    )


def _check_amended(stage: ast.Stage, change: ast.Stage, findings: Collector) -> None:
    """Report bindings of names that the stage neither has nor mentions: they would change
    nothing."""
    if not _only_amends(change):
        return
    keys = [key for s in ast.descendants(stage.body) if (key := key_of(s)) is not None]
    known = {key.name: None for key in keys if key.name}
    used = {s.text for s in ast.descendants(stage.body) if isinstance(s, ast.Name | ast.Ident)}
    own = {s.text for s in ast.descendants(change.body) if isinstance(s, ast.Name)}
    for binding in change.body:
        if findings.is_full:
            return
        if isinstance(binding, ast.Binding) and binding.name.text not in used | own:
            hint = did_you_mean(binding.name.text, known, f"it has {', '.join(known)}")
            findings.add(
                Diagnostic(
                    "E0208",
                    f"there is no '{binding.name.text}' in stage '{stage.name.text}' to amend",
                    binding.name.span,
                    labels=(Label(stage.name.span, "the stage that is amended"),),
                    help=hint if known else "nothing in it has a name",
                )
            )


def _amended_body(body: list[Any], changes: Sequence[Any]) -> list[Any]:
    """The statements of a stage, repeats included, with changes. New names come before the first
    block, which may use them; all other new statements come last."""
    pending = list(changes)

    def visit(items: Sequence[Any]) -> list[Any]:
        visited: list[Any] = []
        for item in items:
            key = key_of(item)
            for change in pending:
                if key is not None and key_of(change) == key:
                    item = _replaced(item, change)
                    pending.remove(change)
                    break
            if isinstance(item, ast.Repeat):
                item = replace(item, body=tuple(visit(item.body)))
            visited.append(item)
        return visited

    result = visit(body)
    first = next(
        (at for at, s in enumerate(result) if isinstance(s, ast.Use | ast.Repeat)), len(result)
    )
    before = [s for s in pending if isinstance(s, ast.Let | ast.Binding)]
    after = [s for s in pending if s not in before]
    return [*result[:first], *before, *result[first:], *after]


def _release(statements: list[Any], inherited: int, change: ast.Fuse | ast.Attend) -> None:
    """Take the points of a fusion or attention out of those of the base, which it replaces there.

    The first ``inherited`` of the statements are those of the base.
    """
    points = {p.text for p in change.points}
    for at, statement in enumerate(statements[:inherited]):
        if type(statement) is not type(change) or statement.target.text != change.target.text:
            continue
        source = getattr(statement, "source", None)
        if isinstance(change, ast.Fuse) and source and source.text != change.source.text:
            continue
        kept = tuple(p for p in statement.points if p.text not in points)
        statements[at] = replace(statement, points=kept)
