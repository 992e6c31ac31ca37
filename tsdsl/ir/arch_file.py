"""The ``arch.json`` document, format ``tsnet-arch/1``: an architecture as a file.

    {"format": "tsnet-arch/1", "space": "TwoStream", "space_hash": "...",
     "decisions": {"sparse.s1.width": 40, "sparse.s1[0].kernel": "3x3x3"}, "provenance": {}}

Options are written as in the spec. Whatever a file holds, reading it gives an `Architecture` or
diagnostics that say what is wrong and, where there is a place, where.
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

FORMAT = "tsnet-arch/1"
#: Bytes of the largest file that is read.
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
    document = {
        "format": FORMAT,
        "space": architecture.space,
        "space_hash": architecture.space_hash,
        "decisions": dict(architecture),
        "provenance": architecture.provenance,
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse(source: Source) -> Architecture:
    """The architecture that a text holds. Raises `ArchitectureError`."""
    content = _json(source)
    if not isinstance(content, dict):
        raise _failure(
            "E0702", f"an architecture file holds an object, not {_kind(content)}", source
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


class _Duplicate(Exception):
    """A key stands twice in one object."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Duplicate(key)
            seen.add(key)
    return found


class _NotFinite(Exception):
    """A number that JSON does not have."""


def _not_finite(text: str) -> float:
    raise _NotFinite(text)


def _float(text: str) -> float:
    value = float(text)
    return value if value - value == 0 else _not_finite(text)


def _json(source: Source) -> Any:
    try:
        content = json.loads(
            source.text,
            object_pairs_hook=_pairs,
            parse_constant=_not_finite,
            parse_float=_float,
        )
        if "\\u" in source.text:
            # Half of a surrogate pair is JSON, but no text that can be written again.
            json.dumps(content, ensure_ascii=False).encode()
        return content
    except json.JSONDecodeError as bad:
        span = Span(source, bad.pos, min(bad.pos + 1, len(source.text)))
        headline = bad.msg[:1].lower() + bad.msg[1:]
        help_line = None if source.text.strip() else "the file is empty"
        raise _failure("E0701", f"not JSON: {headline}", source, span, help_line) from None
    except _Duplicate as twice:
        key = str(twice)
        place = _key(source, key, last=True)
        raise _failure("E0704", f"'{key[:60]}' is given twice", source, place) from None
    except _NotFinite as number:
        text = str(number)
        at = source.text.find(text)
        found = Span(source, at, at + len(text)) if at >= 0 else None
        raise _failure("E0705", f"{text[:40]} is not a finite number", source, found) from None
    except UnicodeEncodeError:
        raise _failure("E0701", "a string holds half of a surrogate pair", source) from None
    except RecursionError:
        raise _failure("E0706", "this file is nested too deeply", source) from None
    except ValueError:
        raise _failure("E0705", "a number of this file has too many digits", source) from None


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
        _key(source, "format"),
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
            message = f"'{key[:60]}' is {_kind(bad['input'])}, not an option"
            help_line = 'options are numbers, true or false, and strings such as "3x3x3"'
        else:
            wanted = "an object" if key in ("decisions", "provenance") else "a string"
            message = f"'{key}' is {_kind(bad['input'])}, not {wanted}"
        found[place] = _diagnostic(
            "E0702", message, source, _key(source, key, last=len(place) == 2), help_line
        )
        if len(found) >= 100:
            break
    return list(found.values())


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "a string" if isinstance(value, str) else "a number"


def _key(source: Source, key: str, *, last: bool = False) -> Span | None:
    """Where a key stands in the text, if it can be found."""
    for written in (json.dumps(key, ensure_ascii=False), json.dumps(key)):
        at = source.text.rfind(written) if last else source.text.find(written)
        if at >= 0:
            return Span(source, at, at + len(written))
    return None


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
