"""The networks that `tsdsl bench` times: from specs, architectures and Python functions."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import tsdsl
from tsdsl.cli.bench_report import Shown
from tsdsl.cli.open_spec import architecture, settings_field, undecided
from tsdsl.cli.option_groups import OptionGroup, argument, option
from tsdsl.diagnostics import did_you_mean
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.backends.bench import LazyNetwork


class Network(NamedTuple):
    """A network to time, before it has a name."""

    #: Candidates for its name, from the shortest to the most specific.
    labels: tuple[str, ...]
    shown: Shown
    lazy: LazyNetwork


class BenchedNetworkOptions(OptionGroup):
    """The specs and architectures whose networks are timed, and the views of a video."""

    files: tuple[str, ...] = argument(type=click.Path(), nargs=-1, required=True, metavar="FILE...")
    frozen: tuple[str, ...] = option(
        "--frozen",
        type=click.Path(),
        multiple=True,
        metavar="ARCH",
        help="An architecture (arch.json) of one of the spaces; may be repeated.",
    )
    settings: dict[str, Any] = settings_field
    spaces: tuple[str, ...] = option(
        "--space",
        multiple=True,
        metavar="NAME",
        help="A space to time, of a file that has several; may be repeated.",
    )
    views: int | None = option(
        "--views", type=click.IntRange(1), metavar="N", help="Also print the GFLOPs of N views."
    )
    evaluate: str | None = option(
        "--evaluate",
        metavar="NAME",
        help="Take clip size and views from this evaluate section of each spec.",
    )


def networks(options: BenchedNetworkOptions) -> list[Network]:
    """The networks of the specs, in their order. Raises `UsageError` where options exclude each
    other, `DiagnosticError` for files."""
    spaces = _spaces(options.files, options.settings, options.spaces)
    paths = _matched([space for _, space in spaces], options.frozen)
    candidates = []
    for (file, space), own in zip(spaces, paths, strict=True):
        if not own and space.decisions:
            raise undecided(file, space)
        clip, count = _clip(file, space, options.views, options.evaluate)
        chosen: list[str | None] = [*own] or [None]
        candidates += [_network(file, space, path, clip, count) for path in chosen]
    return candidates


def _spaces(
    files: Sequence[str], settings: dict[str, Any], names: Sequence[str]
) -> list[tuple[str, tsdsl.Space]]:
    """The one space of each file, or those that ``--space`` names."""
    from tsdsl.compiler import select
    from tsdsl.sema.check import check_file

    known = {file: check_file(Path(file), settings, bases=False) for file in files}
    for file, checked in known.items():
        if not set(names).isdisjoint(checked.bases):
            known[file] = check_file(Path(file), settings, names, bases=False)
    found: list[tuple[str, tsdsl.Space]] = []
    if len(known) > 1 and not any(checked.has_errors for checked in known.values()):
        for name in names:
            if not any(name in (*c.names, *c.bases) for c in known.values()):
                raise click.UsageError(f"no file has a space '{visible(name)}'")
    for file in files:
        own: list[str | None] = [
            n for n in dict.fromkeys(names) if n in (*known[file].names, *known[file].bases)
        ]
        # With a single file, the error of `select` lists its spaces.
        own = own or [names[0] if names and len(known) == 1 else None]
        found += [(file, select(known[file], file, name)) for name in own]
    return found


def _matched(spaces: Sequence[tsdsl.Space], frozen: Sequence[str]) -> list[list[str]]:
    """The architecture files of each space: a file belongs to the spaces with its hash, else to
    those with its name. Among spaces with the same hash, it belongs to the one with its name; a
    space that gets no file that way takes all files with its hash."""
    archs = {path: tsdsl.Architecture.load(path) for path in frozen}
    found: list[list[str]] = [[] for _ in spaces]
    for path in frozen:
        arch = archs[path]
        hashed = [k for k, space in enumerate(spaces) if space.hash == arch.space_hash]
        named = [k for k, space in enumerate(spaces) if space.name == arch.space]
        fits = [k for k in hashed if k in named] or hashed or named
        if not fits and not (arch.space or arch.space_hash):
            # A file that names no space is accepted only if one space has decisions.
            searched = [k for k, space in enumerate(spaces) if space.decisions]
            fits = searched if len(searched) == 1 else []
        if not fits:
            whose = f"of the space '{visible(arch.space)}', which" if arch.space else "and"
            raise click.UsageError(f"--frozen {visible(path)}: {whose} fits none of these specs")
        for k in fits:
            found[k].append(path)
    for space, own in zip(spaces, found, strict=True):
        if not own and space.decisions:
            own += [path for path in frozen if archs[path].space_hash == space.hash]
    return found


def _clip(
    file: str, space: tsdsl.Space, views: int | None, evaluate: str | None
) -> tuple[tuple[int, ...], int | None]:
    """The clip (C, T, H, W) and the number of views."""
    if evaluate is None:
        return space.input_shape, views
    sections = {one.name: one for one in space.sections.evaluations} if space.sections else {}
    if evaluate not in sections:
        known = f"it has {', '.join(sections)}" if sections else "it has none"
        hint = did_you_mean(evaluate, sections, known) or known
        raise click.UsageError(f"'{file}' has no evaluate section '{visible(evaluate)}': {hint}")
    section = sections[evaluate]
    channels, frames, *size = space.input_shape
    if section.crop is not None:
        size = [section.crop, section.crop]
    return (channels, frames, *size), section.views


def _network(
    file: str, space: tsdsl.Space, path: str | None, clip: tuple[int, ...], views: int | None
) -> Network:
    from tsdsl.measuring import lazy_network

    arch = None if path is None else architecture(space, path)
    labels = [space.name]
    if path is not None:
        stem = os.path.basename(path).removesuffix(".json").removesuffix(".arch")
        labels += [f"{space.name} ({visible(stem)})", f"{space.name} ({visible(path)})"]
    labels.append(f"{labels[-1]} of {visible(file)}" if path else f"{space.name} ({visible(file)})")
    about = {"file": file, "space": space.name, "space_hash": space.hash, "architecture": path}
    return Network(tuple(labels), Shown(file, views, about, None), lazy_network(space, arch, clip))


def other(target: str, first: Network) -> Network:
    """The network that ``module:function`` returns. Without an example input of its own, it takes
    the clip of the first spec."""
    from tsdsl.backends.bench import LazyNetwork

    clip = tuple(first.lazy.clip or ())
    hint = (
        "the function is called without arguments, and gives a torch.nn.Module that takes the clip"
        f" [{', '.join(['N', *map(str, clip)])}], or (module, example_input)"
    )
    about = {"against": target}
    shown = Shown(target, first.shown.views, about, hint)
    return Network((target,), shown, LazyNetwork(partial(_call, target), clip))


def _call(target: str) -> Any:
    """The result of ``module:function``. The module may lie in the current directory."""
    module, _, name = target.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    function: Any = import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    return function()


def unique(ladders: Sequence[tuple[str, ...]]) -> list[str]:
    """For each network its shortest label that no other network has, or else a numbered one."""
    at = [0] * len(ladders)
    while True:
        names = [ladder[k] for ladder, k in zip(ladders, at, strict=True)]
        longer = [
            k
            for k, ladder in enumerate(ladders)
            if names.count(names[k]) > 1 and at[k] + 1 < len(ladder)
        ]
        if not longer:
            break
        for k in longer:
            at[k] += 1
    taken: set[str] = set()
    for k, name in enumerate(names):
        number = 1
        while names[k] in taken:
            number += 1
            names[k] = f"{name} #{number}"
        taken.add(names[k])
    return names
