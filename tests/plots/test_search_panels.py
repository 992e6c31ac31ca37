"""Figures of a search, from files in the form of `tsdsl search`, with few and with many
decisions."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tsdsl import plots
from tsdsl.diagnostics import FileError, SpecError
from tsdsl.searching.history import History

#: Steps of the two phases.
FIRST, SECOND = 40, 20


def write(folder: Path, decisions: int, seed: int = 0, until: int = FIRST + SECOND) -> Path:
    """Write a history: even decisions are learned first, odd ones second; every tenth step is
    logged."""
    draw = np.random.default_rng(seed)
    options = [["1x1x1", 2.5, True, "$a$<&>"][: 2 + k % 3] for k in range(decisions)]
    named = [{"path": f"s.b[{k}].kernel", "options": o} for k, o in enumerate(options)]
    phase: dict[str, Any] = {"warmup": 0, "budgets": []}
    budget = {"cost": "flops", "low": 1e9, "high": 2e9, "weight": 0.2}
    phases = [
        {**phase, "name": "one", "first": 0, "steps": FIRST, "learned": [*range(0, decisions, 2)]},
        {
            **phase,
            "name": "two",
            "first": FIRST,
            "steps": SECOND,
            "learned": [*range(1, decisions, 2)],
            "budgets": [budget],
        },
    ]
    head = {"format": "tsnet-alpha/1", "space": "S", "decisions": named, "phases": phases}
    alpha, log = [head], []
    for step in range(0, until + 1, 10):
        name = "one" if step <= FIRST else "two"
        p = [draw.dirichlet(np.ones(len(o))).round(4).clip(0, 1).tolist() for o in options]
        alpha.append({"step": step, "phase": name, "p": p})
        if step:
            costs = {"expected": {"flops": 1.5e9 + step}, "most_probable": None}
            log.append({"event": "step", "step": step, "loss": 1 / step, "entropy": None, **costs})
    log.append({"event": "distribution", "step": until, "mass": [0.25, 0.75]})
    folder.mkdir(exist_ok=True)
    for file, lines in (("alpha.jsonl", alpha), ("log.jsonl", log)):
        (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    return folder


def maps(figure: Any) -> list[Any]:
    return [ax for ax in figure.axes if ax.images]


@pytest.mark.parametrize(("decisions", "columns"), [(3, 1), (30, 1), (120, 2)])
def test_every_option_has_its_place(tmp_path: Path, decisions: int, columns: int) -> None:
    history = History.read(write(tmp_path / "run", decisions))
    figure = plots.search(history)
    found = maps(figure)
    assert len(found) == columns
    images = [image for ax in found for image in ax.images]
    assert len(images) == decisions
    at = 0
    for (_, options), image in zip(history.decisions, images, strict=True):
        assert image.get_array().shape[0] == len(options)
        for row in image.get_array():
            # The first pixels show step 0, the last ones the last step.
            for pixel, moment in ((0, 0), (-1, -1)):
                p = history.p_OM[at, moment]
                full = np.array([16, 68, 108] if history.learned_OM[at, moment] else [150] * 3)
                assert np.abs(row[pixel] - (250 + p * (full - 250.0))).max() <= 1
            at += 1
    texts = [text.get_text() for ax in found for text in ax.texts]
    assert sum(text.startswith("s.b[") for text in texts) == decisions
    # Options have names where there is space, and no name overlaps another.
    assert (texts.count("1x1x1") == decisions) == (decisions <= 30)
    for ax in found:
        names = sorted(t.xy[1] for t in ax.texts if t.get_text().startswith("s.b["))
        assert all(b - a >= 0.1 for a, b in pairwise(names))
    width, height = figure.get_size_inches()
    assert height < 3 * width + 8
    for suffix in plots.FORMATS if decisions == 3 else (".svg",):
        plots.save(figure, tmp_path / f"f{suffix}")


def test_a_phase_begins_where_it_begins(tmp_path: Path) -> None:
    """No record is shown outside of its phase."""
    history = History.read(write(tmp_path / "run", 2))
    image = maps(plots.search(history))[0].images[0].get_array()
    edge = round(image.shape[1] * FIRST / (FIRST + SECOND))
    grey = [len(set(pixel.tolist())) == 1 for pixel in image[0]]
    assert not any(grey[:edge]) and all(grey[edge:])


def test_while_it_runs(tmp_path: Path) -> None:
    history = History.read(write(tmp_path / "run", 2, until=20))
    ax = maps(plots.search(history))[0]
    image = ax.images[0].get_array()
    told = image.shape[1] * 20 // (FIRST + SECOND)
    assert (image[:, told + 1 :] == 255).all() and (image[:, : told - 1] != 255).any(2).all()
    assert ax.get_xlim() == (0, FIRST + SECOND)


def test_curves(tmp_path: Path) -> None:
    figure = plots.search(History.read(write(tmp_path / "run", 2)))
    titles = {ax.get_title(loc="left"): ax for ax in figure.axes}
    cost = titles["GFLOPs (multiply-adds)"]
    assert cost.get_lines()[0].get_ydata().tolist() == pytest.approx([1.5] * 4)
    band = cost.patches[0]
    assert (band.get_x(), band.get_width(), band.get_y(), band.get_height()) == (40, 20, 1, 1)
    assert titles["Probability inside the budgets"].get_ylim() == (-0.05, 1.05)
    assert to_rgb(cost.get_lines()[0].get_color()) == to_rgb("#10446c")


def test_only_some(tmp_path: Path) -> None:
    history = History.read(write(tmp_path / "run", 9))
    assert len(maps(plots.search(history, ["s.b[3]", "s.b[4].kernel"]))[0].images) == 2
    with pytest.raises(ValueError, match=r"begins with 's\.b\[1'"):
        plots.search(history, ["s.b[1"])


def test_the_same_bytes(tmp_path: Path) -> None:
    history = History.read(write(tmp_path / "run", 3))
    one, other = (plots.render(plots.search(history)) for _ in range(2))
    assert one == other and b"Most probable at step 60" in one


def test_what_is_no_search(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such record"):
        History.read(tmp_path)
    path = write(tmp_path / "run", 2) / "alpha.jsonl"
    good = path.read_text().splitlines()
    for bad in (
        [],
        ["{}"],
        ["[1]"],
        good[:1],
        [good[0].replace("alpha/1", "alpha/2"), *good[1:]],
        [good[0].replace('"one"', '"other"'), *good[1:]],
        [*good[:2], good[1]],
        [good[0], json.dumps({"step": 1, "phase": "one", "p": [[0.5, 0.5]]})],
        [good[0], json.dumps({"step": 1, "phase": "one", "p": [[2, 0], [0, 0, 1]]})],
        [good[0].replace('"first": 0', '"first": "x"'), *good[1:]],
    ):
        path.write_text("\n".join(bad))
        with pytest.raises(SpecError, match="not how a search went"):
            History.read(path.parent)
