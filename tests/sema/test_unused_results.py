"""W0909 names each value in a block that its result does not depend on, and no other value."""

from __future__ import annotations

from pathlib import Path

import pytest

import tsdsl
from tsdsl.sema.modules import STD


@pytest.mark.parametrize(
    ("body", "idle"),
    [
        ("let y = x -> conv(8, 1x1x1) return relu(x)", ["y"]),
        ("let y = x -> conv(8, 1x1x1) return relu(y)", []),
        ("let y = relu(x) let z = relu(y) return x", ["y", "z"]),
        ("let y = relu(x) let z = relu(y) return y", ["z"]),
        ("let w = x.channels return x -> conv(w, 1x1x1)", []),
        ("let w = x.channels let y = relu(x) return x -> conv(y.channels * w, 1x1x1)", []),
        ("let w = x.channels require w > 2 return relu(x)", []),
        ("let w = x.channels let y = relu(x) require w > 2 return x", ["y"]),
        ("let act = if n > 3 then relu else gelu return x -> act", []),
        ("let y = relu(x) return if n > 3 then y else x", []),
        # A block with an unknown name is not judged: the name may be a misspelt one.
        ("let y = relu(x) return yy", None),
    ],
)
def test_a_value_without_use_in_a_block_is_reported(
    tmp_path: Path, body: str, idle: list[str] | None
) -> None:
    path = tmp_path / "library.tsnet"
    path.write_text(f"tsnet 1\nblock b(x, n: int = 4) {{ {body} }}\n")
    found = tsdsl.check(path)
    warned = [d.span.text for d in found if d.span is not None and d.code == "W0909"]
    assert warned == (idle or [])
    assert {d.code for d in found} == ({"E0201"} if idle is None else {"W0909"} if idle else set())


def test_a_library_that_is_imported(tmp_path: Path) -> None:
    (tmp_path / "library.tsnet").write_text("tsnet 1\nblock b(x) { let y = relu(x) return x }\n")
    path = tmp_path / "s.tsnet"
    path.write_text(
        'tsnet 1\nimport "./library.tsnet" as l\n'
        "space S { input clip(channels=3, frames=4, height=8, width=8)\n"
        "stream main(clip) { stage a { use l.b } } head main -> global_avg_pool -> linear(5) }\n"
    )
    found = tsdsl.check(path)
    assert [(d.code, Path(d.file_name).name) for d in found] == [("W0909", "library.tsnet")]
    assert tsdsl.load(path).name == "S"


@pytest.mark.parametrize("path", sorted(STD.glob("*.tsnet")), ids=lambda path: path.stem)
def test_the_standard_library_has_no_unused_values(path: Path) -> None:
    assert not tsdsl.check(path)
