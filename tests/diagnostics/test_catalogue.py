"""Every code that the sources use is in the catalogue, and the other way round."""

from __future__ import annotations

import re
from pathlib import Path

from tsdsl.diagnostics.catalogue import CATALOGUE

PACKAGE = Path(__file__).resolve().parents[2] / "tsdsl"
CODE = re.compile(r'"([EW]\d{4})"')


def used_in(texts: dict[str, str]) -> dict[str, str]:
    """Code -> one file that uses it."""
    return {code: name for name, text in texts.items() for code in CODE.findall(text)}


def sources() -> dict[str, str]:
    return {
        str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
        if path.name != "catalogue.py"
    }


def test_used_codes_are_catalogued() -> None:
    used = used_in(sources())
    assert {code: file for code, file in used.items() if code not in CATALOGUE} == {}


def test_catalogued_codes_are_used() -> None:
    assert set(CATALOGUE) - set(used_in(sources())) == set()


def test_the_search_finds_codes() -> None:
    assert used_in({"a.py": 'Diagnostic("E0999", "x")\n"W0901"'}) == {
        "E0999": "a.py",
        "W0901": "a.py",
    }


def test_codes_are_listed_once_and_in_order() -> None:
    text = (PACKAGE / "diagnostics" / "catalogue.py").read_text(encoding="utf-8")
    listed = CODE.findall(text)
    assert len(listed) == len(set(listed))
    assert listed == sorted(listed)


def test_titles_are_short() -> None:
    for code, title in CATALOGUE.items():
        assert title == title.strip(" .") and len(title) <= 70 and "\n" not in title, code
