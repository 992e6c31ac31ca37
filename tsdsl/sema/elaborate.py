"""A space's statements to its graph: params, input, streams and head."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tsdsl.diagnostics import Label, did_you_mean, nearest
from tsdsl.ir.graph import Edge, Region
from tsdsl.ir.op import MAX_EXTENT
from tsdsl.ir.resolve import moved
from tsdsl.ir.values import Fault, Val, constant
from tsdsl.record import Record, factory
from tsdsl.sema import signatures
from tsdsl.sema.context import POISON, Context, is_broken
from tsdsl.sema.declare import IGNORED
from tsdsl.sema.functions import ValueFault, show, type_name
from tsdsl.sema.scope import OpValue, Scope
from tsdsl.sema.setting_overrides import is_setting
from tsdsl.sema.streams import Streams
from tsdsl.sema.submodule_names import name_sites
from tsdsl.syntax import ast


class ElaboratedSpace(Record, eq=True):
    """What elaboration found out about a space."""

    context: Context
    clip: Edge
    interval: int
    root: Region
    streams: dict[str, tuple[str, ...]]
    params: dict[str, Any]
    scope: Scope
    moved: dict[str, tuple[str, ast.Moved]] = factory(default_factory=dict)


class Elaborator(Streams):
    """`run` elaborates a space."""

    def __init__(self, context: Context, overrides: Mapping[str, Any]) -> None:
        super().__init__(context, overrides)
        self.clip = Edge(POISON, "clip")

    def run(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> ElaboratedSpace | None:
        """Elaborate a space; None where it is too broken to have a graph."""
        with _deep_recursion():
            try:
                return self._run(name, statements)
            except RecursionError:
                self.context.error("E0108", "this space nests too deep", name.span)
                return None

    def _run(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> ElaboratedSpace | None:
        self._follow_moves(statements)
        params = self._params(statements)
        interval = self._input(name, statements)
        for statement in statements:
            env = self.env(statement.span, self.space)
            if isinstance(statement, ast.Let):
                self._let(statement, env)
            elif isinstance(statement, ast.Binding):
                self.binding(statement, env)
            elif isinstance(statement, ast.Stream):
                self._declare_stream(statement)
        self._declare_slots(statements)
        for stream in self.streams.values():
            for point in stream.points:
                self.settle(stream, point, self._slot_count)
            last = list(stream.points)[-1:]
            stream.scope.output = stream.done[last[0]] if last else stream.source
        head = self._head(name, statements)
        for statement in statements:
            if isinstance(statement, ast.Require):
                self.require(statement, self.env(statement.span, self.space))
            elif isinstance(statement, ast.Stream) and statement.name.text in self.streams:
                scope = self.streams[statement.name.text].scope
                for inner in statement.body:
                    if isinstance(inner, ast.Require):
                        self.require(inner, self.env(inner.span, scope))
        self._unused_overrides(name)
        return ElaboratedSpace(
            self.context,
            self.clip,
            interval,
            Region(tuple(self.context.nodes), head),
            {name: tuple(stream.points) for name, stream in self.streams.items()},
            params,
            self.space,
            self._moved(statements),
        )

    def _params(self, statements: Sequence[ast.Statement]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for statement in statements:
            if not isinstance(statement, ast.Param):
                continue
            name = statement.name.text
            self._declare(self.space, statement.name)
            default = self.plain(statement.value, self.env(statement.span, self.space))
            value = default
            if name in self.overrides:
                value = self.override_value(name, statement.name.span)
            wanted = self._param_type(statement, default)
            judged = [(default, statement.value.span)]
            if value is not default:
                judged.append((value, statement.name.span))
            for val, span in judged:
                entry = val.entries[0]
                if isinstance(entry, OpValue) and wanted != "op":
                    self.context.error("E0303", "a param is a plain value", span)
                    value = POISON
                elif not isinstance(entry, Fault) and not signatures.fits(entry, wanted):
                    self.context.error(
                        "E0303",
                        f"param {name} is of type {wanted}, not {type_name(entry)} ({show(entry)})",
                        span,
                    )
                    value = POISON
            self.space.names[name] = value
            if value.is_constant and not isinstance(value.value, Fault | OpValue):
                params[name] = value.value
        return params

    def _param_type(self, statement: ast.Param, default: Val) -> str | None:
        if statement.type is not None:
            known = [t for t in signatures.TYPES if t not in ("tensor", "op")]
            if statement.type.text in known:
                return statement.type.text
            self.context.error(
                "E0310",
                f"there is no type '{statement.type.text}' for a param",
                statement.type.span,
                did_you_mean(statement.type.text, known, "types are: " + ", ".join(known)),
            )
            return None
        entry = default.entries[0]
        return None if isinstance(entry, Fault) else type_name(entry)

    def _input(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> int:
        inputs = [s for s in statements if isinstance(s, ast.Input)]
        if not inputs:
            self.context.error(
                "E0514",
                f"space '{name.text}' has no input",
                name.span,
                "add: input clip(channels=3, frames=16, height=160, width=160)",
            )
            return 1
        statement = inputs[0]
        self._declare(self.space, statement.name)
        given = self._named(statement.arguments, self.env(statement.span, self.space))
        known = {"channels": None, "frames": None, "height": None, "width": None, "interval": 1}
        values: dict[str, int] = {}
        fine = True
        for key, (val, span) in given.items():
            if key not in known:
                hint = did_you_mean(key, known, "it has: " + ", ".join(known))
                self.context.error("E0306", f"an input has no '{key}'", span, hint)
                continue
            entry = val.entries[0] if val.is_constant else None
            if isinstance(entry, Fault):
                fine = False
            elif type(entry) is not int or not 1 <= entry <= MAX_EXTENT:
                self.context.error(
                    "E0309",
                    f"{key} of an input is a fixed int from 1 to {MAX_EXTENT:,}, "
                    f"not {show(entry) if val.is_constant else 'a decision'}",
                    span,
                )
                fine = False
            else:
                values[key] = entry
        missing = [k for k, default in known.items() if default is None and k not in given]
        if missing:
            names = ", ".join(missing)
            self.context.error("E0307", f"the input needs {names}", statement.span)
            fine = False
        if fine:
            shape = (values["channels"], values["frames"], values["height"], values["width"])
            self.clip = Edge(constant(shape), statement.name.text)
        self.space.names[statement.name.text] = self.clip
        return values.get("interval", 1)

    def _head(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> Edge:
        heads = [s for s in statements if isinstance(s, ast.Head)]
        if not heads:
            self.context.error(
                "E0514",
                f"space '{name.text}' has no head",
                name.span,
                "add, for example: head sparse -> global_avg_pool -> dropout(0.5) -> linear(400)",
            )
            return Edge(POISON)
        statement = heads[0]
        scope = self.space.child("head")
        env = self.env(statement.span, scope, ("head",))
        env.sites.update(name_sites([statement.value], IGNORED))
        with self.context.use(statement.span):
            edge = self.tensor(statement.value, env)
        if is_broken(edge.shape):
            return edge

        def check(shape: Any) -> Any:
            if len(shape) != 1:
                raise ValueFault(
                    "E0402",
                    f"the head gives [{', '.join(map(str, shape))}], not one score for each class",
                    "end it with global_avg_pool and linear(classes)",
                )
            return shape

        checked = self.context.lift(check, statement.value.span, edge.shape)
        if len(checked.distinct()) > 1:
            self.context.error(
                "E0402",
                "the number of classes depends on a decision",
                statement.value.span,
                "fix the width of the last layer",
            )
        return edge

    def _follow_moves(self, statements: Sequence[ast.Statement]) -> None:
        """What ``--set`` gives under earlier paths. Paths are not known yet: one that is still
        there keeps its own."""
        moves = {s.old.text: s.new.text for s in reversed(statements) if isinstance(s, ast.Moved)}
        for key in self.overrides if moves else ():
            today = moved(key, moves)
            if today != key:
                self.earlier.setdefault(today, key)

    def _moved(self, statements: Sequence[ast.Statement]) -> dict[str, tuple[str, ast.Moved]]:
        moved: dict[str, tuple[str, ast.Moved]] = {}
        for statement in statements:
            if not isinstance(statement, ast.Moved):
                continue
            old = statement.old
            if old.text in moved:
                self.context.error(
                    "E0202",
                    f"'{old.text}' has moved twice",
                    old.span,
                    "keep the move that architecture files were written under",
                    [Label(moved[old.text][1].old.span, "the first is here")],
                )
            moved.setdefault(old.text, (statement.new.text, statement))
        return moved

    def _unused_overrides(self, name: ast.Ident) -> None:
        known = [*self.space.names, *self.declared]
        for key in self.overrides:
            if key not in self.used and not is_setting(key):
                today = next((new for new, old in self.earlier.items() if old == key), None)
                if today in self.used:
                    self.context.error(
                        "E0508",
                        f"--set {key}: '{today}', which it is called today, is given too",
                        name.span,
                        "leave one of them out",
                    )
                    continue
                close = nearest(key, known)
                params = ", ".join(n for n, v in self.space.names.items() if isinstance(v, Val))
                self.context.error(
                    "E0508",
                    f"--set {key}: space '{name.text}' has no param or decision of that name",
                    name.span,
                    f"did you mean '{close}'?" if close else f"it has: {params}",
                )


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Nested blocks recurse deeper than Python's default allows; frames are on the heap."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 40_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
