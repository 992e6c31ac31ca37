"""Objects show themselves in a line, and as a small table of HTML, whatever names hold."""

from __future__ import annotations

import pickle
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import tsdsl
from tsdsl import plots
from tsdsl.backends.bench import BenchReport, BenchRow, Quartiles
from tsdsl.diagnostics.unknown_name import UnknownName
from tsdsl.notebook import MAX_ROWS, html_table, listed, shortened
from tsdsl.training.events import TrainingFinished
from tsdsl.training.scores import Scores

SPECS = Path(__file__).resolve().parents[2] / "specs"
HOSTILE = "<script>alert('x')</script>&\"\x1b[31m\u202e\n"


@pytest.fixture(scope="module")
def large() -> tsdsl.Space:
    return tsdsl.load(SPECS / "auto_tsnet_s.tsnet")


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert all(name in ("style", "colspan") for name, _ in attrs)
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def is_a_table(text: str) -> bool:
    found = _Tags(text)
    allowed = {"table", "caption", "b", "thead", "tbody", "tr", "th", "td"}
    return not found.open and set(found.tags) <= allowed and "color" not in text


def scores() -> Scores:
    shares = np.array([[0.7, 0.3], [0.6, 0.4]])
    labels = np.array([0, 1])
    return Scores(shares, labels, np.arange(2), ("a", "b"), ("x", HOSTILE), 1)


def report() -> BenchReport:
    once = Quartiles.over([1e6, 2e6])
    rows = (BenchRow(HOSTILE, latency=once, ratio=once), BenchRow("bad", failure=HOSTILE))
    return BenchReport(rows, HOSTILE, {"device": HOSTILE, "dtype": "float32", "batch": 1})


def hostile() -> list[Any]:
    table = tsdsl.CostTable(HOSTILE, HOSTILE, {}, {"device": HOSTILE})
    return [
        tsdsl.Architecture({HOSTILE: HOSTILE, "b": True}, space=HOSTILE),
        table,
        scores(),
        report(),
        TrainingFinished(3, 1.5, 10.0, loss=0.5, top1=0.25, best_top1=0.5, best_epoch=1),
    ]


@pytest.mark.parametrize("value", hostile(), ids=lambda value: type(value).__name__)
def test_names_can_hold_anything(value: Any) -> None:
    line, html = repr(value), value._repr_html_()
    assert "\n" not in line and "\x1b" not in line and len(line) < 400
    assert is_a_table(html) and "<script" not in html
    assert not {"\x1b", "\u202e"} & set(html)


def test_objects_of_a_space(space: tsdsl.Space) -> None:
    arch = space.sample(seed=0)
    shown = [
        space,
        arch,
        space.decisions[0],
        space.distribution(),
        space.bounds("macs"),
        scores(),
    ]
    for value in shown:
        assert "\n" not in repr(value)
        assert is_a_table(value._repr_html_())
    assert repr(space) == "<Space Small: 4 decisions, clip 3x4x16x16>"
    assert repr(space.decisions[0]) == "<Decision main.s1.width: 8 | 16 | 24 (default 8)>"
    assert "main.s1[0].kernel" in space._repr_html_()
    assert repr(arch).startswith("<Architecture of Small, ")
    for path, option in arch.items():
        assert f">{path}<" in arch._repr_html_() and f">{option}<" in arch._repr_html_()


def test_showing_a_huge_space_computes_nothing(large: tsdsl.Space) -> None:
    html = large._repr_html_() + large.distribution()._repr_html_()
    assert is_a_table(html) and html.count("... and ") == 2 and len(html) < 60_000
    # The number of architectures would take a pass of elimination.
    assert large._size is None and "architectures" not in html
    assert f"... and {len(large.decisions) - MAX_ROWS} more" in html


def test_rows_and_texts_are_bounded() -> None:
    html = html_table("c", ["a"], ([str(k)] for k in range(10**9)), total=10**9)
    assert html.count("<tr>") == MAX_ROWS + 2 and "... and 999,999,940 more" in html
    assert "... and more" in html_table("c", ["a"], ([str(k)] for k in range(10**9)))
    assert "more" not in html_table("c", ["a"], [["x"]] * MAX_ROWS)
    assert is_a_table(html_table("nothing", ["a"], []))
    assert len(shortened("x" * 10**6)) == 120 and len(listed("x" * 50 for _ in range(99))) < 130


def test_unknown_names_suggest_the_nearest(space: tsdsl.Space) -> None:
    arch, distribution = space.sample(seed=0), space.distribution()
    asks: list[Any] = [
        lambda: arch["main.s1.widht"],
        lambda: space.decision("main.s1.widht"),
        lambda: distribution.probabilities["main.s1.widht"],
        lambda: distribution.logits["main.s1.widht"],
    ]
    for ask in asks:
        with pytest.raises(KeyError, match=r"did you mean 'main\.s1\.width'") as caught:
            ask()
        assert isinstance(caught.value, UnknownName) and caught.value.name == "main.s1.widht"
        assert "Small" in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(KeyError, match="names are strings"):
        arch[3]  # type: ignore[index]
    with pytest.raises(KeyError, match="there is no network 'good'"):
        report().row("good")


def test_an_architecture_is_still_a_mapping(space: tsdsl.Space) -> None:
    arch = space.sample(seed=0)
    assert "main.s1.widht" not in arch and "main.s1.width" in arch and 3 not in arch
    assert arch.get("main.s1.widht") is None and arch.get("main.s1.widht", 5) == 5
    assert dict(arch) == {path: arch[path] for path in arch} and len(arch) == len(list(arch))
    assert {arch: 1}[pickle.loads(pickle.dumps(arch))] == 1
    match arch:
        case {"main.s1.width": width}:
            assert width == arch["main.s1.width"]
        case _:
            raise AssertionError


def test_figures_come_inline(space: tsdsl.Space) -> None:
    figure = tsdsl.plots.overview(space)
    assert isinstance(figure, Figure) and tsdsl.plots is plots
    svg: str = figure._repr_svg_()  # type: ignore[attr-defined]
    assert svg.startswith("<?xml") and svg.encode() == plots.render(figure, ".svg")
    png: bytes = plots.spread(space, "macs").figure._repr_png_()  # type: ignore[union-attr]
    assert png.startswith(b"\x89PNG")
