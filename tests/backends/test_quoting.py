"""Whatever text a spec contains, the emitted source is valid Python that quotes it and executes
none of it."""

from __future__ import annotations

import ast
import builtins
import inspect
import io
import keyword
import tokenize
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tsdsl
from tsdsl.backends.source.quoting import WIDTH, comment, docstring, quoted

#: Without an example database, so that each run has the same examples.
FIXED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: Pieces with a meaning in Python, in `str.format`, in `%`, in a terminal or in an editor.
PIECES = (
    *('"', '""', '"""', "'", "'''", "\\", "\\\\", '\\"', "\\n", "\\N{BULLET}", "\\x4", "\\u12"),
    *("{", "}", "{}", "{0}", "{module}", "%", "%s", "%(x)s", "$", "`", "#", "__0__", "__place_0__"),
    *("\n", "\r", "\t", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", "\xa0"),
    *("\x00", "\x1b[31m", "\x7f", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800", "\udc80"),
    *("\U0001f600", "e\u0301", "\uff21", " ", "  ", "a", "word ", "_half(", "F.", "torch."),
    '"""\nimport os\nos.abort()\n"""',
)
hostile = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=40).map("".join)


def _spread(text: str) -> str:
    return " ".join(text.split())


@settings(FIXED, max_examples=300)
@given(hostile)
def test_a_quoted_text_is_one_literal_with_its_value(text: str) -> None:
    written = quoted(text)
    assert ast.literal_eval(written) == text
    assert written.isprintable() and written[0] == written[-1] == '"'


@settings(FIXED, max_examples=300)
@given(hostile, st.sampled_from((0, 4, 8)))
def test_a_docstring_is_one_literal_with_the_words_of_the_text(text: str, indent: int) -> None:
    lines = list(docstring(text, indent))
    assert all(line.isprintable() for line in lines)
    body = [*lines, " " * indent + "x = 1"]
    source = "\n".join(["def f():" if indent else "if True:", *body]) if indent else "\n".join(body)
    tree = ast.parse(source)
    statements = tree.body[0].body if indent else tree.body  # type: ignore[attr-defined]
    assert len(statements) == 2, "the docstring, and what follows it"
    value = ast.literal_eval(statements[0].value)
    assert _spread(inspect.cleandoc(value)) == _spread(text)


@pytest.mark.parametrize(
    "text",
    [
        'three """ quotes',
        '"""',
        'at the end """',
        'one at the end "',
        'and two ""',
        "ends in a \\",
        '\\"',
        '\\\\"""',
        "percent %s, braces {0} and {{}}",
        "one\u2028line\x85with\x0bseparators\x0cand\rreturns",
        "right to left \u202e and an escape \x1b[31m",
    ],
)
def test_a_short_docstring_reads_exactly_as_it_was_written(text: str) -> None:
    (line,) = docstring(text)
    assert ast.literal_eval(line) == text
    assert len(line) <= WIDTH


@settings(FIXED, max_examples=300)
@given(hostile)
def test_a_comment_is_one_token(text: str) -> None:
    source = f"x = 1  # {comment(text)}\ny = 2\n"
    read = [t.type for t in tokenize.generate_tokens(io.StringIO(source).readline)]
    assert read.count(tokenize.COMMENT) == 1
    assert len(ast.parse(source).body) == 2


# ------------------------------------------------------------ whole modules

SPEC = """tsnet 1

{doc}
space {space} {{
  param {param} = 8
  input {clip}(channels=3, frames=2, height=4, width=4)
  stream {stream}({clip}) {{
    stem {block}({param})
    stage {stage} {{
      repeat {repeat} ~ 1..2 {{ use {block}({param}, {kernel} ~ {{1x1x1, 3x3x3}}) }}
    }}
  }}
  attend {stream} after {stage} ~ {{none, {other}(4)}}
  head {stream} -> global_avg_pool -> linear(3)
  require {stream}.{stage}.{repeat} <= 2 else "{message}"
}}

{doc}
block {block}(x, {width}: int, {kernel}: dims = 1x1x1, stride: dims = 1x1x1) {{
  let {local} = x -> conv({width}, {kernel}, stride=stride) -> bn
  return {local} -> {other}(div({width}, 2))
}}

{doc}
block {other}({tensor}, {width}: int) {{
  let {local} = {tensor} -> conv({width}, 1x1x1) -> relu -> conv({tensor}.channels, 1x1x1)
  return {tensor} * ({local} -> sigmoid)
}}
"""
#: Words of the language, which cannot be names, and names that the template uses.
WORDS = frozenset(
    """
    tsnet import as space extends param input let stream stem stage repeat use fuse after attend
    head require if else then search train evaluate block return none skip in and or not true
    false tie move moved phase streams budget weight x stride index conv bn relu sigmoid
    global_avg_pool linear div
    """.split()  # noqa: SIM905
)
OWN = """
    self torch nn F Tensor forward super_ cls Op Space On Held Any Callable Mapping Sequence
    __init__ __class__ __dict__ __place_0__ __0__ _make0 _call0 _take0 _entry _half _initialise at
    op layer net i v0 x0 which2 make rows on tensors call like architecture clip_NCTHW annotations
    bias training type keys Foo Foo_ foo _foo foo_ FOO math json os sys A_ a A
    """.split()  # noqa: SIM905
NAMES = [
    name
    for name in dict.fromkeys((*keyword.kwlist, *dir(builtins), *OWN))
    if name.isidentifier() and name.lower() not in WORDS
]
SLOTS = (
    *("space", "param", "clip", "stream", "block", "other", "stage", "repeat", "kernel"),
    *("width", "local", "tensor"),
)


#: A file has no zero byte and no lone surrogate, and a line break ends a comment.
written = hostile.map(
    lambda text: "".join(c for c in text if c not in "\x00\n" and not "\ud800" <= c <= "\udfff")
)


@settings(FIXED, max_examples=25)
@example(names=NAMES[:12], doc=['three """'], message='"""', file='a"""b')
@example(names=NAMES[-12:], doc=["a \\", '"'], message="\\", file="a\\")
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=12, max_size=12, unique=True),
    doc=st.lists(written, min_size=1, max_size=3),
    message=written,
    file=st.sampled_from(('a"""b', "a\nimport os", "a\\", "{0}", "%s", "a\u2028b", "a\x1b[31m")),
)
def test_emitted_modules_of_hostile_specs_compile_and_run(
    tmp_path: Path, names: list[str], doc: list[str], message: str, file: str
) -> None:
    path = tmp_path / f"{file}.tsnet"
    slots = dict(zip(SLOTS, names, strict=True))
    said = "\n".join(f"/// {line}" for line in doc)
    escaped = message.replace("\\", "\\\\").replace('"', '\\"')
    path.write_text(SPEC.format(doc=said, message=escaped, **slots), "utf-8", newline="")
    space = tsdsl.load(path)
    clip = torch.zeros(1, 3, 2, 4, 4)
    for frozen in (None, space.sample(seed=1)):
        source = tsdsl.emit(space, frozen)
        assert all(line.isprintable() for line in source.split("\n"))
        module: dict[str, Any] = {"__name__": "emitted"}
        exec(compile(source, "emitted", "exec"), module)
        words = _spread("\n".join(line.rstrip() for line in doc))
        assert words in _spread(str(module["__doc__"]))
        # The network is the last class of the module.
        kinds = [kind for kind in module.values() if isinstance(kind, type)]
        network = kinds[-1]()
        with torch.no_grad():
            logits = network(clip) if frozen else network(clip, dict(space.sample(seed=1)))
        assert logits.shape == (1, 3)


def test_a_parameter_does_not_hide_a_class(tmp_path: Path) -> None:
    path = tmp_path / "clash.tsnet"
    path.write_text(
        """tsnet 1
space S {
  input clip(channels=3, frames=2, height=4, width=4)
  stream a(clip) {
    stem b(8)
    stage s { use b(12) }
  }
  head a -> global_avg_pool -> linear(3)
}
block b(x, Foo: int, stride: dims = 1x1x1) {
  return x -> conv(Foo, 1x1x1, stride=stride) -> Foo_(Foo)
}
block Foo_(x, Foo: int) { return x -> conv(Foo, 1x1x1) -> bn }
"""
    )
    module: dict[str, Any] = {}
    exec(compile(tsdsl.emit(tsdsl.load(path)), "emitted", "exec"), module)
    assert module["S"]()(torch.zeros(1, 3, 2, 4, 4)).shape == (1, 3)
