"""The evaluate section that `tsdsl eval` uses, and its result as text and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.cli.cost_tables import CONVENTION
from tsdsl.cli.event_loop import SHOWN
from tsdsl.cli.output import aligned, note
from tsdsl.cli.quantities import amount, flops, several
from tsdsl.cli.run_options import evaluate_section
from tsdsl.diagnostics.render import visible
from tsdsl.record import Record

if TYPE_CHECKING:
    from tsdsl.sema.sections import Evaluate
    from tsdsl.training.evaluation import EvaluatedViews, Evaluation
    from tsdsl.training.scores import Scores
    from tsdsl.weights.weight_files import StoredWeights

#: Classes with the lowest accuracies that are printed.
WORST = 5


class ChosenSection(Record):
    """The evaluate section that the options name."""

    section: Evaluate
    #: Whether the spec has none, and this one is the default.
    assumed: bool

    @classmethod
    def of(
        cls, space: tsdsl.Space, name: str | None, views: tuple[int, int] | None
    ) -> ChosenSection:
        """``views`` are clips and crops (1 or 3) in place of the section's. Raises `UsageError`."""
        from tsdsl.sema.sections import Evaluate

        known = space.sections.evaluations if space.sections else ()
        section = evaluate_section(space, name)
        if section is None and len(known) > 1:
            names = ", ".join(found.name for found in known)
            raise click.UsageError(f"say which evaluate section with --evaluate: {names}")
        if section is None and len(known) == 1:
            section = known[0]
        assumed = section is None
        section = section or Evaluate(name="center", clips=10)
        if views is not None:
            crops = "left_center_right" if views[1] == 3 else "center"
            section = section.model_copy(update={"clips": views[0], "crops": crops})
        return cls(section, assumed)


def say_views(
    space: tsdsl.Space, chosen: ChosenSection, views: EvaluatedViews, weights: StoredWeights
) -> None:
    """Say what may surprise about the views, or about the weights."""
    if chosen.assumed:
        note(f"'{space.name}' has no evaluate section; this is {describe(views)}")
    _, _, height, width = space.input_shape
    if (height, width) != (views.crop, views.crop):
        note(
            f"the network is compiled for {height} x {width} and takes crops of"
            f" {views.crop} x {views.crop}"
        )
    if weights.about.get("space_hash") not in (None, space.hash):
        note("the weights were made for another version of the space; their shapes fit")


def describe(views: EvaluatedViews) -> str:
    """``10 clips x 3 crops of 182 x 182, 16 frames at interval 5``."""
    crops = "1 crop" if views.section.views == views.section.clips else "3 crops"
    return (
        f"{several(views.section.clips, 'clip')} x {crops} of {views.crop} x {views.crop},"
        f" {views.frames} frames at interval {views.interval}"
    )


def name_missing(scores: Scores) -> None:
    for video in scores.missing[:SHOWN]:
        note(f"not scored: {visible(str(video.problem))}")
    more = len(scores.missing) - SHOWN
    if more > 0:
        note(f"{several(more, 'more video')} cannot be used: --json and -o name all of them")


def eval_json(result: Evaluation) -> dict[str, Any]:
    """Everything but the probabilities."""
    views = result.views
    return {
        **result.scores.as_json(),
        "space": result.space,
        "evaluate": {
            **views.section.model_dump(mode="json"),
            "crop": views.crop,
            "short_side": views.section.short_side or views.crop,
            "frames": views.frames,
            "interval": views.interval,
        },
        "macs": result.macs,
        "macs_of_a_video": result.macs * result.scores.views,
        "flops_convention": CONVENTION,
        "seconds": round(result.seconds, 3),
        "views_per_second": result.views_per_second,
    }


def text_of(result: Evaluation) -> str:
    scores = result.scores
    rows = [
        ["videos", _videos(scores)],
        ["top-1", f"{scores.top1:.2%}{_of_all(scores)}"],
        ["top-5", f"{scores.top5:.2%}{_few(scores)}"],
        ["mean class accuracy", f"{scores.mean_class_accuracy:.2%}"],
        ["log loss", f"{scores.log_loss:.4f}"],
        ["cost", _cost(result)],
        ["time", f"{result.seconds:.1f} s, {rate(result.views_per_second)}"],
    ]
    head = f"{result.space}, evaluate {result.views.section.name}: {describe(result.views)}"
    return "\n\n".join([head, aligned(rows), *_worst(scores)])


def _videos(scores: Scores) -> str:
    if not scores.missing:
        return f"{scores.total}, all scored"
    kinds = Counter(video.problem.kind for video in scores.missing)
    bad = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"{len(scores)} scored of {scores.total}; missing: {bad}"


def _of_all(scores: Scores) -> str:
    if not scores.missing:
        return ""
    return f" of those scored ({scores.top1_of_all:.2%} of all)"


def _few(scores: Scores) -> str:
    count = len(scores.classes)
    return f" ({several(count, 'class', 'classes')})" if count <= 5 else ""


def _cost(result: Evaluation) -> str:
    views = result.scores.views
    all_of = f"; {_flops(result.macs * views)} for the {views} views of a video" * (views > 1)
    return f"{_flops(result.macs)} (multiply-adds) per view{all_of}"


def _worst(scores: Scores) -> list[str]:
    """The classes that are recognised least, if any is not always."""
    accuracies, counts, confusion = scores.accuracy_K, scores.counts_K, scores.confusion_KK
    worst = sorted(
        (k for k in range(len(counts)) if counts[k] and accuracies[k] < 1),
        key=lambda k: (accuracies[k], -counts[k], k),
    )[:WORST]
    rows = []
    for k in worst:
        others = confusion[k].copy()
        others[k] = 0
        other = int(others.argmax())
        taken = f"{visible(scores.classes[other])[:40]} ({others[other]})"
        rows.append(
            [visible(scores.classes[k])[:40], f"{accuracies[k]:.1%}", str(counts[k]), taken]
        )
    if not rows:
        return []
    header = ["worst classes", "top-1", "videos", "most often taken for"]
    return [aligned([header, *rows], (1, 2))]


def rate(views: float) -> str:
    """Of views a second: three digits, or all before the point."""
    return f"{views:,.0f} views/s" if views >= 100 else f"{views:.3g} views/s"


def _flops(count: int) -> str:
    return flops(count) if count >= 50_000_000 else f"{amount(count)} FLOPs"
