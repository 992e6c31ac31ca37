"""Figures show what the space computes. Files are valid and reproducible."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch

import tsdsl
from tsdsl import plots
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.elimination.configurations import configurations
from tsdsl.analysis.summary import summarise
from tsdsl.plots.phase_panel import PhasePanel
from tsdsl.plots.style import WINDOW

SPECS = Path(__file__).resolve().parents[2] / "specs"
SVG = "{http://www.w3.org/2000/svg}"

ONE_COST = """\
tsnet 1
space One {
  input clip(channels=3, frames=4, height=32, width=32, interval=1)
  stream main(clip, every=1) {
    stem conv(8, 3x3x3)
    stage a { act ~ {relu, swish}  use act }
  }
  head main -> global_avg_pool -> linear(10)
}
"""
NOTHING = ONE_COST.replace("conv(8, 3x3x3)", "relu").replace(" -> linear(10)", "")


def texts(svg: bytes) -> str:
    """All text of an SVG, which has to be well-formed."""
    root = ElementTree.fromstring(svg)
    return "\n".join("".join(t.itertext()) for t in root.iter(f"{SVG}text"))


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def rows(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def bars(ax: Axes) -> dict[float, float]:
    """Total length of each bar, by its vertical position."""
    found: dict[float, float] = {}
    for patch in ax.patches:
        assert isinstance(patch, Rectangle)
        y = round(patch.get_y(), 6)
        assert patch.get_x() == pytest.approx(found.get(y, 0.0))
        found[y] = found.get(y, 0.0) + patch.get_width()
    return dict(sorted(found.items()))


# ------------------------------------------------------------------ files


def test_svg(small: tsdsl.Space) -> None:
    made = plots.render(plots.overview(small))
    root = ElementTree.fromstring(made)
    assert root.get("role") == "img"
    assert [child.tag for child in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert "FLOPs of the architectures of Small" in (root[0].text or "")
    assert "second: mean" in (root[1].text or "")
    shown = texts(made)
    for said in (
        "FLOPs of the architectures of Small",
        "Parameters of the architectures of Small",
        "FLOPs by stage: Small",
        "FLOPs in the phases of the search: Small",
        "MFLOPs (multiply-adds)",
        "parameters (k)",
        "initial distribution",
        "budget 30 to 40 MFLOPs",
        "slow",
        "fusion",
        "attention",
        "s2",
        "(slow only)",
    ):
        assert said in shown, said


def test_png(small: tsdsl.Space) -> None:
    figure = plots.overview(small)
    made = plots.render(figure, ".png")
    assert made.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", made[16:24])
    assert [width, height] == pytest.approx(
        [150 * inches for inches in figure.get_size_inches()], abs=1
    )


def test_save_chooses_by_suffix(small: tsdsl.Space, tmp_path: Path) -> None:
    figure = plots.network(small, small.sample(seed=0))
    for suffix, start in ((".svg", b"<?xml"), (".PNG", b"\x89PNG"), (".pdf", b"%PDF")):
        plots.save(figure, tmp_path / f"a{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf, not '\.gif'"):
        plots.save(figure, tmp_path / "a.gif")
    with pytest.raises(tsdsl.FileError):
        plots.save(figure, tmp_path / "none" / "a.svg")


@pytest.mark.parametrize("suffix", plots.FORMATS)
def test_equal_input_equal_bytes(small: tsdsl.Space, suffix: str) -> None:
    first = plots.render(plots.overview(small), suffix)
    again = plots.overview(tsdsl.load(small.graph.source))
    assert plots.render(again, suffix) == first
    assert plots.render(again, suffix) == first
    assert matplotlib.__version__.encode() not in first


def test_equal_in_other_processes(small: tsdsl.Space, tmp_path: Path) -> None:
    """Also at another time, with another order of sets and another user's configuration."""
    program = (
        "import sys, tsdsl; from tsdsl import plots;"
        "plots.save(plots.overview(tsdsl.load(sys.argv[1])), sys.argv[2]);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nsvg.fonttype: path\naxes.grid: True\n")
    for name, seed, when in (("a.svg", "1", "0"), ("b.svg", "2", "1000000000")):
        settings = {"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": when}
        if name == "b.svg":
            settings["MATPLOTLIBRC"] = str(tmp_path)
        subprocess.run(
            [sys.executable, "-c", program, small.graph.source, str(tmp_path / name)],
            check=True,
            env={**os.environ, **settings},
        )
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_nothing_global_changes(small: tsdsl.Space) -> None:
    before = dict(matplotlib.rcParams)
    plots.render(plots.network(small))
    assert dict(matplotlib.rcParams) == before


