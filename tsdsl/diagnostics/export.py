"""Diagnostics for programs: JSON, annotations for GitHub workflows, and SARIF 2.1.0."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from tsdsl.diagnostics.catalogue import CATALOGUE
from tsdsl.diagnostics.diagnostic import Diagnostic
from tsdsl.diagnostics.render import visible
from tsdsl.diagnostics.source import Source, Span

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "note": "note"}


def to_json(diagnostics: Iterable[Diagnostic]) -> str:
    """A JSON object with ``format_version`` and ``diagnostics``.

    Lines and columns start at 1, offsets (in characters) at 0; ``end`` is the position after the
    last character.
    """
    found = [as_data(d) for d in diagnostics]
    return json.dumps({"format_version": 1, "diagnostics": found}, indent=2)


def as_data(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic as data for JSON."""
    fix = diagnostic.fix
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": diagnostic.file_name,
        "span": _span(diagnostic.span),
        "labels": [
            {"message": label.message, "file": label.span.source.name, "span": _span(label.span)}
            for label in diagnostic.labels
        ],
        "help": diagnostic.help,
        "fix": fix and {"span": _span(fix.span), "replacement": fix.replacement},
    }


def _span(span: Span | None) -> dict[str, Any] | None:
    if span is None:
        return None
    return {"start": _point(span.source, span.start), "end": _point(span.source, span.end)}


def _point(source: Source, offset: int) -> dict[str, int]:
    line, column = source.position(offset)
    return {"line": line, "column": column, "offset": offset}


def to_github(diagnostics: Iterable[Diagnostic]) -> str:
    """A workflow command for each finding, one in a line; empty without findings."""
    return "\n".join(map(_annotation, diagnostics))


def _annotation(diagnostic: Diagnostic) -> str:
    command = {"error": "error", "warning": "warning", "note": "notice"}[diagnostic.severity]
    properties = {"file": diagnostic.file_name, "title": diagnostic.code}
    if span := diagnostic.span:
        line, column = span.source.position(span.start)
        last, behind = span.source.position(span.end)
        properties |= {"line": str(line), "endLine": str(last)}
        if line == last:
            properties |= {"col": str(column), "endColumn": str(behind)}
    listed = ",".join(
        f"{key}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}"
        for key, value in properties.items()
        if value
    )
    message = diagnostic.message
    if diagnostic.help:
        message += f"\nhelp: {diagnostic.help}"
    return f"::{command} {listed}::{_escaped(message)}"


def _escaped(text: str) -> str:
    lines = text.split("\n")
    return "%0A".join(visible(line).replace("%", "%25") for line in lines)


def to_sarif(diagnostics: Iterable[Diagnostic]) -> str:
    """A SARIF 2.1.0 log with one run."""
    from tsdsl import __version__

    found = list(diagnostics)
    codes = sorted({d.code for d in found})
    log = {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "tsdsl",
                        "version": __version__,
                        "rules": [
                            {"id": c, "shortDescription": {"text": CATALOGUE.get(c, c)}}
                            for c in codes
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(d) for d in found],
            }
        ],
    }
    return json.dumps(log, indent=2)


def _result(diagnostic: Diagnostic) -> dict[str, Any]:
    text = diagnostic.message
    if diagnostic.help:
        text += f"\nhelp: {diagnostic.help}"
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "level": _LEVELS[diagnostic.severity],
        "message": {"text": text},
        "locations": [_location(diagnostic.file_name, diagnostic.span)],
    }
    if diagnostic.labels:
        result["relatedLocations"] = [
            _location(label.span.source.name, label.span) | {"message": {"text": label.message}}
            for label in diagnostic.labels
        ]
    return result


def _location(file: str, span: Span | None) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(file)}}
    if span:
        line, column = span.source.position(span.start)
        last, behind = span.source.position(span.end)
        physical["region"] = {
            "startLine": line,
            "startColumn": column,
            "endLine": last,
            "endColumn": behind,
        }
    return {"physicalLocation": physical}


def _uri(file: str) -> str:
    from urllib.parse import quote

    name = quote(os.fsencode(file.replace(os.sep, "/")))
    return f"file://{name}" if os.path.isabs(file) else name


#: Name of a format -> function that writes all findings of a run in it.
FORMATS: dict[str, Callable[[Iterable[Diagnostic]], str]] = {
    "json": to_json,
    "sarif": to_sarif,
    "github": to_github,
}
