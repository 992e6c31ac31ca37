"""Hostile files: each ends in one clear message within 5 s and 1 GiB.

The limit counts CPU time, because tests run side by side. The guard allows three times as much,
for a loaded machine, and also ends a run that waits without using the CPU. Commands run in a fork
of the test process, and may allocate 1 GiB in addition to what that process has.
"""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import forking
import pytest

SECONDS = 5
BYTES = 1 << 30


Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """``check(text)`` runs the command on a file with that text."""

    def run(
        content: str | bytes | None, *arguments: str, file: str = "a.tsnet"
    ) -> subprocess.CompletedProcess[str]:
        if content is not None:
            data = content.encode() if isinstance(content, str) else content
            (tmp_path / file).write_bytes(data)
        done = forking.command(
            [*(arguments or ("check",)), file],
            tmp_path,
            cpu_seconds=3 * SECONDS,
            further_bytes=BYTES,
        )
        assert done.returncode >= 0, f"ended by signal {-done.returncode}"
        assert "Traceback" not in done.stderr and "internal error" not in done.stderr, done.stderr
        assert len(done.stderr) < 40_000
        return done

    return run


def refused(done: subprocess.CompletedProcess[str], code: str, exit_code: int = 1) -> None:
    """Assert that a run ended with exactly one error, of that code."""
    assert done.returncode == exit_code, done.stderr
    assert done.stderr.count("error[") == 1, done.stderr
    assert f"error[{code}]" in done.stderr, done.stderr