# ------------------------------------------------------------------ how a cost is spread


def test_bars_are_the_histogram(small: tsdsl.Space) -> None:
    ax = plots.spread(small, "macs", bins=20)
    outlines = [p for p in ax.patches if isinstance(p, StepPatch) and not p.get_fill()]
    for weights, patch in zip((None, "architectures"), outlines, strict=True):
        expected = small.histogram("macs", 20, weights)
        assert patch.get_data().values == pytest.approx(expected.share)
        assert patch.get_data().edges == pytest.approx(expected.edges / 1e6)
    ends = small.bounds("macs")
    low, high = ax.get_xlim()
    assert low < ends.min.value / 1e6 < ends.max.value / 1e6 < high
    mean, std = small.expectation("macs") / 1e6, small.std("macs") / 1e6
    assert f"mean {mean:.3f} ± {std:.3f}" in ax.texts[0].get_text()
    assert f"{ends.min.value / 1e6:.3f} to {ends.max.value / 1e6:.3f} MFLOPs" in str(ax.get_label())


def test_alike_distributions_are_drawn_once(load) -> None:
    text = ONE_COST.replace(
        "act ~ {relu, swish}  use act", "use conv(out ~ {4, 8, 12}, kernel=1x1x1)"
    )
    assert legend(plots.spread(load(text))) == ["initial distribution"]


def test_given_distribution(small: tsdsl.Space) -> None:
    given = {"slow.s1.width": (0.0, 0.0, 0.0, 1.0)}
    ax = plots.spread(small, "params", distribution=given)
    assert "given distribution" in legend(ax)
    filled = [p for p in ax.patches if isinstance(p, StepPatch) and p.get_fill()]
    expected = small.histogram("params", 100, given)
    assert filled[0].get_data().values == pytest.approx(expected.share)


def test_band_where_bounds_differ() -> None:
    space = tsdsl.load(SPECS.parent / "examples" / "two_stream.tsnet")
    ax = plots.spread(space, "macs", bins=10, uniform=False)
    assert "proven bounds" in legend(ax)
    band = [p for p in ax.patches if isinstance(p, StepPatch) and p.get_fill()][-1]
    expected = space.histogram("macs", 10)
    assert not expected.exact
    assert band.get_data().values == pytest.approx(expected.high)
    assert np.asarray(band.get_data().baseline) == pytest.approx(expected.low)


def test_no_band_where_exact(small: tsdsl.Space) -> None:
    assert small.histogram("macs").exact
    assert "proven bounds" not in legend(plots.spread(small))


def window_of(ax: Axes) -> tuple[float, float] | None:
    """The ends of the shaded window."""
    for patch in ax.patches:
        if isinstance(patch, Rectangle) and patch.get_facecolor()[:3] == matplotlib.colors.to_rgb(
            WINDOW
        ):
            return patch.get_x(), patch.get_x() + patch.get_width()
    return None


