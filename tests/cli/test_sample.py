"""``tsdsl sample``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tsdsl

SPECS = Path(__file__).resolve().parents[2] / "specs"


def test_one_to_standard_output(run, starter: Path) -> None:
    done = run("sample", starter, "--seed", "5")
    assert (done.exit_code, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["format"] == "tsnet-arch/1"
    space = tsdsl.load(starter)
    assert document["space_hash"] == space.hash
    assert tsdsl.Architecture(document["decisions"]) == space.sample(seed=5)


def test_seeds(run, starter: Path) -> None:
    assert run("sample", starter).stdout == run("sample", starter, "--seed", "0").stdout
    assert run("sample", starter).stdout != run("sample", starter, "--seed", "1").stdout


def test_many_are_json_lines(run, starter: Path, tmp_path: Path) -> None:
    done = run("sample", starter, "-n", "20")
    lines = done.stdout.splitlines()
    archs = [tsdsl.Architecture(json.loads(line)["decisions"]) for line in lines]
    assert len(set(archs)) == 20
    written = run("sample", starter, "-n", "20", "-o", "archs.jsonl")
    assert written.stdout == "" and "archs.jsonl" in written.stderr
    assert (tmp_path / "archs.jsonl").read_text(encoding="utf-8") == done.stdout


def test_one_to_a_file(run, starter: Path, tmp_path: Path) -> None:
    done = run("sample", starter, "-o", "arch.json")
    assert done.exit_code == 0 and done.stdout == ""
    assert tsdsl.Architecture.load(tmp_path / "arch.json") == tsdsl.load(starter).sample(seed=0)


def test_directory(run, starter: Path, tmp_path: Path) -> None:
    done = run("sample", starter, "-n", "3", "-o", "archs")
    assert done.exit_code == 0
    assert sorted(os.listdir(tmp_path / "archs")) == [f"arch-00{i}.json" for i in range(3)]
    tsdsl.Architecture.load(tmp_path / "archs" / "arch-002.json")


def test_within_budgets(run, starter: Path, tmp_path: Path) -> None:
    space = tsdsl.load(starter)
    ends, params = space.bounds("macs"), space.bounds("params")
    low = ends.min.value + (ends.max.value - ends.min.value) // 3
    high = ends.min.value + (ends.max.value - ends.min.value) // 2
    most = (params.min.value + params.max.value) // 2
    done = run("sample", starter, "-n", "30", "--flops", f"{low}..{high}", "--params", f"..{most}")
    assert (done.exit_code, done.stderr) == (0, "")
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    archs = [tsdsl.Architecture(document["decisions"]) for document in documents]
    assert len(set(archs)) == 30
    assert all(low <= space.flops(arch) <= high for arch in archs)
    assert all(space.params(arch) <= most for arch in archs)
    drawn = {
        "seed": 0,
        "weights": "initial",
        "windows": {"macs": [low, high], "params": [None, most]},
    }
    assert documents[0]["provenance"] == {"drawn": drawn}
    named = run(
        "sample", starter, "-n", "30", "--within", f"flops:{low}..{high}", "--params", f"..{most}"
    )
    assert named.stdout == done.stdout
    fewer = run("sample", starter, "-n", "7", "--flops", f"{low}..{high}", "--params", f"..{most}")
    assert done.stdout.startswith(fewer.stdout) and fewer.stdout


def test_fewer_than_asked(run, starter: Path, tmp_path: Path) -> None:
    least = tsdsl.load(starter).bounds("macs").min.value
    for more in ([], ["-o", "few.jsonl"], ["-o", "few"]):
        done = run("sample", starter, "-n", "50", "--flops", f"..{least}", *more)
        assert done.exit_code == 0
        assert "1 distinct network in these windows, fewer than -n 50" in done.stderr
    assert len((tmp_path / "few.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert os.listdir(tmp_path / "few") == ["arch-000.json"]


def test_none(run, starter: Path, tmp_path: Path) -> None:
    ends = tsdsl.load(starter).bounds("macs")
    done = run("sample", starter, "-n", "5", "--flops", f"..{ends.min.value - 1}", "-o", "none")
    assert done.exit_code == 1 and "E0593" in done.stderr
    assert f"the space has {ends.min.value:,}..{ends.max.value:,}" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_distribution(run, starter: Path, tmp_path: Path) -> None:
    space = tsdsl.load(starter)
    first = space.decisions[0]
    only = [0.0] * (len(first.options) - 1) + [1.0]
    space.distribution({first.path: only}).save(tmp_path / "dist.json")
    done = run("sample", starter, "-n", "20", "--distribution", "dist.json")
    assert done.exit_code == 0
    for line in done.stdout.splitlines():
        document = json.loads(line)
        assert document["decisions"].get(first.path, first.options[-1]) == first.options[-1]
        assert document["provenance"]["drawn"]["weights"] == "given"
    both = run("sample", starter, "--uniform", "--distribution", "dist.json")
    assert both.exit_code == 2 and "exclude each other" in both.stderr
    missing = run("sample", starter, "--distribution", "no.json")
    assert missing.exit_code == 3 and "E0801" in missing.stderr


def test_windows_that_cannot_be(run, starter: Path) -> None:
    for options, said in (
        (["--flops", "3G..2G"], "is reversed: write 2G..3G"),
        (["--flops", "3G"], "is not a window"),
        (["--flops", "8ms..9ms"], "'8ms' is not an amount"),
        (["--within", "macs:8ms..9ms"], "'macs' is not measured in units of time"),
        (["--within", "macs:..3G", "--flops", "..2G"], "'macs' has two windows"),
    ):
        done = run("sample", starter, *options)
        assert done.exit_code == 2 and said in done.stderr
    done = run("sample", starter, "--within", "latency:8ms..9ms")
    assert done.exit_code == 1 and "E0723" in done.stderr


def test_a_directory_that_cannot_be(run, starter: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    done = run("sample", starter, "-n", "3", "-o", "taken/archs")
    assert done.exit_code == 3 and "E0807" in done.stderr
    assert "'taken' is a file: give the name of a folder" in done.stderr


def test_lines_come_as_they_are_drawn_and_a_closed_pipe_ends_quietly(
    starter: Path, tmp_path: Path
) -> None:
    # More than could be drawn in that time, or held by a pipe.
    command = [sys.executable, "-m", "tsdsl.cli", "sample", str(SPECS / "auto_tsnet_s.tsnet")]
    process = subprocess.Popen(
        [*command, "-n", "1000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert process.poll() is None
    process.stdout.close()
    assert process.wait(timeout=180) == 141
    assert process.stderr.read() == ""
    process.stderr.close()
    assert len({json.dumps(line["decisions"]) for line in lines}) == 3


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interrupted_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "archs.jsonl"
    target.write_text("earlier\n")
    command = [sys.executable, "-m", "tsdsl.cli", "sample", str(SPECS / "auto_tsnet_s.tsnet")]
    process = subprocess.Popen(
        [*command, "-n", "1000000", "-o", str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 300
    while not list(tmp_path.glob(".*.tmp")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=180)
    assert process.returncode == 130 and "interrupted" in said
    assert os.listdir(tmp_path) == ["archs.jsonl"]
    assert target.read_text() == "earlier\n"


def test_the_name_of_a_file_is_printed_without_its_escapes(run, starter: Path) -> None:
    for count in ("1", "2"):
        done = run("sample", starter, "--seed", "1", "-n", count, "-o", "a\x1b[31m.jsonl")
        assert done.exit_code == 0, done.stderr
        assert "\x1b" not in done.stderr and "a\\x1b[31m.jsonl" in done.stderr