def fine(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr


def space(
    stage: str = "use relu",
    head: str = "head sparse -> global_avg_pool -> linear(5)",
    extra: str = "",
    blocks: str = "",
) -> str:
    return f"""tsnet 1
{blocks}
space S {{
  input clip(channels=3, frames=4, height=8, width=8)
  {extra}
  stream sparse(clip) {{
    stage s1 {{
      {textwrap.dedent(stage)}
    }}
  }}
  {head}
}}
"""


# ------------------------------------------------------------------ files


def test_missing_file(check: Check) -> None:
    refused(check(None), "E0801", 3)


def test_directory(check: Check, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    refused(check(None, file="d"), "E0802", 3)


@pytest.mark.parametrize(
    ("content", "code"),
    [(bytes(range(256)) * 100, "E0805"), (b"\xff\xfe\x80" * 999, "E0806")],
    ids=["zero bytes", "not UTF-8"],
)
def test_binary_junk(check: Check, content: bytes, code: str) -> None:
    refused(check(content), code, 3)


def test_ten_megabytes(check: Check) -> None:
    refused(check(b"a" * 10_000_000), "E0804", 3)


def test_a_megabyte_of_unknown_characters(check: Check) -> None:
    done = check("$ " * 500_000)
    assert done.returncode == 1 and "E0101" in done.stderr


@pytest.mark.parametrize(
    "text", ["", "\n\n", "// only\n// comments\n", "/// only docs\n", "\ufeff"]
)
def test_nothing_in_the_file(check: Check, text: str) -> None:
    done = check(text)
    refused(done, "E0106")
    assert "tsnet 1" in done.stderr


def test_an_empty_module_has_no_space(check: Check) -> None:
    fine(check("tsnet 1\n"))
    refused(check("tsnet 1\n", "flops"), "E0513")


# ------------------------------------------------------------------ nesting

DEEP = 10_000


@pytest.mark.parametrize(
    "expression",
    [
        "(" * DEEP + "1" + ")" * DEEP,
        "(" * DEEP,
        ")" * DEEP,
        "max(" * DEEP + "1" + ")" * DEEP,
        "1" + "[1" * DEEP + "]" * DEEP,
        "-" * DEEP + "1",
        "- " * 300_000 + "1",
        "not " * DEEP + "true",
        "not " * 200_000 + "true",
        "1" + " + 1" * DEEP,
        "1" + " * 1" * 200_000,
        "true" + " and true" * DEEP,
        "if true then 1 else " * DEEP + "1",
        "if " * DEEP + "true",
        "clip" + ".a" * DEEP,
        "clip" + " -> relu" * DEEP,
        "max" + "(1)" * DEEP,
    ],
    ids=lambda text: text[:12].strip(),
)
def test_deep_expressions(check: Check, expression: str) -> None:
    done = check(space(extra=f"let a = {expression}"))
    assert done.returncode == 1
    assert done.stderr.count("error[") == 1, done.stderr
    assert "E0108" in done.stderr or expression.startswith(")")


def test_deep_braces(check: Check) -> None:
    refused(check(space(stage="repeat 1 { " * DEEP + "use relu" + " }" * DEEP)), "E0108")
    refused(check("tsnet 1\nspace S " + "{" * DEEP), "E0108")


def test_deep_decisions(check: Check) -> None:
    nested = "max_pool(" + "kernel ~ {max(" * DEEP + "1" + ")}" * DEEP + ")"
    refused(check(space(stage=f"use {nested}")), "E0108")


@pytest.mark.parametrize("depth", [90, 150, 190])
def test_nesting_that_is_allowed(check: Check, depth: int) -> None:
    fine(check(space(extra="let a = " + "(" * depth + "1" + ")" * depth)))
    fine(check(space(extra="let a = " + "-" * depth + "1")))
    fine(check(space(extra="let a = 1" + " + 1" * depth)))
    fine(check(space(extra="let a = " + "if true then 1 else " * depth + "1")))
    fine(check(space(extra="let a = " + "max(" * depth + "1" + ")" * depth)))
    pipes = "head sparse" + " -> relu" * depth + " -> global_avg_pool -> linear(5)"
    fine(check(space(head=pipes)))


# ------------------------------------------------------------------ blocks


def chain(count: int, body: str) -> str:
    """Blocks b0, b1, ..., each of which calls the one before it."""
    blocks = ["block b0(x) { return relu(x) }"]
    blocks += [
        f"block b{at}(x) {{ return {body.replace('@', f'b{at - 1}')} }}" for at in range(1, count)
    ]
    return "\n".join(blocks)


@pytest.mark.parametrize("count", [1000, 15_000])
def test_blocks_call_blocks(check: Check, count: int) -> None:
    refused(check(space(f"use b{count - 1}", blocks=chain(count, "@(x)"))), "E0207")


def test_blocks_call_blocks_that_is_allowed(check: Check) -> None:
    fine(check(space("use b59", blocks=chain(60, "@(x)"))))


def test_deep_expressions_in_blocks_that_call_blocks(check: Check) -> None:
    """Calls and expressions at their limits need 45,000 frames of Python, and are no error."""
    body = "relu(" * 190 + "@(x)" + ")" * 190
    fine(check(space("use b59", blocks=chain(60, body))))


@pytest.mark.parametrize(("count", "code"), [(900, None), (11_000, "E0511")])
def test_streams_that_are_fused_in_a_chain(check: Check, count: int, code: str | None) -> None:
    streams = [f"stream a{at}(clip) {{ stem relu }}" for at in range(count)]
    fusions = [f"fuse a{at}->a{at - 1} after stem = add" for at in range(count - 1, 0, -1)]
    text = space(extra="\n".join(streams + fusions))
    done = check(text)
    if code is None:
        fine(done)
    else:
        refused(done, code)


def test_many_stages_before_a_fusion(check: Check) -> None:
    stages = " ".join(f"stage t{at} {{ use relu }}" for at in range(3000))
    streams = f"stream a(clip) {{ {stages} }} stream b(clip) {{ stage t2999 {{ use relu }} }}"
    fine(check(space(extra=f"{streams} fuse b->a after t2999 = add fuse a->b after t2999 = add")))


def test_a_bug_while_an_import_is_located_is_no_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A path that does not resolve is a finding; any other error is not swallowed."""
    from tsdsl.sema.check import check_text

    (tmp_path / "part.tsnet").write_text("tsnet 1\n")
    text = 'tsnet 1\nimport "./part.tsnet" as p\n'
    assert not check_text(text, "a.tsnet", tmp_path / "a.tsnet").diagnostics

    def broken(path: Path, strict: bool = False) -> Path:
        raise ValueError("a bug")

    monkeypatch.setattr(Path, "resolve", broken)
    with pytest.raises(ValueError, match="a bug"):
        check_text(text, "a.tsnet", tmp_path / "a.tsnet")


def test_endless_recursion_in_the_compiler_is_no_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A `RecursionError` is a bug of the compiler, never a fault of the spec."""
    from tsdsl.sema.check import check_text
    from tsdsl.sema.interpreter.shapes import ShapeInference

    def endless(*arguments: object) -> None:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(ShapeInference, "result", endless)
    with pytest.raises(RecursionError):
        check_text(space(), "a.tsnet", tmp_path / "a.tsnet")


@pytest.mark.parametrize("body", ["x -> @ -> @", "@(x) + @(x)", "x -> @ -> none -> @"])
def test_blocks_that_double(check: Check, body: str) -> None:
    refused(check(space("use b30", blocks=chain(31, body))), "E0511")


def test_blocks_in_a_circle(check: Check) -> None:
    blocks = (
        "block a(x) { return b(x) }\nblock b(x) { return a(x) + a(x) }\nblock c(x) { return c(x) }"
    )
    done = check(space("use a", blocks=blocks))
    assert done.returncode == 1
    assert done.stderr.count("error[") == 2 == done.stderr.count("E0207"), done.stderr


def test_many_lets_used_often(check: Check) -> None:
    lets = "\n".join(f"let a{at} = {at} + 1" for at in range(30_000))
    blocks = f"block b(x) {{ {lets} return relu(x) }}"
    refused(check(space("repeat 1000 { use b }", blocks=blocks)), "E0511")
    fine(check(f"tsnet 1\n{blocks}"))


# ------------------------------------------------------------------ sizes


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        ("repeat 1000000000 { use relu }", "E0511"),
        ("repeat depth ~ {1, 1000000000} { use relu }", "E0511"),
        ("repeat 1000 { repeat 1000 { use relu } }", "E0511"),
        ("repeat 1000 { repeat 1000 { repeat 1000 { let a = 1 } } }", "E0511"),
        ("repeat 1000 { repeat 1000 { repeat 1000 { } } }", "E0511"),
        ("repeat 1000 { repeat 1000 { repeat 1000 { use none } } }", "E0511"),
        ("repeat 1000 { repeat 1000 { repeat 1000 { a ~ {1, 2} use relu } } }", "E0511"),
        ("repeat a ~ 1..1000 { repeat b ~ 1..1000 { use conv(8, 1x1x1) } }", "E0511"),
        ("use conv(1000000000000, 1x1x1)", "E0309"),
        ("use conv(8, 1x1x1000000000000)", "E0309"),
        ("use conv(8, 1x1x1, stride=1x1000000000000x1)", "E0309"),
        ("use conv(8, 1x1x1, padding=1x1x1000000000000)", "E0309"),
        ("use conv(8, 1x1x1, groups=1000000000000)", "E0309"),
        ("width ~ 1..1000000000000 use conv(width, 1x1x1)", "E0503"),
        ("width ~ 0.0..1000000000000.0 step 1e-300 use conv(8, 1x1x1)", "E0503"),
        ("width ~ 0..1e308 step 1e-308 use conv(8, 1x1x1)", "E0503"),
        ("width ~ 0.0..1e-14 step 1e-15 use conv(8, 1x1x1)", "E0502"),
        ("let a = " + "9" * 10_000, "E0103"),
        ("let a = 0." + "9" * 10_000, "E0103"),
        ("let a = 1e999", "E0103"),
        ("let a = 1e99999999999999", "E0103"),
        ("let a = 1e308 * 10", "E0406"),
        ("let a = 1e400", "E0103"),
        ("let a = 1.5e251T let b = 1e300 / a * 1e308", "E0406"),
        ("let a = int(1e300)", "E0406"),
        ("let a = 9000T * 9000T", "E0406"),
        ("let a = 1x1x" + "9" * 10_000, "E0103"),
        ("let a = 1 / 0", "E0405"),
        ("let a = 1 % 0", "E0405"),
        ("let a = 1.0 / 0.0", "E0405"),
        ("let a = div(1, 0)", "E0405"),
    ],
    ids=lambda text: text[:44],
)
def test_sizes(check: Check, stage: str, code: str) -> None:
    refused(check(space(stage)), code)


