"""Text to tree: every construct, its span, what belongs to it, and how it goes on after errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tsdsl.diagnostics import Collector, Diagnostic, Source, Span
from tsdsl.syntax import ast
from tsdsl.syntax.parser import Parsed, parse

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [
    *ROOT.glob("specs/*.tsnet"),
    *ROOT.glob("examples/*.tsnet"),
    *ROOT.glob("tsdsl/std/*.tsnet"),
]

ALL = """tsnet 1
import "std/video" as v
/// A base.
/// In two lines.
space Base {
  /// How large.
  param crop: int = 160
  param plain = 1.5
  input clip(channels=3, frames=16, height=crop, width=crop,)
  let a = "text"
  /// Decided.
  width ~ 8..16 step 4 default 12
  fixed = 3
  stream sparse(clip, every=4) {
    let b = 2
    stem v.x3d_stem(40)
    kernel ~ {1x3x3: 0.7, 3x3x3: 0.3}
    stage s1(stride=1x2x2) {
      repeat depth ~ 2..4 { use v.mbconv3d(width, kernel, expand ~ {1.5, 2.0}) }
      repeat n = 2 { use relu }
      repeat 3 { use op ~ {relu, none} use named = relu }
      require width > 3
    }
    stage s2 { use relu }
    require true
  }
  fuse sparse -> dense after stem, s1 ~ {v.t_sample, skip}
  fuse sparse -> dense after s2 = skip
  attend sparse after s2 ~ {none, v.se(16)}
  attend sparse after stem = none
  head concat(sparse -> v.conv5(432)) -> linear(400)
  require width * 2 <= 16 else "thin"
  moved a.b[1].c -> fuse.dense->sparse.s1
  search parsec {
    samples = 13
    data = shared
    budget flops in 1.37G..1.43G weight 0.2
    budget params in 1..2
    budget latency in 8ms..10ms
    phase one { streams sparse, dense learn sparse.s1, fuse, attend lr = (weights=0.4, arch=1) }
  }
  train { jitter = 182..228 optimizer = sgd(momentum=0.9) }
  evaluate lcr { clips = 10 }
}
space Small extends Base { stream sparse { stage s1 { width = 8 } } }
space Other extends v.Base { }
/// What it does.
block b(x, y: tensor, n: int, on: bool = false, act = relu,) {
  let h = if on then x -> act else x[1].a(2)
  require not on or n >= 2 and -n != 3 % 2
  return h + y
}
"""


def read(text: str) -> tuple[Parsed, list[Diagnostic]]:
    found = Collector()
    return parse(Source("a.tsnet", text), found), list(found)


def nodes(node: Any) -> Iterator[Any]:
    if isinstance(node, tuple):
        for part in node:
            yield from nodes(part)
    elif isinstance(node, ast.SyntaxNode) and not isinstance(node, Span | Source):
        yield node
        for field in type(node).__match_args__:
            yield from nodes(getattr(node, field))


def test_every_construct() -> None:
    parsed, found = read(ALL)
    assert not found and parsed.clean and not parsed.lost
    kinds = {type(n).__name__ for n in nodes(parsed.module)}
    every = {
        name
        for name, kind in vars(ast).items()
        if isinstance(kind, type)
        and issubclass(kind, ast.SyntaxNode)
        and kind.__module__ == ast.__name__
    }
    assert every - kinds == {"Comment"} - kinds


@pytest.mark.parametrize("text", [ALL, *(p.read_text() for p in SHIPPED)])
def test_spans(text: str) -> None:
    """A node's span begins and ends with its own text, and lies inside that of its parent."""
    parsed, found = read(text)
    assert not found

    def visit(node: Any, outer: Span | None) -> None:
        if isinstance(node, tuple):
            for part in node:
                visit(part, outer)
            return
        if not isinstance(node, ast.SyntaxNode) or isinstance(node, Span | Source):
            return
        span = getattr(node, "span", None)
        if span is not None:
            assert span.text == span.text.strip() and span.text, node
            assert outer is None or outer.start <= span.start <= span.end <= outer.end, node
        for field in type(node).__match_args__:
            visit(getattr(node, field), span or outer)

    visit(parsed.module, None)
    for node in nodes(parsed.module):
        match node:
            case ast.Ident(text_, span) | ast.Name(text_, span):
                assert span.text == text_
            case ast.Binary(operator, left, right, span):
                between = text[left.span.end : right.span.start]
                assert operator in between
                assert span.text.lstrip("(").startswith(left.span.text[:1]) or "(" in span.text
            case ast.DecisionPath(text_, span):
                assert "".join(span.text.split()) == text_


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("let a = 1 + 2 * 3", "1 + 2 * 3"),
        ("let a = f(1, b=2)", "f(1, b=2)"),
        ("let a = x -> f -> g(1)", "x -> f -> g(1)"),
        ("let a = not b", "not b"),
        ("let a = if b then c else d", "if b then c else d"),
        ("let a = x.y[1].z", "x.y[1].z"),
        ("let a = 1x3x3   // note", "1x3x3"),
        ("let a = -\n  3", "-\n  3"),
    ],
)
def test_spans_of_expressions(text: str, span: str) -> None:
    parsed, found = read(f"tsnet 1\nspace S {{ {text}\n}}")
    assert not found
    (statement,) = parsed.module.spaces[0].body
    assert isinstance(statement, ast.Let)
    assert statement.value.span.text == span
    assert statement.span.text.startswith("let a") and statement.span.text.endswith(span)


