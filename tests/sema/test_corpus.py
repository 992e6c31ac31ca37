"""Bad programs and their findings: each file of ``corpus`` stands beside its rendering.

A file is named after the code that it is about. ``pytest --update-goldens`` writes the renderings;
read them as someone would who does not know the language yet.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tsdsl.diagnostics.catalogue import (
    CATALOGUE,
    NAMES,
    SECTIONS,
    SHAPES,
    SPACE,
    SYNTAX,
    TYPES,
    WARNINGS,
)
from tsdsl.diagnostics.render import render_all
from tsdsl.sema.check import CheckedFile, check_text

CORPUS = Path(__file__).parent / "corpus"
PROGRAMS = sorted(CORPUS.glob("*.tsnet"))

#: Codes of findings that a spec alone cannot cause: they need an option, an architecture file or an
#: installed package.
ELSEWHERE = {"E0215", "E0508", "E0513", "E0591", "E0592", "E0593", "E0594", "W0970"}


def checked(path: Path) -> CheckedFile:
    return check_text(path.read_text(encoding="utf-8"), path.name, path)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_bad_program_is_rendered_as_its_golden_says(
    path: Path,
    golden: Callable[[Path, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In a folder of its own, the program is its own root, wherever the tests are.
    folder = tmp_path / "corpus"
    shutil.copytree(CORPUS / "parts", folder / "parts")
    shutil.copy(path, folder)
    monkeypatch.chdir(folder)
    found = checked(folder / path.name).diagnostics
    code = path.stem.partition("_")[0]
    golden(path.with_suffix(".txt"), render_all(found))
    assert any(d.code == code for d in found), f"{code} is not among the findings"
    kinds = {d.severity for d in found}
    assert kinds == {"warning"} if code.startswith("W") else "error" in kinds


def test_every_code_has_two_programs() -> None:
    wanted = {**SYNTAX, **NAMES, **TYPES, **SHAPES, **SPACE, **SECTIONS, **WARNINGS}
    counts = Counter(path.stem.partition("_")[0] for path in PROGRAMS)
    assert set(counts) <= set(CATALOGUE)
    assert {code: counts[code] for code in set(wanted) - ELSEWHERE if counts[code] < 2} == {}


def test_no_rendering_without_a_program() -> None:
    assert {p.stem for p in CORPUS.glob("*.txt")} == {p.stem for p in PROGRAMS}
