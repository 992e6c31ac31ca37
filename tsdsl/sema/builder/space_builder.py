"""A space's statements to its graph: params, input, streams and head."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tsdsl.diagnostics import did_you_mean, nearest
from tsdsl.ir.graph import Edge, Region
from tsdsl.ir.op import MAX_EXTENT
from tsdsl.ir.space import Decision, Requirement
from tsdsl.ir.values import Fault, Val, constant
from tsdsl.record import Record
from tsdsl.sema import signatures
from tsdsl.sema.builder.declarations import Declarations
from tsdsl.sema.builder.draft import SpaceDraft
from tsdsl.sema.builder.moves import Move, follow_moves, read_moves
from tsdsl.sema.builder.overrides import Overrides, override_value
from tsdsl.sema.builder.streams import StreamBuilder
from tsdsl.sema.context import POISON, Context, is_broken
from tsdsl.sema.functions import ValueFault, show, type_name
from tsdsl.sema.interpreter.interpreter import Interpreter
from tsdsl.sema.interpreter.names import NO_SUBMODULES
from tsdsl.sema.scope import OpValue, Scope
from tsdsl.sema.setting_overrides import is_setting
from tsdsl.sema.submodule_names import name_sites
from tsdsl.syntax import ast

#: Python frames that the elaboration of the deepest spec may need: blocks call each other 64 deep
#: (`MAX_CALLS`), the expressions in each nest 200 deep (`MAX_DEPTH`), and a level of an expression
#: takes at most five frames.
MAX_FRAMES = 100_000


class ElaboratedSpace(Record, eq=True):
    """A space after elaboration: its graph, and everything that was found on the way."""

    context: Context
    decisions: Sequence[Decision]
    requirements: Sequence[Requirement]
    clip: Edge
    #: Every how many frames of the video one is taken.
    interval: int
    root: Region
    #: Name of a stream -> the names of its points.
    streams: dict[str, tuple[str, ...]]
    params: dict[str, Any]
    scope: Scope
    #: Earlier path of a decision -> the move to a later one.
    moves: dict[str, Move]


class SpaceBuilder:
    """Builds the graph of one space. It has an interpreter, and is the only one who knows it."""

    def __init__(self, context: Context, overrides: Mapping[str, Any]) -> None:
        self.context = context
        self.overrides = Overrides(overrides)
        self.draft = SpaceDraft(context, self.overrides)
        self.interpreter = Interpreter(context, self.draft)
        self.declarations = Declarations(context, self.draft, self.interpreter)
        self.space = Scope("", kind="space")
        self._streams = StreamBuilder(
            context, self.draft, self.interpreter, self.declarations, self.space
        )
        self.clip = Edge(POISON, "clip")

    def build(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> ElaboratedSpace:
        """Elaborate the statements of a space. Errors go to the context; where there are any, parts
        of the graph are missing."""
        with _deep_recursion():
            return self._build(name, statements)

    def _build(self, name: ast.Ident, statements: Sequence[ast.Statement]) -> ElaboratedSpace:
        follow_moves(statements, self.overrides)
        params = self._params(statements)
        interval = self._input(name, statements)
        for statement in statements:
            env = self.declarations.env(statement.span, self.space)
            if isinstance(statement, ast.Let):
                self.declarations.let(statement, env)
            elif isinstance(statement, ast.Binding):
                self.declarations.binding(statement, env)
            elif isinstance(statement, ast.Stream):
                self._streams.declare_stream(statement)
        self._streams.declare_joints(statements)
        self._streams.settle_all()
        head = self._head(name, statements)
        self._requirements(statements)
        self._unused_overrides(name)
        return ElaboratedSpace(
            self.context,
            self.draft.decisions,
            self.draft.requirements,
            self.clip,
            interval,
            Region(tuple(self.draft.nodes), head),
            {name: tuple(s.points) for name, s in self._streams.streams.items()},
            params,
            self.space,
            read_moves(statements, self.context),
        )

    def _requirements(self, statements: Sequence[ast.Statement]) -> None:
        """Evaluate the requirements of the space and its streams. They come last, because they may
        read all parts."""
        for statement in statements:
            if isinstance(statement, ast.Require):
                env = self.declarations.env(statement.span, self.space)
                self.interpreter.require(statement, env)
            elif isinstance(statement, ast.Stream):
                stream = self._streams.streams.get(statement.name.text)
                for inner in statement.body if stream is not None else ():
                    if isinstance(inner, ast.Require) and stream is not None:
                        env = self.declarations.env(inner.span, stream.scope)
                        self.interpreter.require(inner, env)

    def _params(self, statements: Sequence[ast.Statement]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for statement in statements:
            if not isinstance(statement, ast.Param):
                continue
            name = statement.name.text
            self.declarations.declare(self.space, statement.name)
            default = self.interpreter.plain(
                statement.value, self.declarations.env(statement.span, self.space)
            )
            value = default
            override = self.overrides.take(name) if name in self.overrides.values else None
            if override is not None:
                span = statement.name.span
                value = override_value(override, span, self.interpreter, self.context)
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
        self.declarations.declare(self.space, statement.name)
        given = self.declarations.named_arguments(
            statement.arguments, self.declarations.env(statement.span, self.space)
        )
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
        env = self.declarations.env(statement.span, scope, ("head",))
        env.sites.update(name_sites([statement.value], NO_SUBMODULES))
        with self.context.use(statement.span):
            edge = self.interpreter.tensor(statement.value, env)
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

    def _unused_overrides(self, name: ast.Ident) -> None:
        """Report values of ``--set`` that nothing took."""
        known = [*self.space.names, *self.draft.declared]
        for key in self.overrides.values:
            if key in self.overrides.used or is_setting(key):
                continue
            earlier = self.overrides.earlier
            today = next((new for new, old in earlier.items() if old == key), None)
            if today in self.overrides.used:
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
    """Let the elaboration recurse as deep as the limits of the language allow: `MAX_FRAMES`. From
    Python 3.11 on, frames of Python functions are on the heap, not on the stack of the process."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, MAX_FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
