"""Diagnostics as text."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

from tsdsl.diagnostics import Diagnostic, Label, Source, Span, SpecError
from tsdsl.diagnostics.render import MAX_MESSAGE, WIDTH, render_all, render_text, summary, visible


def at(source: Source, text: str, nth: int = 0) -> Span:
    start = -1
    for _ in range(nth + 1):
        start = source.text.index(text, start + 1)
    return Span(source, start, start + len(text))


def expect(diagnostic: Diagnostic, text: str) -> None:
    assert render_text(diagnostic) == dedent(text).strip("\n")


SPEC = Source("my.tsnet", 'tsnet 1\nimport "std/video" as v\n\n\nspace X {\n  use v.mbconv(w)\n}\n')


def test_place_labels_help() -> None:
    found = Diagnostic(
        "E0204",
        "no block 'mbconv' in 'v'",
        at(SPEC, "mbconv"),
        (Label(at(SPEC, "v", 1), "imported here"),),
        "did you mean 'mbconv3d'?",
    )
    expect(
        found,
        """
        error[E0204]: no block 'mbconv' in 'v'
         --> my.tsnet:6:9
          |
        2 | import "std/video" as v
          |                       - imported here
        ...
        6 |   use v.mbconv(w)
          |         ^^^^^^
          = help: did you mean 'mbconv3d'?
        """,
    )


def test_two_marks_in_one_line() -> None:
    source = Source("a", "let x = y + z")
    expect(
        Diagnostic("E0301", "no", at(source, "z"), (Label(at(source, "y"), "an int"),)),
        """
        error[E0301]: no
         --> a:1:13
          |
        1 | let x = y + z
          |             ^
          |         - an int
        """,
    )


def test_other_file() -> None:
    other = Source("b.tsnet", "block f() {}")
    expect(
        Diagnostic("E0301", "no", at(SPEC, "v.mbconv"), (Label(at(other, "f"), "declared here"),)),
        """
        error[E0301]: no
         --> my.tsnet:6:7
          |
        6 |   use v.mbconv(w)
          |       ^^^^^^^^
         ::: b.tsnet:1:7
          |
        1 | block f() {}
          |       - declared here
        """,
    )


def test_span_over_lines_shows_first_and_last() -> None:
    source = Source("a", "x (\n  1,\n  2,\n  3\n)\n")
    expect(
        Diagnostic("E0301", "no", Span(source, 2, len(source.text)), severity="warning"),
        """
        warning[E0301]: no
         --> a:1:3
          |
        1 | x (
          |   ^
        ...
        5 | )
          | ^
        """,
    )


def test_tabs_are_blanks() -> None:
    source = Source("a", "\tx\ty")
    expect(
        Diagnostic("E0301", "no", at(source, "y")),
        """
        error[E0301]: no
         --> a:1:4
          |
        1 |     x   y
          |         ^
        """,
    )


def test_wide_and_combining_characters() -> None:
    source = Source("a", "漢字 e\u0301 = bad")
    excerpt, underline = render_text(Diagnostic("E0301", "no", at(source, "bad"))).split("\n")[-2:]
    assert excerpt == "1 | 漢字 e\u0301 = bad"
    assert underline == "  |" + " " * 10 + "^^^"


@pytest.mark.parametrize("place", [0, 4000, 9997])
def test_long_line_is_cut_around_the_place(place: int) -> None:
    text = "x" * place + "bad" + "y" * (9997 - place)
    out = render_text(Diagnostic("E0301", "no", Span(Source("a", text), place, place + 3)))
    excerpt, underline = out.split("\n")[-2:]
    assert len(excerpt) <= WIDTH + 10
    start = underline.index("^")
    assert underline.count("^") == 3
    assert excerpt[start : start + 3] == "bad"


def test_long_span_and_far_label_stay_narrow() -> None:
    source = Source("a", "b" + "x" * 50_000 + "c")
    found = Diagnostic(
        "E0301",
        "no",
        Span(source, 0, 50_000),
        (Label(Span(source, 50_001, 50_002), "far"),),
    )
    assert max(map(len, render_text(found).split("\n"))) < WIDTH + 20


def test_end_of_text() -> None:
    source = Source("a", "space X {\n")
    assert render_text(Diagnostic("E0101", "no", Span(source, 10, 10))).endswith("2 |\n  | ^")
    empty = Source("a", "")
    assert render_text(Diagnostic("E0101", "no", Span(empty, 0, 0))).endswith("1 |\n  | ^")


def test_span_outside_of_the_text_is_survived() -> None:
    render_text(Diagnostic("E0101", "no", Span(Source("a", "x"), 5, 9)))


def test_control_characters_are_spelled_out() -> None:
    source = Source("a\n\x1b[31m", "x \x1b[2J \u202e y")
    out = render_text(Diagnostic("E0101", "bad \x07\u2028", at(source, "y"), help="\x00"))
    assert "\x1b" not in out and "\u202e" not in out and "\x07" not in out and "\x00" not in out
    assert "a\\x0a\\x1b[31m:1" in out and "\\u202e" in out and "\\x07" in out
    assert visible("a\ud800") == "a\\ud800"


def test_long_message_is_cut() -> None:
    out = render_text(Diagnostic("E0101", "n" * 100_000))
    assert len(out) < MAX_MESSAGE + 100


def test_no_place() -> None:
    expect(
        Diagnostic("E0801", "there is no such file", file="a.tsnet", help="one\ntwo"),
        """
        error[E0801]: there is no such file
         --> a.tsnet
          = help: one
                  two
        """,
    )


def test_colour_adds_escapes_only() -> None:
    import re

    found = Diagnostic("E0204", "no", at(SPEC, "mbconv"), (), "help")
    coloured = render_text(found, colour=True)
    assert "\x1b[1;31m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == render_text(found)


def test_summary() -> None:
    error, warning = Diagnostic("E0101", "a"), Diagnostic("W0901", "b", severity="warning")
    assert summary([error, warning, error]) == "2 errors, 1 warning"
    assert summary([]) == ""
    assert render_all([error, warning]) == "error[E0101]: a\n\nwarning[W0901]: b\n\n"


def test_an_exception_shows_its_findings() -> None:
    assert str(SpecError([Diagnostic("E0101", "a")])) == "error[E0101]: a"


def test_plain_rendering_imports_no_rich() -> None:
    program = (
        "import sys; from tsdsl.diagnostics import *; from tsdsl.diagnostics.render import *;"
        "print(render_text(Diagnostic('E0101', 'x', Span(Source('a', 'b'), 0, 1))));"
        "assert 'rich' not in sys.modules and 'json' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
