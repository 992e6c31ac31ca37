"""A whole training: lists, loaders, the loop, evaluation, checkpoints, a folder.

`run` yields an event for everything that happens; `train` is the same as one call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

import tsdsl
from tsdsl.arguments import check_type
from tsdsl.data.dataset import MIN_FRAMES, TrainClips
from tsdsl.data.lists import VideoList, in_both, read_list
from tsdsl.data.loader import TrainLoader
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.files import PathLike
from tsdsl.sema.sections import Evaluate
from tsdsl.space import Space
from tsdsl.training import fingerprint
from tsdsl.training.checks import check_classes, check_options, check_warmup, outputs_of, shares
from tsdsl.training.dry_run import gives_probabilities
from tsdsl.training.evaluation import quick, views_of
from tsdsl.training.events import Event, TrainingFinished
from tsdsl.training.folder import FORMAT, open_folder
from tsdsl.training.ranks import Ranks, use_threads
from tsdsl.training.recipe import Recipe
from tsdsl.training.session import ListEvaluator, Session
from tsdsl.training.trainer import Trainer

Data = PathLike | VideoList


def network(
    space: Space,
    frozen: Mapping[str, Any] | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> nn.Module:
    """The network of an architecture, with the initial weights of a seed. ``threads``: those of
    this process from now on."""
    use_threads(threads)
    torch.manual_seed(seed)
    return tsdsl.compile(space, frozen)


def train(
    net: nn.Module,
    data: Data,
    recipe: Space | Recipe,
    *,
    frozen: Mapping[str, Any] | None = None,
    root: PathLike | None = None,
    val: Data | None = None,
    val_root: PathLike | None = None,
    views: Evaluate | None = None,
    folder: PathLike | None = None,
    resume: bool = False,
    seed: int = 0,
    workers: int = 0,
    micro_batch: int | None = None,
    channels_last: bool = False,
    save_every: int | None = None,
    evaluate_every: int = 1,
    log_every: int = 10,
    min_frames: int = MIN_FRAMES,
    tensorboard: bool = False,
    about: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    device: str | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> TrainingFinished:
    """Train a network of a spec on a list of videos, by the spec's ``train`` section.

    The weights are trained in place: afterwards ``net`` is on ``device`` and holds the last ones.

    - ``net``: its outputs for clips [N, C, T, H, W] are logits [N, classes].
    - ``data``, ``val``: list files, or what `tsdsl.data.lists.read_list` made of them; ``root`` and
      ``val_root`` are the folders that their paths are relative to (left out: those of the lists).
    - ``recipe``: the space of the network, with a ``train`` section, or a `Recipe` that was made.
      ``frozen`` is the architecture of ``net``; it is written beside the weights.
    - ``views``: the ``evaluate`` section by which ``val`` is scored, after each ``evaluate_every``
      epochs and at the end; left out, one clip and one crop of each video.
    - ``folder``: log, checkpoints and weights are written there; left out, nothing is written.
      ``resume`` continues the run that it has, if it has one. ``save_every``: steps between two
      checkpoints; left out, one after each epoch. ``tensorboard`` adds curves; ``log_every``: steps
      between two lines of the log.
    - ``seed``: everything random in a step depends on it and the step's number.
    - ``workers``: processes that decode, for each rank; 0 decodes in this process.
      ``min_frames``: a video with fewer frames is rejected.
    - ``micro_batch``: clips of one forward pass; left out, the rank's share of a step. Gradients
      are accumulated, so a step is the same up to the statistics of batch normalisation.
    - ``channels_last``: weights and clips in channels-last memory, which some GPUs compute faster.
    - ``about``: further facts that identify the run, written into its description.
    - ``stop``: called after each step; where it returns True, the run saves a checkpoint and ends.
    - ``device``: "cpu", "cuda" or "cuda:N"; left out, a GPU if there is one. Under torchrun, this
      process is one rank of the run.
    - ``on_event``: called with each `tsdsl.training.events.Event` as it happens.

    Raises `SpecError`, `FileError`, and the `DiagnosticError` of a list or of a training that
    cannot go on (`TrainingError`, `NoUsableVideo`).

        >>> net = tsdsl.compile(space, frozen=arch)
        >>> finished = tsdsl.train(net, "videos/train.csv", space, frozen=arch, device="cpu")
        >>> finished.step, finished.interrupted
        (4, False)
    """
    check_type("net", net, nn.Module, "tsdsl.compile(space, frozen=architecture) makes one")
    last: Event | None = None
    with Ranks.of(device) as ranks:
        for last in run(
            net,
            data,
            recipe,
            ranks,
            frozen=frozen,
            root=root,
            val=val,
            val_root=val_root,
            views=views,
            folder=folder,
            resume=resume,
            seed=seed,
            workers=workers,
            micro_batch=micro_batch,
            channels_last=channels_last,
            save_every=save_every,
            evaluate_every=evaluate_every,
            log_every=log_every,
            min_frames=min_frames,
            tensorboard=tensorboard,
            about=about,
            stop=stop,
        ):
            if on_event is not None:
                on_event(last)
    assert isinstance(last, TrainingFinished)
    return last


def run(
    net: nn.Module,
    data: Data,
    recipe: Space | Recipe,
    ranks: Ranks,
    *,
    frozen: Mapping[str, Any] | None = None,
    root: PathLike | None = None,
    val: Data | None = None,
    val_root: PathLike | None = None,
    views: Evaluate | None = None,
    folder: PathLike | None = None,
    resume: bool = False,
    seed: int = 0,
    workers: int = 0,
    micro_batch: int | None = None,
    channels_last: bool = False,
    save_every: int | None = None,
    evaluate_every: int = 1,
    log_every: int = 10,
    min_frames: int = MIN_FRAMES,
    tensorboard: bool = False,
    about: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """The events of a training, as one of the processes of a run; the last one is
    `TrainingFinished`. Arguments and errors are those of `train`."""
    with ExitStack() as stack:
        here = None
        with ranks.agree() as same:
            check_options(0, seed=seed, workers=workers)
            check_options(
                1,
                micro_batch=micro_batch,
                save_every=save_every,
                evaluate_every=evaluate_every,
                log_every=log_every,
                min_frames=min_frames,
            )
            if folder is not None and ranks.is_first:
                here = stack.enter_context(open_folder(os.fspath(folder)))
            space = recipe if isinstance(recipe, Space) else None
            recipe = Recipe.of(recipe) if isinstance(recipe, Space) else recipe
            videos = data if isinstance(data, VideoList) else read_list(data, root)
            if not any(p.requires_grad for p in net.parameters()):
                message = "the network has no trainable weights: all are frozen"
                raise SpecError([Diagnostic("E0821", message, help="net.requires_grad_(True)")])
            net = net.to(ranks.device)
            if channels_last:
                net = net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
            outputs = outputs_of(net, recipe.clip_shape, ranks.device)
            softmax = space is not None and gives_probabilities(space.network(frozen))
            warnings = check_classes(videos, outputs)
            batch, passes = shares(recipe.train.batch, ranks.world, micro_batch)
            clips = TrainClips(
                videos, recipe.sampling, recipe.transform, seed=seed, min_frames=min_frames
            )
            loader = TrainLoader(
                clips,
                batch,
                passes=passes,
                workers=workers,
                rank=ranks.rank,
                world=ranks.world,
            )
            stack.callback(loader.close)
            evaluator = None
            if val is not None:
                known = (
                    val if isinstance(val, VideoList) else read_list(val, val_root, videos.classes)
                )
                check_classes(known, outputs)
                warnings += [*known.warnings, *in_both(videos, known)]
                views = views or quick(recipe.crop)
                evaluator = ListEvaluator(
                    views_of(known, views, recipe.sampling, recipe.crop, min_frames),
                    workers,
                    softmax,
                )
                stack.callback(evaluator.close)
            name = space.name if space else type(net).__name__
            described = {
                "format": FORMAT,
                "space": name,
                "space_hash": space.hash if space else None,
                "architecture": None if frozen is None else dict(frozen),
                **fingerprint.of_training(
                    recipe, seed, videos, evaluator.views.videos if evaluator else None, views
                ),
                **(about or {}),
                "conditions": {
                    **fingerprint.conditions(ranks, videos),
                    "micro_batch": batch,
                    "channels_last": channels_last,
                },
            }
            same |= described
            same["weights"] = fingerprint.of_tensors(net)
            same["options"] = {
                "micro_batch": micro_batch,
                "channels_last": channels_last,
                "save_every": save_every,
                "evaluate_every": evaluate_every,
                "log_every": log_every,
                "min_frames": min_frames,
                "evaluates": evaluator is not None,
            }
        trainer = Trainer(
            net,
            recipe,
            loader,
            ranks,
            accumulate=passes,
            seed=seed,
            log_every=log_every,
            channels_last=channels_last,
            probabilities=softmax,
        )
        warnings += check_warmup(recipe, trainer.total_steps, trainer.steps_per_epoch)
        made = Session(trainer, loader, here, ranks, evaluator)
        made.describe(
            described,
            fingerprint.of_weights(name, space, frozen, videos),
            resume,
            warnings,
        )
        if here is not None and space is not None:
            here.keep_network(space, frozen)
        yield from made.events(
            save_every or trainer.steps_per_epoch, evaluate_every, tensorboard, stop
        )
