"""What follows from an error is not told beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

import tsdsl

SPEC = Path(__file__).parents[2] / "specs" / "auto_tsnet.tsnet"


@pytest.mark.parametrize(
    ("written", "wrong", "code"),
    [("kernel ~", "kkernel ~", "E0306"), ("width ~ 24", "wwidth ~ 24", "E0201")],
)
def test_a_misspelt_word_of_a_large_space(
    tmp_path: Path, written: str, wrong: str, code: str
) -> None:
    """Tables of parts that could not be elaborated are larger than those of the mended space:
    neither "too many decisions" (E0512) nor "too coupled" (W0906) is reported beside an error."""
    head, word, tail = SPEC.read_text(encoding="utf-8").partition("stream dense")
    assert written in tail
    path = tmp_path / "a.tsnet"
    path.write_text(head + word + tail.replace(written, wrong, 1))
    assert [d.code for d in tsdsl.check(path)] == [code]
