"""``tsdsl eval``: what a trained network gets right."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import AbstractContextManager, closing, nullcontext
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import click

from tsdsl.cli.colour import colour_option
from tsdsl.cli.eval_report import Asked, Result, name_missing, rate
from tsdsl.cli.open_spec import network_of_weights
from tsdsl.cli.options import frozen_option, set_option, space_option, spec_argument
from tsdsl.cli.output import check_outputs, data, note, show
from tsdsl.cli.parameter_types import Device
from tsdsl.cli.plot_option import plot_option, plotting
from tsdsl.cli.plot_option import write as write_figure
from tsdsl.cli.progress_bar import Steps, progress
from tsdsl.cli.run_options import (
    data_option,
    default_workers,
    needs_training,
    root_option,
    workers_option,
)
from tsdsl.cli.timing_options import threads_option
from tsdsl.diagnostics import DiagnosticError
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.data.loader import ViewBatch
    from tsdsl.training.ranks import Ranks

#: Seconds between two lines that say how far it is, where there is no terminal.
_TOLD_EVERY = 60.0
_SCORES = (".jsonl", ".csv", ".npz")
_VIEWS = re.compile(r"([1-9][0-9]{0,5})x([13])")

EPILOG = """\b
Examples:
  tsdsl eval my.tsnet --data test.csv --weights runs/first/best.safetensors
  tsdsl eval my.tsnet --data test.csv --weights best.safetensors --evaluate lcr --batch 30
  tsdsl eval my.tsnet --data test.csv --weights best.safetensors --views 10x3 --json
  tsdsl eval my.tsnet --data test.csv --weights best.safetensors -o scores.csv --plot confusion.svg
  torchrun --nproc-per-node 8 -m tsdsl.cli eval my.tsnet --data test.csv --weights best.safetensors
