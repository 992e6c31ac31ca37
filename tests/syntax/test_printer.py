"""Expressions to text and back: the text means the expression that it was made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdsl.diagnostics import Collector, Source, Span
from tsdsl.syntax import ast, printer
from tsdsl.syntax.parser import parse

NOWHERE = Span(Source("", ""), 0, 0)


def read(text: str) -> ast.Expr:
    found = Collector()
    module = parse(Source("a", f"tsnet 1\nspace S {{ let a = {text}\n}}"), found).module
    assert not len(found), [d.message for d in found]
    (statement,) = module.spaces[0].body
    assert isinstance(statement, ast.Let)
    return statement.value


def plain(node: Any) -> Any:
    """A tree without spans."""
    if isinstance(node, tuple):
        return tuple(map(plain, node))
    if isinstance(node, ast.SyntaxNode) and not isinstance(node, Span):
        fields = [f for f in type(node).__match_args__ if f != "span"]
        return (type(node).__name__, *(plain(getattr(node, f)) for f in fields))
    return node


NAMES = st.sampled_from(["a", "b2", "relu", "width", "t_conv", "Index", "_"])
IDENTS = NAMES.map(lambda text: ast.Ident(text, NOWHERE))
INTS = st.integers(0, 2**53)
RATIOS = st.floats(0, 1e300, allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
EXTENTS = st.integers(0, 999)
LEAVES = st.one_of(
    st.one_of(INTS, RATIOS).map(lambda v: ast.Number(v, NOWHERE)),
    st.integers(0, 10**6).flatmap(
        lambda n: st.sampled_from([1, 10**3, 10**6, 10**9]).map(lambda u: ast.Time(n * u, NOWHERE))
    ),
    st.tuples(EXTENTS, EXTENTS, EXTENTS).map(lambda v: ast.DimsLiteral(v, NOWHERE)),
    TEXTS.map(lambda v: ast.Text(v, NOWHERE)),
    st.booleans().map(lambda v: ast.Bool(v, NOWHERE)),
    NAMES.map(lambda v: ast.Name(v, NOWHERE)),
)
OPERATORS = ["or", "and", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%"]


def domains(inner: st.SearchStrategy[ast.Expr]) -> st.SearchStrategy[Any]:
    optional = st.none() | inner
    option = st.builds(ast.Option, inner, optional, st.just(NOWHERE))
    options = st.lists(option, min_size=1, max_size=3).map(tuple)
    ranges = st.builds(ast.RangeDomain, inner, inner, optional, optional, st.just(NOWHERE))
    return st.builds(ast.SetDomain, options, optional, st.just(NOWHERE)) | ranges


def grown(inner: st.SearchStrategy[ast.Expr]) -> st.SearchStrategy[ast.Expr]:
    at = st.just(NOWHERE)
    positional = st.builds(ast.Argument, st.none(), inner, at)
    ranges = st.builds(ast.ValueRange, inner, inner, at)
    named = st.builds(ast.Argument, IDENTS, inner | ranges | domains(inner), at)
    arguments = st.lists(positional | named, max_size=3).map(tuple)
    return st.one_of(
        st.builds(ast.Member, inner, IDENTS, at),
        st.builds(ast.Index, inner, inner, at),
        st.builds(ast.Call, inner, arguments, at),
        st.builds(ast.Unary, st.sampled_from(["-", "not"]), inner, at),
        st.builds(ast.Binary, st.sampled_from(OPERATORS), inner, inner, at),
        st.builds(ast.Conditional, inner, inner, inner, at),
        st.builds(ast.Pipe, inner, inner, at),
    )


EXPRESSIONS = st.recursive(LEAVES, grown, max_leaves=12)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
def test_round_trip(node: ast.Expr) -> None:
    text = printer.expression(node)
    assert plain(read(text)) == plain(node)
    assert printer.expression(read(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "a -> conv(8, 1x3x3, stride=1x2x2) -> bn -> relu",
        "(a == b) == c",
        "not a == b",
        "not (a and b) or c",
        "a - (b - c) - d",
        "(a -> b) * 2",
        "-a -> b",
        "-(a -> b)",
        "--a",
        "(-a).t",
        "if a then b else if c then d else e",
        "(if a then b else c) + 1",
        "a[1].kernel.t",
        "(a + b)(c)",
        'f("x\\\\y\\"z\\n")',
        "f(w ~ {1: 0.5, 2: 0.5} default 2, d ~ 1..4 step 2 default 3, r=1..2)",
        "a -> (b -> c)",
        "a -> (if b then c else d)",
    ],
)
def test_canonical_text_stays(text: str) -> None:
    assert printer.expression(read(text)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("((a))", "a"),
        ("(a * b) + c", "a * b + c"),
        ("a + (b * c)", "a + b * c"),
        ("1_000", "1000"),
        ("1.5k", "1500"),
        ("1.37G", "1370000000"),
        ("25%", "0.25"),
        ("1e3", "1000.0"),
        ("f( a ,b= 1 , )", "f(a, b=1)"),
        ("a->b", "a -> b"),
    ],
)
def test_one_spelling(text: str, canonical: str) -> None:
    assert printer.expression(read(text)) == canonical
