"""What `tsdsl eval` is asked for, and what it found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

import tsdsl
from tsdsl.cli.cost_tables import CONVENTION
from tsdsl.cli.output import aligned, note
from tsdsl.cli.quantities import amount, flops, several
from tsdsl.cli.run_options import evaluate_section
from tsdsl.cli.training_progress import SHOWN
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.diagnostics.render import visible
from tsdsl.record import Record

if TYPE_CHECKING:
    from tsdsl.data.sampling import Sampling
    from tsdsl.sema.sections import Evaluate
    from tsdsl.training.scores import Scores
    from tsdsl.weights.weight_files import StoredWeights

#: Classes with the lowest accuracies that are printed.
WORST = 5


class Asked(Record):
    """What is evaluated: views of a video, and which size they have."""

    section: Evaluate
    #: Side of the square, in pixels.
    crop: int
    frames: int
    interval: int
    #: Height and width that the network is compiled for.
    compiled: tuple[int, int]
    #: Whether the spec has nothing to say.
    assumed: bool

    @classmethod
    def of(cls, space: tsdsl.Space, name: str | None, views: tuple[int, int] | None) -> Asked:
        """Raises `UsageError` and `SpecError`."""
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
        channels, frames, height, width = space.input_shape
        if channels != 3:
            message = f"the clip of '{space.name}' has {channels} channels, videos have 3"
            raise SpecError([Diagnostic("E0824", message)])
        if section.crop is None and height != width:
            message = f"the clip of '{space.name}' is {height} x {width}; crops are squares"
            hint = f"say which square: evaluate {section.name} {{ crop = ... }}"
            raise SpecError([Diagnostic("E0824", message, help=hint)])
        interval = space.graph.interval
        return cls(section, section.crop or height, frames, interval, (height, width), assumed)

    @property
    def sampling(self) -> Sampling:
        from tsdsl.data.sampling import Sampling

        return Sampling(self.frames, self.interval)

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        return 3, self.frames, self.crop, self.crop

    def say(self, space: tsdsl.Space, held: StoredWeights) -> None:
        """What may surprise."""
        if self.assumed:
            note(f"'{space.name}' has no evaluate section; this is {self}")
        if self.compiled != (self.crop, self.crop):
            height, width = self.compiled
            note(
                f"the network is compiled for {height} x {width} and takes crops of"
                f" {self.crop} x {self.crop}"
            )
        made_for = held.about.get("space_hash")
        if made_for not in (None, space.hash):
            note("the weights were made for another version of the space; their shapes fit")

    def __str__(self) -> str:
        crops = "1 crop" if self.section.views == self.section.clips else "3 crops"
        return (
            f"{several(self.section.clips, 'clip')} x {crops} of {self.crop} x {self.crop},"
            f" {self.frames} frames at interval {self.interval}"
        )


def name_missing(scores: Scores) -> None:
    for video in scores.missing[:SHOWN]:
        note(f"not scored: {visible(str(video.problem))}")
    more = len(scores.missing) - SHOWN
    if more > 0:
        note(f"{several(more, 'more video')} cannot be used: --json and -o name all of them")


class Result(Record):
    name: str
    asked: Asked
    scores: Scores
    #: Multiply-adds of a view.
    macs: int
    seconds: float

    @property
    def views(self) -> int:
        """All that were scored."""
        return len(self.scores) * self.scores.views

    def as_json(self) -> dict[str, Any]:
        section = self.asked.section.model_dump(mode="json")
        return {
            **self.scores.as_json(),
            "space": self.name,
            "evaluate": {
                **section,
                "crop": self.asked.crop,
                "short_side": self.asked.section.short_side or self.asked.crop,
                "frames": self.asked.frames,
                "interval": self.asked.interval,
            },
            "macs": self.macs,
            "macs_of_a_video": self.macs * self.scores.views,
            "flops_convention": CONVENTION,
            "seconds": round(self.seconds, 3),
            "views_per_second": self.views / self.seconds,
        }

    def text(self) -> str:
        scores = self.scores
        rows = [
            ["videos", self._videos()],
            ["top-1", f"{scores.top1:.2%}{self._of_all()}"],
            ["top-5", f"{scores.top5:.2%}{self._few()}"],
            ["mean class accuracy", f"{scores.mean_class_accuracy:.2%}"],
            ["log loss", f"{scores.log_loss:.4f}"],
            ["cost", self._cost()],
            ["time", f"{self.seconds:.1f} s, {rate(self.views / self.seconds)}"],
        ]
        head = f"{self.name}, evaluate {self.asked.section.name}: {self.asked}"
        return "\n\n".join([head, aligned(rows), *self._worst()])

    def _videos(self) -> str:
        scores = self.scores
        if not scores.missing:
            return f"{scores.total}, all scored"
        kinds = Counter(video.problem.kind for video in scores.missing)
        bad = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        return f"{len(scores)} scored of {scores.total}; missing: {bad}"

    def _of_all(self) -> str:
        if not self.scores.missing:
            return ""
        return f" of those scored ({self.scores.top1_of_all:.2%} of all)"

    def _few(self) -> str:
        count = len(self.scores.classes)
        return f" ({several(count, 'class', 'classes')})" if count <= 5 else ""

    def _cost(self) -> str:
        views = self.scores.views
        all_of = f"; {_flops(self.macs * views)} for the {views} views of a video" * (views > 1)
        return f"{_flops(self.macs)} (multiply-adds) per view{all_of}"

    def _worst(self) -> list[str]:
        """The classes that are recognised least, if any is not always."""
        scores = self.scores
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