"""


class _Views(click.ParamType):  # type: ignore[type-arg]
    """``10x3``: clips and crops."""

    name = "views"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = _VIEWS.fullmatch(str(value))
        if match is None:
            shown = visible(str(value))[:40]
            self.fail(f"'{shown}' is not CLIPSxCROPS with 1 or 3 crops, as 10x3", param, ctx)
        return int(match[1]), int(match[2])


class _ScoreFile(click.ParamType):  # type: ignore[type-arg]
    name = "scores"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = str(value)
        if os.path.splitext(path)[1].lower() not in _SCORES:
            known = f"{', '.join(_SCORES[:-1])} or {_SCORES[-1]}"
            self.fail(f"'{visible(path)}' does not end with {known}", param, ctx)
        return path


@click.command(epilog=EPILOG)
@spec_argument
@frozen_option
@set_option
@space_option
@data_option
@root_option
@click.option(
    "--weights", type=click.Path(), required=True, metavar="FILE", help="Those of the network."
)
@click.option(
    "--evaluate",
    "section",
    metavar="NAME",
    help="The spec's evaluate section, if it has several.",
)
@click.option(
    "--views",
    type=_Views(),
    metavar="CLIPSxCROPS",
    help="Views of a video, whatever the section says: 10x1 or 10x3.",
)
@click.option("--batch", type=click.IntRange(1, 4096), metavar="N", help="Views of a forward pass.")
@workers_option
@click.option("--device", type=Device(), help="cpu or cuda[:N]; a GPU if there is one.")
@threads_option
@click.option("--amp", is_flag=True, help="Compute in bfloat16 where that is safe.")
@click.option(
    "-o",
    "outputs",
    type=_ScoreFile(),
    multiple=True,
    metavar="SCORES",
    help="Write the scores of each video: .jsonl or .csv; .npz for all probabilities. May be"
    " repeated.",
)
@plot_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@colour_option
def command(
    file: str,
    frozen: str | None,
    settings: dict[str, Any],
    name: str | None,
    source: str,
    root: str | None,
    weights: str,
    section: str | None,
    views: tuple[int, int] | None,
    batch: int | None,
    workers: int | None,
    device: str | None,
    threads: int | None,
    amp: bool,
    outputs: tuple[str, ...],
    plot: str | None,
    as_json: bool,
) -> int:
    """Evaluate a network on videos, by an evaluate section of the spec.

    The section says how many clips are taken from a video and how they are cropped; the class
    probabilities of these views are averaged. Videos that cannot be used are reported, and no
    part of the accuracies.

    The architecture is that of --frozen, or the one that the weights were trained with.
    Under torchrun, processes share the videos.
    """
    needs_training()
    plots = plotting() if plot is not None else None
    check_outputs([*outputs, plot], [file, source, weights, frozen])
    from tsdsl.data.lists import read_list
    from tsdsl.data.loader import EvalLoader
    from tsdsl.training import fingerprint
    from tsdsl.training.checks import check_classes
    from tsdsl.training.dry_run import dry_run, gives_probabilities
    from tsdsl.training.evaluation import AT_ONCE, MIXED, evaluate, views_of
    from tsdsl.training.ranks import Ranks
    from tsdsl.training.run import network
    from tsdsl.weights.weight_files import classes_of, load, load_into

    with Ranks.of(device) as ranks:
        with ranks.agree() as same:
            held = load(weights)
            space, arch = network_of_weights(file, frozen, settings, name, held)
            asked = Asked.of(space, section, views)
            known = classes_of(held.about)
            videos = read_list(source, root, known)
            net = network(space, arch, threads=threads)
            tried = dry_run(net, asked.clip_shape)
            warnings = check_classes(videos, tried.outputs)
            load_into(net, held)
            if ranks.world > 1:
                same |= {
                    "space_hash": space.hash,
                    "architecture": None if arch is None else dict(arch),
                    "weights": fingerprint.of_weights_in(net),
                    "data": fingerprint.of_list(videos),
                    "evaluate": asked.section.model_dump(mode="json"),
                    "crop": asked.crop,
                    "frames": asked.frames,
                    "interval": asked.interval,
                    "batch": batch or AT_ONCE,
                    "amp": amp,
                }
        loader = EvalLoader(
            views_of(videos, asked.section, asked.sampling, asked.crop),
            workers=default_workers() if workers is None else workers,
            rank=ranks.rank,
            world=ranks.world,
            prefetch=1,
        )
        if ranks.is_first:
            show(warnings)
            asked.say(space, held)
            if known is None and videos.classes != tuple(map(str, range(len(videos.classes)))):
                note(
                    "the weights do not say which class has which number: the names of this list"
                    " are numbered in the order of the alphabet"
                )
        start = perf_counter()
        with closing(loader), _told(ranks, len(loader), asked.section.views) as tell:
            try:
                scores = evaluate(
                    net.to(ranks.device),
                    loader,
                    ranks=ranks,
                    at_once=batch or AT_ONCE,
                    autocast=MIXED if amp else None,
                    probabilities=gives_probabilities(space.network(arch)),
                    tell=tell,
                )
            except DiagnosticError:
                if ranks.is_first:
                    raise
                # All ranks have it; one says it.
                return 1
        seconds = perf_counter() - start
        if not ranks.is_first:
            return 0
        result = Result(space.name, asked, scores, tried.macs, seconds)
        conditions = {
            "weights": weights,
            "list": source,
            "device": str(ranks.device),
            "world": ranks.world,
            "batch": batch or AT_ONCE,
            "amp": amp,
        }
    name_missing(scores)
    # First of all: a file that cannot be written must not cost the result.
    data(json.dumps(result.as_json() | conditions, indent=2) if as_json else result.text())
    if outputs:
        from tsdsl.training import score_files

        for path in outputs:
            score_files.write(scores, path)
            note(f"wrote {visible(path)}")
    if plots is not None and plot is not None:
        write_figure(plots.confusion(scores, space.name), plot)
    return 0


def _told(ranks: Ranks, batches: int, views: int) -> AbstractContextManager[Any]:
    """Gives what is called with each batch: it shows how far it is, on the first rank."""
    if not ranks.is_first:
        return nullcontext()
    return _Told(batches, views * ranks.world)


class _Told(AbstractContextManager["_Told"]):
    def __init__(self, batches: int, views: int) -> None:
        self._batches = batches
        self._views = views
        self._bar = progress("evaluating", batches)
        self._done = self._missing = 0
        self._start = self._said = monotonic()

    def __enter__(self) -> _Told:
        self._steps: Steps = self._bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def __call__(self, batch: ViewBatch) -> None:
        self._done += len(batch.indices)
        self._missing += len(batch.problems)
        views = (self._done - self._missing) * self._views
        bad = f", {self._missing} cannot be used" if self._missing else ""
        text = f"{rate(views / max(1e-9, monotonic() - self._start))}{bad}"
        self._steps(text)
        if not sys.stderr.isatty() and monotonic() - self._said > _TOLD_EVERY:
            self._said = monotonic()
            note(f"{self._done} of {self._batches} videos of this process, {text}")
