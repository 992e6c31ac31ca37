"""What a search writes of itself: true, whole after kills, and the same as without them."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsdsl
from tsdsl.searching.alpha_image import GAP, ROW, WIDTH, image
from tsdsl.searching.distribution import Alpha

Tiny = Callable[..., tsdsl.Space]

#: What depends on the clock.
_CLOCK = ("time", "seconds", "waited", "told", "peak_memory")


def search(space: tsdsl.Space, videos: Path, folder: Path, **options: Any) -> Any:
    options = {"log_every": 2, "resume": True, **options}
    return tsdsl.search(space, videos, device="cpu", folder=folder, **options)


def lines(path: Path, *events: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [each for each in found if not events or each.get("event") in events]
    return [{k: v for k, v in each.items() if k not in _CLOCK} for each in kept]


def every(space: tsdsl.Space) -> list[dict[str, Any]]:
    named = [d.path for d in space.decisions]
    found = set()
    for options in product(*(d.options for d in space.decisions)):
        found.add(space.architecture(dict(zip(named, options, strict=True))))
    return list(found)


def test_what_is_written_is_true(tiny: Tiny, videos: Path, tmp_path: Path) -> None:
    """The last lines against all architectures one by one."""
    space = tiny()
    done = search(space, videos, tmp_path)
    step = lines(tmp_path / "log.jsonl", "step")[-1]
    last = lines(tmp_path / "log.jsonl", "distribution")[-1]
    assert step["step"] == last["step"] == 9 and last["phase"] == "second"
    now = Alpha.load(space, tmp_path / "distribution.json").now()
    archs = every(space)
    p = np.exp(now.log_probability(archs))
    flops = space.flops(archs)
    assert p.sum() == pytest.approx(1)
    assert step["entropy"] == pytest.approx(-(p[p > 0] * np.log(p[p > 0])).sum())
    assert step["expected"]["flops"] == pytest.approx(p @ flops)
    assert step["most_probable"]["flops"] == flops[p.argmax()]
    assert step["samples"] == 3 and step["lr_arch"] == 0.1 and step["arch_gradient_norm"] > 0
    assert last["most_probable"]["decisions"] == dict(archs[p.argmax()])
    assert np.exp(last["most_probable"]["log_probability"]) == pytest.approx(p.max())
    inside = (flops >= 120e3) & (flops <= 1e6)
    low, high = last["mass"]
    assert low - 1e-12 <= p[inside].sum() <= high + 1e-12
    best = archs[int(np.where(inside, p, -1).argmax())]
    assert done.met and last["inside"]["decisions"] == dict(best) == dict(done.architecture)
    assert last["inside"]["flops"] == done.flops
    assert last["cost_variance"]["exact"] == 0 <= last["cost_variance"]["sampled"]


def test_alpha_over_time(tiny: Tiny, videos: Path, tmp_path: Path) -> None:
    space = tiny()
    search(space, videos, tmp_path)
    head, *moments = lines(tmp_path / "alpha.jsonl")
    assert head["format"] == "tsnet-alpha/1"
    assert [d["path"] for d in head["decisions"]] == [d.path for d in space.decisions]
    assert [(p["first"], p["steps"]) for p in head["phases"]] == [(0, 6), (6, 3)]
    assert [(each["step"], each["phase"]) for each in moments] == [
        *((k, "first") for k in (0, 2, 4, 6)),
        *((k, "second") for k in (8, 9)),
    ]
    # From the spec's weights to what the run has saved; what the first phase chose is certain then.
    initial = space.distribution().probabilities
    final = Alpha.load(space, tmp_path / "distribution.json").now().distribution.probabilities
    learned = head["phases"][0]["learned"]
    for k, d in enumerate(space.decisions):
        if k in learned:
            assert moments[0]["p"][k] == pytest.approx(initial[d.path], abs=1e-4)
            assert max(moments[-1]["p"][k]) == 1
        assert moments[-1]["p"][k] == pytest.approx(final[d.path], abs=1e-4)
    found = lines(tmp_path / "log.jsonl", "phase")[0]["decisions"]
    for k in learned:
        d = space.decisions[k]
        if d.path in found:
            assert d.options[int(np.argmax(moments[-1]["p"][k]))] == found[d.path]


@pytest.mark.parametrize("stops", [[1, 6, 7]])
def test_resumed(tiny: Tiny, videos: Path, tmp_path: Path, stops: list[int]) -> None:
    """Stopped, and its last lines torn or written twice: the files of one that was not stopped."""
    space = tiny(True)
    options: dict[str, Any] = {"log_every": 1, "save_every": 2}
    search(space, videos, tmp_path / "straight", **options)
    folder = tmp_path / "stopped"
    for stop in stops:
        seen = [0]
        tell = lambda event, seen=seen: seen.append(getattr(event, "step", 0))  # noqa: E731
        stop_at = lambda seen=seen, stop=stop: seen[-1] >= stop  # noqa: E731
        done = search(space, videos, folder, on_event=tell, stop=stop_at, **options)
        assert done.interrupted
        for name in ("log.jsonl", "alpha.jsonl"):
            with (folder / name).open("a") as file:
                file.write(json.dumps({"event": "step", "step": 8 + stop, "p": []}) + '\n{"ev')
    search(space, videos, folder, **options)
    search(space, videos, folder, **options)
    told = "step", "phase", "end"
    one, other = (lines(f / "log.jsonl", *told) for f in (folder, tmp_path / "straight"))
    assert one == other and len(one) == 9 + 2 + 1
    assert lines(folder / "alpha.jsonl") == lines(tmp_path / "straight/alpha.jsonl")


def test_steps_between_lines(tiny: Tiny, videos: Path, tmp_path: Path) -> None:
    """A checkpoint in between is no reason to lose what came before it."""
    space = tiny()
    search(space, videos, tmp_path, log_every=4, save_every=3)
    steps = lines(tmp_path / "log.jsonl", "step")
    assert [each["step"] for each in steps] == [3, 4, 6, 8, 9]


def test_tensorboard(tiny: Tiny, videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    search(tiny(), videos, tmp_path, tensorboard=True)
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    steps = lines(tmp_path / "log.jsonl", "step")
    entropy = [(e.step, e.value) for e in read.Scalars("search/entropy")]
    assert entropy == [(s["step"], pytest.approx(s["entropy"])) for s in steps]
    assert {"expected/flops", "most_probable/flops", "budget/mass", "search/lr"} <= set(
        read.Tags()["scalars"]
    )
    assert [e.step for e in read.Images("alpha")] == [6, 9]


def test_image() -> None:
    p_OM = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 1.0]])
    learned_OM = np.array([[True, True], [True, True], [True, False]])
    drawn = image(p_OM, learned_OM, [2, 1])
    assert drawn.shape == (3 * ROW + GAP, WIDTH, 3)
    dark = drawn.sum(2)
    assert dark[0, 0] > dark[0, -1] and dark[ROW, 0] < dark[ROW, -1]
    assert dark[0, -1] < dark[-1, 0] < dark[0, 0]
    # What stands is grey.
    assert len(set(drawn[-1, -1].tolist())) == 1 < len(set(drawn[0, -1].tolist()))
    assert (drawn[2 * ROW] != drawn[2 * ROW + GAP]).any()