def shape(node: Any) -> str:
    """An expression with every operation in brackets."""
    match node:
        case ast.Binary(operator, left, right):
            return f"({shape(left)} {operator} {shape(right)})"
        case ast.Unary(operator, operand):
            return f"({operator} {shape(operand)})"
        case ast.Conditional(condition, then, otherwise):
            return f"({shape(condition)} ? {shape(then)} : {shape(otherwise)})"
        case ast.Pipe(value, function):
            return f"({shape(value)} -> {shape(function)})"
        case _:
            return str(node.span.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("8 / 4 / 2", "((8 / 4) / 2)"),
        ("8 % 3 * 2", "((8 % 3) * 2)"),
        ("-a * b", "((- a) * b)"),
        ("- - a", "(- (- a))"),
        ("a or b and c", "(a or (b and c))"),
        ("not a and b", "((not a) and b)"),
        ("not a == b", "(not (a == b))"),
        ("a + 1 == b * 2", "((a + 1) == (b * 2))"),
        ("a -> f -> g", "((a -> f) -> g)"),
        ("a + b -> f", "((a + b) -> f)"),
        ("if a then b else c -> f", "(a ? b : (c -> f))"),
        ("if a then b else if c then d else e", "(a ? b : (c ? d : e))"),
        ("a * (b + c)", "(a * (b + c))"),
        ("a - b.t", "(a - b.t)"),
        ("index % 2 == 0", "((index % 2) == 0)"),
        ("5%2", "(5 % 2)"),
        ("5 % 2", "(5 % 2)"),
        ("50% * 2", "(50% * 2)"),
        ("5 %x", "(5 % x)"),
    ],
)
def test_precedence(text: str, expected: str) -> None:
    parsed, found = read(f"tsnet 1\nspace S {{ let a = {text} }}")
    assert not found, found
    (statement,) = parsed.module.spaces[0].body
    assert isinstance(statement, ast.Let)
    assert shape(statement.value) == expected


