"""NNI 3: a model space written with its mutable modules, and its profiler's expression.

The profiler (`nni/nas/profiler/pytorch/flops.py` of microsoft/nni) infers symbolic shapes and
keeps the cost as one expression, which is evaluated for each sample.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any

import described
import nni
import numpy as np
import torch
from described import Described, Inexpressible, rate, rejection, run
from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter
from nni.nas.oneshot.pytorch.supermodule._expression_utils import expression_expectation
from nni.nas.profiler.pytorch.flops import FlopsProfiler
from nni_networks import AutoTSNetS, Coupled, Spec

#: CPU seconds after which an expectation is aborted.
PATIENCE = 20
#: Settings of NNI that count multiply-adds of convolutions, linear layers and matrix products only.
MACS = {"count_bias": False, "count_normalization": False, "count_activation": False}


def clips(space: Described) -> Any:
    """Inputs on the meta device."""
    clip = torch.zeros(1, *space.plain["clip"], device="meta")
    return (clip[:, :, :: AutoTSNetS.EVERY], clip) if space.name == "AutoTSNetS" else clip


class TooLong(Exception):
    pass


def within(seconds: int, function: Callable[[], object]) -> float | None:
    """Duration of a call; None if it takes more CPU seconds than given."""

    running = True

    def stop(*_: object) -> None:
        # A signal may arrive after the call has ended.
        if running:
            raise TooLong

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    start = described.now()
    try:
        function()
        running = False
        return described.now() - start
    except TooLong:
        return None
    finally:
        running = False
        signal.setitimer(signal.ITIMER_PROF, 0)


def measure(space: Described) -> dict[str, Any]:
    logging.disable(logging.WARNING)
    models = {"Coupled": Coupled, "AutoTSNetS": AutoTSNetS}
    if space.name not in models:
        raise Inexpressible("its network is not written for NNI here")
    start = described.now()
    spec = Spec(space)
    with torch.device("meta"):
        model = models[space.name](spec)
    profiler = FlopsProfiler(model, clips(space), **MACS)
    built = described.now() - start
    rows = space.plain["checked"]["options"]
    agrees = space.agrees(lambda row: profiler.profile(spec.sample(row)))
    samples = [spec.sample(row) for row in rows]
    mutables = model.simplify()
    state = np.random.RandomState(0)

    def draw() -> list[dict[str, Any]]:
        return [{k: m.random(None, state) for k, m in mutables.items()} for _ in range(20)]

    def cost() -> int:
        for sample in samples:
            profiler.profile(sample)
        return len(samples)

    means = expectations(space, spec, profiler)
    return {
        "version": nni.__version__,
        "figures": {
            "tables": {"value": built},
            "cost": {"value": rate(cost, space.seconds), "note": agrees},
            **means,
            "sample": {"value": rate(lambda: len(draw()), space.seconds)},
            **filtered(space, profiler, draw),
        },
        "cannot": [
            "minimum and maximum other than by listing all combinations; count; histogram;"
            " costs of many at once",
        ],
    }


def expectations(
    space: Described, spec: Spec, profiler: FlopsProfiler
) -> dict[str, dict[str, Any]]:
    """Durations of `ExpectationProfilerPenalty` and of its gradient by autograd: each term of the
    sum over all combinations of its choices."""
    made: dict[str, dict[str, Any]] = {}
    logits = {p: torch.zeros(len(v), dtype=torch.float64) for p, v in spec.values.items()}
    found = 0.0

    def mean() -> None:
        nonlocal found
        shares = {p: x.softmax(0).tolist() for p, x in logits.items()}
        found = float(expression_expectation(profiler.expression, shares))

    def gradient() -> None:
        leaves = {p: x.clone().requires_grad_() for p, x in logits.items()}
        shares = {p: x.softmax(0) for p, x in leaves.items()}
        expression_expectation(profiler.expression, shares).backward()

    for key, function in (("expectation", mean), ("gradient", gradient)):
        took = within(PATIENCE, function)
        if took is None:
            made[key] = {"note": f"none in {PATIENCE} s"}
        elif key == "gradient":
            made[key] = {"value": took}
        else:
            same = abs(found / space.plain["expectation"] - 1) < 1e-9
            made[key] = {"value": took, "note": "equal" if same else f"it says {found}"}
    return made


def filtered(
    space: Described, profiler: FlopsProfiler, draw: Callable[[], list[dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Samples per second in each window, by rejection with NNI's own filter."""

    def inside(name: str) -> Callable[[np.ndarray], np.ndarray]:
        window = space.windows[name]
        keeps = RangeProfilerFilter(profiler, window["low"], window["high"])
        return lambda drawn: np.array([keeps(sample) for sample in drawn])

    return rejection(space, draw, inside)


if __name__ == "__main__":
    run(measure)