def test_weights_near_the_largest_number(check: Check) -> None:
    text = space("width ~ {8: 1e100, 16: 1e100, 24: 1e-100} use conv(width, 1x1x1)")
    fine(check(text))
    fine(check(text, "sample"))
    refused(check(space("width ~ {8: 1e308, 16: 1e308} use conv(width, 1x1x1)")), "E0507")


def test_input_of_any_size(check: Check) -> None:
    text = space().replace("frames=4", "frames=1000000000000")
    refused(check(text), "E0309")


# ------------------------------------------------------------------ many


def test_fifty_thousand_decisions(check: Check) -> None:
    done = check(space(extra="\n".join(f"d{at:x}~{{1}}" for at in range(50_000))))
    assert done.returncode in (0, 1) and "d0" in done.stderr


def test_many_decisions_that_matter(check: Check) -> None:
    stage = "repeat 1000 { use conv(k ~ {8, 16}, 1x1x1) }"
    done = check(space(stage))
    assert done.returncode in (0, 1)


def test_ten_thousand_streams(check: Check) -> None:
    streams = "\n".join(f"stream t{at}(clip) {{ stem relu }}" for at in range(10_000))
    fine(check(space(extra=streams)))


def test_ten_thousand_stages(check: Check) -> None:
    stages = "\n".join(f"stage t{at} {{ use relu }}" for at in range(10_000))
    attends = "\n".join(f"attend sparse after t{at} = relu" for at in range(5_000))
    text = space().replace("stage s1", stages + "\nstage s1").replace("  head", attends + "\nhead")
    fine(check(text))


