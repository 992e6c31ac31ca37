"""Cost tables as files: what is saved loads again, whatever else is in a file is a finding."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tsdsl
from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.cost_file import MAX_BYTES, CostDocument, dump
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.diagnostics import DiagnosticError, FileError, SpecError
from tsdsl.ops import OPS

SCHEMA = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "schema" / "cost.json").read_text()
)


def every_operation() -> CostTable:
    """With the examples of all operations, in an order of no meaning."""
    made: dict[Configuration, int] = {}
    for op in OPS:
        for args, shapes in op.examples:
            made[Configuration.of(op, op.Args(**args), shapes)] = 10**18 - len(made)
    asked = list(made)
    Random(3).shuffle(asked)
    spreads = {c: k for k, c in enumerate(asked) if k % 3}
    return CostTable("energy", "uJ", {c: made[c] for c in asked}, {"device": "ü"}, spreads)


def test_what_is_saved_loads_again(tmp_path: Path) -> None:
    table = every_operation()
    assert len(table.values) > 60
    path = tmp_path / "energy.json"
    table.save(path)
    found = CostTable.load(path)
    assert (found.name, found.unit, found.provenance) == ("energy", "uJ", {"device": "ü"})
    assert dict(found.values) == dict(table.values)
    assert dict(found.spreads) == dict(table.spreads)
    content = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(content, SCHEMA)
    assert CostDocument.model_validate(content)


def test_the_text_does_not_depend_on_the_order() -> None:
    table = every_operation()
    values = dict(reversed(table.values.items()))
    other = CostTable("energy", "uJ", values, table.provenance, table.spreads)
    assert dump(other) == dump(table) == dump(CostTable.parse(dump(table)))


def test_empty() -> None:
    assert dict(CostTable.parse(dump(CostTable("e", "J", {}))).values) == {}


def test_defaults_can_be_left_out() -> None:
    short = {"op": "conv", "args": {"out": 4, "kernel": "1x3x3"}, "inputs": [[3, 4, 8, 8]]}
    (found,) = CostTable.parse(text(entries=[{**short, "value": 0}])).values
    assert dict(found.args)["stride"] == (1, 1, 1) and dict(found.args)["padding"] is None


ENTRY = {
    "op": "conv",
    "args": {"out": 4, "kernel": "1x3x3"},
    "inputs": [[3, 4, 8, 8]],
    "value": 12,
    "spread": 1,
}


def text(**changes: Any) -> str:
    """A file, on lines, with some keys changed; None leaves one out."""
    content = {"format": "tsnet-cost/1", "cost": "latency", "unit": "ns", "entries": [ENTRY]}
    return json.dumps({k: v for k, v in (content | changes).items() if v is not None}, indent=1)


def entry(**changes: Any) -> str:
    return text(entries=[{k: v for k, v in (ENTRY | changes).items() if v is not None}])


BAD = {
    "empty": ("", "E0701", "the file is empty"),
    "cut": (text()[:-4], "E0701", "not JSON"),
    "list": ("[]", "E0724", "an object, not a list"),
    "no format": (text(format=None), "E0724", "no 'format'"),
    "version": (text(format="tsnet-cost/2"), "E0724", "is not known"),
    "another format": (text(format="tsnet-arch/1"), "E0724", "is not tsnet-cost/1"),
    "format is a list": (text(format=[]), "E0724", "is not tsnet-cost/1"),
    "no unit": (text(unit=None), "E0724", "'unit' is missing"),
    "milliseconds": (text(unit="ms"), "E0724", "nanoseconds"),
    "macs": (text(cost="macs"), "E0724", "counted by rule"),
    "flops": (text(cost="flops"), "E0724", "counted by rule"),
    "name": (text(cost="a b"), "E0724", "letters, digits and _"),
    "number as name": (text(cost=3), "E0724", "a number in 'cost'"),
    "key": (text(entires=[]), "E0724", "no key 'entires'"),
    "entries": (text(entries={}), "E0724", "an object in 'entries'"),
    "an entry is a number": (text(entries=[3]), "E0724", "a number in 'entries'"),
    "provenance": (text(provenance=[]), "E0724", "a list in 'provenance'"),
    "float": (entry(value=1.5), "E0724", "not a whole number"),
    "whole float": (entry(value=1.0), "E0724", "not a whole number"),
    "negative": (entry(value=-1), "E0724", "below 0"),
    "huge": (entry(value=10**18 + 1), "E0724", "more than"),
    "true": (entry(value=True), "E0724", "a boolean"),
    "text": (entry(value="12"), "E0724", "a string"),
    "null": (text(entries=[{**ENTRY, "value": None}]), "E0724", "null"),
    "NaN": (text().replace("12", "NaN"), "E0705", "not a finite"),
    "infinite": (text().replace("12", "1e999"), "E0705", "not a finite"),
    "digits": (text().replace("12", "9" * 5000), "E0705", "too many digits"),
    "no value": (entry(value=None), "E0724", "'value' is missing"),
    "spread": (entry(spread=-1), "E0724", "below 0"),
    "unknown op": (entry(op="cnov"), "E0724", "did you mean 'conv'"),
    "unknown argument": (entry(args={"out": 4, "kernel": "1x3x3", "strid": 1}), "E0724", "stride"),
    "no argument": (entry(args={"out": 4}), "E0724", "needs the argument 'kernel'"),
    "argument of a type": (entry(args={"out": "4", "kernel": "1x3x3"}), "E0724", "'out' = 4"),
    "argument out of range": (entry(args={"out": 0, "kernel": "1x3x3"}), "E0724", "'out' = 0"),
    "kernel": (entry(args={"out": 4, "kernel": 3}), "E0724", "size such as 1x3x3"),
    "null argument": (entry(args={"out": None}), "E0724", "null"),
    "nested argument": (entry(args={"out": [[1]]}), "E0724", "a list"),
    "vector": (entry(inputs=[[3]]), "E0724", "feature map"),
    "two inputs": (entry(inputs=[[3, 4, 8, 8]] * 2), "E0724", "takes 1 input"),
    "no input": (entry(inputs=[]), "E0724", "inputs"),
    "empty shape": (entry(inputs=[[]]), "E0724", "inputs"),
    "zero extent": (entry(inputs=[[3, 0, 8, 8]]), "E0724", "inputs"),
    "far extent": (entry(inputs=[[10**30, 4, 8, 8]]), "E0724", "inputs"),
    "groups": (
        entry(args={"out": 4, "kernel": "1x3x3", "groups": 2}),
        "E0724",
        "do not divide",
    ),
    "twice": (text(entries=[ENTRY, {**ENTRY, "value": 1}]), "E0724", "has a value already"),
    "twice, with a default": (
        text(entries=[ENTRY, {**ENTRY, "args": {**ENTRY["args"], "bias": False}}]),  # type: ignore[dict-item]
        "E0724",
        "has a value already",
    ),
    "key twice": ('{"format": "tsnet-cost/1", "format": "tsnet-cost/1"}', "E0704", "twice"),
    "deep": ("[" * 100_000, "E0706", "nested"),
    "deep provenance": (
        '{"format": "tsnet-cost/1", "provenance": ' + '{"a":' * 10**5 + "1" + "}" * 10**5 + "}",
        "E0706",
        "nested",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name: str, tmp_path: Path) -> None:
    content, code, said = BAD[name]
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        CostTable.load(path)
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_findings_point_into_the_file() -> None:
    lines = text(entries=[ENTRY, {**ENTRY, "op": "relu", "args": {}, "value": 1.5}])
    with pytest.raises(SpecError) as caught:
        CostTable.parse(lines, "f.json")
    (found,) = caught.value.diagnostics
    assert found.span is not None and found.span.text == "1.5"
    assert lines.splitlines()[found.span.source.position(found.span.start)[0] - 1].strip() == (
        '"value": 1.5,'
    )


def test_every_entry_is_looked_at() -> None:
    wrong = [{**ENTRY, "op": "a"}, ENTRY, {**ENTRY, "op": "b"}, {**ENTRY, "inputs": [[1]]}]
    with pytest.raises(SpecError) as caught:
        CostTable.parse(text(entries=wrong))
    assert len(caught.value.diagnostics) == 3
    with pytest.raises(SpecError) as caught:
        CostTable.parse(text(entries=[{**ENTRY, "op": "a"}] * 5000))
    assert len(caught.value.diagnostics) == 100


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe{")
    for path in (large, binary, tmp_path, tmp_path / "none.json"):
        with pytest.raises(FileError):
            CostTable.load(path)
    with pytest.raises(FileError):
        every_operation().save(tmp_path / "no" / "t.json")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["format", "cost", "unit", "provenance", "entries"]), ANY)
def test_any_value_at_the_top(key: str, value: Any) -> None:
    _reads_or_refuses(text(**{key: value}))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["op", "args", "inputs", "value", "spread"]), ANY)
def test_any_value_in_an_entry(key: str, value: Any) -> None:
    _reads_or_refuses(entry(**{key: value}))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["out", "kernel", "groups", "bias", "padding", "x"]), ANY)
def test_any_value_of_an_argument(key: str, value: Any) -> None:
    _reads_or_refuses(entry(args={**ENTRY["args"], key: value}))  # type: ignore[dict-item]


def _reads_or_refuses(content: str) -> None:
    try:
        table = CostTable.parse(content)
    except DiagnosticError as refused:
        assert str(refused)
        return
    assert dump(CostTable.parse(dump(table))) == dump(table)


def test_load_takes_tables(tmp_path: Path) -> None:
    spec = tmp_path / "s.tsnet"
    spec.write_text(
        "tsnet 1\nspace S {\n  input clip(channels=3, frames=2, height=4, width=4)\n"
        "  stream a(clip) { stage s(stride=1x1x1) { width ~ {2, 4} use conv(width, 1x1x1) } }\n"
        "  head a -> global_avg_pool -> linear(2)\n}\n"
    )
    from tsdsl.analysis.elimination.configurations import configurations

    asked = configurations(tsdsl.load(spec).graph).configurations
    table = CostTable("energy", "uJ", {c: 10**17 for c in asked})
    path = tmp_path / "energy.json"
    table.save(path)
    space = tsdsl.load(spec, costs=[path])
    assert space.bounds("energy").min.value == 3 * 10**17
    assert tsdsl.load(spec, costs=str(path)).costs.keys() == {"energy"}
    assert tsdsl.load(spec, costs=[table]).value("energy", {"a.s.width": 2}) == 3 * 10**17
    with pytest.raises(SpecError, match="two tables"):
        tsdsl.load(spec, costs=[path, table])
    with pytest.raises(SpecError, match="E0723"):
        space.bounds("latency")