def test_a_percentage_before_the_next_setting() -> None:
    parsed, found = read("tsnet 1\nspace S { train { warmup = 25%\n epochs = 3 } }")
    assert not found
    (section,) = parsed.module.spaces[0].body
    assert isinstance(section, ast.Section)
    assert [s.name.text for s in section.settings if isinstance(s, ast.Assign)] == [
        "warmup",
        "epochs",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("24", 24),
        ("1_000", 1000),
        ("2k", 2000),
        ("1.37G", 1_370_000_000),
        ("0.5M", 500_000),
        ("1T", 10**12),
        ("25%", 0.25),
        ("12.5%", 0.125),
        ("1e-5", 1e-5),
        ("1.5e3", 1500.0),
        ("1e3k", 1_000_000),
        ("0.1", 0.1),
        ("1e250", 1e250),
        ("1e308", 1e308),
    ],
)
def test_numbers(text: str, value: float) -> None:
    parsed, found = read(f"tsnet 1\nspace S {{ let a = {text} }}")
    assert not found
    (number,) = [n for n in nodes(parsed.module) if isinstance(n, ast.Number)]
    assert number.value == value and type(number.value) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8ms", 8_000_000),
        ("250us", 250_000),
        ("1_000ns", 1000),
        ("0.01s", 10_000_000),
        ("1.5e-3ms", 1500),
        ("2s", 2 * 10**9),
        ("0ms", 0),
    ],
)
def test_times_are_whole_nanoseconds(text: str, value: int) -> None:
    parsed, found = read(f"tsnet 1\nspace S {{ search parsec {{ budget latency in {text}..9s }} }}")
    assert not found
    first, last = [n for n in nodes(parsed.module) if isinstance(n, ast.Time)]
    assert first.value == value and type(first.value) is int
    assert last.value == 9 * 10**9


@pytest.mark.parametrize("text", ["8 ms2", "8mss", "8msx", "8m", "8xs", "1x3x3s", "8s_"])
def test_other_words_are_no_units(text: str) -> None:
    _, found = read(f"tsnet 1\nspace S {{ let a = {text} }}")
    assert found


def test_documentation() -> None:
    module = read(ALL)[0].module
    base = module.spaces[0]
    assert base.doc == "A base.\nIn two lines."
    docs = {s.name.text: s.doc for s in base.body if isinstance(s, ast.Param | ast.Binding)}
    assert docs == {"crop": "How large.", "plain": "", "width": "Decided.", "fixed": ""}
    assert module.blocks[0].doc == "What it does."


def test_comments_are_kept() -> None:
    text = "tsnet 1 // one\n//// no doc\n/// doc\nblock b(x) { // two\n return x }\n// end"
    comments = read(text)[0].module.comments
    assert [(c.text, c.doc) for c in comments] == [
        ("// one", False),
        ("//// no doc", False),
        ("/// doc", True),
        ("// two", False),
        ("// end", False),
    ]
    assert all(text[c.span.start : c.span.end] == c.text for c in comments)


def test_strings() -> None:
    parsed, found = read(
        'tsnet 1\nspace S { let a = "tab\\t \\"q\\" back\\\\slash \\n // no comment" }'
    )
    assert not found
    (text,) = [n for n in nodes(parsed.module) if isinstance(n, ast.Text)]
    assert text.value == 'tab\t "q" back\\slash \n // no comment'


# ------------------------------------------------------------------ recovery

#: What may be in a space, one thing wrong each; the text that is underlined.
MISTAKES = [
    ("param = 3", "="),
    ("param crop 160", "160"),
    ("let a = ", None),
    ("let a = 1 + * 2", "*"),
    ("let a = (1, 2)", ","),
    ("width ~ {8 16}", "16"),
    ("width ~ {}", "}"),
    ("width ~ 8", None),
    ("stream (clip) { }", "("),
    ("stream t(clip) { stage s1( { use relu } }", "{"),
    ("stream t(clip) { stage s1 { use } }", "}"),
    ("stream t(clip) { use relu }", "use"),
    ("fuse a after b = skip", "after"),
    ("fuse a -> b = skip", "="),
    ("attend a = skip", "="),
    ("head", None),
    ("require else", "else"),
    ("require 1 < 2 else thin", "thin"),
    ("require 1 < 2 < 3", "<"),
    ("moved a b", "b"),
    ("search { }", "{"),
    ("train x { }", "x"),
    ("evaluate e { clips }", "}"),
    ("search parsec { phase { } }", "{"),
    ("search parsec { budget flops 1..2 }", "1"),
    ("stage s1 { use relu }", "stage"),
    ('import "a" as b', "import"),
    ("if = 3", "if"),
    ("let use = 3", "use"),
    ("block ~ {1, 2}", "block"),
    ("stream t(clip) { stage use { use relu } }", "use"),
    ("let x = 1 = 2", "="),
    ("let s = 'a'", "'a'"),
]