def test_a_set_with_many_options(check: Check) -> None:
    options = ", ".join(map(str, range(1, 100_001)))
    refused(check(space(f"width ~ {{{options}}} use conv(width, 1x1x1)")), "E0511")


def test_many_options_in_several_decisions(check: Check) -> None:
    stage = "a ~ 1..4000 b ~ 1..4000 c ~ 1..4000 use conv(a * b + c, 1x1x1)"
    refused(check(space(stage)), "E0512")


def test_many_unknown_names(check: Check) -> None:
    lets = "\n".join(f"let name{at} = nome{at}" for at in range(20_000))
    for text in (space(extra=lets), f"tsnet 1\nblock b(x) {{ {lets} return x }}"):
        done = check(text)
        assert done.returncode == 1
        assert done.stderr.count("error[E0201]") == 100


def test_many_imports(check: Check, tmp_path: Path) -> None:
    for at in range(200):
        text = f'tsnet 1\nimport "./i{at + 1}.tsnet" as m\n'
        (tmp_path / f"i{at}.tsnet").write_text(text)
    refused(check(None, file="i0.tsnet"), "E0211")


# ------------------------------------------------------------------ imports


def test_import_of_itself(check: Check) -> None:
    refused(check('tsnet 1\nimport "./a.tsnet" as a\n'), "E0212")


def test_imports_in_a_circle(check: Check, tmp_path: Path) -> None:
    (tmp_path / "b.tsnet").write_text('tsnet 1\nimport "./a.tsnet" as a\n')
    done = check('tsnet 1\nimport "./b.tsnet" as b\n')
    refused(done, "E0212")
    assert "a.tsnet -> b.tsnet -> a.tsnet" in done.stderr


@pytest.mark.parametrize(
    "path", ["../x.tsnet", "/etc/passwd", "../../../../etc/passwd", "..", "../", "/", "sub/../.."]
)
def test_import_from_outside(check: Check, path: str) -> None:
    refused(check(f'tsnet 1\nimport "{path}" as a\n'), "E0213")


def test_import_through_a_link(
    check: Check, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "x.tsnet"
    outside.write_text("tsnet 1\nsecret")
    (tmp_path / "link.tsnet").symlink_to(outside)
    done = check('tsnet 1\nimport "./link.tsnet" as a\n')
    refused(done, "E0213")
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    "path",
    [".", "./", "", "./missing.tsnet", "x" * 300, "x" * 5000, "a\\nb", "./folder", "std/", "std/x"],
    ids=lambda path: path[:20],
)
def test_import_of_nothing(check: Check, tmp_path: Path, path: str) -> None:
    (tmp_path / "folder.tsnet").mkdir()
    refused(check(f'tsnet 1\nimport "{path}" as a\n'), "E0211")


def test_import_of_a_loop_of_links(check: Check, tmp_path: Path) -> None:
    (tmp_path / "loop.tsnet").symlink_to(tmp_path / "loop.tsnet")
    refused(check('tsnet 1\nimport "./loop.tsnet" as a\n'), "E0211")


# ------------------------------------------------------------------ texts


def test_byte_order_mark_and_line_ends(check: Check) -> None:
    fine(check("\ufeff" + space().replace("\n", "\r\n")))
    fine(check(space().replace(" ", "\t")))
    done = check(space("use relux").replace("\n", "\r\n").replace("  ", "\t"))
    refused(done, "E0201")
    assert "\r" not in done.stderr and "\t" not in done.stderr