@pytest.mark.parametrize(
    ("window", "shaded", "said"),
    [
        ((20e6, 30e6), (20.0, 30.0), "window 20 to 30 MFLOPs: "),
        ((20e6, float("inf")), (20.0, None), "window from 20 MFLOPs: "),
        ((float("-inf"), 32.5e6), (None, 32.5), "window up to 32.5 MFLOPs: "),
        ((0, 1000), None, "window 0 to 1 kFLOPs: 0%"),
        ((1e15, 2e15), None, "window 1 to 2 PFLOPs: 0%"),
    ],
)
def test_window(small: tsdsl.Space, window, shaded, said: str) -> None:
    ax = plots.spread(small, window=window)
    label = next(text for text in legend(ax) if text.startswith("window"))
    assert label.startswith(said)
    share = small.mass(within={"macs": window})
    assert share.exact
    assert label.endswith(f": {100 * share.low:.1f}%" if share.low else ": 0%")
    if shaded is None:
        assert window_of(ax) is None
        return
    ends = [a if a is not None else b for a, b in zip(shaded, ax.get_xlim(), strict=True)]
    assert window_of(ax) == pytest.approx(ends)


def test_reversed_budgets(small: tsdsl.Space) -> None:
    """Budgets that exclude each other give a reversed window."""
    summary = summarise(small, None, {"macs": (32e6, 20e6)})
    ax = plots.overview(summary).axes[0]
    assert "window 32 to 20 MFLOPs: none" in legend(ax) and window_of(ax) is None


def test_one_cost(load) -> None:
    ax = plots.spread(load(ONE_COST), window=(1e6, 2e6))
    macs = load(ONE_COST).bounds("macs").min.value
    assert ax.lines[0].get_xdata()[0] == pytest.approx(macs / 1e6)
    assert legend(ax) == ["window 1 to 2 MFLOPs: " + ("all" if 1e6 <= macs <= 2e6 else "none")]


def test_costs_that_differ_in_their_last_digits(load) -> None:
    text = ONE_COST.replace("height=32, width=32", "height=1024, width=1024")
    text = text.replace(" -> linear(10)", " -> linear(out ~ {10, 11}) -> linear(3)")
    space = load(text)
    least = space.bounds("macs").min.value
    ax = plots.spread(space)
    assert ax.get_xlabel() == f"FLOPs (multiply-adds) above the minimum of {least:,}"
    assert ax.get_xlim()[0] < 0 < 11 < ax.get_xlim()[1]


# ------------------------------------------------------------------ by stage


def test_stages_of_a_space(small: tsdsl.Space) -> None:
    ax = plots.stages(small)
    assert rows(ax) == ["stem", "s1", "s2", "head"]
    assert legend(ax) == ["slow", "fast", "fusion", "attention", "head"]
    lengths = list(bars(ax).values())
    assert len(lengths) == 3 * 4
    ends = small.bounds("macs")
    assert sum(lengths[0::3]) == pytest.approx(ends.min.value / 1e6)
    assert sum(lengths[1::3]) == pytest.approx(small.expectation("macs") / 1e6)
    assert sum(lengths[2::3]) == pytest.approx(ends.max.value / 1e6)
    groups = small.breakdown("macs", "stage")
    held = [value for name, value in groups.items() if name.endswith("s2")]
    assert lengths[7] == pytest.approx(sum(held) / 1e6)


@pytest.mark.parametrize("by", ["stream", "stage", "block", "op"])
def test_one_architecture(small: tsdsl.Space, by) -> None:
    arch = small.sample(seed=3)
    ax = plots.stages(small, architecture=arch, by=by)
    assert sum(bars(ax).values()) == pytest.approx(small.flops(arch) / 1e6)
    assert len(bars(ax)) == len(rows(ax))
    assert "one architecture of Small" in ax.get_title(loc="left")


def test_published_network() -> None:
    space = tsdsl.load(SPECS / "slowfast_r50.tsnet")
    (ax,) = plots.overview(space).axes
    assert rows(ax) == ["stem", "res2", "res3", "res4", "res5", "head"]
    assert sum(bars(ax).values()) == pytest.approx(space.flops() / 1e9)
    assert ax.get_xlabel() == "GFLOPs (multiply-adds)"
    shares = [float(t.get_text().split()[1].strip("<%")) for t in ax.texts if "%" in t.get_text()]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_no_multiply_adds(load) -> None:
    space = load(NOTHING)
    assert space.bounds("macs").max.value == 0
    figure = plots.overview(space)
    assert "all cost the same: 0 GFLOPs" in texts(plots.render(figure))
    assert rows(figure.axes[-1]) == ["stem", "a", "head"]


