"""Public functions show, name and explain every argument."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tsdsl
from tsdsl import plots
from tsdsl.training import evaluation
from tsdsl.training import run as training

FUNCTIONS = [n for n in tsdsl.__all__ if inspect.isfunction(getattr(tsdsl, n))]
CLASSES = [n for n in tsdsl.__all__ if inspect.isclass(getattr(tsdsl, n))]


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in FUNCTIONS:
        yield name, getattr(tsdsl, name)
    for name in CLASSES:
        for own, member in vars(getattr(tsdsl, name)).items():
            if not own.startswith("_") and inspect.isfunction(member):
                yield f"{name}.{own}", member
    for name in plots.__all__:
        if inspect.isfunction(getattr(plots, name)):
            yield f"plots.{name}", getattr(plots, name)


#: ``about=`` is what a file of weights says of itself, under any names.
OPEN = {"save_weights"}


@pytest.mark.parametrize(
    ("name", "function"), [*public()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_argument_is_shown(name: str, function: Callable[..., Any]) -> None:
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.kind is not parameter.VAR_KEYWORD or name in OPEN
        assert parameter.name == "self" or parameter.annotation is not parameter.empty
    assert inspect.getdoc(function)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_a_function_is_explained(name: str) -> None:
    function = getattr(tsdsl, name)
    text = inspect.getdoc(function) or ""
    named = set(re.findall(r"``(\w+)", text))
    missing = [p for p in inspect.signature(function).parameters if p not in named]
    assert not missing, f"tsdsl.{name} does not explain {missing}"
    assert ">>> " in text, f"tsdsl.{name} has no example"
    assert "Raises" in text or name == "check", f"tsdsl.{name} does not say what it raises"


def test_type_checkers_see_every_name() -> None:
    """The three lists of `tsdsl/__init__.py` agree: imports, `__all__`, and homes."""
    tree = ast.parse(Path(tsdsl.__file__).read_text(encoding="utf-8"))
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    imported: dict[str, str | None] = {}
    for node in branch.body:
        assert isinstance(node, ast.ImportFrom)
        imported.update({alias.name: node.module for alias in node.names})
    assert imported.pop("Any") == "typing" and imported.pop("plots") == "tsdsl"
    assert imported == tsdsl._HOME
    assert {*imported, "__version__", "plots"} == set(tsdsl.__all__)
    assert tsdsl.__all__ == sorted(tsdsl.__all__)


def test_the_reference_has_every_name() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### `tsdsl\.(\w+)`$", page, re.MULTILINE))
    assert headings == set(tsdsl.__all__) - {"__version__"}


@pytest.mark.parametrize("name", [*CLASSES])
def test_every_class_says_what_it_is(name: str) -> None:
    assert vars(getattr(tsdsl, name)).get("__doc__")


@pytest.mark.parametrize(
    ("one", "other"), [(training.train, training.run), (evaluation.evaluate, evaluation.run)]
)
def test_a_run_has_the_options_of_its_function(
    one: Callable[..., Any], other: Callable[..., Any]
) -> None:
    """So that none is dropped on the way, or has another default."""
    outer = dict(inspect.signature(one).parameters)
    inner = dict(inspect.signature(other).parameters)
    inner.pop("ranks")
    outer.pop("device")
    if "on_event" not in inner:
        outer.pop("on_event")
    assert list(outer) == list(inner)
    for name, parameter in outer.items():
        default = inner[name].default
        assert parameter.default == default or (callable(default) and default() is False)
