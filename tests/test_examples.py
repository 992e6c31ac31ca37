"""The scripts of `examples/` run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[1]


def test_the_demo_runs_to_its_end(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, module in (("tsdsl", "-m tsdsl.cli"), ("python", "")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    settings = {**os.environ, "BIN": str(tools), "OUT": str(tmp_path / "out")}
    settings |= {"CLIPS": "64", "SET": "train.epochs=1"}
    done = subprocess.run(
        [ROOT / "examples" / "demo.sh"], env=settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "multiply-adds" in done.stdout and "logits (1, 400)" in done.stdout
    assert "peak memory" in done.stdout and "mean class accuracy" in done.stdout


def test_the_search_example_meets_its_budget(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "search.py", str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "within the budget: True" in done.stdout
    assert (tmp_path / "run" / "arch.json").exists()


def test_the_paper_example_keeps_what_it_finished(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    few = "--clips 64 --epochs 1 --train-epochs 1 --random 1 --betas 0,0.2 --jobs 1 --seeds"
    command = [sys.executable, ROOT / "examples" / "paper.py", "-o", str(tmp_path), *few.split()]
    before: dict[Path, int] = {}
    for seeds, ran in (("1", 4), ("2", 8)):
        done = subprocess.run([*command, seeds], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        results = json.loads((tmp_path / "results.json").read_text())
        assert len(results["searches"]) + len(results["trainings"]) == ran
        low, high = results["window"]
        for row in results["trainings"]:
            assert low <= row["macs"] <= high and 0 <= row["top1"] <= 1
        for figure in ("table1.png", "figure2.png"):
            assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
        # What is finished stays: no run begins anew.
        logs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
        assert len(logs) == ran
        assert all(logs[path] == at for path, at in before.items())
        before = logs


def test_streams_alone_cost_what_two_streams_do() -> None:
    """What `benchmarks/two_stream.py` compares has as many multiply-adds, within 5 %."""
    import tsdsl

    examples = ROOT / "examples"
    both = tsdsl.load(examples / "glyphs.tsnet")
    for name in ("sparse", "dense"):
        alone = tsdsl.load(examples / f"glyphs_{name}.tsnet")
        assert alone.input_shape == both.input_shape
        assert abs(alone.flops() / both.flops() - 1) < 0.05
    assert both.sections.train is not None and not both.sections.train.flip
