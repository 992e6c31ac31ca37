"""The semantic analysis of a file, pass by pass: its spaces, and all findings.

The passes: load the file and what it imports; check the names in blocks; for each space, merge it
with its base, elaborate it, read its sections, and find out which faults some architecture reaches;
last, check the types in blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tsdsl.diagnostics import Collector, Diagnostic
from tsdsl.ir.space import SpaceGraph
from tsdsl.record import Record
from tsdsl.sema.block_names import check_block_names
from tsdsl.sema.block_types import check_block_types
from tsdsl.sema.builder.moves import check_moves
from tsdsl.sema.builder.space_builder import ElaboratedSpace, SpaceBuilder
from tsdsl.sema.context import Context, TooManyFindings
from tsdsl.sema.merge import Added, base_of, merged
from tsdsl.sema.modules import STD, LoadedModule, Loader
from tsdsl.sema.settings import Sections, read_sections
from tsdsl.sema.unused_additions import check_additions
from tsdsl.sema.value_changes import changes_values_only
from tsdsl.syntax import ast


class CheckedSpace(Record, eq=True):
    """A space without errors."""

    graph: SpaceGraph
    sections: Sections
    #: Whether something was accepted only because a base has it, so that the base must be checked.
    relies_on_base: bool = False


class CheckedFile(Record, eq=True):
    """The result of checking a file."""

    #: Name -> space; empty where the file has errors.
    spaces: Mapping[str, CheckedSpace]
    #: Names of all spaces that no other space of the file extends.
    names: tuple[str, ...]
    #: Names of all spaces that another space of the file extends.
    bases: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def has_errors(self) -> bool:
        return any(d.severity == "error" for d in self.diagnostics)


def check_file(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    spaces: Collection[str] = (),
    bases: bool = True,
) -> CheckedFile:
    """Check a file.

    ``overrides`` (``--set``) are for ``spaces``; if left out, for all spaces that no other space of
    the file extends. With ``bases``, spaces that others extend are checked as well, in whichever
    file they are. Without, they are checked only if they are among ``spaces``.

    Raises `FileError` where the file cannot be read, and for nothing else.
    """
    findings = Collector()
    loader = Loader(findings)
    return _check(loader.load(path), loader, findings, overrides or {}, spaces, bases)


def check_text(
    text: str, name: str, path: Path, overrides: Mapping[str, Any] | None = None
) -> CheckedFile:
    """Check a text, such as the buffer of an editor, as if it were the file at ``path``."""
    findings = Collector()
    loader = Loader(findings)
    return _check(loader.load_text(text, name, path), loader, findings, overrides or {})


def _check(
    module: LoadedModule,
    loader: Loader,
    findings: Collector,
    overrides: Mapping[str, Any],
    meant: Collection[str] = (),
    complete: bool = True,
) -> CheckedFile:
    checked_files = [m for p, m in loader.modules.items() if p.parent != STD or m is module]
    acyclic = all([check_block_names(loaded, findings) for loaded in checked_files])
    extended = {s.base.text for s in module.spaces.values() if isinstance(s.base, ast.Name)}
    names = tuple(name for name in module.spaces if name not in extended)
    bases = tuple(name for name in module.spaces if name in extended)
    # Spaces are elaborated only from complete trees (after a syntax error they have holes) and from
    # blocks that do not call themselves, so that no finding is guesswork.
    acyclic = not any([_circles(m, findings) for m in loader.modules.values()]) and acyclic
    usable = acyclic and all(m.clean for m in loader.modules.values())
    spaces: dict[str, CheckedSpace] = {}
    wanted = (*names, *(name for name in bases if complete or name in meant))
    for name in wanted if usable else ():
        own = overrides if name in meant or (not meant and name in names) else {}
        checked = _space(module.spaces[name], loader, findings, own)
        if checked is not None:
            spaces[name] = checked
    if usable and complete:
        _check_foreign_bases(module, loader, findings, spaces)
    # After elaboration, whose findings say more: of two at one place, the first is kept.
    for loaded in checked_files:
        if usable:
            check_block_types(loaded, findings)
    if findings.has_errors:
        spaces = {}
    return CheckedFile(spaces, names, bases, tuple(findings))


def _check_foreign_bases(
    module: LoadedModule, loader: Loader, findings: Collector, spaces: Mapping[str, CheckedSpace]
) -> None:
    """Check spaces of other files that the spaces of this file extend, directly or indirectly.

    A base of which only plain values are replaced needs no check: elaborating the space that
    extends it has covered the rest (`value_changes`). ``spaces`` are those of this file that were
    checked without error.
    """
    done: dict[int, CheckedSpace | None] = {}
    for space in module.spaces.values():
        tree, checked = space, spaces.get(space.name.text)
        while tree.base is not None:
            covered = checked is not None and not checked.relies_on_base
            covered = covered and changes_values_only(tree, loader)
            base = base_of(tree, loader, findings)
            if base is None:
                break
            if base.span.source is module.tree.source:
                checked = spaces.get(base.name.text)
            elif not covered:
                if id(base) not in done:
                    done[id(base)] = _space(base, loader, findings, {})
                checked = done[id(base)]
            tree = base


def _space(
    tree: ast.Space, loader: Loader, findings: Collector, overrides: Mapping[str, Any]
) -> CheckedSpace | None:
    added: list[Added] = []
    statements = merged(tree, loader, findings, added)
    if statements is None:
        return None
    context = Context(findings, loader)
    builder = SpaceBuilder(context, overrides)
    try:
        with builder.interpreter.reads() as reads:
            space = builder.build(tree.name, statements)
            sections = read_sections(tree, statements, builder, space)
        check_additions(added, reads.names, context)
        own = () if builder.overrides.used else tree.body
        check_moves(space.moves, space.decisions, own, context)
        if space.decisions or context.suspects:
            from tsdsl.sema.reachability import Reachability

            Reachability(space).run()
    except TooManyFindings:
        return None
    if findings.has_errors:
        return None
    return CheckedSpace(_graph(tree, space), sections, context.relies_on_base)


def _circles(module: LoadedModule, findings: Collector) -> bool:
    """Report spaces that extend themselves. Returns whether there are any."""
    inside: set[str] = set()
    for first in module.spaces.values():
        chain = [first]
        while isinstance(chain[-1].base, ast.Name) and chain[-1].base.text in module.spaces:
            space = module.spaces[chain[-1].base.text]
            if space in chain:
                break
            chain.append(space)
        else:
            continue
        if space is first and first.name.text not in inside:
            names = [s.name.text for s in (*chain, first)]
            inside.update(names)
            assert first.base is not None
            findings.add(
                Diagnostic(
                    "E0206",
                    "spaces extend each other in a circle: " + " -> ".join(names),
                    first.base.span,
                    help="take what they share into one that extends nothing",
                )
            )
    return bool(inside)


def _graph(tree: ast.Space, space: ElaboratedSpace) -> SpaceGraph:
    context = space.context
    return SpaceGraph(
        name=tree.name.text,
        doc=tree.doc,
        source=tree.span.source.name,
        clip=space.clip,
        interval=space.interval,
        decisions=tuple(space.decisions),
        variables=tuple(context.variables),
        requirements=tuple(space.requirements),
        root=space.root,
        streams=space.streams,
        moved={old: move.new for old, move in space.moves.items()},
        params=space.params,
    )