@pytest.mark.parametrize(("mistake", "place"), MISTAKES, ids=lambda m: str(m))
def test_one_mistake_is_one_error(mistake: str, place: str | None) -> None:
    text = f"tsnet 1\nspace S {{\n  let before = 1\n  {mistake}\n  let last = 2\n}}\n"
    text += "block b(x) { return x }\n"
    parsed, found = read(text)
    if mistake.startswith("import"):
        assert found
        return
    assert len(found) == 1, [d.message for d in found]
    assert found[0].span is not None
    line, _ = found[0].span.source.position(found[0].span.start)
    assert line in (4, 5)
    if place is not None:
        assert found[0].span.text == place
    assert not parsed.clean
    assert [b.name.text for b in parsed.module.blocks] == ["b"]
    lets = [s.name.text for s in parsed.module.spaces[0].body if isinstance(s, ast.Let)]
    assert "before" in lets


def test_all_mistakes_at_once() -> None:
    """Each once, in source order, and nothing that is not one."""
    some = [m for m, _ in MISTAKES if not m.startswith(("import", "let s"))]
    spaces = [f"space S{at} {{\n  {m}\n  let last = 2\n}}\n" for at, m in enumerate(some)]
    _, found = read("tsnet 1\n" + "".join(spaces))
    assert len(found) == len(some), [d.message for d in found]
    starts = [d.span.start for d in found if d.span]
    assert starts == sorted(starts)


def test_mistakes_in_one_body() -> None:
    lines = [f"let a{at} = {at} +" if at % 2 else f"let a{at} = {at}" for at in range(40)]
    parsed, found = read("tsnet 1\nblock b(x) {\n" + "\n".join(lines) + "\nreturn x\n}")
    assert len(found) == 20
    (block,) = parsed.module.blocks
    known = {s.name.text for s in block.body if isinstance(s, ast.Let)} | parsed.lost
    assert {f"a{at}" for at in range(40)} <= known


def test_no_more_than_is_read() -> None:
    _, found = read("tsnet 1\n" + "let let\n" * 5000)
    assert 1 <= len(found) <= 51


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("space", "the end of the file does not fit in this space: expected a name", None),
        ("block b(x) { let a = 1 + let b = 2 return x }", "'let' does not fit in let 'a'", None),
        ("block b(x) { return }", "'}' does not fit in this return: expected a value", None),
        ("block b { return x }", "'{' does not fit in block 'b': expected '('", None),
        (
            "block b(x) { let step = 1 return x }",
            "'step' is a word of the language and cannot be a name in this let",
            "pick another name, such as 'step_1'",
        ),
        (
            "block b(x) { return f(1 2) }",
            "'2' does not fit in this return: expected ')' or ','",
            ",",
        ),
        ("space S { width ~ {8: } }", "'}' does not fit in space 'S': expected a value", None),
        ("space S { stream s(clip) { stage s1 { use x head y } }", "is not closed", "}"),
        ("space S { require a = b }", "'=' does not fit in this require", "=="),
        ("def f(x): x", "'def' does not fit: expected 'import', 'space', 'block'", "block name("),
    ],
)
def test_a_syntax_error_names_the_construct_and_what_may_come(
    text: str, message: str, hint: str | None
) -> None:
    _, found = read(f"tsnet 1\n{text}\n")
    assert found and message in found[0].message, [d.message for d in found]
    if hint is not None:
        assert found[0].help is not None and hint in found[0].help
