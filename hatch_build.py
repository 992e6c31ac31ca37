"""Build hook: the grammars and their precomputed parse tables become part of the package.

A wheel carries both as `tsdsl/_grammars`. An editable install reads the grammars from the checkout
and gets the tables only, in a file that git ignores; tables of another grammar are never used,
since they name the grammar that they were made from.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GRAMMAR = "grammars/tsnet.lark"
PACKAGE = "tsdsl/_grammars"
TABLES = f"{PACKAGE}/tsnet.tables.json"


class TablesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Writes the parse tables before the wheel is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        target = root / TABLES
        target.parent.mkdir(exist_ok=True)
        grammar = (root / GRAMMAR).read_text(encoding="utf-8")
        written = target.with_suffix(f".{os.getpid()}")
        written.write_bytes(_build_tables(root, grammar))
        written.replace(target)
        if version == "editable":
            return
        build_data["force_include"][str(target)] = TABLES
        for shipped in sorted((root / "grammars").iterdir()):
            build_data["force_include"][str(shipped)] = f"{PACKAGE}/{shipped.name}"


def _build_tables(root: Path, grammar: str) -> bytes:
    """Build the parse tables. Of the checkout's code, only a module whose single dependency is Lark
    is imported."""
    sys.path.insert(0, str(root))
    try:
        tables = importlib.import_module("tsdsl.syntax.tables")
    finally:
        sys.path.remove(str(root))
    built: bytes = tables.build(grammar)
    return built
