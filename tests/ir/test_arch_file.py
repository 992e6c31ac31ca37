"""Architecture files: what is saved loads again, and whatever else is in a file is one finding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tsdsl.diagnostics import ArchitectureError, DiagnosticError, FileError, Source
from tsdsl.ir.arch_file import MAX_BYTES, ArchitectureDocument, dump, parse
from tsdsl.ir.architecture import Architecture

DECISIONS: dict[str, Any] = {"a.width": 40, "a[0].kernel": "3x3x3", "a.e": 2.25, "a.se": True}
GOOD: dict[str, Any] = {"format": "tsnet-arch/1", "decisions": DECISIONS}


def test_what_is_saved_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    made = Architecture(DECISIONS, "TwoStream", "abc", {"seed": 3, "note": "ü"})
    made.save(path)
    made.save(path)
    found = Architecture.load(path)
    assert found == made
    assert hash(found) == hash(made)
    assert (found.space, found.space_hash, found.provenance) == (
        "TwoStream",
        "abc",
        {"seed": 3, "note": "ü"},
    )
    assert [type(o) for o in found.values()] == [int, str, float, bool]
    assert ArchitectureDocument.model_validate_json(path.read_text(encoding="utf-8"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["arch.json"]


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        Architecture(DECISIONS).save(tmp_path / "no" / "arch.json")
    with pytest.raises(FileError):
        Architecture(DECISIONS).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


BAD = {
    "empty": ("", "E0701", (1, 1)),
    "cut": ('{\n  "format": ', "E0701", (2, 13)),
    "comma": ('{"format": "tsnet-arch/1",\n "decisions": {"a": 1,}}', "E0701", None),
    "list": ("[]", "E0702", None),
    "number": ("3", "E0702", None),
    "no format": ("{}", "E0703", None),
    "other format": ('{"format": "tsnet-arch/2"}', "E0703", (1, 2)),
    "format is a number": ('{"format": 1}', "E0703", (1, 2)),
    "no decisions": ('{"format": "tsnet-arch/1"}', "E0702", None),
    "twice": ('{"format": "tsnet-arch/1", "decisions": {"a": 1, "a": 2}}', "E0704", (1, 50)),
    "nan": ('{"format": "tsnet-arch/1", "decisions": {"a": NaN}}', "E0705", (1, 47)),
    "infinite": ('{"format": "tsnet-arch/1", "decisions": {"a": 1e999}}', "E0705", (1, 47)),
    "digits": (f'{{"a": {"9" * 5000}}}', "E0705", None),
    "surrogate": ('{"a": "\\ud800"}', "E0701", None),
    "deep": ("[" * 100_000, "E0706", None),
    "deep objects": ('{"a":' * 100_000, "E0706", None),
    "extra": ('{"format": "tsnet-arch/1", "decisions": {}, "spaec": ""}', "E0702", (1, 45)),
    "list of decisions": ('{"format": "tsnet-arch/1", "decisions": []}', "E0702", (1, 28)),
    "a list as option": (
        '{"format": "tsnet-arch/1", "decisions": {"a": [1]}}',
        "E0702",
        (1, 42),
    ),
    "null": ('{"format": "tsnet-arch/1", "decisions": {"a": null}}', "E0702", (1, 42)),
    "space": ('{"format": "tsnet-arch/1", "decisions": {}, "space": 3}', "E0702", (1, 45)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_text(name: str) -> None:
    text, code, position = BAD[name]
    with pytest.raises(ArchitectureError) as caught:
        parse(Source("x.arch.json", text))
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.file_name == "x.arch.json"
    assert str(caught.value)
    if position is not None:
        assert found.span is not None
        assert found.span.source.position(found.span.start) == position


def test_each_key_that_does_not_fit_is_told() -> None:
    text = json.dumps(GOOD | {"extra": 1, "provenance": 2, "decisions": {"a": [], "b": {}}})
    with pytest.raises(ArchitectureError) as caught:
        parse(Source("x.arch.json", text))
    assert len(caught.value.diagnostics) == 4


@pytest.mark.parametrize("what", ["missing", "directory", "binary", "latin", "huge", "null"])
def test_bad_files(tmp_path: Path, what: str) -> None:
    path = tmp_path / "arch.json"
    if what == "directory":
        path.mkdir()
    elif what == "binary":
        path.write_bytes(bytes(range(256)) * 10)
    elif what == "latin":
        path.write_bytes(b'{"\xfc": 1}')
    elif what == "huge":
        path.write_bytes(b" " * (MAX_BYTES + 1))
    elif what == "null":
        path.write_bytes(b"\x00" * 100)
    with pytest.raises(FileError) as caught:
        Architecture.load(path)
    (found,) = caught.value.diagnostics
    assert found.code.startswith("E08")


def test_a_byte_order_mark_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert dict(Architecture.load(path)) == DECISIONS


@pytest.mark.parametrize("seed", range(200))
def test_damaged_files_are_findings(seed: int) -> None:
    from random import Random

    random = Random(seed)
    text = list(dump(Architecture(DECISIONS, "TwoStream", "abc", {"k": [1, {"a": None}]})))
    for _ in range(random.choice((1, 2, 5))):
        at = random.randrange(len(text))
        text[at : at + random.choice((0, 1, 1, 8))] = random.choice(
            ('"', "{", "]", ",", "", "\\", "é", "-")
        )
    try:
        parse(Source("x.arch.json", "".join(text)))
    except DiagnosticError as error:
        assert str(error)


def test_the_schema_is_closed() -> None:
    schema = ArchitectureDocument.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"format", "decisions"}
