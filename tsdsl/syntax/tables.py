"""The LALR(1) tables of the grammar, computed by Lark from ``grammars/tsnet.lark``.

Lark needs a fifth of a second for them, which every run of the command line would pay. So they are
computed when the package is built (`hatch_build.py`), and read back from JSON. The file has a
fingerprint of its grammar: in a checkout whose grammar has changed since, they are computed
again.
"""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from tsdsl.record import Record

#: Changes whenever the layout of the precomputed file does.
LAYOUT = "tsnet-tables/1"


class Rule(Record, eq=True):
    """A production of the grammar."""

    #: Number of the symbol on the left-hand side.
    origin: int
    #: Number of symbols on the right-hand side.
    length: int
    #: Name of the method of `TreeBuilder` that makes a node; None to splice the children into the
    #: parent.
    callback: str | None
    #: Positions of the symbols on the right-hand side that become children.
    keep: tuple[int, ...]


class Tables(Record, eq=True):
    """The LALR(1) automaton and the terminals of the lexer. Terminals, states and left-hand sides
    are numbers."""

    terminals: tuple[str, ...]
    #: Text of a keyword, or of a sign -> its terminal.
    keywords: dict[str, int]
    punctuation: dict[str, int]
    #: (terminal, regular expression), in the order in which they are tried.
    patterns: tuple[tuple[int, str], ...]
    #: Regular expressions of blanks and comments.
    ignored: tuple[str, ...]
    #: ``actions[state][terminal]``: n >= 0 shifts to state n, n < 0 reduces by rule -n - 1.
    actions: list[dict[int, int]]
    #: ``gotos[state][origin]``: the state after a reduction.
    gotos: list[dict[int, int]]
    rules: tuple[Rule, ...]
    #: The first state, and the state after a whole file.
    start: int
    accept: int


def grammar_path() -> Path:
    """The file of the grammar: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_grammars" / "tsnet.lark"
    return shipped if shipped.exists() else package.parent / "grammars" / "tsnet.lark"


def precomputed_path() -> Path:
    """The file of the precomputed tables, which a fresh checkout does not have."""
    return Path(__file__).resolve().parent.parent / "_grammars" / "tsnet.tables.json"


@cache
def load() -> Tables:
    """The tables of the grammar of this installation."""
    grammar = grammar_path().read_text(encoding="utf-8")
    stored = _precomputed()
    if stored is None or stored.get("fingerprint") != fingerprint(grammar):
        stored = describe(grammar)
    return _tables(stored)


def _precomputed() -> dict[str, Any] | None:
    """The precomputed file; None where there is none that is JSON, as in a fresh checkout."""
    try:
        data = precomputed_path().read_bytes()
    except OSError:
        return None
    try:
        stored = json.loads(data)
    except ValueError:
        return None
    return stored if isinstance(stored, dict) else None


def build(grammar: str) -> bytes:
    """The content of the precomputed file for a grammar."""
    return json.dumps(describe(grammar), separators=(",", ":")).encode()


def fingerprint(grammar: str) -> str:
    """A checksum that differs between versions of the grammar."""
    # CRC is enough to tell versions of one file apart, and hashlib takes long to load.
    return f"{zlib.crc32(f'{LAYOUT} {grammar}'.encode()):08x}-{len(grammar)}"


def describe(grammar: str) -> dict[str, Any]:
    """Compute the tables with Lark, as data for JSON."""
    from lark import Lark
    from lark.lexer import PatternStr
    from lark.parsers.lalr_analysis import Shift

    lark = Lark(grammar, parser="lalr", lexer="basic", maybe_placeholders=False)
    table: Any = lark.parser.parser._parse_table  # pyright: ignore
    names = [t.name for t in lark.terminals] + ["$END"]
    number = {name: at for at, name in enumerate(names)}
    states = {state: at for at, state in enumerate(table.states)}
    origins: dict[str, int] = {}
    rules: dict[Any, int] = {}
    for actions in table.states.values():
        for _, (kind, argument) in sorted(actions.items(), key=lambda item: str(item[0])):
            if kind is not Shift:
                rules.setdefault(argument, len(rules))
    for rule in rules:
        origins.setdefault(rule.origin.name, len(origins))
    action_rows: list[dict[int, int]] = [{} for _ in states]
    goto_rows: list[dict[int, int]] = [{} for _ in states]
    for state, actions in table.states.items():
        for symbol, (kind, argument) in actions.items():
            if symbol in number:
                code = states[argument] if kind is Shift else -rules[argument] - 1
                action_rows[states[state]][number[symbol]] = code
            elif symbol in origins:
                goto_rows[states[state]][origins[symbol]] = states[argument]
    keywords: dict[str, int] = {}
    punctuation: dict[str, int] = {}
    patterns: list[tuple[int, int, str]] = []
    for terminal in lark.terminals:
        if terminal.name in lark.ignore_tokens:
            continue
        if isinstance(terminal.pattern, PatternStr):
            text = terminal.pattern.value
            (keywords if text.isalpha() else punctuation)[text] = number[terminal.name]
        else:
            patterns.append(
                (-terminal.priority, number[terminal.name], terminal.pattern.to_regexp())
            )
    patterns.sort(key=lambda entry: entry[0])
    return {
        "fingerprint": fingerprint(grammar),
        "terminals": names,
        "keywords": keywords,
        "punctuation": punctuation,
        "patterns": [[terminal, regexp] for _, terminal, regexp in patterns],
        "ignored": [t.pattern.to_regexp() for t in lark.terminals if t.name in lark.ignore_tokens],
        "actions": [[list(item) for item in row.items()] for row in action_rows],
        "gotos": [[list(item) for item in row.items()] for row in goto_rows],
        "rules": [_describe_rule(rule, origins) for rule in rules],
        "start": states[table.start_states["start"]],
        "accept": states[table.end_states["start"]],
    }


def _describe_rule(rule: Any, origins: dict[str, int]) -> list[Any]:
    keep = [
        at
        for at, symbol in enumerate(rule.expansion)
        if not (symbol.is_term and getattr(symbol, "filter_out", False))
    ]
    spliced = rule.origin.name.startswith("_") and rule.alias is None
    callback = None if spliced else (rule.alias or rule.origin.name)
    return [origins[rule.origin.name], len(rule.expansion), callback, keep]


def _tables(stored: dict[str, Any]) -> Tables:
    return Tables(
        terminals=tuple(stored["terminals"]),
        keywords=stored["keywords"],
        punctuation=stored["punctuation"],
        patterns=tuple((terminal, regexp) for terminal, regexp in stored["patterns"]),
        ignored=tuple(stored["ignored"]),
        actions=[dict(row) for row in stored["actions"]],
        gotos=[dict(row) for row in stored["gotos"]],
        rules=tuple(Rule(o, n, callback, tuple(keep)) for o, n, callback, keep in stored["rules"]),
        start=stored["start"],
        accept=stored["accept"],
    )
