"""Build hook: the grammars and their precomputed parse tables become part of the package.

A wheel carries both as `tsdsl/_grammars`. An editable install reads the grammars from the checkout
and gets the tables only, in a file that git ignores; tables of another grammar are never used,
since they name the grammar that they were made from.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GRAMMAR = "grammars/tsnet.lark"
PACKAGE = "tsdsl/_grammars"
TABLES = f"{PACKAGE}/tsnet.tables.json"


class TablesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Writes the tables before the wheel is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        target = root / TABLES
        target.parent.mkdir(exist_ok=True)
        grammar = (root / GRAMMAR).read_text(encoding="utf-8")
        written = target.with_suffix(f".{os.getpid()}")
        written.write_bytes(_tables_module(root).build(grammar))
        written.replace(target)
        if version == "editable":
            return
        build_data["force_include"][str(target)] = TABLES
        for shipped in sorted((root / "grammars").iterdir()):
            build_data["force_include"][str(shipped)] = f"{PACKAGE}/{shipped.name}"


def _tables_module(root: Path) -> ModuleType:
    """`tsdsl.syntax.tables` by itself: the package's dependencies need not be there to build it."""
    spec = importlib.util.spec_from_file_location(
        "tsdsl_build_tables", root / "tsdsl/syntax/tables.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
