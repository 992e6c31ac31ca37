"""The wording of syntax errors: which token does not fit, in which construct, what may come."""

from __future__ import annotations

from tsdsl.syntax.tables import load

_NAMES = {
    "NAME": "a name",
    "NUMBER": "a number",
    "DIMS": "a size such as 1x3x3",
    "STRING": 'a text in "quotes"',
    "COMPARE": "a comparison",
    "TILDE": "'~'",
    "EQUAL": "'='",
    "COMMA": "','",
    "COLON": "':'",
    "LPAR": "'('",
    "RPAR": "')'",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "LSQB": "'['",
    "RSQB": "']'",
    "DOT": "'.'",
    "PLUS": "'+'",
    "MINUS": "'-'",
    "TIMES": "'*'",
    "__ANON_0": "'->'",
    "__ANON_1": "'..'",
    "$END": "the end of the file",
}
#: Terminals with which an expression begins.
_VALUE = {"NUMBER", "DIMS", "STRING", "NAME", "LPAR", "IF", "NOT", "TRUE", "FALSE", "MINUS"}
#: Terminals that continue an expression that is complete.
_OPERATORS = {"PLUS", "MINUS", "TIMES", "COMPARE", "AND", "OR", "__ANON_0", "DOT", "LPAR", "LSQB"}


def describe(
    kind: str, text: str, expected: list[str], context: str | None, as_name: bool
) -> tuple[str, str | None]:
    """The headline and the help line for a token that does not fit.

    ``expected`` are the terminals that fit, ``context`` is the construct that is not complete, and
    ``as_name`` says that the token is a word of the language in the place of a name.
    """
    where = f" in {context}" if context else ""
    shown = "the end of the file" if kind == "$END" else f"'{text[:40]}'"
    choices = _choices(expected)
    if expected == ["TSNET"]:
        return "a file begins with its language version", "write this first: tsnet 1"
    if as_name or (
        text in load().keywords
        and "NAME" in expected
        and "NUMBER" not in expected
        and len(choices) <= 3
    ):
        return (
            f"'{text}' is a word of the language and cannot be a name{where}",
            f"pick another name, such as '{text}_1'",
        )
    return f"{shown} does not fit{where}: expected {_join(choices)}", _hint(kind, text, expected)


def _choices(expected: list[str]) -> list[str]:
    remaining = list(expected)
    names: list[str] = []
    if {"NUMBER", "DIMS", "NAME", "LPAR"} <= set(remaining):
        names.append("a value")
        remaining = [k for k in remaining if k not in _VALUE]
    elif len(set(remaining) & _OPERATORS) >= 4:
        # After a complete value come many operators and many statements: too many to list.
        remaining = [k for k in remaining if k not in _OPERATORS]
        keywords = [k for k in remaining if k.lower() in load().keywords]
        if len(keywords) > 3:
            names.append("an operator or the next statement")
            remaining = [k for k in remaining if k in ("RBRACE", "ELSE", "THEN", "COMMA", "RPAR")]
    for kind in remaining:
        names.append(_NAMES.get(kind, f"'{kind.lower()}'"))
    return names


def _join(names: list[str]) -> str:
    if not names:
        return "nothing more"
    if len(names) > 9:
        words = [n for n in names if n.strip("'").isalpha()]
        return "one of " + ", ".join(words[:14]) + (", ..." if len(words) > 14 else "")
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


def _hint(kind: str, text: str, expected: list[str]) -> str | None:
    if kind == "EQUAL" and "COMPARE" in expected:
        return "'=' fixes a value; to compare, write '=='"
    if kind == "NAME" and text in ("def", "func", "fn", "function", "layer"):
        return "a reusable part is written: block name(x, ...) { return ... }"
    if kind == "NAME" and text in ("for", "while", "loop"):
        return "write: repeat 3 { use ... }, or repeat depth ~ 2..4 { use ... }"
    if kind == "COMMA" and "__ANON_1" in expected:
        return "a set of options is written in braces, as in {8, 16}; a range is 8..16 step 8"
    if kind == "TILDE" and "NAME" in expected:
        return "a decision has a name, as in: repeat depth ~ 2..4"
    if kind == "TILDE":
        return "decisions ('~') belong to a space, a stream, a stage, a repeat or a call in one"
    if kind in ("NUMBER", "DIMS", "STRING", "NAME") and "COMMA" in expected:
        return "is a ',' missing before it?"
    return None
