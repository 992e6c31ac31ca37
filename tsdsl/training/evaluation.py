"""A trained network and a list of videos -> `Evaluation`, by an ``evaluate`` section of a spec.

A section says how many clips are taken from a video and how each one is cropped; these are the
*views* of the video. Its class probabilities are the mean over its views (`scoring`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from time import perf_counter
from typing import Any

from torch import nn

from tsdsl.arguments import check_type
from tsdsl.data.dataset import MIN_FRAMES, EvalViews
from tsdsl.data.lists import VideoList, read_list
from tsdsl.data.loader import EvalLoader, ViewBatch
from tsdsl.data.sampling import Sampling
from tsdsl.data.transforms import EvalTransform
from tsdsl.diagnostics import Diagnostic, SpecError, did_you_mean
from tsdsl.files import PathLike
from tsdsl.record import Record
from tsdsl.sema.sections import Evaluate
from tsdsl.space import Space
from tsdsl.training import fingerprint
from tsdsl.training.checks import check_classes, check_options
from tsdsl.training.dry_run import dry_run, gives_probabilities
from tsdsl.training.ranks import Ranks
from tsdsl.training.scores import Scores
from tsdsl.training.scoring import AT_ONCE, MIXED, score
from tsdsl.weights.weight_files import StoredWeights, classes_of, load, load_into

Data = PathLike | VideoList

#: Largest number of views of a video.
MAX_VIEWS = 10_000


class EvaluatedViews(Record):
    """Which clips of a video are evaluated, and their size."""

    section: Evaluate
    #: Side of the square crop, in pixels.
    crop: int
    #: Frames of a clip, and how many frames of the video lie from one to the next.
    frames: int
    interval: int

    @classmethod
    def of(cls, space: Space, section: Evaluate | str | None = None) -> EvaluatedViews:
        """The views of a section of the spec, or of one that was made.

        ``section`` may be the name of one of the spec's; left out, it is the spec's only one, or
        10 clips with one center crop each where the spec has none. Raises `SpecError`.
        """
        section = _section(space, section)
        channels, frames, height, width = space.input_shape
        if channels != 3:
            message = f"the clip of '{space.name}' has {channels} channels, videos have 3"
            raise SpecError([Diagnostic("E0824", message)])
        if section.crop is None and height != width:
            message = f"the clip of '{space.name}' is {height} x {width}; crops are squares"
            hint = f"say which square: evaluate {section.name} {{ crop = ... }}"
            raise SpecError([Diagnostic("E0824", message, help=hint)])
        return cls(section, section.crop or height, frames, space.graph.interval)

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.frames, self.interval)

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of a view."""
        return 3, self.frames, self.crop, self.crop


class EvaluationStarted(Record):
    """Everything fits, and the first video is about to be decoded."""

    views: EvaluatedViews
    #: Videos that this rank scores, and the number of ranks.
    videos: int
    world: int
    #: Whether the list has numbers for classes, not names.
    numbered: bool
    #: What looks wrong about the list.
    warnings: tuple[Diagnostic, ...]


class VideosScored(Record):
    """Some videos of this rank are done; ``rejected`` of them cannot be used."""

    videos: int
    rejected: int


EvaluationEvent = EvaluationStarted | VideosScored


class Evaluation(Record):
    """The scores of a network on a list of videos, with what they cost."""

    #: Name of the space.
    space: str
    views: EvaluatedViews
    scores: Scores
    #: Multiply-accumulates of one view.
    macs: int
    #: Time from the first video to the last one.
    seconds: float

    @property
    def top1(self) -> float:
        """Share of the scored videos whose class is the most probable one."""
        return self.scores.top1

    @property
    def top5(self) -> float:
        """Share of the scored videos whose class is among the five most probable ones."""
        return self.scores.top5

    @property
    def views_per_second(self) -> float:
        return len(self.scores) * self.scores.views / self.seconds

    def __repr__(self) -> str:
        return f"<Evaluation of {self.space}: {self.scores!r}>"

    def _repr_html_(self) -> str:
        from tsdsl.notebook import html_table

        rows = [
            *self.scores.summary(),
            ("multiply-accumulates per view", f"{self.macs:,}"),
            ("time", f"{self.seconds:.1f} s, {self.views_per_second:.3g} views/s"),
        ]
        caption = f"{self.space}, evaluate {self.views.section.name}"
        return html_table(caption, [], rows)


