"""Reading JSON: a fault of the text is a finding, a fault of the reader is not."""

from __future__ import annotations

from typing import Any

import pytest

from tsdsl.diagnostics import DiagnosticError, Source, SpecError
from tsdsl.ir import json_text
from tsdsl.ir.json_text import read_json


@pytest.mark.parametrize("text", ['{"a": 1}', "[1.5]"])
@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError])
def test_an_error_of_the_reader_itself_surfaces(
    text: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise error("injected")

    for part in ("_pairs", "_float"):
        monkeypatch.setattr(json_text, part, broken)
    with pytest.raises(error, match="injected") as caught:
        read_json(Source("x.json", text), SpecError)
    assert not isinstance(caught.value, DiagnosticError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9" * 5000, "too many digits"),
        ('"\\ud800"', "half of a surrogate pair"),
        ("NaN", "not a finite number"),
    ],
)
def test_valid_json_that_cannot_be_represented_is_a_finding(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_json(Source("x.json", text), SpecError)
