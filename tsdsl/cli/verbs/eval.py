"""``tsdsl eval``: what a trained network gets right."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.cli.colour import colour_option
from tsdsl.cli.eval_report import (
    ChosenSection,
    eval_json,
    name_missing,
    rate,
    say_views,
    text_of,
)
from tsdsl.cli.open_spec import NetworkOptions
from tsdsl.cli.option_groups import OptionGroup, option, takes
from tsdsl.cli.output import check_outputs, data, note, show
from tsdsl.cli.plot_option import plot_option, plotting
from tsdsl.cli.plot_option import write as write_figure
from tsdsl.cli.progress_bar import progress
from tsdsl.cli.run_options import (
    MachineOptions,
    VideoOptions,
    amp_field,
    needs_training,
)
from tsdsl.diagnostics import DiagnosticError
from tsdsl.diagnostics.render import visible

if TYPE_CHECKING:
    from tsdsl.training.evaluation import EvaluationEvent, EvaluationStarted, VideosScored
    from tsdsl.weights.weight_files import StoredWeights

#: Seconds between two progress lines where there is no terminal.
_SAID_EVERY = 60.0
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


class EvaluationOptions(OptionGroup):
    """The weights and the section of an evaluation, and its views and batch size."""

    weights: str = option(
        "--weights",
        type=click.Path(),
        required=True,
        metavar="FILE",
        help="Weights of the network.",
    )
    evaluate: str | None = option(
        "--evaluate", metavar="NAME", help="The evaluate section, if the spec has several."
    )
    views: tuple[int, int] | None = option(
        "--views",
        type=_Views(),
        metavar="CLIPSxCROPS",
        help="Views per video, instead of those of the section: 10x1 or 10x3.",
    )
    batch: int | None = option(
        "--batch", type=click.IntRange(1, 4096), metavar="N", help="Views in a forward pass."
    )
    amp: bool = amp_field


@click.command(epilog=EPILOG)
@takes(spec=NetworkOptions, videos=VideoOptions, scoring=EvaluationOptions, machine=MachineOptions)
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
    spec: NetworkOptions,
    videos: VideoOptions,
    scoring: EvaluationOptions,
    machine: MachineOptions,
    outputs: tuple[str, ...],
    plot: str | None,
    as_json: bool,
) -> int:
    """Evaluate a network on videos, by an evaluate section of the spec.

    The section gives the number of clips per video and their crops; the class probabilities of
    these views are averaged. Videos that cannot be used are reported, and do not count in the
    accuracies.

    The architecture is that of --frozen, or the one that the weights were trained with.
    Under torchrun, processes share the videos.
    """
    needs_training()
    plots = plotting() if plot is not None else None
    check_outputs([*outputs, plot], [spec.file, videos.data, scoring.weights, spec.frozen])
    from tsdsl.training.evaluation import run
    from tsdsl.training.ranks import Ranks
    from tsdsl.training.run import network
    from tsdsl.training.scoring import AT_ONCE
    from tsdsl.weights.weight_files import load

    batch = scoring.batch or AT_ONCE
    with Ranks.of(machine.device) as ranks:
        with ranks.agree():
            weights = load(scoring.weights)
            space, arch = spec.open_for(weights)
            chosen = ChosenSection.of(space, scoring.evaluate, scoring.views)
            net = network(space, arch, threads=machine.threads)
        conditions = {
            "weights": scoring.weights,
            "list": videos.data,
            "device": str(ranks.device),
            "world": ranks.world,
            "batch": batch,
            "amp": scoring.amp,
        }
        with _Progress(space, chosen, weights, quiet=not ranks.is_first) as shown:
            try:
                result = run(
                    net,
                    videos.data,
                    space,
                    ranks,
                    frozen=arch,
                    weights=weights,
                    section=chosen.section,
                    root=videos.root,
                    batch=batch,
                    workers=machine.decoders,
                    mixed_precision=scoring.amp,
                    on_event=shown,
                )
            except DiagnosticError:
                if ranks.is_first or not shown.started:
                    raise
                # Every rank has this error; the first one prints it.
                return 1
        if not ranks.is_first:
            return 0
    scores = result.scores
    name_missing(scores)
    # Print first: if a file cannot be written, the result is not lost.
    data(json.dumps(eval_json(result) | conditions, indent=2) if as_json else text_of(result))
    if outputs:
        from tsdsl.training import score_files

        for path in outputs:
            score_files.write(scores, path)
            note(f"wrote {visible(path)}")
    if plots is not None and plot is not None:
        write_figure(plots.confusion(scores, space.name), plot)
    return 0


class _Progress:
    """Shows warnings, then the progress of the evaluation; nothing except on rank 0."""

    def __init__(
        self, space: tsdsl.Space, chosen: ChosenSection, source: StoredWeights, quiet: bool
    ):
        self._space, self._chosen, self._source = space, chosen, source
        self._quiet = quiet
        self._stack = ExitStack()
        #: Whether the first video is about to be decoded: from here on all ranks fail together.
        self.started = False

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def __call__(self, event: EvaluationEvent) -> None:
        from tsdsl.training.evaluation import EvaluationStarted

        if isinstance(event, EvaluationStarted):
            self.started = True
            if not self._quiet:
                self._start(event)
        elif not self._quiet:
            self._step(event)

    def _start(self, event: EvaluationStarted) -> None:
        from tsdsl.weights.weight_files import classes_of

        show(event.warnings)
        say_views(self._space, self._chosen, event.views, self._source)
        if classes_of(self._source.about) is None and not event.numbered:
            note(
                "the weights do not say which class has which number: the names of this list"
                " are numbered in the order of the alphabet"
            )
        self._total, self._views = event.videos, event.views.section.views * event.world
        self._steps = self._stack.enter_context(progress("evaluating", event.videos))
        self._done = self._rejected = 0
        self._began = self._said = monotonic()

    def _step(self, event: VideosScored) -> None:
        self._done += event.videos
        self._rejected += event.rejected
        views = (self._done - self._rejected) * self._views
        bad = f", {self._rejected} cannot be used" if self._rejected else ""
        text = f"{rate(views / max(1e-9, monotonic() - self._began))}{bad}"
        self._steps(text)
        if not sys.stderr.isatty() and monotonic() - self._said > _SAID_EVERY:
            self._said = monotonic()
            note(f"{self._done} of {self._total} videos of this process, {text}")
