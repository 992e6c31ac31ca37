"""Tables and schemas are what the code says, and documents are what the schemas say."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

import tsdsl
from tsdsl.cli.__main__ import cli
from tsdsl.sema.document import SpecDocument

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert _spec is not None and _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)

SPACES = [
    path
    for folder in ("specs", "examples")
    for path in sorted((ROOT / folder).glob("*.tsnet"))
    if "\nspace " in path.read_text(encoding="utf-8")
]
ARCHS = sorted((ROOT / "specs").glob("*.arch.json"))


@pytest.mark.parametrize("path", generate.outputs(), ids=lambda path: path.name)
def test_generated_files_are_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate.outputs()[path], (
        "stale: run python docs/generate.py"
    )


@pytest.mark.parametrize("name", generate.PAGES)
def test_every_generated_part_is_on_its_page(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- generated: (\w+) -->", page)) == set(generate.PAGES[name])
    assert page.count("<!-- generated: ") == page.count("<!-- end -->")


def schema(name: str) -> Any:
    text = (ROOT / "docs" / "schema" / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(text)


@pytest.mark.parametrize("name", ["spec", "arch", "cost"])
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_dumps_fit_the_schema_and_load_back(path: Path) -> None:
    done = CliRunner().invoke(cli, ["check", "--dump", str(path)])
    assert done.exit_code == 0, done.stderr
    jsonschema.validate(json.loads(done.stdout), schema("spec"))
    document = tsdsl.load(path).document
    loaded = SpecDocument.model_validate_json(done.stdout)
    assert loaded == document
    assert loaded.model_dump_json() == document.model_dump_json()


@pytest.mark.parametrize("path", ARCHS, ids=lambda path: path.stem)
def test_architecture_files_fit_the_schema(path: Path) -> None:
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), schema("arch"))


def test_drawn_architectures_fit_the_schema() -> None:
    done = CliRunner().invoke(cli, ["sample", str(ROOT / "specs" / "auto_tsnet_s.tsnet")])
    jsonschema.validate(json.loads(done.stdout), schema("arch"))


@pytest.mark.parametrize(
    "change", [{"format": "tsnet-arch/9"}, {"decisions": {"a": None}}, {"extra": 1}]
)
def test_what_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    good = json.loads(ARCHS[0].read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(good | change, schema("arch"))
