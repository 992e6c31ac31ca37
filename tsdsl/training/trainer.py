"""The loop: batches in, an event for each step out.

A step takes ``train.batch`` clips over all ranks. Each rank has its share of them, in one forward
and backward pass or, to save memory, in several of ``micro_batch`` clips each whose gradients are
summed up. Without batch normalisation that makes no difference. Batch normalisation takes its
statistics over the clips of one pass of one rank (the recipe's 256 clips were 32 x 8), and the
running statistics are those of the first rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import isfinite
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tsdsl.data.dataset import generator_of
from tsdsl.data.loader import Batch, TrainLoader
from tsdsl.data.transforms import normalise
from tsdsl.diagnostics import Diagnostic, DiagnosticError
from tsdsl.record import Record
from tsdsl.training.checkpoint import State, StateMismatch, load_optimizer, load_tensors
from tsdsl.training.optimizer import make_optimizer, moving_average
from tsdsl.training.ranks import Ranks, together
from tsdsl.training.recipe import Recipe
from tsdsl.training.schedule import learning_rate
from tsdsl.training.torch_errors import (
    decoder_ended,
    first_not_finite,
    out_of_memory,
    step_failed,
)

_SLOWER = (
    "a lower rate (--set train.lr=...), a longer warm-up (train.schedule.warmup_epochs) or"
    " train.clip_gradient may help"
)


class TrainingError(DiagnosticError, RuntimeError):
    """A training that cannot go on."""


class Metrics(Record):
    """Means over the steps since the last metrics and over all ranks."""

    loss: float
    top1: float
    #: Learning rate of the last step.
    lr: float
    steps: int
    #: Mean duration of a step in seconds, and the part of it spent on waiting for data.
    seconds: float
    waited: float
    clips_per_second: float


def mean(several: Sequence[Metrics]) -> Metrics:
    """The metrics of several consecutive spans of steps, combined."""
    steps = sum(m.steps for m in several)

    def over(name: str) -> float:
        return float(sum(getattr(m, name) * m.steps for m in several)) / steps

    seconds = over("seconds")
    clips = sum(m.clips_per_second * m.seconds * m.steps for m in several)
    return Metrics(
        over("loss"),
        over("top1"),
        several[-1].lr,
        steps,
        seconds,
        over("waited"),
        clips / (seconds * steps),
    )


class StepDone(Record):
    """``step`` steps are done. ``metrics`` is None except after every ``log_every`` steps."""

    step: int
    #: Number of the epoch that this step completed, if it did.
    ended_epoch: int | None = None
    metrics: Metrics | None = None


class Trainer:
    """Trains ``net`` in place, on the device of ``ranks``.

    ``loader`` gives batches of ``micro_batch`` clips; ``accumulate`` of them are a rank's share of
    a step. ``probabilities``: the network ends in a softmax. Raises `TrainingError` if the loss is
    not finite.
    """

    def __init__(
        self,
        net: nn.Module,
        recipe: Recipe,
        loader: TrainLoader,
        ranks: Ranks,
        *,
        accumulate: int = 1,
        seed: int = 0,
        log_every: int = 10,
        channels_last: bool = False,
        probabilities: bool = False,
    ) -> None:
        train = recipe.train
        self.net = net
        self.recipe = recipe
        self.ranks = ranks
        self.seed = seed
        self.accumulate = accumulate
        self.log_every = log_every
        self.channels_last = channels_last
        self.probabilities = probabilities
        self.steps_per_epoch = len(loader) // accumulate
        assert self.steps_per_epoch > 0
        self.total_steps = max(1, round(train.epochs * self.steps_per_epoch))
        #: Number of completed steps.
        self.step = 0
        self.optimizer = make_optimizer(net, train.optimizer, train.lr)
        self.average = moving_average(net, train.ema) if train.ema else None
        self._loader = loader
        self._dtype = next(net.parameters()).dtype
        self._wrapped: nn.Module = net
        if ranks.world > 1:
            devices = [ranks.device] if ranks.device.type == "cuda" else None
            with together():
                self._wrapped = DistributedDataParallel(net, device_ids=devices)
        half = _half(ranks.device) if train.mixed_precision else None
        #: Type of mixed precision (`torch.autocast`); None for the network's own type.
        self.autocast = half
        self._scaler = torch.amp.GradScaler(ranks.device.type, enabled=half is torch.float16)
        #: Set ``stop`` to ask all ranks to stop. `stopping` is true once they agree, after a
        #: `flush`.
        self.stop = self.stopping = False
        self._reset()

    @property
    def epoch(self) -> float:
        """Number of completed epochs, as a fraction."""
        return self.step / self.steps_per_epoch

    @property
    def evaluated(self) -> nn.Module:
        """The network to evaluate: the moving average if there is one."""
        return self.average.module if self.average is not None else self.net

    def run(self) -> Iterator[StepDone]:
        """Train from the present step to the last one. The network is in training mode during a
        step; the caller may change its mode and use it between two steps."""
        while self.step < self.total_steps:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            until = min(self.total_steps, (epoch + 1) * self.steps_per_epoch)
            batches = self._loader.epoch(epoch, skip=done * self.accumulate)
            while self.step < until:
                self._step(batches)
                last = self.step == until
                metrics = self.flush() if last or self.step % self.log_every == 0 else None
                yield StepDone(self.step, epoch if last else None, metrics)

    def _step(self, batches: Iterator[Batch]) -> None:
        start = perf_counter()
        train, step = self.recipe.train, self.step
        # Random numbers in a step (dropout) depend on seed, step and rank only. No generator state
        # is saved.
        key = generator_of(self.seed, step, self.ranks.rank).initial_seed()
        torch.manual_seed(key)
        self.lr = learning_rate(train.lr, train.schedule, train.epochs, self.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self._wrapped.train()
        for part in range(self.accumulate):
            before = perf_counter()
            batch = self._next(batches)
            self._waited += perf_counter() - before
            with self._synced(last=part == self.accumulate - 1), self._of_torch(RuntimeError):
                self._pass(batch)
        with self._of_torch(RuntimeError):
            if train.clip_gradient:
                self._scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.net.parameters(), train.clip_gradient)
            self._scaler.step(self.optimizer)
            self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.net)
        self.step += 1
        self._steps += 1
        self._seconds += perf_counter() - start

    def _next(self, batches: Iterator[Batch]) -> Batch:
        """The next batch. Raises `TrainingError` where a decoding process has died or memory is
        short; anything else that a loader raises is a fault of this package."""
        try:
            return next(batches)
        except (RuntimeError, MemoryError) as bad:
            if not out_of_memory(bad) and decoder_ended(bad) is None:
                raise
            raise self._failed(bad) from bad

    @contextmanager
    def _of_torch(self, kind: type[Exception]) -> Iterator[None]:
        """Turn what torch raises in the block, an error of ``kind`` or a lack of memory, into a
        `TrainingError`. The original stays as its cause."""
        try:
            yield
        except DiagnosticError:
            raise
        except (MemoryError, kind) as bad:
            raise self._failed(bad) from bad

    def _pass(self, batch: Batch) -> None:
        device = self.ranks.device
        clips_NCTHW = normalise(batch.clips_NCTHW.to(device, non_blocking=True), self._dtype)
        labels_N = batch.labels_N.to(device, non_blocking=True)
        if self.channels_last:
            clips_NCTHW = clips_NCTHW.contiguous(memory_format=torch.channels_last_3d)
        # A layer that refuses its input, as batch normalisation does a single value, says so by a
        # ValueError. Around the network's call alone, it is the network's.
        with self._cast(), self._of_torch(ValueError):
            logits_NK = self._wrapped(clips_NCTHW)
        if self.autocast is not None:
            logits_NK = logits_NK.float()
        if self.probabilities:
            # Logarithms of probabilities are logits. Zeros are replaced by the smallest normal
            # number.
            logits_NK = logits_NK.clamp_min(torch.finfo(logits_NK.dtype).tiny).log()
        smoothing = self.recipe.train.label_smoothing
        loss = F.cross_entropy(logits_NK, labels_N, label_smoothing=smoothing)
        self._scaler.scale(loss / self.accumulate).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            right = (logits_NK.argmax(1) == labels_N).sum()
            # Kept on the device until metrics are requested, so that the GPU is not synchronised.
            self._sums += torch.stack([loss.detach().double(), right.double()])
        self._clips += len(labels_N)

    def _cast(self) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.ranks.device.type, dtype=self.autocast)

    def _synced(self, last: bool) -> AbstractContextManager[Any]:
        """Gradients are summed over ranks once, in the last pass of a step."""
        if last or not isinstance(self._wrapped, DistributedDataParallel):
            return nullcontext()
        return self._wrapped.no_sync()

    # ------------------------------------------------------------ metrics

    def _reset(self) -> None:
        # Sums of the loss and of correct predictions over all passes since the last metrics.
        self._sums = torch.zeros(2, dtype=torch.float64, device=self.ranks.device)
        self._clips = self._steps = 0
        self._waited = self._seconds = 0.0

    def flush(self) -> Metrics:
        """Metrics of the steps since the last call, of which there is at least one. All ranks call
        it together. Raises `TrainingError` if the loss is not finite."""
        assert self._steps
        before = perf_counter()
        own = self._sums.new_tensor([float(self._clips), float(self.stop)])
        loss, right, clips, stop = self.ranks.sum(torch.cat([self._sums, own])).tolist()
        self.stopping = stop > 0
        self._seconds += perf_counter() - before
        steps, seconds, waited = self._steps, self._seconds, self._waited
        self._reset()
        passes = steps * self.accumulate * self.ranks.world
        if not isfinite(loss):
            raise self._diverged(steps)
        return Metrics(
            loss / passes,
            right / clips,
            self.lr,
            steps,
            seconds / steps,
            waited / steps,
            clips / seconds,
        )

    def _failed(self, bad: Exception) -> TrainingError:
        """The finding for a step that torch could not do."""
        smaller = "fewer clips at a time, as with --micro-batch 4; or a smaller train.batch"
        return TrainingError([step_failed("E0822", self.step + 1, bad, smaller)])

    def check(self) -> None:
        """Raise `TrainingError` if a tensor is not finite, which can happen though the loss is:
        such a state is not saved."""
        held = dict(self.net.state_dict())
        if self.average is not None:
            held |= {f"average of {n}": t for n, t in self.average.module.state_dict().items()}
        name = first_not_finite(held)
        if name is not None:
            message = f"after step {self.step}, '{name}' is not finite: the state is not saved"
            raise TrainingError([Diagnostic("E0822", message, help=_SLOWER)])

    def _diverged(self, steps: int) -> TrainingError:
        where = (
            f"step {self.step}" if steps == 1 else f"steps {self.step - steps + 1} to {self.step}"
        )
        message = f"the loss is not finite in {where} (learning rate {self.lr:.4g})"
        return TrainingError([Diagnostic("E0822", message, help=_SLOWER)])

    # ------------------------------------------------------------ state

    def state(self) -> State:
        """The state from which a trainer of the same network, recipe, data and seed continues."""
        return State(
            self.step,
            self.net.state_dict(),
            self.average.module.state_dict() if self.average is not None else None,
            {
                "optimizer": self.optimizer.state_dict(),
                "scaler": self._scaler.state_dict(),
                "averaged": int(self.average.n_averaged) if self.average is not None else 0,
            },
        )

    def restore(self, state: State) -> None:
        load_tensors(self.net, state.weights)
        if self.average is not None:
            if state.average is None:
                raise StateMismatch("it has no moving average of the weights")
            load_tensors(self.average.module, state.average)
            self.average.n_averaged.fill_(state.entry("averaged"))
        load_optimizer(self.optimizer, state.entry("optimizer"))
        self._scaler.load_state_dict(state.entry("scaler"))
        self.step = state.step
        self._reset()

    def share_statistics(self) -> None:
        """Overwrite running statistics by those of the first rank, before all ranks evaluate."""
        for module in (self.net, self.average):
            for buffer in module.buffers() if module is not None else ():
                self.ranks.share(buffer)


def _half(device: torch.device) -> torch.dtype:
    """Type of mixed precision on a device. Only float16 needs loss scaling."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16
