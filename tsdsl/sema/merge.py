"""``extends``: the statements of a space and its bases, merged into one list.

A statement that has a name replaces the base's of that name, where it stands; a stream or stage
written without parentheses amends the base's; everything else is appended. In an amended stage,
``name = ...`` or ``name ~ ...`` replaces a binding or the count of the repeat of that name, and
``use`` or ``repeat`` replaces all of the base's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, cast

from tsdsl.diagnostics import Collector, Diagnostic, Label, Span, did_you_mean
from tsdsl.record import Record, replace
from tsdsl.sema import signatures
from tsdsl.sema.modules import Loader
from tsdsl.syntax import ast

#: More options than this are not taken for right without a look at them.
PLAIN_OPTIONS = 64


class Added(Record):
    """A statement of an extending space that changes nothing of the base: it is new."""

    statement: ast.Param | ast.Let | ast.Binding | ast.Stream | ast.Stage | ast.Section
    #: The path of the part in which it stands: empty for the space.
    place: str
    #: Names of the same kind that the base has there.
    beside: tuple[str, ...]
    #: All statements of the extending space, and of its base.
    own: tuple[Any, ...]
    base: tuple[Any, ...]


def merged(
    space: ast.Space, loader: Loader, findings: Collector, added: list[Added]
) -> list[ast.Statement] | None:
    """All statements that make up a space, base first; None where a base is not to be had, which is
    reported. That no space extends itself is checked before. ``added`` gets what extending spaces
    add."""
    own = _once(space.body, findings)
    if space.base is None:
        return own
    base = base_of(space, loader, findings)
    inherited = merged(base, loader, findings, added) if base is not None else None
    if inherited is None:
        return None
    merge = _Merge(tuple(own), tuple(inherited), findings, added)
    return merge.apply(inherited, own, "")


def base_of(space: ast.Space, loader: Loader, findings: Collector) -> ast.Space | None:
    """The space that another one extends; None where it is not to be had, which is reported."""
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


def changes_values_only(space: ast.Space, loader: Loader) -> bool:
    """Whether a space differs from its base in nothing but plain values of the same kind: numbers
    for numbers, decisions for decisions. Whatever else the base says is then part of the space, so
    that the base needs no check of its own. Moves are checked only in the space that has them."""
    base = base_of(space, loader, Collector())
    statements = merged(base, loader, Collector(), []) if base is not None else None
    if statements is None or any(isinstance(s, ast.Moved) for s in statements):
        return False
    return _values_only(space.body, statements)


def _values_only(changes: Sequence[Any], base: Sequence[Any]) -> bool:
    index: dict[Hashable, Any] = {}
    for statement in base:
        index.setdefault(_key(statement), statement)
    for change in changes:
        key = _key(change)
        old = index.get(key) if key is not None else None
        match change:
            case ast.Require():
                fine = True
            case ast.Stream(arguments=None) if isinstance(old, ast.Stream):
                fine = _values_only(change.body, old.body)
            case ast.Stage(arguments=None) if isinstance(old, ast.Stage):
                fine = _values_only(change.body, tuple(_inside(old.body)))
            case ast.Param(_, _, value) if isinstance(old, ast.Param):
                fine = _fits(old) and (_alike(old.value, value) or _are_ratios(old, value))
            case ast.Binding(_, value) if isinstance(old, ast.Binding):
                fine = _alike(old.value, value)
            case ast.Binding(_, value) if isinstance(old, ast.Repeat):
                fine = _alike(old.count, value)
            case _:
                fine = False
        if not fine:
            return False
    return True


def _fits(param: ast.Param) -> bool:
    """Whether a param has a plain value of its own type."""
    if param.type is None:
        return True
    if param.type.text not in signatures.TYPES or param.type.text in ("tensor", "op"):
        return False
    value = param.value
    if not isinstance(value, ast.Number | ast.Text | ast.Bool | ast.DimsLiteral):
        return False
    return signatures.fits(value.value, param.type.text)


def _are_ratios(param: ast.Param, value: Any) -> bool:
    """Whether both are numbers, of a param that takes ints and ratios."""
    declared = param.type is not None and param.type.text == "ratio"
    return declared and isinstance(param.value, ast.Number) and isinstance(value, ast.Number)


def _alike(old: Any, new: Any) -> bool:
    """Whether both are plain values of one kind."""
    kind = _plain_kind(old)
    return kind is not None and kind == _plain_kind(new)


def _plain_kind(value: Any) -> Hashable | None:
    """The kind of a value that cannot be wrong by itself: a literal, or a choice of literals
    without weights, steps and a default. None for all others."""
    match value:
        case ast.Number(plain) | ast.Text(plain) | ast.Bool(plain) | ast.DimsLiteral(plain):
            return type(plain).__name__
        case ast.RangeDomain(ast.Number(low), ast.Number(high), None, None):
            fine = type(low) is type(high) is int and 0 <= high - low < PLAIN_OPTIONS
            return ("one of", "int") if fine else None
        case ast.SetDomain(options, None):
            if not options or any(option.weight is not None for option in options):
                return None
            kinds = {_plain_kind(option.value) for option in options}
            if len(kinds) > 1 or None in kinds:
                return None
            # All are literals of one kind.
            values = {cast(Any, option.value).value for option in options}
            return ("one of", *kinds) if len(values) == len(options) else None
        case _:
            return None


def _key(statement: Any) -> Hashable | None:
    match statement:
        case ast.Param(name) | ast.Let(name) | ast.Binding(name):
            return ("name", name.text)
        case ast.Repeat(name) | ast.Use(name) if name is not None:
            return ("name", name.text)
        case ast.Stream(name):
            return ("stream", name.text)
        case ast.Stage(name):
            return ("stage", name.text)
        case ast.Section(kind, name):
            return (kind, name.text if name and kind == "evaluate" else "")
        case ast.Input() | ast.Head() | ast.Stem():
            return type(statement).__name__
        case _:
            return None


def _once(statements: Sequence[Any], findings: Collector) -> list[Any]:
    """The statements of one body, with a finding where one of them is there twice."""
    seen: dict[Hashable, Any] = {}
    kept: list[Any] = []
    for statement in statements:
        key = _key(statement)
        if key is not None and key in seen:
            _twice(statement, seen[key], findings)
            continue
        if key is not None:
            seen[key] = statement
        kept.append(statement)
    return kept


def _twice(statement: Any, first: Any, findings: Collector) -> None:
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
    name = getattr(statement, "name", None)
    if name:
        return cast(Span, name.span)
    word = type(statement).__name__ if not isinstance(statement, ast.Section) else statement.kind
    whole: Span = statement.span
    return Span(whole.source, whole.start, whole.start + len(word))


class _Merge(Record):
    """The statements of one extending space, laid over those of its base."""

    own: tuple[Any, ...]
    base: tuple[Any, ...]
    findings: Collector
    added: list[Added]

    def note(self, statement: Any, place: str, beside: Iterator[Any]) -> None:
        """Remember a new statement."""
        names = tuple(key[1] for key in beside if isinstance(key, tuple))
        self.added.append(Added(statement, place, names, self.own, self.base))

    def apply(self, base: list[Any], changes: Sequence[Any], place: str) -> list[Any]:
        """The statements of the space, or of the stream at ``place``, with changes."""
        findings = self.findings
        result = list(base)
        index = {_key(s): at for at, s in enumerate(result) if _key(s) is not None}
        for change in changes:
            if findings.is_full:
                break
            key = _key(change)
            at = index.get(key) if key is not None else None
            if isinstance(change, ast.Fuse | ast.Attend):
                _release(result, len(base), change)
                result.append(change)
            elif isinstance(change, ast.Stream) and change.arguments is None:
                if at is None:
                    names = [k[1] for k in index if isinstance(k, tuple) and k[0] == "stream"]
                    findings.add(
                        Diagnostic(
                            "E0208",
                            f"there is no stream '{change.name.text}' to amend",
                            change.name.span,
                            help=did_you_mean(
                                change.name.text,
                                names,
                                f"a new stream names its input: stream {change.name.text}(clip) {{",
                            ),
                        )
                    )
                else:
                    stream = result[at]
                    body = self.apply(list(stream.body), change.body, stream.name.text)
                    result[at] = replace(stream, body=tuple(body))
            elif isinstance(change, ast.Stage) and change.arguments is None and at is not None:
                _check_amended(result[at], change, findings)
                result[at] = self.amend(result[at], change, place)
            elif isinstance(change, ast.Stage) and at is None and _only_amends(change):
                stages = [s.name.text for s in result if isinstance(s, ast.Stage)]
                findings.add(
                    Diagnostic(
                        "E0208",
                        f"there is no stage '{change.name.text}' to amend",
                        change.name.span,
                        help=did_you_mean(change.name.text, stages, "a new stage has blocks (use)"),
                    )
                )
            elif at is not None:
                result[at] = _replace(result[at], change)
            else:
                if isinstance(key, tuple) and _kind(key) not in ("search", "train"):
                    self.note(change, place, (k for k in index if _kind(k) == _kind(key)))
                if key is not None:
                    index[key] = len(result)
                result.append(change)
        return result

    def amend(self, stage: ast.Stage, change: ast.Stage, place: str) -> ast.Stage:
        body: list[Any] = list(stage.body)
        known = [key for s in _inside(stage.body) if (key := _key(s)) is not None]
        if any(isinstance(s, ast.Use | ast.Repeat) for s in change.body):
            body = [s for s in body if not isinstance(s, ast.Use | ast.Repeat)]
            for new in change.body:
                if isinstance(new, ast.Let | ast.Binding) and _key(new) not in known:
                    self.note(new, f"{place}.{stage.name.text}", iter(known))
        return replace(stage, body=tuple(_amend_items(body, change.body)))


def _kind(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) else key


def _replace(old: Any, new: Any) -> Any:
    if isinstance(old, ast.Repeat) and isinstance(new, ast.Binding):
        return replace(old, count=new.value)
    if isinstance(old, ast.Use) and isinstance(new, ast.Binding):
        return replace(old, value=new.value)
    return new


def _only_amends(stage: ast.Stage) -> bool:
    """Whether a stage is written as the change of another: without parentheses and blocks."""
    return stage.arguments is None and not any(
        isinstance(s, ast.Use | ast.Repeat) for s in stage.body
    )


def _check_amended(stage: ast.Stage, change: ast.Stage, findings: Collector) -> None:
    """A value that the stage neither has nor mentions would be set without any effect."""
    if not _only_amends(change):
        return
    known = {key[1]: None for s in _inside(stage.body) if isinstance(key := _key(s), tuple)}
    used = {s.text for s in _inside(stage.body) if isinstance(s, ast.Name | ast.Ident)}
    own = {s.text for s in _inside(change.body) if isinstance(s, ast.Name)}
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


def _inside(node: Any) -> Iterator[Any]:
    """A node and everything in it."""
    if isinstance(node, tuple):
        for part in node:
            yield from _inside(part)
    elif isinstance(node, Record) and not isinstance(node, Span):
        yield node
        for field in cast(Any, node).__match_args__:
            yield from _inside(getattr(node, field))


def _amend_items(body: list[Any], changes: Sequence[Any]) -> list[Any]:
    pending = list(changes)

    def visit(items: Sequence[Any]) -> list[Any]:
        visited: list[Any] = []
        for item in items:
            key = _key(item)
            for change in pending:
                if key is not None and _key(change) == key:
                    item = _replace(item, change)
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
    """Take the points that ``change`` speaks of out of the base's statements."""
    points = {p.text for p in change.points}
    for at, statement in enumerate(statements[:inherited]):
        if type(statement) is not type(change) or statement.target.text != change.target.text:
            continue
        source = getattr(statement, "source", None)
        if isinstance(change, ast.Fuse) and source and source.text != change.source.text:
            continue
        kept = tuple(p for p in statement.points if p.text not in points)
        statements[at] = replace(statement, points=kept)