def test_zero_byte_in_a_text(check: Check) -> None:
    refused(check(space(extra='require true else "a\0b"')), "E0805", 3)


def test_control_characters_are_not_printed(check: Check) -> None:
    done = check(space(extra='require 1 > 2 else "\x1b[2J\u202e \x07"'))
    refused(done, "E0505")
    assert "\x1b" not in done.stderr and "\u202e" not in done.stderr and "\x07" not in done.stderr


def test_long_lines(check: Check) -> None:
    done = check(space(extra=f'require 1 > 2 else "{"long " * 100_000}"'))
    refused(done, "E0505")
    assert max(map(len, done.stderr.splitlines())) < 3000
    refused(check(space(extra=f"let {'a' * 500_000} = b")), "E0201")
    refused(check(space("use relu" + " " * 900_000 + "+")), "E0106")


@pytest.mark.parametrize(
    "name", ["breite\u00df", "\u00e9t\u00e9", "\u5e45", "a\u00b2", "\u0661", "x\u0301"]
)
def test_names_are_ascii(check: Check, name: str) -> None:
    done = check(space(extra=f"let {name} = 1"))
    assert done.returncode == 1
    assert done.stderr.count("error[") <= 2 and "E010" in done.stderr, done.stderr


# ------------------------------------------------------------------ names of Python and torch

NAMES = ["forward", "training", "parameters", "state_dict", "add_module", "self", "torch", "nn"]
NAMES += ["Module", "print", "__init__", "class", "def", "lambda", "None", "True", "type", "super"]


def test_names_of_modules(check: Check) -> None:
    blocks = "\n".join(
        f"block {name}(x, {name}_1: int = 8, nil: int = 3) {{ "
        f"let {name} = x -> conv({name}_1, 1x1x1) return {name} }}"
        for name in NAMES
    )
    streams = "\n".join(
        f"stream {name}_(clip) {{ stem {name} stage {name} {{ use relu }} }}" for name in NAMES
    )
    head = "head concat(" + ", ".join(f"{n}_" for n in NAMES) + ") -> global_avg_pool -> linear(5)"
    text = space(extra=streams, blocks=blocks, head=head)
    fine(check(text))
    fine(check(text, "compile", "-o", "model.py"))


# ------------------------------------------------------------------ coupled


def many_widths(count: int) -> Iterator[str]:
    for at in range(count):
        yield f"w{at} ~ 8..40 step 8"


def test_a_requirement_over_sixty_widths(check: Check) -> None:
    names = [f"w{at}" for at in range(60)]
    stage = "\n".join(many_widths(60)) + "\n"
    stage += "\n".join(f"use conv({name}, 1x1x1)" for name in names)
    stage += f"\nrequire {' + '.join(names)} <= 1000"
    fine(check(space(stage)))
    done = check(space(stage), "sample")
    assert done.returncode == 0 or "error[E0592]" in done.stderr


def test_a_value_of_sixty_decisions(check: Check) -> None:
    names = [f"w{at}" for at in range(60)]
    product = " * ".join(f"(1 + {n} / 8)" for n in names)
    stage = "\n".join(many_widths(60)) + f"\nrequire {product} <= 1000 use relu"
    done = check(space(stage))
    assert done.returncode in (0, 1)
    assert "W0906" in done.stderr or "E0406" in done.stderr, done.stderr


def test_tables_of_many_entries(check: Check) -> None:
    widths = "\n".join(f"w{at} ~ 1..100" for at in range(40))
    lets = "\n".join(
        f"let p{at} = w{at} * 1000 + w{(at + 7) % 40} * 7 + w{(at + 13) % 40}" for at in range(40)
    )
    lets += "\n" + "\n".join(f"require p{at} > p{at + 1}" for at in range(39))
    done = check(space(f"{widths}\n{lets}\nuse relu"))
    assert done.returncode in (0, 1)
    assert done.stderr.count("error[") <= 100


def test_a_fault_of_many_decisions(check: Check) -> None:
    bits = "\n".join(f"b{at} ~ {{0, 1}}" for at in range(16))
    total = " + ".join(f"b{at} * {1 << at}" for at in range(16))
    done = check(space(f"{bits}\nuse conv(8 + div(8, 65535 - ({total})), 1x1x1)"))
    refused(done, "E0405")
