"""``tsdsl bench``: networks side by side, timed in one run."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import tsdsl
from tsdsl.cli.bench_report import Shown, as_json, facts, rows
from tsdsl.cli.machine import (
    batch_option,
    busy,
    clock_option,
    device_option,
    dtype_option,
    duration,
    setup_of,
    threads_option,
    threads_text,
)
from tsdsl.cli.options import colour_option, set_option
from tsdsl.cli.output import aligned, coloured, data, note, show
from tsdsl.cli.progress import progress
from tsdsl.cli.spec import architecture, undecided
from tsdsl.cli.tables import several
from tsdsl.diagnostics import did_you_mean
from tsdsl.diagnostics.render import visible
from tsdsl.files import write_atomic

if TYPE_CHECKING:
    from tsdsl.backends.bench import Bench
    from tsdsl.backends.timing import Setup

HINT = (
    "more --repeats and --threads 1 --clock cpu help, and ratios, of one round each, vary less than"
    " times"
)

EPILOG = """\b
Examples:
  tsdsl bench specs/x3d_s.tsnet specs/x3d_m.tsnet --views 30
  tsdsl bench specs/x3d_s.tsnet --evaluate lcr --device cuda --dtype float16 --batch 30
  tsdsl bench my_space.tsnet --frozen a.json --frozen b.json -o bench.json
  tsdsl bench specs/x3d_s.tsnet --against my_module:make_network    # make_network() of my_module.py
