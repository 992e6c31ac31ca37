"""A summary has the answers of single queries, and a note for each that is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from text_spaces import MORE, SPARSE, TEXT, coupled, every_architecture

import tsdsl
from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.costs.items import cost_items
from tsdsl.analysis.summary import SHARES, summarise

RECIPE = "epochs = 1 lr = (weights=0.4, arch=0.01)"


def spec(folder: Path, *search: str) -> tsdsl.Space:
    file = folder / "small.tsnet"
    section = f"search parsec {{ {' '.join(search)} }}" if search else ""
    file.write_text(TEXT.format(sparse=SPARSE[0], dense="width", more=f"{MORE[1]}\n  {section}"))
    return tsdsl.load(file)


def test_a_summary_equals_enumeration(tmp_path: Path) -> None:
    space = spec(tmp_path)
    weighed = every_architecture(space)
    macs, params = (
        {a: sum(getattr(i, c) for i in cost_items(space.network(a))) for a in weighed}
        for c in ("macs", "params")
    )
    middle = sorted(macs.values())[len(macs) // 2]
    window = (middle // 2, middle)
    top = max(params.values()) - 1
    found = summarise(space, windows={"flops": window, "params": (0, top)})
    inside = [a for a in weighed if window[0] <= macs[a] <= window[1] and params[a] <= top]
    assert found.size == len(weighed) and found.count == len(inside)
    assert found.mass is not None and found.share is not None
    assert found.mass.estimate == pytest.approx(sum(weighed[a] for a in inside))
    assert found.share.exact and found.share.low == len(inside) / len(weighed)
    cost = found.costs["macs"]
    assert cost.mean == pytest.approx(sum(w * macs[a] for a, w in weighed.items()))
    assert cost.uniform_mean == pytest.approx(sum(macs.values()) / len(macs))
    assert cost.std == pytest.approx(space.std("macs"))
    assert cost.quantiles is not None and len(cost.quantiles) == len(SHARES)
    assert cost.histogram is not None and cost.histogram.share.sum() == pytest.approx(1)
    assert found.costs["params"].histogram is not None
    assert found.costs["elements"].histogram is None
    for by, groups in cost.breakdown.items():
        assert groups == space.breakdown("macs", by)
    assert found.notes == [] and found.windows_from == ""


def test_windows_are_the_budgets_that_the_search_ends_with(tmp_path: Path) -> None:
    whole = "budget flops in 1M..9M budget params in 1k..90k"
    first = f"phase one {{ streams sparse learn sparse, width {RECIPE} budget flops in 1M..2M }}"
    last = f"phase two {{ learn dense, fuse, attend {RECIPE} budget flops in 3M..4M }}"
    found = summarise(spec(tmp_path, whole))
    assert found.windows == {"macs": (1e6, 9e6), "params": (1e3, 90e3)}
    assert found.windows_from == "the budget of the search"
    found = summarise(spec(tmp_path, whole, first, last))
    assert found.windows == {"macs": (3e6, 4e6), "params": (1e3, 90e3)}
    assert found.windows_from == "the budget of the search and the budget of phase two"
    # The budget of a phase without all streams does not apply to the whole network.
    found = summarise(spec(tmp_path, first))
    assert found.windows == {} and found.count is None and found.mass is None
    assert summarise(spec(tmp_path, whole), windows={}).count is None


def test_budgets_that_exclude_each_other_have_no_architecture(tmp_path: Path) -> None:
    found = summarise(spec(tmp_path, "budget flops in 1M..2M budget flops in 3M..4M"))
    assert found.count == 0 and found.mass == (0.0, 0.0)


def test_a_budget_without_its_cost_table_is_a_note(tmp_path: Path) -> None:
    space = spec(tmp_path, "budget latency in 1us..2us budget params in 1k..90k")
    found = summarise(space)
    assert list(found.windows) == ["params"]
    assert [(note.code, note.severity) for note in found.notes] == [("E0723", "note")]
    configurations = {
        Configuration.of(call.op, call.args, call.shapes)
        for arch in every_architecture(space)
        for _, call in space.network(arch).ops()
    }
    table = CostTable("latency", "ns", dict.fromkeys(configurations, 20))
    found = summarise(space.with_costs(table))
    assert list(found.windows) == ["latency", "params"] and not found.notes
    assert found.costs["latency"].unit == "ns"
    assert found.costs["latency"].mean == pytest.approx(
        20
        * sum(w * len(cost_items(space.network(a))) for a, w in every_architecture(space).items())
    )


def test_a_space_without_decisions_is_summarised() -> None:
    space = tsdsl.load(Path(__file__).resolve().parents[2] / "specs" / "x3d_xs.tsnet")
    found = summarise(space, windows={"macs": (0, 10**12)})
    assert (found.size, found.count, found.mass) == (1, 1, (1.0, 1.0))
    cost = found.costs["macs"]
    assert cost.mean == space.flops() and cost.std == 0 and cost.histogram is None
    assert summarise(space, windows={"macs": (0, 1)}).count == 0


def test_queries_that_are_too_coupled_are_left_out_with_a_note(tmp_path: Path) -> None:
    file = tmp_path / "coupled.tsnet"
    file.write_text(coupled())
    found = summarise(tsdsl.load(file), windows={"macs": (1, 10**7)})
    assert found.size == 8**12
    assert found.costs["macs"].bounds is None and found.count is None
    assert found.costs["elements"].bounds is not None
    assert [note.code for note in found.notes] == ["E0592"]
    assert "main.w0" in str(found.notes[0].help)


def test_a_summary_of_costs_beyond_64_bits_is_right(tmp_path: Path) -> None:
    file = tmp_path / "huge.tsnet"
    file.write_text(
        """tsnet 1
space Huge {
  input clip(channels=3, frames=900000, height=900000, width=90000)
  stream a(clip) {
    stage s { width ~ {100000, 200000} repeat depth ~ 1..2 { use conv(width, K) } }
  }
  head a -> global_avg_pool -> linear(5)
  search parsec { phase one { learn a.s epochs = 1 lr = (weights=0.4, arch=0.01) } }
}
""".replace("K)", "kernel ~ {1x1x1, 3x3x3})")
    )
    space = tsdsl.load(file)
    weighed = every_architecture(space)
    macs = {a: sum(i.macs for i in cost_items(space.network(a))) for a in weighed}
    assert max(macs.values()) > 1 << 63
    top = max(macs.values()) // 2
    found = summarise(space, windows={"macs": (0, top)})
    cost = found.costs["macs"]
    mean = sum(weighed[a] * macs[a] for a in weighed)
    assert cost.bounds is not None and cost.bounds.max.value == max(macs.values())
    assert cost.mean == pytest.approx(mean)
    assert sum(cost.breakdown["stage"].values()) == pytest.approx(mean)
    assert cost.phases[0].max == max(macs.values())
    assert cost.phases[0].mean == pytest.approx(mean)
    assert found.mass is not None and cost.quantiles is not None
    inside = sum(weighed[a] for a in weighed if macs[a] <= top)
    assert found.mass.low - 1e-9 <= inside <= found.mass.high + 1e-9
    assert all(q.low <= q.high for q in cost.quantiles)
