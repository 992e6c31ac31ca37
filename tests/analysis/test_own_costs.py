"""Costs that are not built in: one file and one line, or an object of a program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from math import prod
from pathlib import Path

import pytest

import tsdsl
from tsdsl.analysis.costs.cost import Cost
from tsdsl.ir.op import Op, OpArgs, Shape

ROOT = Path(__file__).resolve().parents[2]
SPEC = str(ROOT / "examples" / "glyphs.tsnet")

#: The one file of a counted cost: bytes of the weights in float32.
WEIGHT_BYTES = """
from math import prod
from tsdsl.analysis.costs.cost import Cost

class WeightBytes(Cost):
    name = "weight_bytes"
    unit = "B"

    def value(self, op, args, shapes):
        return 4 * sum(prod(param.shape) for param in op.params(args, *shapes))
"""

#: All kinds of question, by the name of the cost.
QUESTIONS = """
import sys, tsdsl
space = tsdsl.load(sys.argv[1])
name = "weight_bytes"
ends = [end.value for end in space.bounds(name)]
assert ends == [4 * end.value for end in space.bounds("params")]
assert abs(space.expectation(name) - 4 * space.expectation("params")) < 1e-6
assert abs(sum(space.breakdown(name, "stage").values()) - space.expectation(name)) < 1e-6
window = (ends[0], sum(ends) // 2)
drawn = space.sample(3, seed=0, within={name: window})
assert all(window[0] <= space.value(name, each) <= window[1] for each in drawn)
assert space.count(within={name: window}) == space.count(params=(window[0] / 4, window[1] / 4))
"""


def test_a_counted_cost_is_one_file_and_one_line(tmp_path: Path) -> None:
    """In a copy of the package with the file and the line, every query takes the cost by name."""
    shutil.copytree(
        ROOT / "tsdsl", tmp_path / "tsdsl", ignore=shutil.ignore_patterns("__pycache__")
    )
    if (ROOT / "grammars").is_dir():
        shutil.copytree(ROOT / "grammars", tmp_path / "grammars")
    counted = tmp_path / "tsdsl" / "analysis" / "costs" / "counted"
    (counted / "weight_bytes.py").write_text(WEIGHT_BYTES)
    registry = counted / "__init__.py"
    text = registry.read_text()
    line = '    __import__(f"{__name__}.weight_bytes", fromlist=["*"]).WeightBytes(),\n'
    assert "    ELEMENTS,\n" in text
    registry.write_text(text.replace("    ELEMENTS,\n", f"    ELEMENTS,\n{line}"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for arguments in (
        ["-c", QUESTIONS, SPEC],
        ["-m", "tsdsl.cli", "sample", SPEC, "-n", "2", "--within", "weight_bytes:..100M"],
        ["-m", "tsdsl.cli", "space", SPEC, "--window", "weight_bytes:..100M"],
    ):
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
    assert "weight_bytes" in done.stdout


class WeightBytes(Cost):
    """Bytes of the weights in float32."""

    name = "weight_bytes"
    unit = "B"

    def value(self, op: type[Op], args: OpArgs, shapes: tuple[Shape, ...]) -> int:
        return 4 * sum(prod(param.shape) for param in op.params(args, *shapes))


def test_a_program_adds_a_cost_of_its_own() -> None:
    space = tsdsl.load(SPEC).with_costs(WeightBytes())
    low, high = (end.value for end in space.bounds("params"))
    assert [end.value for end in space.bounds("weight_bytes")] == [4 * low, 4 * high]
    drawn = space.sample(seed=0, within={"weight_bytes": (4 * low, 2 * (low + high))})
    assert space.value("weight_bytes", drawn) == 4 * space.params(drawn)


def test_peak_memory_is_refused_as_no_sum() -> None:
    with pytest.raises(tsdsl.SpecError, match="not a sum over operations") as caught:
        tsdsl.load(SPEC).bounds("memory")
    (finding,) = caught.value.diagnostics
    assert finding.code == "E0723" and "tsdsl bench" in (finding.help or "")


def test_a_cost_cannot_take_the_name_of_a_counted_one() -> None:
    class Other(WeightBytes):
        name = "params"

    space = tsdsl.load(SPEC)
    with pytest.raises(ValueError, match="'params' is counted by a rule"):
        space.with_costs(Other())