"""


class Target(click.ParamType):  # type: ignore[type-arg]
    """``module:function``, names with dots on both sides."""

    name = "module:function"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        names, colon, inside = text.partition(":")
        parts = [*names.split("."), *inside.split(".")]
        if not colon or not all(part.isidentifier() for part in parts):
            hint = " (a module's name has no .py)" if re.search(r"\.py\b|/", names) else ""
            self.fail(f"'{visible(text)}' is not module:function{hint}", param, ctx)
        return text


class Network(NamedTuple):
    """A network to time, before it has a name."""

    #: What to call it, from short to unmistakable.
    labels: tuple[str, ...]
    shown: Shown
    make: Callable[[], Any]
    clip: tuple[int, ...]
    macs: int | None = None


@click.command(epilog=EPILOG)
@click.argument("files", type=click.Path(), nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--frozen",
    type=click.Path(),
    multiple=True,
    metavar="ARCH",
    help="An architecture (arch.json) of one of the spaces; may be repeated.",
)
@set_option
@click.option(
    "--space",
    "names",
    multiple=True,
    metavar="NAME",
    help="Which space, of a file that has several; may be repeated.",
)
@click.option(
    "--against",
    type=Target(),
    multiple=True,
    metavar="MODULE:FUNCTION",
    help="Also time what a function gives: a module, or (module, example_input); may be repeated.",
)
@click.option(
    "--views", type=click.IntRange(1), metavar="N", help="Also print the GFLOPs of N views."
)
@click.option(
    "--evaluate",
    metavar="NAME",
    help="Take clip size and views from this evaluate section of each spec.",
)
@device_option
@dtype_option
@batch_option
@threads_option
@click.option(
    "--repeats",
    type=click.IntRange(1, 100_000),
    help="Samples of a network; left out, 500 on a GPU and 30 on the CPU.",
)
@click.option(
    "--warmup",
    type=click.IntRange(0, 10_000),
    help="Calls before the samples; left out, 10 on a GPU and 3 on the CPU.",
)
@clock_option
@click.option("--channels-last", is_flag=True, help="Weights and inputs in channels-last memory.")
@click.option("--compile", "compiled", is_flag=True, help="Time what torch.compile makes of each.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the order of rounds."
)
@click.option("--json", "print_json", is_flag=True, help="Print JSON.")
@click.option(
    "-o", "output", type=click.Path(), metavar="FILE.json", help="Also write the JSON to a file."
)
@colour_option
def command(
    files: tuple[str, ...],
    frozen: tuple[str, ...],
    settings: dict[str, Any],
    names: tuple[str, ...],
    against: tuple[str, ...],
    views: int | None,
    evaluate: str | None,
    device: str,
    dtype: Any,
    batch: int,
    threads: int | None,
    repeats: int | None,
    warmup: int | None,
    clock: Any,
    channels_last: bool,
    compiled: bool,
    seed: int,
    print_json: bool,
    output: str | None,
) -> int:
    """Time networks side by side: latency, peak memory, throughput, ratios.

    A row for each spec without decisions, for each --frozen architecture, and for each --against.
    Networks are timed in turn, round by round; ratios are of times of the same round, relative to
    the first network.

    Exit code 1 if a network could not be timed; the others are.
    """
    if views is not None and evaluate is not None:
        raise click.UsageError("--views and --evaluate both say how many views: give one")
    if output == "-":
        print_json, output = True, None
    if output is not None:
        _check_place(output)
    found = _networks(files, frozen, settings, names, views, evaluate)
    # What brings no input takes the clip, and the views, of the first spec.
    found += [_against(target, found[0]) for target in against]
    chosen = dict(zip(_unique([network.labels for network in found]), found, strict=True))
    repeats, warmup = _defaults(device, repeats, warmup)
    setup = setup_of(device, dtype, batch, repeats, warmup, threads, clock)
    if said := busy(setup, HINT):
        note(said)

    from tsdsl.backends.bench import Bench

    run = Bench(setup, channels_last=channels_last, compiled=compiled, seed=seed)
    # What modules print is no data of ours.
    with redirect_stdout(sys.stderr):
        failed = _run(run, chosen, setup)
    report = run.report()
    shown = {name: network.shown for name, network in chosen.items()}
    text = json.dumps(as_json(report, shown), indent=2, allow_nan=False)
    if print_json:
        data(text)
    elif coloured(sys.stdout):
        from tsdsl.cli.rich_tables import print_rows

        print_rows(rows(report, shown), facts(report, shown))
    else:
        table = rows(report, shown)
        data(f"{aligned(table, range(2, len(table[0])))}\n\n{facts(report, shown)}")
    if output is not None:
        write_atomic(output, text + "\n")
        note(f"wrote {output}")
    return 1 if failed else 0


def _run(run: Bench, chosen: Mapping[str, Network], setup: Setup) -> bool:
    """Make and time everything; whether something failed, which is said."""
    from tsdsl.backends.bench import Candidate

    failures: dict[str, str] = {}
    with progress("preparing", len(chosen)) as step:
        for name, network in chosen.items():
            failure = run.prepare(name, Candidate(network.make, network.clip, network.macs))
            if failure is not None:
                failures[name] = failure
            step()
    _tell(failures, chosen)
    count = len(chosen) - len(failures)
    if count:
        note(
            f"{several(count, 'network')} on {setup.device_name}, {threads_text(setup)}"
            f"{setup.dtype}, batch {setup.batch}; {setup.repeats} samples of each, about"
            f" {duration(run.seconds)}"
        )
    with progress("timing", run.visits) as step:
        for _ in run.rounds():
            step()
    later = {row.name: row.failure for row in run.report().rows if row.failure is not None}
    _tell({name: why for name, why in later.items() if name not in failures}, chosen)
    return bool(later)


def _tell(failures: Mapping[str, str], chosen: Mapping[str, Network]) -> None:
    show(
        [
            tsdsl.Diagnostic(
                "E0728",
                f"{name} cannot be timed: {visible(why)}",
                file=chosen[name].shown.file,
                help=chosen[name].shown.help,
            )
            for name, why in failures.items()
        ]
    )


def _defaults(device: str, repeats: int | None, warmup: int | None) -> tuple[int, int]:
    kind = device.partition(":")[0]
    if repeats is None or warmup is None:
        try:
            from tsdsl.backends.bench import REPEATS, WARMUP
        except ModuleNotFoundError:
            return 1, 1  # setup_of says what is missing.
        repeats = REPEATS[kind] if repeats is None else repeats
        warmup = WARMUP[kind] if warmup is None else warmup
    return repeats, warmup


def _check_place(output: str) -> None:
    """Say now, and not after the last round, that a file cannot be written."""
    if os.path.isdir(output) or not os.access(os.path.dirname(output) or ".", os.W_OK):
        write_atomic(output, "")


# ------------------------------------------------------------------ which networks


def _networks(
    files: Sequence[str],
    frozen: Sequence[str],
    settings: dict[str, Any],
    names: Sequence[str],
    views: int | None,
    evaluate: str | None,
) -> list[Network]:
    """Those of the specs, in their order."""
    spaces = _spaces(files, settings, names)
    paths = _matched([space for _, space in spaces], frozen)
    found = []
    for (file, space), own in zip(spaces, paths, strict=True):
        if not own and space.decisions:
            raise undecided(file, space)
        clip, count = _clip(file, space, views, evaluate)
        chosen: list[str | None] = [*own] or [None]
        found += [_network(file, space, path, clip, count) for path in chosen]
    return found


def _spaces(
    files: Sequence[str], settings: dict[str, Any], names: Sequence[str]
) -> list[tuple[str, tsdsl.Space]]:
    """The one space of each file, or those that ``--space`` names."""
    from tsdsl.compiler import select
    from tsdsl.sema.check import check_file

    found: list[tuple[str, tsdsl.Space]] = []
    unused = list(names)
    for file in files:
        checked = check_file(Path(file), settings)
        own: list[str | None] = [name for name in dict.fromkeys(names) if name in checked.names]
        # Of a single file, `select` says what spaces it has.
        own = own or [names[0] if names and len(files) == 1 else None]
        unused = [name for name in unused if name not in own]
        found += [(file, select(checked, file, name)) for name in own]
    if unused:
        raise click.UsageError(f"no file has a space '{visible(unused[0])}'")
    return found


def _matched(spaces: Sequence[tsdsl.Space], frozen: Sequence[str]) -> list[list[str]]:
    """The architecture files of each space: those with its hash, else those with its name. Where
    spaces have one hash, a file belongs to that of its name; a space that is left with none takes
    all that have its hash."""
    archs = {path: tsdsl.Architecture.load(path) for path in frozen}
    found: list[list[str]] = [[] for _ in spaces]
    for path in frozen:
        arch = archs[path]
        hashed = [k for k, space in enumerate(spaces) if space.hash == arch.space_hash]
        named = [k for k, space in enumerate(spaces) if space.name == arch.space]
        fits = [k for k in hashed if k in named] or hashed or named
        if not fits and not (arch.space or arch.space_hash):
            # A file that does not say what it is of can only be of a single one.
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
    arch = None if path is None else architecture(space, path)
    labels = [space.name]
    if path is not None:
        stem = os.path.basename(path).removesuffix(".json").removesuffix(".arch")
        labels += [f"{space.name} ({visible(stem)})", f"{space.name} ({visible(path)})"]
    labels.append(f"{labels[-1]} of {visible(file)}" if path else f"{space.name} ({visible(file)})")
    about = {"file": file, "space": space.name, "space_hash": space.hash, "architecture": path}
    # At another size than that of the spec, multiply-adds are counted in the module.
    macs = int(space.flops(arch)) if clip == space.input_shape else None
    make = partial(tsdsl.compile, space, frozen=arch)
    return Network(tuple(labels), Shown(file, views, about, None), make, clip, macs)


def _against(target: str, first: Network) -> Network:
    hint = (
        "the function is called without arguments, and gives a torch.nn.Module that takes the clip"
        f" [{', '.join(['N', *map(str, first.clip)])}], or (module, example_input)"
    )
    about = {"against": target}
    shown = Shown(target, first.shown.views, about, hint)
    return Network((target,), shown, partial(_made, target), first.clip)


def _made(target: str) -> Any:
    """What ``module:function`` gives. The module may be one of the current directory."""
    module, _, name = target.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found()


def _unique(ladders: Sequence[tuple[str, ...]]) -> list[str]:
    """The shortest label of each that no other has; where there is none, a number is added."""
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
