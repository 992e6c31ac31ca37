"""Diagnostics for programs."""

from __future__ import annotations

import json

from tsdsl.diagnostics import Diagnostic, Fix, Label, Source, Span
from tsdsl.diagnostics.export import to_github, to_json, to_sarif

SOURCE = Source("dir/my spec.tsnet", "tsnet 1\nspace X {\n  use bad\n}\n")
BAD = Span(SOURCE, 24, 27)
FOUND = Diagnostic(
    "E0204",
    "100% bad:\nreally, bad",
    BAD,
    (Label(Span(SOURCE, 8, 13), "in this space"),),
    "write 'good'",
    fix=Fix(BAD, "good"),
)
NOWHERE = Diagnostic("E0801", "there is no such file", file="/a/b,c.tsnet")


def test_json() -> None:
    report = json.loads(to_json([FOUND, NOWHERE]))
    span = {
        "start": {"line": 3, "column": 7, "offset": 24},
        "end": {"line": 3, "column": 10, "offset": 27},
    }
    assert report["format_version"] == 1
    assert report["diagnostics"][0] == {
        "code": "E0204",
        "severity": "error",
        "message": "100% bad:\nreally, bad",
        "file": "dir/my spec.tsnet",
        "span": span,
        "labels": [
            {
                "message": "in this space",
                "file": "dir/my spec.tsnet",
                "span": {
                    "start": {"line": 2, "column": 1, "offset": 8},
                    "end": {"line": 2, "column": 6, "offset": 13},
                },
            }
        ],
        "help": "write 'good'",
        "fix": {"span": span, "replacement": "good"},
    }
    assert report["diagnostics"][1]["span"] is None
    assert report["diagnostics"][1]["fix"] is None
    assert json.loads(to_json([])) == {"format_version": 1, "diagnostics": []}


def test_github() -> None:
    first, second = to_github([FOUND, NOWHERE]).split("\n")
    assert first == (
        "::error file=dir/my spec.tsnet,title=E0204,line=3,endLine=3,col=7,endColumn=10"
        "::100%25 bad:%0Areally, bad%0Ahelp: write 'good'"
    )
    assert second == "::error file=/a/b%2Cc.tsnet,title=E0801::there is no such file"
    assert to_github([]) == ""


def test_sarif() -> None:
    log = json.loads(to_sarif([FOUND, NOWHERE]))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["E0204", "E0801"]
    first, second = run["results"]
    physical = first["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "dir/my%20spec.tsnet"
    assert physical["region"] == {
        "startLine": 3,
        "startColumn": 7,
        "endLine": 3,
        "endColumn": 10,
    }
    assert first["relatedLocations"][0]["message"]["text"] == "in this space"
    assert second["locations"] == [
        {"physicalLocation": {"artifactLocation": {"uri": "file:///a/b%2Cc.tsnet"}}}
    ]