def test_many_rows_with_long_names(load) -> None:
    names = [f"a_stage_with_a_name_that_is_long_{k}" for k in range(130)]
    stages = "".join(f"stage {name} {{ use conv(4, 1x1x1) }}\n" for name in names)
    space = load(ONE_COST.replace("stage a { act ~ {relu, swish}  use act }", stages))
    (ax,) = plots.network(space).axes
    shown = rows(ax)
    assert len(shown) == 120 and shown[-1] == "13 others"
    assert all(len(name) <= 26 for name in shown) and shown[5].endswith("_long_4")
    assert sum(bars(ax).values()) == pytest.approx(space.flops() / 1e6)


# ------------------------------------------------------------------ by phase


def test_phases(small: tsdsl.Space) -> None:
    ax = plots.phases(small)
    assert rows(ax) == ["first\n(slow only)", "second"]
    lines = [line for line in ax.lines if line.get_marker() == "o"]
    for phase, line in zip(small.phases(), lines, strict=True):
        assert line.get_xdata()[0] == pytest.approx((phase.mean or 0) / 1e6)
    budgets = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [(b.get_x(), b.get_width()) for b in budgets] == [(20.0, 10.0), (30.0, 10.0)]


def test_phase_without_architecture(small: tsdsl.Space) -> None:
    panel = PhasePanel.of(small)
    first, second = panel.found
    gone = type(first)(first.name, first.streams, first.learned, None, None, None, None, ())
    ax = Figure().add_subplot()
    PhasePanel(panel.space, panel.streams, panel.cost, [gone, second]).draw(ax)
    assert "no architecture keeps the requirements" in ax.texts[0].get_text()


def test_no_phases(load) -> None:
    with pytest.raises(ValueError, match="has no phases"):
        plots.phases(load(ONE_COST))


# ------------------------------------------------------------------ whole figures


def test_own_axes(small: tsdsl.Space) -> None:
    """Panels side by side, in a figure of the caller."""
    figure = Figure(figsize=(14, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    assert plots.spread(small, ax=left) is left
    assert plots.stages(small, ax=right) is right
    assert texts(plots.render(figure)).count("MFLOPs (multiply-adds)") == 2


def test_windows_replace_budgets(small: tsdsl.Space) -> None:
    figure = plots.overview(summarise(small, None, {"params": (0, 10e3)}))
    assert window_of(figure.axes[0]) is None
    assert "window 0 to 10 k: " in "\n".join(legend(figure.axes[1]))


def latency(space: tsdsl.Space, name: str, unit: str) -> CostTable:
    found = configurations(space.graph).configurations
    return CostTable(name, unit, {c: 20_000 + 1000 * k for k, c in enumerate(found)}, {})


def test_measured_cost(small: tsdsl.Space) -> None:
    space = small.with_costs(latency(small, "latency", "ns"))
    shown = texts(plots.render(plots.overview(space)))
    assert "Latency of the architectures of Small" in shown
    assert "latency (ms), the sum over operations" in shown
    assert "Latency by stage: Small" in shown


def test_names_from_files_are_text(small: tsdsl.Space) -> None:
    """Neither formulas nor markup nor control characters; a script that the font lacks."""
    name = "$x_{<&>}\x1b[31m\N{CJK UNIFIED IDEOGRAPH-6642}$"
    space = small.with_costs(latency(small, name, "$j$"))
    for suffix in plots.FORMATS:
        made = plots.render(plots.overview(space), suffix)
        if suffix == ".svg":
            assert "$x_{<&>}" in texts(made) and b"\x1b" not in made
