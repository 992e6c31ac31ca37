"""``moved OLD -> NEW``: architecture files and ``--set`` may name a decision by an earlier path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tsdsl.diagnostics import Label, did_you_mean
from tsdsl.ir.resolve import moved
from tsdsl.ir.space import Decision
from tsdsl.record import Record
from tsdsl.sema.builder.overrides import Overrides
from tsdsl.sema.context import Context
from tsdsl.syntax import ast


class Move(Record):
    """An earlier path of a decision leads to a later one."""

    new: str
    statement: ast.Moved


def follow_moves(statements: Sequence[ast.Statement], overrides: Overrides) -> None:
    """Note under which of today's paths the values of ``--set`` with earlier paths are meant. The
    decisions are not known yet: a path that is still a decision's keeps its own value."""
    moves = {s.old.text: s.new.text for s in reversed(statements) if isinstance(s, ast.Moved)}
    for key in overrides.values if moves else ():
        today = moved(key, moves)
        if today != key:
            overrides.earlier.setdefault(today, key)


def read_moves(statements: Sequence[ast.Statement], context: Context) -> dict[str, Move]:
    """The moves of a space by their earlier path."""
    moves: dict[str, Move] = {}
    for statement in statements:
        if not isinstance(statement, ast.Moved):
            continue
        old = statement.old
        if old.text in moves:
            context.error(
                "E0202",
                f"'{old.text}' has moved twice",
                old.span,
                "keep the move that architecture files were written under",
                [Label(moves[old.text].statement.old.span, "the first is here")],
            )
        moves.setdefault(old.text, Move(statement.new.text, statement))
    return moves


def check_moves(
    moves: Mapping[str, Move],
    decisions: Sequence[Decision],
    own: Sequence[ast.Statement],
    context: Context,
) -> None:
    """Report moves that cannot be followed. Only a move among ``own`` statements must lead to a
    decision: an extending space, or ``--set``, may have fixed the decision of any other."""
    paths = {d.path for d in decisions}
    for old, move in moves.items():
        if old in paths:
            context.error(
                "E0518",
                f"'{old}' is a decision of this space: it has not moved",
                move.statement.old.span,
                "remove this line, or rename the decision",
            )
            continue
        new = move.new
        passed = {old}
        while new in moves and new not in passed:
            passed.add(new)
            new = moves[new].new
        if new in passed:
            context.error(
                "E0518",
                f"the moves of '{old}' go in a circle",
                move.statement.span,
                "remove one of them",
            )
        elif new not in paths and any(move.statement is statement for statement in own):
            context.error(
                "E0518",
                f"'{new}' is no decision of this space",
                move.statement.new.span,
                did_you_mean(new, paths),
            )
