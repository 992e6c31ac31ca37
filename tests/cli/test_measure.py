"""``tsdsl measure``: real measurements of a tiny space. No test looks at how long anything took."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import tsdsl
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.elimination.configurations import configurations

SPEC = """tsnet 1
space Tiny {
  input clip(channels=3, frames=4, height=8, width=8)
  stream a(clip) {
    stage s(stride=1x2x2) {
      width ~ {4, 6, 8}
      repeat depth ~ 1..3 { use conv(width, kernel ~ {1x1x1, 1x3x3, 3x1x1}) }
    }
  }
  attend a after s ~ {none, relu}
  head a -> global_avg_pool -> linear(5)
  require a.s.width > 4 or a.s.depth < 3 else "thin networks are short"
}
"""
QUICK = ("--repeats", "2", "--warmup", "0", "--threads", "1")
SCHEMA = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "schema" / "cost.json").read_text()
)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.tsnet"
    path.write_text(SPEC)
    return path


@pytest.fixture
def table(run: Any, tiny: Path, tmp_path: Path) -> Path:
    """Its table."""
    done = run("measure", tiny, *QUICK, "--check", "0")
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    return tmp_path / "latency.json"


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_architecture_can_be_costed(tiny: Path, table: Path) -> None:
    space = tsdsl.load(tiny, costs=[table])
    found = space.costs["latency"]
    assert set(found.values) == set(configurations(space.graph).configurations)
    assert set(found.spreads) == set(found.values) and min(found.values.values()) > 0
    archs = space.sample(10_000, seed=0)
    assert len(archs) == space.size
    values = space.value("latency", archs)
    assert len(values) == len(archs) and space.value("latency", archs[3]) == values[3]
    assert space.bounds("latency").min.value == min(values)
    assert space.count(within={"latency": (0, 10**12)}) == space.size


def test_the_file(table: Path) -> None:
    made = content(table)
    jsonschema.validate(made, SCHEMA)
    known = made["provenance"]
    assert (made["cost"], made["unit"]) == ("latency", "ns")
    assert (known["threads"], known["dtype"], known["batch"]) == (1, "float32", 1)
    assert (known["repeats"], known["warmup"]) == (2, 0)
    assert known["device"] and known["torch"] and list(known["spaces"].values()) == ["Tiny"]


def test_what_is_there_is_kept(run: Any, tiny: Path, table: Path) -> None:
    made = content(table)
    gone = made["entries"].pop(3)
    for at, entry in enumerate(made["entries"]):
        entry["value"] = 1000 + at
    table.write_text(json.dumps(made))
    done = run("measure", tiny, *QUICK, "--check", "0")
    assert done.exit_code == 0 and "1 operation to measure" in done.stderr
    again = {_name(entry): entry["value"] for entry in content(table)["entries"]}
    assert again.pop(_name(gone)) > 0
    assert again == {_name(entry): entry["value"] for entry in made["entries"]}
    done = run("measure", tiny, *QUICK, "--check", "0", "--force")
    assert done.exit_code == 0
    assert {_name(e): e["value"] for e in content(table)["entries"]}.items() != again.items()


def _name(entry: Any) -> str:
    return json.dumps([entry["op"], entry["args"], entry["inputs"]])


def test_another_space_is_added(run: Any, tiny: Path, table: Path) -> None:
    before = content(table)
    done = run("measure", tiny, *QUICK, "--check", "0", "--set", "a.s.width=10")
    assert done.exit_code == 1 and "E0508" in done.stderr
    tiny.write_text(SPEC.replace("{4, 6, 8}", "{4, 6, 10}").replace("Tiny", "Other"))
    assert run("measure", tiny, *QUICK, "--check", "0").exit_code == 0
    after = content(table)
    assert {_name(e) for e in before["entries"]} < {_name(e) for e in after["entries"]}
    assert sorted(after["provenance"]["spaces"].values()) == ["Other", "Tiny"]


def test_measurements_are_not_mixed(run: Any, tiny: Path, table: Path) -> None:
    before = table.read_bytes()
    done = run("measure", tiny, *QUICK, "--check", "0", "--batch", "2")
    assert done.exit_code == 1 and "E0725" in done.stderr and "batch was 1, is 2" in done.stderr
    assert table.read_bytes() == before
    done = run("measure", tiny, *QUICK, "--check", "0", "--batch", "2", "--force")
    assert done.exit_code == 0 and content(table)["provenance"]["batch"] == 2
    CostTable("energy", "uJ", {}).save(table)
    done = run("measure", tiny, *QUICK, "--check", "0", "--force")
    assert done.exit_code == 1 and "the cost 'energy', not latency" in done.stderr


def test_check(run: Any, tiny: Path, tmp_path: Path) -> None:
    done = run("measure", tiny, *QUICK, "--check", "4", "-o", "t.json")
    assert done.exit_code == 0, done.stderr
    assert "Spearman" in done.stdout and "sum of operations / whole" in done.stdout
    report = content(tmp_path / "t.json")["provenance"]["check"]
    assert report["architectures"] == len(report["sums"]) == len(report["wholes"]) == 4
    assert report["sums"] == sorted(report["sums"])
    assert -1 <= report["kendall"] <= 1 and -1 <= report["spearman"] <= 1
    ratio = report["sum_over_whole"]
    assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]
    assert run("measure", tiny, *QUICK, "--check", "4", "-o", "t.json").exit_code == 0


def test_one_network(run: Any, tiny: Path, tmp_path: Path) -> None:
    assert run("sample", tiny, "-o", "arch.json").exit_code == 0
    done = run("measure", tiny, *QUICK, "--frozen", "arch.json", "-o", "t.json")
    assert done.exit_code == 0 and "whole networks timed" in done.stdout, done.stderr
    assert "Spearman" not in done.stdout
    space = tsdsl.load(tiny, costs=[tmp_path / "t.json"])
    arch = tsdsl.Architecture.load(tmp_path / "arch.json")
    calls = [call for _, call in space.network(arch).ops()]
    assert len(space.costs["latency"].values) <= len(calls)
    assert space.value("latency", arch) > 0
    fixed = tmp_path / "fixed.tsnet"
    fixed.write_text(
        SPEC.replace("~ {4, 6, 8}", "= 6")
        .replace("~ 1..3", "= 2")
        .replace("~ {1x1x1, 1x3x3, 3x1x1}", "= 1x3x3")
        .replace("~ {none, relu}", "= relu")
    )
    done = run("measure", fixed, *QUICK, "-o", "f.json")
    assert done.exit_code == 0, done.stderr
    assert tsdsl.load(fixed, costs=[tmp_path / "f.json"]).value("latency") > 0


def test_operations_that_fail(
    run: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tsdsl.backends.timing as timing

    original = timing.build_operation

    def fails(asked: Any) -> Any:
        if asked.op == "relu":
            raise RuntimeError("no kernel for this\nCall stack: ...")
        return original(asked)

    monkeypatch.setattr(timing, "build_operation", fails)
    done = run("measure", tiny, *QUICK, "-o", "t.json")
    assert done.exit_code == 1
    assert "E0727" in done.stderr and "relu() on" in done.stderr
    assert "no kernel for this" in done.stderr and "Call stack" not in done.stderr
    assert {e["op"] for e in content(tmp_path / "t.json")["entries"]} == {
        "conv",
        "global_avg_pool",
        "linear",
    }
    done = run("flops", tiny, "--costs", "t.json")
    assert done.exit_code == 1 and "E0722" in done.stderr and "relu() on" in done.stderr
    monkeypatch.undo()
    os.chdir(tmp_path)
    done = run("measure", tiny, *QUICK, "-o", "t.json", "--check", "0")
    assert done.exit_code == 0
    assert run("flops", tiny, "--costs", "t.json").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--device", "cuda:98"), 1, "E0726"),
        (("--device", "tpu"), 2, "not cpu, cuda or cuda:1"),
        (("--device", "cuda:-1"), 2, "not cpu, cuda or cuda:1"),
        (("--dtype", "int8"), 2, "int8"),
        (("--batch", "0"), 2, "--batch"),
        (("--clock", "cpu", "--threads", "2"), 2, "--clock cpu is for"),
        (("--repeats", "0"), 2, "--repeats"),
        (("-o", "no/such/place.json"), 3, "E0807"),
        (("-o", "."), 3, "E0807"),
        (("--frozen", "none.json"), 3, "E0801"),
    ],
)
def test_bad_use(run: Any, tiny: Path, arguments: Any, code: int, said: str) -> None:
    done = run("measure", tiny, *QUICK, *arguments)
    assert (done.exit_code, done.stdout) == (code, "") and said in done.stderr


def test_a_file_that_is_no_table_is_left_alone(run: Any, tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "notes.json"
    other.write_text('{"mine": true}')
    done = run("measure", tiny, *QUICK, "-o", "notes.json")
    assert done.exit_code == 1 and "E0724" in done.stderr
    assert other.read_text() == '{"mine": true}'


def test_time_of_the_processor(run: Any, tiny: Path, tmp_path: Path) -> None:
    done = run("measure", tiny, *QUICK, "--check", "0", "--clock", "cpu", "--statistic", "min")
    assert done.exit_code == 0, done.stderr
    known = content(tmp_path / "latency.json")["provenance"]
    assert (known["clock"], known["statistic"]) == ("cpu", "min")
    done = run("measure", tiny, *QUICK, "--check", "0")
    assert done.exit_code == 1 and "clock was cpu, is wall" in done.stderr


def test_standard_output(run: Any, tiny: Path, tmp_path: Path) -> None:
    done = run("measure", tiny, *QUICK, "--check", "2", "-o", "-")
    assert done.exit_code == 0 and "Spearman" in done.stderr, done.stderr
    jsonschema.validate(json.loads(done.stdout), SCHEMA)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.tsnet"]


def test_a_space_without_architectures(run: Any, tiny: Path) -> None:
    tiny.write_text(SPEC.replace("or a.s.depth < 3", "and a.s.width < 4"))
    done = run("measure", tiny, *QUICK)
    assert done.exit_code == 1 and "E0505" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_saves(tiny: Path, tmp_path: Path) -> None:
    """The first measurements are in the file, and the rest is done by the same command."""
    arguments = [sys.executable, "-m", "tsdsl.cli", "measure", "tiny.tsnet", "--check", "0"]
    long = [*arguments, "--repeats", "10000", "--threads", "1"]
    process = subprocess.Popen(
        long, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "to measure" in line:
            break
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=180)
    assert process.returncode == 130, said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    some = len(content(tmp_path / "latency.json")["entries"])
    asked = len(configurations(tsdsl.load(tiny).graph).configurations)
    assert some < asked
    done = subprocess.run([*arguments, *QUICK], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (f"{some} are in latency.json already" in done.stderr) == (some > 0)
    assert len(content(tmp_path / "latency.json")["entries"]) == asked


def test_flops_and_check_read_it(run: Any, tiny: Path, table: Path) -> None:
    done = run("flops", tiny, "--costs", table)
    assert done.exit_code == 0 and "over the space" in done.stdout
    found = json.loads(run("flops", tiny, "--costs", table, "--json").stdout)["costs"]["latency"]
    space = tsdsl.load(tiny, costs=[table])
    ends = space.bounds("latency")
    assert (found["min"]["value"], found["max"]["value"]) == (ends.min.value, ends.max.value)
    assert space.value("latency", found["min"]["decisions"]) == found["min"]["value"]
    assert run("sample", tiny, "-o", "arch.json").exit_code == 0
    done = run("flops", tiny, "--costs", table, "--frozen", "arch.json")
    assert done.exit_code == 0 and "latency" in done.stdout.split("\n")[2]
    one = json.loads(run("flops", tiny, "--costs", table, "--frozen", "arch.json", "--json").stdout)
    assert one["costs"]["latency"]["value"] == sum(i["costs"]["latency"] for i in one["items"])
    assert run("check", tiny, "--costs", table).exit_code == 0
    tiny.write_text(SPEC.replace("{4, 6, 8}", "{4, 6, 9}"))
    done = run("check", tiny, "--costs", table, "--format", "json")
    (finding,) = json.loads(done.stdout)["diagnostics"]
    assert done.exit_code == 1 and finding["code"] == "E0722"
    assert "tsdsl measure" in finding["help"]
