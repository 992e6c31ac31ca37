"""The ``arch.json`` document, format ``tsnet-arch/1``: an architecture as a file.

    {"format": "tsnet-arch/1", "space": "TwoStream", "space_hash": "...",
     "decisions": {"sparse.s1.width": 40, "sparse.s1[0].kernel": "3x3x3"}, "provenance": {}}

Options are written as in the spec. Reading any file gives an `Architecture` or diagnostics, with
their places in the text where these are known.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
)

from tsdsl.diagnostics import ArchitectureError, Diagnostic, Source, Span, did_you_mean
from tsdsl.files import PathLike, read_text, write_atomic
from tsdsl.ir.architecture import Architecture
from tsdsl.ir.json_text import key_span, kind, read_json

FORMAT = "tsnet-arch/1"
#: Bytes: larger files are refused.
MAX_BYTES = 16 << 20

OptionValue = (
    StrictBool
    | StrictInt
    | Annotated[StrictFloat, Field(allow_inf_nan=False)]
    | Annotated[str, Field(strict=True, max_length=10_000)]
)


class ArchitectureDocument(BaseModel):
    """One architecture of a search space."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="tsnet-arch/1")

    format: Literal["tsnet-arch/1"] = Field(description="the format of this file")
    space: str = Field(default="", strict=True, description="name of the space")
    space_hash: str = Field(
        default="", strict=True, description="hash of the space that it was made for"
    )
    decisions: dict[str, OptionValue] = Field(
        description="decision path -> option, written as in the spec; inactive ones left out"
    )
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="where it comes from; not part of its identity"
    )


def load(path: PathLike) -> Architecture:
    """Read an architecture file. Raises `FileError` and `ArchitectureError`."""
    text = read_text(path, limit=MAX_BYTES, what="architecture file")
    return parse(Source(str(path), text))


def save(architecture: Architecture, path: PathLike) -> None:
    """Write an architecture file, whole or not at all. Raises `FileError`."""
    write_atomic(path, dump(architecture))


def dump(architecture: Architecture) -> str:
    """The text of an architecture file."""
    document = document_of(architecture)
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def document_of(architecture: Architecture) -> dict[str, Any]:
    """The content of an architecture file, as plain dictionaries."""
    return {
        "format": FORMAT,
        "space": architecture.space,
        "space_hash": architecture.space_hash,
        "decisions": dict(architecture),
        "provenance": architecture.provenance,
    }


def parse(source: Source) -> Architecture:
    """Parse the text of an architecture file. Raises `ArchitectureError`."""
    content = read_json(source, ArchitectureError)
    if not isinstance(content, dict):
        raise _failure(
            "E0702", f"an architecture file holds an object, not {kind(content)}", source
        )
    given: dict[str, Any] = content
    if given.get("format") != FORMAT:
        raise _wrong_format(given, source)
    try:
        document = ArchitectureDocument.model_validate(given)
    except ValidationError as error:
        raise ArchitectureError(_findings(error, source)) from None
    return Architecture(
        document.decisions, document.space, document.space_hash, document.provenance, source
    )


def _wrong_format(given: dict[str, Any], source: Source) -> ArchitectureError:
    if "format" not in given:
        return _failure(
            "E0703",
            "this is not an architecture file: it has no 'format'",
            source,
            help_line=f'an architecture file begins with {{"format": "{FORMAT}", ...',
        )
    written = given["format"]
    known = isinstance(written, str) and written.startswith("tsnet-arch/")
    shown = json.dumps(written)[:60]
    return _failure(
        "E0703",
        f"architecture format {shown} is not known" if known else f"format {shown} is not {FORMAT}",
        source,
        key_span(source, "format"),
        f"this version of tsdsl reads {FORMAT}" if known else None,
    )


def _findings(error: ValidationError, source: Source) -> list[Diagnostic]:
    """One finding for each place that does not fit the document."""
    found: dict[tuple[int | str, ...], Diagnostic] = {}
    for bad in error.errors(include_url=False, include_context=False):
        place = bad["loc"][:2] if bad["loc"][0] == "decisions" else bad["loc"][:1]
        if place in found:
            continue
        key = str(place[-1])
        help_line = None
        if bad["type"] == "extra_forbidden":
            message = f"an architecture file has no key '{key[:60]}'"
            help_line = did_you_mean(key, ArchitectureDocument.model_fields)
        elif bad["type"] == "missing":
            message = f"this architecture file has no '{key}'"
        elif len(place) == 2:
            message = f"'{key[:60]}' is {kind(bad['input'])}, not an option"
            help_line = 'options are numbers, true or false, and strings such as "3x3x3"'
        else:
            wanted = "an object" if key in ("decisions", "provenance") else "a string"
            message = f"'{key}' is {kind(bad['input'])}, not {wanted}"
        found[place] = _diagnostic(
            "E0702", message, source, key_span(source, key, last=len(place) == 2), help_line
        )
        if len(found) >= 100:
            break
    return list(found.values())


def _failure(
    code: str,
    message: str,
    source: Source,
    span: Span | None = None,
    help_line: str | None = None,
) -> ArchitectureError:
    return ArchitectureError([_diagnostic(code, message, source, span, help_line)])


def _diagnostic(
    code: str, message: str, source: Source, span: Span | None, help_line: str | None
) -> Diagnostic:
    return Diagnostic(code, message, span, help=help_line, file=source.name)
