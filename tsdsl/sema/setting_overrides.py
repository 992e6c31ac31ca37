"""``--set train.lr=0.1``: other values for the settings of sections.

A key is a section (``train``, ``search`` or ``evaluate.NAME``), for a search perhaps one of its
phases, then a setting, and perhaps a part of the setting (``train.schedule.warmup_epochs``). The
value is written as in the spec, and is checked in the same way. ``--set`` for params and decisions
is `tsdsl.sema.builder.overrides`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import BaseModel

from tsdsl.diagnostics import Collector, Span
from tsdsl.diagnostics.source import Source
from tsdsl.sema.context import Context
from tsdsl.sema.sections import PhaseSettings
from tsdsl.syntax import ast

SECTIONS = frozenset({"search", "train", "evaluate"})

#: Reads settings as those of a section: values by name, whether all could be read.
Read = Callable[[ast.Assign, ast.Module, tuple[Any, ...]], tuple[Any, bool]]


def is_setting(key: str) -> bool:
    """Whether a key of ``--set`` concerns a section. Sections are named by keywords, which no param
    or decision can have as a name."""
    return key.split(".")[0] in SECTIONS


def section_of(key: str) -> str:
    """The section of a key: ``train``, ``search`` or ``evaluate.NAME``."""
    parts = key.split(".")
    return ".".join(parts[: 2 if parts[0] == "evaluate" else 1])


def override(
    section: str,
    model: type[BaseModel],
    values: dict[str, Any],
    overrides: Mapping[str, Any],
    read: Read,
    context: Context,
    span: Span,
) -> bool:
    """Replace settings in ``values``, those of a section as they were read. Returns whether every
    override could be applied; what could not is reported."""
    fine = True
    for key, given in overrides.items():
        if not is_setting(key) or section_of(key) != section or key == section:
            continue
        path = key[len(section) + 1 :].split(".")
        parsed = _parsed(key, path[-1], given, context, span)
        place = _descend(values, model, path[:-1])
        if parsed is None or place is None:
            if parsed is not None:
                message = f"--set {key}: '{'.'.join(path[:-1])}' has no parts"
                context.error("E0508", message, span, "settings are listed in docs/language.md")
            fine = False
            continue
        inside, at = place
        found, good = read(*parsed, at)
        fine = fine and good
        inside[path[-1]] = found
    return fine


def _parsed(
    key: str, name: str, given: Any, context: Context, span: Span
) -> tuple[ast.Assign, ast.Module] | None:
    from tsdsl.syntax.parser import parse

    source = Source(
        f"--set {key}", f"tsnet 1\nspace set {{ train {{ {name} = {_text(given)}\n}} }}"
    )
    findings = Collector()
    tree = parse(source, findings).module
    if not len(findings) and tree.spaces and len(tree.spaces[0].body) == 1:
        section = tree.spaces[0].body[0]
        if isinstance(section, ast.Section) and len(section.settings) == 1:
            assign = section.settings[0]
            if isinstance(assign, ast.Assign):
                return assign, tree
    message = f"--set {key}={_text(given)}: this is no setting"
    context.error("E0508", message, span, "write it as in the spec, e.g. train.lr=0.1")
    return None


def _text(given: Any) -> str:
    """A value as the language writes it."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, list | tuple):
        return "..".join(map(str, cast(tuple[Any, ...], given)))
    if isinstance(given, float):
        return f"{given:.17g}" if "e" in repr(given) else repr(given)
    return str(given)


def _descend(
    values: dict[str, Any], model: type[BaseModel], path: list[str]
) -> tuple[dict[str, Any], tuple[Any, ...]] | None:
    """The settings that a path leads to, and their location in the document; None where the path
    leads nowhere."""
    at: tuple[Any, ...] = ()
    for part in path:
        phases = cast(list[dict[str, Any]], values.get("phases", []))
        number = next((k for k, phase in enumerate(phases) if phase["name"] == part), None)
        if number is not None:
            values, at, model = phases[number], (*at, "phases", number), PhaseSettings
            continue
        field = model.model_fields.get(part)
        if field is None or not part.isidentifier():
            return None
        inner: Any = values.get(part)
        if inner is None and field.is_required():
            inner = {}
        elif inner is None:
            default = field.get_default(call_default_factory=True)
            if not isinstance(default, BaseModel):
                return None
            inner = default.model_dump()
        elif isinstance(inner, str):
            inner = {"kind": inner}
        elif not isinstance(inner, dict):
            return None
        values[part] = inner
        values, at = cast(dict[str, Any], inner), (*at, part)
    return values, at