def evaluate(
    net: nn.Module,
    data: Data,
    space: Space,
    *,
    frozen: Mapping[str, Any] | None = None,
    weights: PathLike | StoredWeights | None = None,
    section: Evaluate | str | None = None,
    root: PathLike | None = None,
    batch: int = AT_ONCE,
    workers: int = 0,
    min_frames: int = MIN_FRAMES,
    mixed_precision: bool = False,
    device: str | None = None,
    on_event: Callable[[EvaluationEvent], None] | None = None,
) -> Evaluation:
    """Evaluate a network on a list of videos, by an ``evaluate`` section of the spec.

    - ``net``: the network, whose outputs for clips [N, C, T, H, W] are logits [N, classes] (or
      probabilities, where the spec's head ends in a softmax). It is moved to ``device``.
    - ``data``: a list file, or what `tsdsl.data.lists.read_list` made of one; ``root`` is the
      folder that its paths are relative to (left out: the folder of the list).
    - ``space``: the spec of the network: its sections and the clip's frames and interval.
      ``frozen`` is the architecture of ``net``, where the space has decisions.
    - ``weights``: a file of weights to load into ``net`` first. It also says which class has which
      number; without it, the names of a list are numbered in alphabetical order.
    - ``section``: an ``evaluate`` section, or the name of one; left out, the spec's only one, or 10
      clips with one center crop where the spec has none.
    - ``batch``: views of a forward pass. ``workers``: processes that decode; 0 decodes in this
      process. ``min_frames``: a video with fewer frames is rejected.
    - ``mixed_precision``: compute in bfloat16 where torch thinks it safe.
    - ``device``: "cpu", "cuda" or "cuda:N"; left out, a GPU if there is one. Under torchrun, ranks
      share the videos, and each one returns the whole result.
    - ``on_event``: called with `EvaluationStarted`, then with `VideosScored` for each batch.

    Videos that cannot be used are in ``scores.missing`` and in none of the accuracies.

    Raises `SpecError`, `FileError`, and the `DiagnosticError` of a list, of weights or of a network
    that do not fit each other.

        >>> result = tsdsl.evaluate(net, "videos/val.csv", space, frozen=arch, device="cpu")
        >>> len(result.scores), len(result.scores.classes), result.macs == space.flops(arch)
        (8, 4, True)
    """
    check_type("net", net, nn.Module, "tsdsl.compile(space, frozen=architecture) makes one")
    check_type("space", space, Space, "tsdsl.load(path) reads a spec")
    with Ranks.of(device) as ranks:
        return run(
            net,
            data,
            space,
            ranks,
            frozen=frozen,
            weights=weights,
            section=section,
            root=root,
            batch=batch,
            workers=workers,
            min_frames=min_frames,
            mixed_precision=mixed_precision,
            on_event=on_event,
        )


