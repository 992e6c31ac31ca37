"""No modules import each other in a circle, not even inside of functions or for type checkers.

`lint-imports` sees packages, and leaves out what only type checkers import. Here every import
statement of every module counts, wherever it stands. A circle that stays is in `ALLOWED`, with the
reason, which also stands at one of its imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "tsdsl"

#: The modules that may be in a circle, without the leading ``tsdsl.``, with the reason.
ALLOWED: dict[frozenset[str], str] = {
    frozenset({"ir.identity", "ir.space"}): "a space knows its hash, which reads the whole space",
    frozenset({"ir.arch_file", "ir.architecture"}): "an architecture loads and saves its file",
    frozenset(
        {"analysis.costs.cost_file", "analysis.costs.cost_table", "analysis.costs.named"}
    ): "a table loads its file, which may not name a counted cost",
    frozenset({"searching.parsec.algorithm", "searching.parsec.reporter"}): (
        "PARSEC names its reporter, which logs the state of PARSEC"
    ),
}


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = [root.name, *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """The modules that any import statement in a tree names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    yield inner
                elif node.module in modules:
                    yield node.module


def import_graph(root: Path) -> dict[str, set[str]]:
    """The imports of each module. Those of the package itself are left out: it names what users
    call, and the modules below it read its version."""
    trees = {module_name(p, root): ast.parse(p.read_text()) for p in sorted(root.rglob("*.py"))}
    names = set(trees)
    return {
        name: set(imported(tree, names)) - {name, root.name}
        for name, tree in trees.items()
        if name != root.name
    }


def circles(graph: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The strongly connected components of more than one module."""

    def reached(start: str) -> set[str]:
        found, waiting = set(), [start]
        while waiting:
            for name in graph[waiting.pop()]:
                if name not in found:
                    found.add(name)
                    waiting.append(name)
        return found

    reach = {name: reached(name) for name in graph}
    return {
        frozenset(other for other in reach[name] if name in reach[other])
        for name in graph
        if name in reach[name]
    }


def test_there_is_no_import_circle() -> None:
    for circle in circles(import_graph(ROOT)):
        names = frozenset(name.removeprefix("tsdsl.") for name in circle)
        assert any(names <= allowed for allowed in ALLOWED), f"a circle: {sorted(names)}"


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    root = tmp_path / "pack"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "one.py").write_text("def f() -> None:\n    from pack.two import g\n")
    (root / "two.py").write_text("from typing import TYPE_CHECKING\nfrom pack import three\n")
    (root / "three.py").write_text(
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from pack.one import f\n"
    )
    (root / "four.py").write_text("import pack.one\n")
    graph = import_graph(root)
    assert circles(graph) == {frozenset({"pack.one", "pack.two", "pack.three"})}
