"""The meaning of valid programs: paths, sharing, guards, extends, overrides, requirements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import tsdsl
from tsdsl import SpecError

Load = Callable[..., tsdsl.Space]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """``load(text)``: the space of a file with that text; ``base`` is a file beside it."""

    def loaded(
        text: str, set: Mapping[str, Any] | None = None, base: str | None = None
    ) -> tsdsl.Space:
        if base is not None:
            (tmp_path / "base.tsnet").write_text(f"tsnet 1\n{base}")
        path = tmp_path / "a.tsnet"
        path.write_text(f"tsnet 1\n{text}")
        return tsdsl.load(path, set or {})

    return loaded


def space(
    stage: str, rest: str = "", blocks: str = "", head: str = "sparse", start: str = ""
) -> str:
    return f"""{blocks}
space S {{
  param size = 8
  input clip(channels=3, frames=4, height=size, width=size)
  {start}
  stream sparse(clip) {{
    stage s1 {{
      {stage}
    }}
  }}
  {rest}
  head {head} -> global_avg_pool -> linear(5)
}}
"""


def paths(found: tsdsl.Space) -> list[str]:
    return [d.path for d in found.decisions]


def options(found: tsdsl.Space) -> dict[str, tuple[Any, ...]]:
    return {d.path: d.options for d in found.decisions}


def codes(error: pytest.ExceptionInfo[SpecError]) -> list[str]:
    return [d.code for d in error.value.diagnostics]


# ------------------------------------------------------------------ decisions, scopes, paths


def test_scope_is_sharing(load: Load) -> None:
    found = load(
        space(
            """
      width ~ {8, 16}
      repeat 2 { kernel ~ {1x1x1, 1x3x3} use conv(width, kernel) }
      use conv(width, kernel ~ {1x1x1, 3x1x1})""",
            start="wide ~ {4, 8}",
            rest="attend sparse after s1 = conv(wide, 1x1x1)",
        )
    )
    assert paths(found) == [
        "wide",
        "sparse.s1.width",
        "sparse.s1[0].kernel",
        "sparse.s1[1].kernel",
        "sparse.s1[2].kernel",
    ]
    assert found.size == 2 * 2 * 2 * 2 * 2


def test_every_place_of_a_decision(load: Load) -> None:
    found = load(
        """space S {
  input clip(channels=3, frames=4, height=8, width=8)
  stream sparse(clip) {
    base ~ {4, 8}
    stem conv(base, kernel ~ {1x1x1, 1x3x3})
    stage s1 {
      repeat depth ~ 1..2 { use act ~ {relu, swish} }
      repeat outer ~ 1..2 { repeat inner ~ 1..2 { use conv(8, kernel ~ {1x1x1, 3x1x1}) } }
    }
  }
  stream dense(clip) { stage s1 { use conv(8, 1x1x1) } }
  fuse dense -> sparse after s1 ~ {skip, add}
  attend sparse after s1, stem ~ {none, relu}
  head sparse -> global_avg_pool -> dropout(p ~ {0.1, 0.5}) -> linear(5)
}"""
    )
    assert options(found) == {
        "sparse.base": (4, 8),
        "sparse.stem.kernel": ("1x1x1", "1x3x3"),
        "attend.sparse.stem": ("none", "relu"),
        "sparse.s1.depth": (1, 2),
        "sparse.s1[0].act": ("relu", "swish"),
        "sparse.s1[1].act": ("relu", "swish"),
        "sparse.s1.outer": (1, 2),
        "sparse.s1[2].inner": (1, 2),
        "sparse.s1[2].kernel": ("1x1x1", "3x1x1"),
        "sparse.s1[3].kernel": ("1x1x1", "3x1x1"),
        "sparse.s1[4].inner": (1, 2),
        "sparse.s1[4].kernel": ("1x1x1", "3x1x1"),
        "sparse.s1[5].kernel": ("1x1x1", "3x1x1"),
        "fuse.dense->sparse.s1": ("skip", "add"),
        "attend.sparse.s1": ("none", "relu"),
        "head.p": (0.1, 0.5),
    }


def test_depth_gates_what_is_inside(load: Load) -> None:
    found = load(space("repeat depth ~ 1..3 { use conv(8, kernel ~ {1x1x1, 1x3x3}) }"))
    assert found.size == 2 + 4 + 8
    shallow = found.architecture({"sparse.s1.depth": 1, "sparse.s1[0].kernel": "1x3x3"})
    assert found.flops(shallow) == 3 * 8 * 9 * 256 + 8 * 5
    document = {d.path: d for d in found.document.decisions}
    assert not document["sparse.s1[0].kernel"].conditional
    assert document["sparse.s1[2].kernel"].conditional


def test_options_with_decisions_of_their_own(load: Load) -> None:
    blocks = "block two(x, mid: int) { return x -> conv(mid, 1x1x1) -> conv(x.channels, 1x1x1) }"
    found = load(
        space(
            "use conv(8, 1x1x1)",
            "attend sparse after s1 ~ {none, two(mid ~ {2, 4}), relu} default two(mid ~ {2, 4})",
            blocks,
        )
    )
    assert paths(found) == ["attend.sparse.s1", "attend.sparse.s1.two.mid"]
    assert found.size == 4
    assert found.decisions[0].options[found.decisions[0].default] == "two()"
    with_two = {"attend.sparse.s1": "two()", "attend.sparse.s1.two.mid": 4}
    base = found.flops({"attend.sparse.s1": "none"})
    assert found.flops(with_two) - base == 2 * 8 * 4 * 256


def test_weights_and_defaults(load: Load) -> None:
    found = load(space("width ~ {8: 0.75, 16: 0.25} default 16 use conv(width, 1x1x1)"))
    (decision,) = found.decisions
    assert decision.weights == (0.75, 0.25) and decision.default == 1
    drawn = found.sample(2, seed=0)
    assert {a["sparse.s1.width"] for a in drawn} == {8, 16}


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("8..24 step 8", (8, 16, 24)),
        ("2..4", (2, 3, 4)),
        ("{8, 2 * 8, size * 3}", (8, 16, 24)),
        ("size..2 * size step 8", (8, 16)),
    ],
)
def test_domains(load: Load, domain: str, expected: tuple[int, ...]) -> None:
    assert load(space(f"w ~ {domain} use conv(w, 1x1x1)")).decisions[0].options == expected


def test_ratios(load: Load) -> None:
    found = load(space("e ~ 0.5..1.5 step 0.25 use conv(int(8 * e), 1x1x1)"))
    assert found.decisions[0].options == (0.5, 0.75, 1.0, 1.25, 1.5)
    assert found.decisions[0].kind == "ratio"


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("expression", "channels"),
    [
        ("8 / 2", 4),
        ("div(9, 2)", 4),
        ("9 % 4 + 3", 4),
        ("int(1.5 * 3)", 4),
        ("round(2.5)", 3),
        ("ceil(3.1)", 4),
        ("floor(4.9)", 4),
        ("round8(10)", 16),
        ("round8(100 * 0.5)", 48),
        ("round8(1)", 8),
        ("max(1, 4, 2)", 4),
        ("min(9, 4)", 4),
        ("abs(-4)", 4),
        ("if 1 < 2 and not false then 4 else 1 / 0", 4),
        ("(if 1x2x3 == dims(1, 2, 3) then 1x2x3 else 1x1x1).h + 2", 4),
        ("-(-4)", 4),
        ("2 * 2 == 4 or 1 / 0 == 1", None),
    ],
)
def test_expressions(load: Load, expression: str, channels: int | None) -> None:
    if channels is None:
        load(space("use relu", f"require {expression}"))
        return
    found = load(space(f"use conv({expression}, 1x1x1)", "require sparse.out.channels > 0"))
    assert found.params() == 3 * channels + channels * 5 + 5


def test_members_of_tensors(load: Load) -> None:
    rest = """require sparse.out.channels == 6 and sparse.out.frames == 2
  require sparse.out.height == 4 and sparse.s1.out.width == 8"""
    load(space("use conv(6, 1x1x1, stride=2x2x1)", rest))


def test_operations_are_values(load: Load) -> None:
    blocks = """block b(x, act: op = swish, last: op = none) {
  let both = relu
  return x -> conv(4, 1x1x1) -> act -> last -> both
}
block c(x, inner: op) { return inner(x) -> inner }"""
    plain = load(space("use b(relu)", blocks=blocks))
    partial = load(space("use c(inner=conv(out=4, kernel=1x1x1))", blocks=blocks))
    assert plain.params() == 12 + 25
    assert partial.params() == 12 + 16 + 25
    chosen = load(space("use b(act ~ {relu, bn})", blocks=blocks))
    assert options(chosen) == {"sparse.s1[0].act": ("relu", "bn")}
    assert chosen.params({"sparse.s1[0].act": "bn"}) == 12 + 8 + 25


def test_defaults_of_blocks_follow_other_parameters(load: Load) -> None:
    blocks = """block b(x, n: int, inner: int = n * 2, kernel: dims = dims(1, inner - 5, 3)) {
  return x -> conv(inner, kernel) -> conv(n, 1x1x1)
}"""
    found = load(space("use b(4)", blocks=blocks))
    assert found.params() == 3 * 8 * 9 + 32 + 25


def test_a_stride_goes_to_the_first_block(load: Load) -> None:
    text = space("repeat 3 { use conv(4, 1x1x1) }").replace("stage s1", "stage s1(stride=1x2x2)")
    found = load(text.replace("head", "require sparse.out.height == 4\nhead"))
    assert found.flops() == (3 * 4 + 16 + 16) * 4 * 16 + 20


def test_points_in_textual_order(load: Load) -> None:
    """Joints at a point are applied in the order of the file; a fusion takes the source as it is
    after the earlier ones."""
    text = """space S {
  input clip(channels=3, frames=4, height=8, width=8)
  stream a(clip) { stage s1 { use conv(4, 1x1x1) } }
  stream b(clip) { stage s1 { use conv(6, 1x1x1) } }
  fuse a -> b after s1 = concat
  fuse b -> a after s1 = concat
  attend a after s1 = conv(2, 1x1x1)
  require a.out.channels == 2 and b.out.channels == 10
  head concat(a, b) -> global_avg_pool -> linear(5)
}"""
    found = load(text)
    assert found.params() == 12 + 18 + (10 + 4) * 2 + 12 * 5 + 5


# ------------------------------------------------------------------ requirements


def test_a_requirement_speaks_of_what_runs(load: Load) -> None:
    """A requirement over a block that does not run is met."""
    found = load(
        space(
            "repeat depth ~ 1..2 { width ~ {8, 16} use conv(width, 1x1x1) }",
            "require sparse.s1[0].width < sparse.s1[1].width",
        )
    )
    # Depth 1: both widths. Depth 2: 8 < 16 only.
    assert found.size == 3
    assert found.architecture({"sparse.s1.depth": 1, "sparse.s1[0].width": 16})


def test_a_name_for_a_part_that_may_not_run(load: Load) -> None:
    """A let has the conditions of the value that it names."""
    stage = """repeat depth ~ 1..2 { width ~ {8, 16} use conv(width, 1x1x1) }
      require last > 8"""
    text = space(stage).replace(
        "require last > 8", "let last = s1[1].width\n      require last > 8"
    )
    found = load(text)
    # Depth 1: two widths, no condition on the second. Depth 2: two widths, the second is 16.
    assert found.size == 2 + 2


def test_requirements_of_streams_and_stages(load: Load) -> None:
    text = space("width ~ {8, 16} use conv(width, 1x1x1) require width > 8")
    assert load(text).size == 1
    text = space("width ~ {8, 16} use conv(width, 1x1x1)").replace(
        "stage s1", "require s1.width < 16\n    stage s1"
    )
    assert load(text).size == 1


def test_requirements_in_blocks(load: Load) -> None:
    blocks = """block b(x, n: int) {
  require n > x.channels else "widen"
  return x -> conv(n, 1x1x1)
}"""
    assert load(space("use b(n ~ {2, 4, 8})", blocks=blocks)).size == 2


def test_an_option_that_nothing_uses_is_a_warning(load: Load, tmp_path: Path) -> None:
    load(space("width ~ {8, 16, 24} use conv(width, 1x1x1) require width < 24"))
    found = tsdsl.check(tmp_path / "a.tsnet")
    assert [(d.code, d.severity) for d in found] == [("W0901", "warning")]


def test_faults_that_no_architecture_reaches(load: Load) -> None:
    load(space("a ~ {4, 6} use conv(a / 4, 1x1x1) require a == 4"))
    load(space("on ~ {true, false} use conv(if on then 8 else 8, 1x1x1) let b = 1"))
    with pytest.raises(SpecError) as error:
        load(space("a ~ {4, 6} use conv(a / 4, 1x1x1)"))
    assert codes(error) == ["E0405"]
    assert "when sparse.s1.a = 6" in error.value.diagnostics[0].message


# ------------------------------------------------------------------ --set


def test_overrides(load: Load) -> None:
    text = space("width ~ {8, 16} fixed = 4 use conv(width + fixed, kernel ~ {1x1x1, 1x3x3})")
    text = text.replace("kernel ~", "kernel ~").replace(
        "conv(width + fixed, ", "conv(out=width + fixed, "
    )
    found = load(text, {"size": 16, "sparse.s1.width": 16, "sparse.s1.fixed": 1})
    assert found.input_shape == (3, 4, 16, 16)
    assert paths(found) == ["sparse.s1[0].kernel"]
    assert found.params({"sparse.s1[0].kernel": "1x1x1"}) == 3 * 17 + 17 * 5 + 5
    fixed = load(text, {"sparse.s1.width": "8", "sparse.s1[0].kernel": "1x3x3"})
    assert fixed.size == 1 and fixed.params() == 3 * 12 * 9 + 12 * 5 + 5


@pytest.mark.parametrize(
    "override",
    [
        {"sparse.s1.width": 12},
        {"sparse.s1.widht": 8},
        {"size": "big"},
        {"size": "1 +"},
        {"size": 1.5},
        {"size": None},
        {"size": "relu"},
        {"nothing": 1},
        {"sparse.s1.width": [1, 2]},
    ],
    ids=str,
)
def test_overrides_that_do_not_fit(load: Load, override: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as error:
        load(space("width ~ {8, 16} use conv(width, 1x1x1)"), override)
    assert len(codes(error)) == 1
    assert codes(error)[0] in ("E0508", "E0303", "E0201")


def test_an_operation_chosen_by_an_override(load: Load) -> None:
    text = space("use conv(8, 1x1x1)", "attend sparse after s1 ~ {none, bn, conv( 4,1x1x1 )}")
    assert load(text, {"attend.sparse.s1": "conv(4, 1x1x1)"}).params() == 24 + 32 + 25
    assert load(text, {"attend.sparse.s1": "none"}).size == 1


# ------------------------------------------------------------------ extends

BASE = space("width ~ {8, 16} repeat depth ~ 1..2 { use conv(width, 1x1x1) }").replace(
    "S {", "Base {"
)
BASE = BASE.replace("  head", "  attend sparse after s1 ~ {none, relu}\n  require size > 4\n  head")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "",
            {
                "sparse.s1.width": (8, 16),
                "sparse.s1.depth": (1, 2),
                "attend.sparse.s1": ("none", "relu"),
            },
        ),
        ("stream sparse { stage s1 { width = 4 } }", {"sparse.s1.width": None}),
        ("stream sparse { stage s1 { width ~ {4, 6} } }", {"sparse.s1.width": (4, 6)}),
        ("stream sparse { stage s1 { depth ~ 3..5 } }", {"sparse.s1.depth": (3, 4, 5)}),
        ("stream sparse { stage s1 { depth = 2 } }", {"sparse.s1.depth": None}),
        (
            "stream sparse { stage s1 { use conv(width, k ~ {1x1x1, 1x3x3}) } }".replace(
                "k ~", "kernel ~"
            ),
            {"sparse.s1.depth": None, "sparse.s1[0].kernel": ("1x1x1", "1x3x3")},
        ),
        ("stream sparse { stage s2 { use op ~ {relu, bn} } }", {"sparse.s2[0].op": ("relu", "bn")}),
        ("stream sparse(clip) { stage s1 { use relu } }", {"sparse.s1.width": None}),
        ("attend sparse after s1 = relu", {"attend.sparse.s1": None}),
        ("attend sparse after s1 ~ {none, bn}", {"attend.sparse.s1": ("none", "bn")}),
        ("extra ~ {1, 2} require extra > 0", {"extra": (1, 2)}),
        ("head sparse -> global_avg_pool -> linear(7)", {}),
        ("param size = 16", {}),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_extends(load: Load, body: str, expected: dict[str, Any]) -> None:
    found = load(f'import "./base.tsnet" as b\nspace S extends b.Base {{ {body} }}', base=BASE)
    have = options(found)
    for path, wanted in expected.items():
        assert have.get(path) == wanted
    if "param size" in body:
        assert found.input_shape[-1] == 16
    if "linear(7)" in body:
        assert (
            found.params({"sparse.s1.width": 8, "sparse.s1.depth": 1, "attend.sparse.s1": "none"})
            == 24 + 63
        )


def test_extends_of_extends(load: Load) -> None:
    text = BASE + "space M extends Base { param size = 12 }\nspace L extends M { param size = 16 }"
    found = load(text)
    assert found.name == "L" and found.input_shape[-1] == 16
    assert found.hash == load(text.replace("16 }", "20 }")).hash


def test_requirements_of_the_base_stay(load: Load) -> None:
    with pytest.raises(SpecError) as error:
        load(BASE + "space S extends Base { param size = 4 }")
    assert codes(error) == ["E0505"]


def test_two_attentions_in_an_extension(load: Load) -> None:
    """Statements of the extension do not replace each other."""
    text = BASE.replace("attend sparse after s1 ~ {none, relu}", "")
    with pytest.raises(SpecError) as error:
        load(
            text
            + "space S extends Base { attend sparse after s1 = relu attend sparse after s1 = bn }"
        )
    assert codes(error) == ["E0202"]


# ------------------------------------------------------------------ moved


def test_moved(load: Load) -> None:
    text = space(
        "width ~ {8, 16} use conv(width, 1x1x1)", "moved a.b -> c.d moved c.d -> sparse.s1.width"
    )
    found = load(text)
    assert found.architecture({"a.b": 16})["sparse.s1.width"] == 16
    assert found.architecture({"c.d": 8})["sparse.s1.width"] == 8


# ------------------------------------------------------------------ identity

STAGE = (
    "let double = size * 2 width ~ {8, 16} use conv(width, kernel=1x3x3) use conv(double, 1x1x1)"
)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace(" ", "  ").replace("{", "{\n"),
        lambda t: t.replace("space S", "// a comment\n/// documentation\nspace S"),
        lambda t: t.replace("double", "twice"),
        lambda t: t.replace("size * 2", "size + size"),
        lambda t: t.replace("kernel=1x3x3", "kernel=dims(1, 3, 3)"),
        lambda t: t.replace("width ~ {8, 16}", "width ~ 8..16 step 8"),
        lambda t: t.replace("{8, 16}", "{8: 0.3, 16: 0.7}"),
        lambda t: t.replace("{8, 16}", "{8, 16} default 16"),
        lambda t: t.replace("(width, kernel", "(out=width, kernel"),
        lambda t: t.replace("head", "train { epochs = 3 }\nhead"),
        lambda t: t.replace("param size", "param other = 3\nparam size"),
    ],
)
def test_equal_meaning(load: Load, change: Callable[[str], str]) -> None:
    text = space(STAGE)
    assert change(text) != text
    assert load(change(text)).hash == load(text).hash


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("{8, 16}", "{8, 24}"),
        lambda t: t.replace("{8, 16}", "{8, 16, 24}"),
        lambda t: t.replace("1x3x3", "3x1x1"),
        lambda t: t.replace("size * 2", "size * 3"),
        lambda t: t.replace("width", "wide", 2).replace("use conv(width", "use conv(wide"),
        lambda t: t.replace("linear(5)", "linear(6)"),
        lambda t: t.replace("head", "require sparse.s1.width > 8\nhead"),
        lambda t: t.replace("use conv(double", "use bn use conv(double"),
        lambda t: t.replace("conv(double, 1x1x1)", "conv(double, 1x1x1, bias=true)"),
        lambda t: t.replace("channels=3", "channels=1"),
        lambda t: t.replace("sparse", "dense"),
    ],
)
def test_different_meaning(load: Load, change: Callable[[str], str]) -> None:
    text = space(STAGE)
    # "width" is also an extent of the input.
    changed = change(text).replace("wide=size", "width=size")
    assert changed != text
    assert load(changed).hash != load(text).hash


# ------------------------------------------------------------------ what is told in one run


def test_everything_at_once(load: Load, tmp_path: Path) -> None:
    """Independent mistakes are all told, each once, in source order."""
    with pytest.raises(SpecError) as error:
        load(
            space(
                """widht ~ {8, 8}
      use conv(8, kernal=1x1x1)
      repeat 2 { use nothing }
      use conv(8, 1x1x1)""",
                "require sparse.s2.width > 3\n  attend dense after s1 = relu",
            )
        )
    assert codes(error) == ["E0502", "E0306", "E0201", "E0204", "E0209"]


def test_errors_are_not_lost_behind_warnings(tmp_path: Path) -> None:
    ones = " ".join(f"d{at} ~ {{1}}" for at in range(150))
    (tmp_path / "a.tsnet").write_text("tsnet 1\n" + space("use relux", start=ones))
    found = tsdsl.check(tmp_path / "a.tsnet")
    assert len(found) == 100 and sum(d.severity == "error" for d in found) == 1


def test_a_broken_import_invents_nothing(load: Load) -> None:
    with pytest.raises(SpecError) as error:
        load(
            'import "./base.tsnet" as b\nspace S extends b.Base { }',
            base=BASE.replace("head sparse ->", "head sparse -> ->"),
        )
    assert codes(error) == ["E0106"]


def test_a_budget_of_latency_is_in_nanoseconds(load: Load) -> None:
    found = load(
        space(
            "width ~ {8, 16}\n      use conv(width, 1x1x1)",
            "search parsec { budget latency in 8ms..0.01s weight 0.1  budget latency in 0..12us\n"
            "    budget flops in 1k..2k }",
        )
    )
    search = found.document.search
    assert search is not None
    assert [(b.cost, b.low, b.high) for b in search.budgets] == [
        ("latency", 8_000_000, 10_000_000),
        ("latency", 0, 12_000),
        ("flops", 1000, 2000),
    ]
