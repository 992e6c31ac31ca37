"""The reference of the Python interface (`api.md`), generated from signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import tsdsl

#: Sections of the page: a title, and names of `tsdsl.__all__`.
GROUPS: dict[str, tuple[str, ...]] = {
    "Specs and networks": ("load", "check", "compile", "emit"),
    "Spaces": ("Space", "Decision", "Architecture", "Distribution"),
    "Costs and times": ("measure", "bench", "CostTable", "BenchReport"),
    "Training and searching": (
        "train",
        "evaluate",
        "search",
        "random_search",
        "evolve",
        "Supernet",
        "TrainingFinished",
        "SearchFinished",
        "EvolutionFinished",
        "Evaluation",
        "Scores",
    ),
    "Weights": ("load_weights", "save_weights"),
    "Answers": ("Bounds", "Between", "CountBetween", "Histogram", "PhaseCost"),
    "Figures": ("plots",),
    "Errors": (
        "DiagnosticError",
        "SpecError",
        "ArchitectureError",
        "FileError",
        "MeasuringError",
        "UnknownName",
        "Diagnostic",
    ),
}
#: Methods that a class has beside the public ones that it defines itself.
SPECIAL = {"Supernet": ("forward",)}
#: Base classes whose methods are not this project's.
_FOREIGN = ("torch", "builtins", "collections", "typing", "pydantic")


def reference() -> str:
    """The generated part of the page."""
    parts: list[str] = []
    for title, names in GROUPS.items():
        parts.append(f"## {title}")
        parts += [entry(name) for name in names]
    return "\n\n".join(parts)


def entry(name: str) -> str:
    """A name of `tsdsl.__all__`, with the methods and fields of a class."""
    value = getattr(tsdsl, name)
    path = f"tsdsl.{name}"
    if inspect.ismodule(value):
        functions = [getattr(value, each) for each in value.__all__]
        inside = [_entry(f"{path}.{f.__name__}", f, 4) for f in functions if inspect.isfunction(f)]
        return "\n\n".join([f"### `{path}`", prose(value), *inside])
    if inspect.isclass(value):
        return "\n\n".join(_class(path, value))
    return _entry(path, value, 3)


def _entry(path: str, function: Callable[..., Any], level: int) -> str:
    return f"{'#' * level} `{path}`\n\n{signature(path, function)}\n\n{prose(function)}"


def _class(path: str, cls: type) -> Iterator[str]:
    yield f"### `{path}`"
    yield prose(cls)
    if fields := list(_fields(cls)):
        yield "\n".join(
            f"- `{name}`: `{kind}`{does and f': {does}'}" for name, kind, does in fields
        )
    short = path.rpartition(".")[2]
    for name, member in members(cls):
        if isinstance(member, property | cached_property):
            yield f"#### `{short}.{name}`\n\n{prose(member)}"
        else:
            yield _entry(f"{short}.{name}", member, 4)


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class or a base of this project defines, in order
    of definition."""
    known: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("tsdsl."):
            continue
        for name, member in vars(base).items():
            if not name.startswith("_") or name in SPECIAL.get(cls.__name__, ()):
                if isinstance(member, classmethod | staticmethod):
                    known[name] = getattr(cls, name)
                elif inspect.isfunction(member) or isinstance(member, property | cached_property):
                    known[name] = member
    yield from known.items()


def _fields(cls: type) -> Iterator[tuple[str, str, str]]:
    """The fields of a record: name, type, and the comment above it."""
    if not (dataclasses.is_dataclass(cls) or hasattr(cls, "_fields") or hasattr(cls, "_defaults")):
        return
    source = inspect.getsource(cls)
    for name, kind in inspect.get_annotations(cls).items():
        if name.startswith("_"):
            continue
        comment = re.search(rf"((?:^ +#: .*\n)+) +{name}:", source, re.MULTILINE)
        lines = re.findall(r"#: (.*)", comment[1]) if comment else []
        yield name, str(kind), _markdown(" ".join(lines)).rstrip(".")


def signature(path: str, function: Callable[..., Any]) -> str:
    """The signature as code, one argument a line where it does not fit into one."""
    try:
        found = inspect.signature(function)
    except ValueError:
        return ""
    parameters = [p for p in found.parameters.values() if p.name not in ("self", "cls")]
    result = (
        ""
        if found.return_annotation is inspect.Signature.empty
        else f" -> {_type(found.return_annotation)}"
    )
    name = path.removeprefix("tsdsl.") if path.count(".") > 1 else path
    texts: list[str] = []
    keyword = False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not keyword:
            keyword = True
            texts.append("*")
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        text = star + p.name
        if p.annotation is not p.empty:
            text += f": {_type(p.annotation)}"
        if p.default is not p.empty:
            text += f" = {_default(p.default)}"
        texts.append(text)
    line = f"{name}({', '.join(texts)}){result}"
    if len(line) > 96:
        inner = "".join(f"    {text},\n" for text in texts)
        line = f"{name}(\n{inner}){result}"
    return f"```text\n{line}\n```"


def _default(value: Any) -> str:
    if inspect.isfunction(value):
        return "<function>" if value.__name__ != "<lambda>" else "lambda: False"
    if value == float("inf"):
        return "inf"
    return repr(value)


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def prose(value: Any) -> str:
    """A docstring as Markdown: text as it is, indented sessions as blocks that the tests run."""
    text = inspect.cleandoc(value.__doc__ or "")
    parts: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        if re.match(r" {4}", paragraph) and not paragraph.lstrip().startswith("- "):
            code = textwrap.dedent(paragraph)
            language = "pycon" if code.startswith(">>> ") else "text"
            parts.append(f"```{language}\n{code}\n```")
        else:
            parts.append(_markdown(paragraph))
    return "\n\n".join(parts)


def _markdown(text: str) -> str:
    return text.replace("``", "`")
