"""Checks, before anything is decoded, that a network, a list and a batch fit each other."""

from __future__ import annotations

from operator import index

import torch
from torch import nn

from tsdsl.data.lists import ListError, VideoList
from tsdsl.diagnostics import Diagnostic, SpecError
from tsdsl.training.recipe import Recipe
from tsdsl.training.schedule import learning_rate
from tsdsl.training.torch_errors import first_line


def outputs_of(net: nn.Module, clip_shape: tuple[int, int, int, int], device: torch.device) -> int:
    """Number of classes that a network distinguishes, found by running it on one clip of zeros.
    Raises `SpecError` if it does not accept clips of shape [channels, frames, height, width], or
    does not return logits [N, classes]."""
    was_training = net.training
    like = next(iter(net.parameters()), None)
    dtype = torch.float32 if like is None else like.dtype
    size = " x ".join(map(str, clip_shape))
    try:
        with torch.inference_mode():
            logits = net.eval()(torch.zeros(1, *clip_shape, dtype=dtype, device=device))
    except (RuntimeError, ValueError, TypeError, IndexError) as bad:
        message = f"the network does not accept a clip of {size}: {first_line(bad)}"
        hint = "train.crop sets the size of the square; the spec's clip sets the number of frames"
        raise SpecError([Diagnostic("E0821", message, help=hint)]) from bad
    finally:
        net.train(was_training)
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        message = f"the network returns {shape} for a clip of {size}, not a score for each class"
        raise SpecError([Diagnostic("E0821", message)])
    return logits.shape[1]


def check_classes(videos: VideoList, outputs: int) -> list[Diagnostic]:
    """The warnings of a list, and one more if the network has more outputs than the list has
    classes. Raises `ListError` if it has fewer."""
    count = len(videos.classes)
    if count > outputs:
        message = f"this list has {count} classes, the network has {outputs} outputs"
        hint = f"change the network: --set classes={count}, if the spec has such a param"
        if count == outputs + 1 and not videos.counts()[0]:
            hint = "no video has the label 0, and labels count from 0: subtract 1 from each"
        raise ListError([Diagnostic("E0811", message, file=videos.source, help=hint)])
    if count == outputs:
        return list(videos.warnings)
    message = f"this list has {count} classes, the network has {outputs} outputs"
    fewer = Diagnostic("W0973", message, file=videos.source, severity="warning")
    return [*videos.warnings, fewer]


def shares(
    batch: int, world: int, micro_batch: int | None, setting: str = "train.batch"
) -> tuple[int, int]:
    """Clips of a forward pass of a rank, and forward passes of a step. ``setting``: name of the
    setting for the batch, for messages. Raises `SpecError` if the batch cannot be divided."""
    if batch % world:
        message = f"a batch of {batch} cannot be shared by {world} processes"
        hint = f"--set {setting}={max(1, round(batch / world)) * world}"
        raise SpecError([Diagnostic("E0821", message, help=hint)])
    own = batch // world
    if micro_batch is None or micro_batch >= own:
        return own, 1
    if own % micro_batch:
        message = f"{own} clips of a process cannot be split into passes of {micro_batch}"
        divisors = [n for n in range(1, own + 1) if own % n == 0]
        near = min(divisors, key=lambda n: abs(n - micro_batch))
        raise SpecError([Diagnostic("E0821", message, help=f"--micro-batch {near} divides it")])
    return micro_batch, own // micro_batch


def check_options(least: int, **options: int | None) -> None:
    """Raises `SpecError` for an option that is not a whole number of at least ``least``."""
    for name, value in options.items():
        try:
            fits = value is None or index(value) >= least
        except TypeError:
            fits = False
        if not fits:
            message = f"{name} is {value!r}: it has to be a whole number, {least} or more"
            raise SpecError([Diagnostic("E0821", message)])


def check_warmup(recipe: Recipe, total: int, steps_per_epoch: int) -> list[Diagnostic]:
    """A warning if none of the ``total`` steps comes after the warm-up. The learning rate then
    stays below the recipe's, and the network may learn little."""
    train = recipe.train
    warm, epochs = train.schedule.warmup_epochs, train.epochs
    if not warm or warm < epochs:
        return []
    last = learning_rate(train.lr, train.schedule, epochs, (total - 1) / steps_per_epoch)
    message = (
        f"all of the {epochs:g} epochs are warm-up (warmup_epochs = {warm:g}): the learning rate"
        f" ends at {last:.3g}, lr is {train.lr:g}"
    )
    hint = f"more epochs, or --set train.schedule.warmup_epochs={epochs / 10:.3g}"
    return [Diagnostic("W0986", message, help=hint, severity="warning")]
