"""Run the tests of what changed, within a minute of CPU time: the last part of `make check`.

What changed is the difference between the working tree and `origin/main` (or `main`, or the last
commit, whichever exists first), untracked files included. A test file belongs to a change if it

1. changed itself, bears the name of a changed module (`tsdsl/cli/verbs/flops.py` and
   `tests/cli/test_flops.py`), or is listed for its kind in `KINDS`; or
2. imports a changed module, directly or through other modules: the fewer between, the earlier.

Files are taken in that order while their CPU time, which `durations.json` has, fits `SECONDS`. If
nothing changed that tests know of, the quickest thousand tests run. The rest is left to
`make test`.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: CPU seconds that the chosen files may take together. Two workers share them.
SECONDS = 60.0
#: How many tests run if nothing changed.
QUICKEST = 1000
#: Tests and CPU seconds of a file that `durations.json` does not know yet.
UNKNOWN = (1, 2.0)
#: Tests of files that are not Python, by the beginning of the path. The first match counts.
KINDS = {
    "README.md": "tests/docs",
    "docs/": "tests/docs",
    "examples/": "tests/specs",
    "grammars/": "tests/syntax",
    "specs/": "tests/specs",
    "tsdsl/std/": "tests/specs",
}

#: For each test file its number of tests and their CPU seconds.
Durations = Mapping[str, tuple[int, float]]


def changed_files(root: Path) -> list[str]:
    """Paths that differ from the branch this one will be merged into."""

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
        return done.stdout.splitlines() if done.returncode == 0 else []

    bases = (git("merge-base", "HEAD", branch) for branch in ("origin/main", "main"))
    base = next((lines[0] for lines in bases if lines), "HEAD")
    return git("diff", "--name-only", base) + git("ls-files", "--others", "--exclude-standard")


def imports(path: Path, module: str) -> set[str]:
    """Names that a file imports, wherever in it: modules, or attributes of modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*package, *([node.module] if node.module else [])])
            names |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return names


@cache
def importers(root: Path) -> dict[str, set[str]]:
    """For each Python file of `tsdsl` and `tests` the files that import it."""
    files: dict[str, Path] = {}
    for path in [*root.glob("tsdsl/**/*.py"), *root.glob("tests/**/*.py")]:
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] == "tsdsl":
            # A package is imported by its own name; its files' relative imports count from it.
            files[".".join(parts)] = path
        else:
            # Folders of tests are on the path: their modules are imported by their last names.
            files[f"tests.{parts[-1]}" if parts[-1] == "conftest" else parts[-1]] = path
    names = {name.removesuffix(".__init__"): path for name, path in files.items()}
    result: dict[str, set[str]] = {}
    for name, path in files.items():
        for imported in imports(path, name):
            if imported in names:
                target = names[imported].relative_to(root).as_posix()
                result.setdefault(target, set()).add(path.relative_to(root).as_posix())
    return result


def tests_below(root: Path, path: str) -> list[str]:
    """The test files of the folder, or of the nearest folder around it that has any."""
    folder = root / path
    while folder != root:
        if found := sorted(folder.rglob("test_*.py")):
            return [file.relative_to(root).as_posix() for file in found]
        folder = folder.parent
    return []


def namesakes(root: Path, path: str) -> list[str]:
    """`tests/cli/test_flops.py` of `tsdsl/cli/verbs/flops.py`."""
    parts = Path(path).with_suffix("").parts
    name = f"test_{parts[-1]}.py"
    folder = root / "tests" / (parts[1] if len(parts) > 2 else "")
    found = folder.rglob(name) if len(parts) > 2 else folder.glob(name)
    return [file.relative_to(root).as_posix() for file in found]


def affected(root: Path, changed: Iterable[str]) -> list[str]:
    """The test files of a change, nearest first."""
    nearest: dict[str, None] = {}
    level: list[str] = []
    for path in changed:
        kind = next((tests for start, tests in KINDS.items() if path.startswith(start)), None)
        if kind:
            nearest.update(dict.fromkeys(tests_below(root, kind)))
        elif path.endswith(".py") and path.startswith(("tsdsl/", "tests/")):
            level.append(path)
            if path.startswith("tsdsl/"):
                nearest.update(dict.fromkeys(namesakes(root, path)))
        elif path.startswith("tests/"):
            nearest.update(dict.fromkeys(tests_below(root, str(Path(path).parent))))
    users = importers(root)
    seen = set(level)
    while level:
        nearest.update(dict.fromkeys(path for path in level if is_test(path)))
        level = sorted({user for path in level for user in users.get(path, ())} - seen)
        seen.update(level)
    return [path for path in nearest if (root / path).exists()]


def is_test(path: str) -> bool:
    return path.startswith("tests/") and Path(path).name.startswith("test_")


def quickest(durations: Durations) -> list[str]:
    """Whole files, by CPU time per test, with at least `QUICKEST` tests between them."""
    chosen: list[str] = []
    count = 0
    for path in sorted(durations, key=lambda p: durations[p][1] / max(durations[p][0], 1)):
        if count >= QUICKEST:
            break
        chosen.append(path)
        count += durations[path][0]
    return chosen


def within(paths: Collection[str], durations: Durations, seconds: float) -> list[str]:
    """Those of the files that fit, in their order: one that is too long leaves room for others."""
    chosen = []
    for path in paths:
        if (takes := durations.get(path, UNKNOWN)[1]) <= seconds:
            chosen.append(path)
            seconds -= takes
    return chosen


def main() -> None:
    durations = json.loads((ROOT / "tests" / "durations.json").read_text(encoding="utf-8"))
    changed = changed_files(ROOT)
    candidates = affected(ROOT, changed)
    chosen = within(candidates or quickest(durations), durations, SECONDS)
    rows = [durations.get(path, UNKNOWN) for path in chosen]
    what = f"tests of {len(changed)} changed files" if candidates else "the quickest tests"
    print(
        f"{what}: {sum(count for count, _ in rows)} in {len(chosen)} files, "
        f"about {sum(seconds for _, seconds in rows):.0f} CPU seconds",
        flush=True,
    )
    if left := [path for path in candidates if path not in chosen]:
        names = ", ".join(left[:5]) + (", ..." if len(left) > 5 else "")
        print(f"left to `make test`: {len(left)} affected files ({names})", flush=True)
    if chosen:
        command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "worksteal"]
        os.execv(sys.executable, [*command, *chosen])


if __name__ == "__main__":
    main()
