"""Files to modules: reading, parsing, and following imports.

An import names a standard module (``"std/video"``) or a file relative to the importing one. An
imported file must lie below the root of the spec: the nearest folder above the entry file that
holds a ``.git`` or a ``pyproject.toml``, or else the folder of the entry file. A spec from
elsewhere can therefore not read any file of the machine.
"""

from __future__ import annotations

from pathlib import Path

from tsdsl.diagnostics import Collector, Diagnostic, FileError, Label, Source, Span, did_you_mean
from tsdsl.files import read_text
from tsdsl.record import MutableRecord, factory
from tsdsl.syntax import ast
from tsdsl.syntax.parser import parse

#: Largest size of a spec, in bytes.
MAX_BYTES = 1 << 20
#: Most files that import one another in a chain, and most files of one spec.
MAX_CHAIN, MAX_FILES = 50, 500

#: The folder of the standard library.
STD = Path(__file__).resolve().parent.parent / "std"


class LoadedModule(MutableRecord):
    """A parsed file, with the definitions behind its names."""

    tree: ast.Module
    #: Alias of an import -> its module; None where the import failed, which is reported.
    imports: dict[str, LoadedModule | None] = factory(default_factory=dict)
    blocks: dict[str, ast.Block] = factory(default_factory=dict)
    spaces: dict[str, ast.Space] = factory(default_factory=dict)
    #: Names in the parts that the recovery from syntax errors threw away.
    lost: frozenset[str] = frozenset()
    #: Whether the text has no syntax errors.
    clean: bool = True


class Loader:
    """Loads an entry file and all files that it imports, each of them once."""

    def __init__(self, findings: Collector) -> None:
        self.findings = findings
        self.modules: dict[Path, LoadedModule] = {}
        #: The files whose imports are being followed, outermost first.
        self._open: list[Path] = []
        self.root = Path()

    def load(self, path: str | Path) -> LoadedModule:
        """Load an entry file. Raises `FileError` where it cannot be read."""
        text = read_text(path, limit=MAX_BYTES)
        return self.load_text(text, str(path), Path(path).resolve())

    def load_text(self, text: str, name: str, path: Path) -> LoadedModule:
        """Load a text as if it were the entry file at ``path``. Findings show it as ``name``."""
        self.root = _root(path)
        return self._module(Source(name, text), path)

    def by_source(self, source: Source) -> LoadedModule:
        """The module that was parsed from a source."""
        return next(m for m in self.modules.values() if m.tree.source is source)

    def _module(self, source: Source, path: Path) -> LoadedModule:
        parsed = parse(source, self.findings)
        module = LoadedModule(parsed.module, lost=parsed.lost, clean=parsed.clean)
        self.modules[path] = module
        self._open.append(path)
        seen: dict[str, Span] = {}
        for import_ in parsed.module.imports:
            self._declare(seen, import_.alias)
            module.imports[import_.alias.text] = self._import(import_, path)
        for block in parsed.module.blocks:
            self._declare(seen, block.name)
            module.blocks.setdefault(block.name.text, block)
        for space in parsed.module.spaces:
            self._declare(seen, space.name)
            module.spaces.setdefault(space.name.text, space)
        self._open.pop()
        return module

    def _declare(self, seen: dict[str, Span], name: ast.Ident) -> None:
        if name.text in seen:
            self.findings.add(
                Diagnostic(
                    "E0202",
                    f"'{name.text}' is declared twice",
                    name.span,
                    labels=(Label(seen[name.text], "declared here first"),),
                    help="rename one of them",
                )
            )
        seen.setdefault(name.text, name.span)

    def _import(self, import_: ast.Import, path: Path) -> LoadedModule | None:
        """The module that an import names; None where there is none, which is reported."""
        target = self._locate(import_, path) if not self.findings.is_full else None
        if target is None:
            return None
        if target in self._open:
            chain = [*self._open[self._open.index(target) :], target]
            self._fail(
                "E0212",
                "imports go in a circle: " + " -> ".join(p.name for p in chain),
                import_.span,
                "move what both need into a third file",
            )
            return None
        if target in self.modules:
            return self.modules[target]
        if len(self._open) >= MAX_CHAIN or len(self.modules) >= MAX_FILES:
            self._fail(
                "E0211",
                f"more than {MAX_CHAIN} imports in a chain, or more than {MAX_FILES:,} files",
                import_.span,
                "put what belongs together into one file",
            )
            return None
        try:
            text = read_text(target, limit=MAX_BYTES)
        except FileError as error:
            problem = error.diagnostics[0]
            self._fail("E0211", f'cannot import "{import_.path}": {problem.message}', import_.span)
            return None
        return self._module(Source(_shown(import_.path, target), text), target)

    def _locate(self, import_: ast.Import, path: Path) -> Path | None:
        """The file that an import of the file at ``path`` names; None where a spec may not read
        it, or where there is no such path. Either is reported."""
        text = import_.path
        if text.startswith("std/"):
            known = {f"std/{p.stem}": p for p in sorted(STD.glob("*.tsnet"))}
            if text not in known:
                hint = did_you_mean(text, known, "the standard modules are " + ", ".join(known))
                self._fail("E0211", f'there is no standard module "{text}"', import_.span, hint)
            return known.get(text)
        if not text or "\0" in text:
            self._fail("E0211", "an import needs the path of a file", import_.span)
            return None
        written = Path(text)
        target = written if written.is_absolute() else path.parent / written
        if written.name not in ("", "..") and not written.suffix:
            target = target.with_suffix(".tsnet")
        resolved = _resolved(target)
        if resolved is None:
            self._fail("E0211", f'cannot import "{text}": the path does not resolve', import_.span)
            return None
        target = resolved
        inside = target.is_relative_to(self.root) or target.is_relative_to(STD)
        if written.is_absolute() or not inside:
            self._fail(
                "E0213",
                f'"{text}" lies outside of {self.root.name or self.root}/, the root of this spec',
                import_.span,
                "import files below the root (the nearest folder with .git or pyproject.toml, "
                'or the folder of the spec), or "std/..."',
            )
            return None
        return target

    def _fail(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        self.findings.add(Diagnostic(code, message, span, help=hint))


def _resolved(path: Path) -> Path | None:
    """A path without links and ``..``; None where it leads nowhere: links in a circle (on Python
    before 3.13 a `RuntimeError`), a name that the file system cannot hold or encode."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, UnicodeEncodeError):
        return None


def _root(path: Path) -> Path:
    """The folder below which imported files must lie."""
    for folder in path.parents:
        if (folder / ".git").exists() or (folder / "pyproject.toml").exists():
            return folder
    return path.parent


def _shown(written: str, target: Path) -> str:
    """How findings name an imported file: relative to the current folder, if it lies below it."""
    if written.startswith("std/"):
        return f"{written}.tsnet"
    here = Path.cwd()
    return str(target.relative_to(here) if target.is_relative_to(here) else target)