def run(
    net: nn.Module,
    data: Data,
    space: Space,
    ranks: Ranks,
    *,
    frozen: Mapping[str, Any] | None = None,
    weights: PathLike | StoredWeights | None = None,
    section: Evaluate | str | None = None,
    root: PathLike | None = None,
    batch: int = AT_ONCE,
    workers: int = 0,
    min_frames: int = MIN_FRAMES,
    mixed_precision: bool = False,
    on_event: Callable[[EvaluationEvent], None] | None = None,
) -> Evaluation:
    """`evaluate`, as one of the processes of a run."""
    say = on_event or _ignore
    with ranks.agree() as same:
        check_options(0, workers=workers)
        check_options(1, batch=batch, min_frames=min_frames)
        views = EvaluatedViews.of(space, section)
        network = space.network(frozen)
        source = weights if isinstance(weights, StoredWeights | None) else load(weights)
        names = None if source is None else classes_of(source.about)
        videos = data if isinstance(data, VideoList) else read_list(data, root, names)
        tried = dry_run(net, views.clip_shape)
        warnings = check_classes(videos, tried.outputs)
        if source is not None:
            load_into(net, source)
        if ranks.world > 1:
            same |= {
                "space_hash": space.hash,
                "architecture": None if frozen is None else dict(frozen),
                "weights": fingerprint.of_weights_in(net),
                "data": fingerprint.of_list(videos),
                "evaluate": views.section.model_dump(mode="json"),
                "crop": views.crop,
                "frames": views.frames,
                "interval": views.interval,
                "batch": batch,
                "mixed_precision": mixed_precision,
            }
    loader = EvalLoader(
        views_of(videos, views.section, views.sampling, views.crop, min_frames),
        workers=workers,
        rank=ranks.rank,
        world=ranks.world,
        prefetch=1,
    )
    numbered = videos.classes == tuple(map(str, range(len(videos.classes))))
    say(EvaluationStarted(views, len(loader), ranks.world, numbered, tuple(warnings)))

    def scored(done: ViewBatch) -> None:
        say(VideosScored(len(done.indices), len(done.problems)))

    start = perf_counter()
    with closing(loader):
        scores = score(
            net.to(ranks.device),
            loader,
            ranks=ranks,
            at_once=batch,
            autocast=MIXED if mixed_precision else None,
            probabilities=gives_probabilities(network),
            on_batch=scored,
        )
    return Evaluation(space.name, views, scores, tried.macs, perf_counter() - start)


def _ignore(event: EvaluationEvent) -> None:
    pass


def _section(space: Space, given: Evaluate | str | None) -> Evaluate:
    """The section that is meant. Raises `SpecError`."""
    if isinstance(given, Evaluate):
        return given
    known = {one.name: one for one in space.sections.evaluations} if space.sections else {}
    if given is None:
        if len(known) > 1:
            message = f"space {space.name} has {len(known)} evaluate sections: {', '.join(known)}"
            hint = f"name one of them, as '{next(iter(known))}'"
            raise SpecError([Diagnostic("E0824", message, file=space.graph.source, help=hint)])
        return next(iter(known.values()), Evaluate(name="center", clips=10))
    if given not in known:
        message = f"space {space.name} has no evaluate section '{given}'"
        near = did_you_mean(given, known, f"it has: {', '.join(known) or 'none'}")
        raise SpecError([Diagnostic("E0824", message, file=space.graph.source, help=near)])
    return known[given]


def quick(crop: int) -> Evaluate:
    """The cheapest evaluation: one clip and one crop (of ``crop`` pixels) of each video."""
    return Evaluate(name="quick", clips=1, crop=crop)


def views_of(
    videos: VideoList,
    section: Evaluate,
    sampling: Sampling,
    crop: int,
    min_frames: int = MIN_FRAMES,
) -> EvalViews:
    """The views that an `evaluate` section asks for; ``crop`` (pixels) is for one that says none.
    Raises `SpecError`."""
    size = section.crop or crop
    short_side = section.short_side or size
    if size > short_side:
        message = f"evaluate {section.name}: a crop of {size} does not fit a short side of"
        hint = f"short_side = {size}, or a smaller crop"
        raise SpecError([Diagnostic("E0824", f"{message} {short_side}", help=hint)])
    if section.views > MAX_VIEWS:
        message = (
            f"evaluate {section.name}: {section.views:,} views of a video, at most {MAX_VIEWS:,}"
        )
        raise SpecError([Diagnostic("E0824", message, help="fewer clips: 10 are usual")])
    crops = 3 if section.crops == "left_center_right" else 1
    transform = EvalTransform(size, crops, short_side)
    return EvalViews(videos, sampling, transform, clips=section.clips, min_frames=min_frames)
