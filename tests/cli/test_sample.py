"""``tsdsl sample``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import tsdsl


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
