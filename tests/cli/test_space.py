"""``tsdsl space``."""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, ROUND_FLOOR
from math import inf
from pathlib import Path

import pytest
from text_spaces import MORE, SPARSE, TEXT, coupled

import tsdsl
from tsdsl.analysis.costs.configuration import Configuration
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.distribution import Distribution
from tsdsl.analysis.windows.window import Between
from tsdsl.cli.space_report import Unit, between, big, percent, window_text
from tsdsl.units import interval_text

RECIPE = "epochs = 1 lr = (weights=0.4, arch=0.01)"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small space with streams, fusion, attention, phases and a budget."""
    search = f"""search parsec {{
    budget flops in 1M..90M
    phase one {{ streams sparse learn sparse, width {RECIPE} }}
    phase two {{ learn dense, fuse, attend {RECIPE} }}
  }}"""
    file = tmp_path / "small.tsnet"
    file.write_text(TEXT.format(sparse=SPARSE[0], dense="8", more=f"{MORE[1]}\n  {search}"))
    return file


def report(done) -> dict:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_keys_that_scripts_read(run, small: Path) -> None:
    space = tsdsl.load(small)
    found = report(run("space", small, "--json", "--window", "..1T"))
    assert found["format_version"] == 1 and found["space_hash"] == space.hash
    assert found["decisions"] == len(space.decisions) and found["size"] == space.size
    for name in ("macs", "params", "elements"):
        bounds = space.bounds(name)
        assert found[name]["min"] == bounds.min.value and found[name]["max"] == bounds.max.value
        assert found[name]["mean"] == space.expectation(name)
        assert found[name]["std"] == space.std(name)
    assert found["count"] == space.size and found["mass"] == 1.0
    assert found["mass_bounds"] == {"low": 1.0, "high": 1.0}
    assert found["window"] == {"macs": {"low": None, "high": 10**12}}
    assert found["breakdown"]["macs"]["stage"] == space.breakdown("macs", "stage")
    phase = found["phases"][0]
    assert (phase["name"], phase["streams"]) == ("one", ["sparse"])
    assert phase["macs"]["mean"] == space.phases()[0].mean
    assert phase["macs"]["budgets"] == [{"low": 1e6, "high": 90e6, "weight": 0.0}]
    assert sum(found["macs"]["histogram"]["share"]) == pytest.approx(1)
    assert [q["share"] for q in found["macs"]["quantiles"]] == [0.01, 0.1, 0.5, 0.9, 0.99]
    assert found["notes"] == []


def test_windows_hold_together(run, small: Path) -> None:
    space = tsdsl.load(small)
    macs, params = (int(space.expectation(cost)) for cost in ("macs", "params"))
    both = ("--window", f"..{macs}", "--window", f"params:{params}..")
    found = report(run("space", small, "--json", *both))
    assert found["count"] == space.count(flops=(0, macs), params=(params, 10**12))
    assert found["mass"] == space.mass(flops=(0, macs), params=(params, 10**12)).estimate


def test_the_budget_is_the_window(run, small: Path) -> None:
    found = report(run("space", small, "--json"))
    assert found["window"] == {"macs": {"low": 10**6, "high": 90 * 10**6}}
    assert found["window_from"] == "the budget of the search"
    assert found["count"] == tsdsl.load(small).count(flops=(1e6, 90e6))
    assert "FLOPs 1M..90M  (the budget of the search)" in run("space", small).stdout


def test_bounds_of_a_count(run) -> None:
    """A space that is too large to list."""
    spec = Path(__file__).resolve().parents[2] / "examples" / "two_stream.tsnet"
    found = report(run("space", spec, "--json"))
    assert isinstance(found["size"], int) and found["size"] > 10**20
    assert 0 < found["count"]["low"] <= found["count"]["estimate"] <= found["count"]["high"]
    assert found["mass_bounds"]["low"] <= found["mass"] <= found["mass_bounds"]["high"]
    assert found["macs"]["histogram"]["exact"] is False
    text = run("space", spec).stdout
    assert "proven bounds" in text and f"{found['size']:,}" in text


def test_for_people(run, small: Path) -> None:
    done = run("space", small)
    assert (done.exit_code, done.stderr) == (0, "")
    space = tsdsl.load(small)
    lines = done.stdout.splitlines()
    assert lines[0] == f"Small: {len(space.decisions)} decisions, clip 3 x 8 x 32 x 32"
    assert f"architectures  {space.size:,}" in done.stdout
    for word in ("exact", "quantile", "Expected cost", "dense_to_sparse.stem", "Phases", "█", "━"):
        assert word in done.stdout
    assert "\x1b" not in done.stdout
    assert "\x1b[1m" in run("space", small, "--color", "always").stdout


@pytest.mark.parametrize("by", ["stream", "stage", "block", "op"])
def test_by(run, small: Path, by: str) -> None:
    text = run("space", small, "--by", by).stdout
    names = tsdsl.load(small).breakdown("macs", by)
    table = text.split("Expected cost", 1)[1]
    assert all(f"\n{name} " in table for name, value in names.items() if value)
    assert by in report(run("space", small, "--by", by, "--json"))["breakdown"]["macs"]


def test_distribution(run, small: Path, tmp_path: Path) -> None:
    space = tsdsl.load(small)
    weights = {d.path: [1.0] + [0.25] * (len(d.options) - 1) for d in space.decisions}
    given = Distribution.from_weights(space.graph, weights)
    given.save(tmp_path / "dist.json")
    found = report(run("space", small, "--distribution", "dist.json", "--json"))
    assert found["macs"]["mean"] == pytest.approx(space.expectation("macs", given))
    assert found["macs"]["mean"] != pytest.approx(space.expectation("macs"))
    assert found["phases"][0]["macs"]["mean"] == pytest.approx(space.phases("macs", given)[0].mean)
    assert found["distribution"] == "dist.json"
    assert (
        "under the given distribution" in run("space", small, "--distribution", "dist.json").stdout
    )


def test_empty_window(run, small: Path) -> None:
    done = run("space", small, "--window", "1T..2T", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["count"], found["mass"]) == (1, 0, 0.0)
    assert "E0591" in done.stderr and "1T..2T" in done.stderr
    assert "GFLOPs" in done.stderr or "MFLOPs" in done.stderr
    assert run("space", small, "--window", "params:..3").exit_code == 1


def test_set(run, small: Path) -> None:
    found = report(run("space", small, "--set", "width=8", "--json"))
    assert found["decisions"] == len(tsdsl.load(small).decisions) - 1


def test_without_decisions(run, fixed: Path) -> None:
    found = report(run("space", fixed, "--json", "--window", "1G..3G"))
    assert (found["decisions"], found["size"], found["count"], found["mass"]) == (0, 1, 1, 1.0)
    macs = tsdsl.load(fixed).flops()
    assert (found["macs"]["min"], found["macs"]["mean"], found["macs"]["std"]) == (macs, macs, 0)
    assert "histogram" not in found["macs"] and found["phases"] == []
    done = run("space", fixed)
    assert "one network" in done.stdout and done.exit_code == 0
    assert run("space", fixed, "--window", "..1G").exit_code == 1


def test_too_coupled(run, tmp_path: Path) -> None:
    """What cannot be answered is told; the rest is there."""
    (tmp_path / "coupled.tsnet").write_text(coupled())
    done = run("space", "coupled.tsnet", "--window", "..5M")
    assert done.exit_code == 0 and "note[E0592]" in done.stderr
    assert "68,719,476,736  exact" in done.stdout and "see the note" in done.stdout
    found = report(run("space", "coupled.tsnet", "--window", "..5M", "--json"))
    assert found["size"] == 8**12 and found["count"] is None and found["macs"]["min"] is None
    assert found["elements"]["min"] > 0 and found["notes"][0]["code"] == "E0592"


def test_measured_costs(run, small: Path, tmp_path: Path) -> None:
    space = tsdsl.load(small)
    values: dict[Configuration, int] = {}
    for arch in space.sample(space.size, seed=0):
        for _, call in space.network(arch).ops():
            known = Configuration.of(call.op, call.args, call.shapes)
            values.setdefault(known, 10_000 + 500 * len(values))
    CostTable("latency", "ns", values, {"device": "made up"}).save(tmp_path / "latency.json")
    asked = ("--costs", "latency.json", "--window", "latency:..1ms")
    found = report(run("space", small, *asked, "--json"))
    assert found["costs"]["latency"]["unit"] == "ns"
    table = CostTable.load(tmp_path / "latency.json")
    with_table = space.with_costs(table)
    assert found["costs"]["latency"]["mean"] == with_table.expectation("latency")
    assert found["count"] == with_table.count(within={"latency": (0, 10**6)})
    text = run("space", small, *asked)
    assert text.exit_code == (0 if found["count"] else 1)
    assert "latency ..1ms" in text.stdout and "latency, ms" in text.stdout


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("2G..1G", "reversed"),
        ("1G", "not a window"),
        ("..", "no end"),
        ("1.5..2", "whole number"),
        ("nan..2", "not an amount"),
        (":1..2", "COST:A..B"),
        ("params:1ms..2ms", "units of time"),
        ("1..2.. 3", "not an amount"),
    ],
)
def test_windows_that_cannot_be(run, small: Path, window: str, told: str) -> None:
    done = run("space", small, "--window", window)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr


def test_bad_input(run, small: Path, tmp_path: Path) -> None:
    for arguments, code, exit_code in (
        (("--window", "energy:1..2"), "E0723", 1),
        (("--window", "latency:1ms..2ms"), "E0723", 1),
        (("--distribution", "none.json"), "E0801", 3),
        (("--distribution", small), "E0721", 1),
        (("--costs", small), "E07", 1),
    ):
        done = run("space", small, *arguments)
        assert done.exit_code == exit_code and code in done.stderr and done.stdout == ""
    done = run("space", small, "--window", "1..2", "--window", "flops:..5")
    assert done.exit_code == 2 and "two windows" in done.stderr
    (tmp_path / "none.tsnet").write_text(
        TEXT.format(sparse=SPARSE[0], dense="8", more='require width > 99 else "never"')
    )
    done = run("space", "none.tsnet")
    assert done.exit_code == 1 and "error[" in done.stderr


def test_terminals(spawn, small: Path) -> None:
    """ASCII where the encoding has no blocks; narrower where the terminal is."""
    plain = spawn("space", small, env={"PYTHONIOENCODING": "ascii", "COLUMNS": "40"})
    assert plain.returncode == 0 and plain.stdout.isascii() and "##" in plain.stdout
    wide = spawn("space", small, env={"COLUMNS": "120", "PYTHONIOENCODING": "utf-8"})
    bars = [max(len(x) for x in p.stdout.splitlines() if set(x) & set("█#")) for p in (plain, wide)]
    assert bars[0] <= 40 < bars[1]


def test_big_integers() -> None:
    """Also those that Python refuses to write."""
    for count, text in (
        (0, "0"),
        (999_999, "999,999"),
        (10**15, "1.000e15"),
        (71539912507 * 10**70, "7.154e80"),
        (10**5000 - 1, "1.000e5000"),
        (10**5000, "1.000e5000"),
    ):
        assert big(count) == text


def test_bounds_are_rounded_outwards() -> None:
    """A bound that is shown is one, too."""
    count = 71_539_912_507 * 10**70
    assert big(count, ROUND_FLOOR) == "7.153e80" and big(count, ROUND_CEILING) == "7.154e80"
    assert (
        big(10**80 + 1, ROUND_FLOOR) == "1.000e80" and big(10**80 + 1, ROUND_CEILING) == "1.001e80"
    )
    assert big(10**5000 - 1, ROUND_FLOOR) == "9.999e4999"
    assert between(Between(0.07195, 0.07201), percent) == "7.19% to 7.21%"
    assert between(Between(3.21e-9, 3.29e-9), percent) == "3.2e-7% to 3.3e-7%"
    assert between(Between(0.071951, 0.071951), percent) == "7.20%"
    giga = Unit("GFLOPs", 1e9, 3)
    assert between(Between(1_000_000_001, 1_000_000_002), giga.text) == "1.000 to 1.001"
    assert between(Between(10**21 + 1, 10**21 + 2), giga.text) == "1.0000e+12 to 1.0001e+12"


@pytest.mark.parametrize(
    ("ends", "unit", "text"),
    [
        ((1.37e9, 1.43e9), "", "FLOPs 1.37G..1.43G"),
        ((1_370_000_001, inf), "", "FLOPs 1.370000001G.."),
        ((-inf, 999), "", "FLOPs ..999"),
        ((0, 10**20), "", "FLOPs 0..100000000T"),
        ((8e6, 1e7), "ns", "FLOPs 8ms..10ms"),
    ],
)
def test_windows_are_written_with_all_digits(
    ends: tuple[float, float], unit: str, text: str
) -> None:
    assert window_text("macs", ends, unit) == text


def test_shares() -> None:
    assert [percent(x) for x in (0.0, 1.0, 0.07195, 3.2e-9)] == [
        "0.00%",
        "100.00%",
        "7.20%",
        "3.2e-7%",
    ]


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((1_000, 2_000_000), "1,000..2,000,000"),
        ((1_500.0, inf), "1,500.."),
        ((-inf, 8), "..8"),
        ((2**70, inf), f"{2**70:,}.."),
    ],
)
def test_an_open_end_of_an_interval_is_shown_as_open(ends: tuple[float, float], text: str) -> None:
    assert interval_text(*ends) == text


def test_a_budget_with_an_open_end_is_named_as_the_spec_writes_it() -> None:
    from tsdsl.searching.foresight import missed_budgets
    from tsdsl.searching.random_search.jobs import _shown

    (missed,) = missed_budgets("all", {"macs": (5, 10, inf)}, "a.tsnet")
    assert missed.message.endswith("macs is 5, not in 10..")
    assert _shown((("macs", -inf, 10.0),)) == "macs ..10"
