"""``tsdsl check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tsdsl
from tsdsl.analysis.costs.cost_file import dump
from tsdsl.analysis.costs.cost_table import CostTable
from tsdsl.analysis.elimination.configurations import configurations

BAD = "tsnet 1\nspace X {\n  param crop = \n  input clip(channels=3\n}\n"


def test_a_good_spec(run, starter: Path) -> None:
    done = run("check", starter)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "1 file checked: no findings\n"


def test_findings(run, tmp_path: Path) -> None:
    (tmp_path / "bad.tsnet").write_text(BAD)
    done = run("check", "bad.tsnet")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "bad.tsnet:" in done.stderr and "^" in done.stderr
    assert "1 file checked: " in done.stderr.splitlines()[-1]


def test_json(run, starter: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tsnet").write_text(BAD)
    done = run("check", "bad.tsnet", starter, "missing.tsnet", "--format", "json")
    assert done.exit_code == 3 and done.stderr == ""
    report = json.loads(done.stdout)
    assert report["format_version"] == 1
    assert {d["file"] for d in report["diagnostics"]} == {"bad.tsnet", "missing.tsnet"}
    first = report["diagnostics"][0]
    assert set(first) == {"code", "severity", "message", "file", "span", "labels", "help", "fix"}
    assert json.loads(run("check", starter, "--format", "json").stdout)["diagnostics"] == []


def test_sarif(run, tmp_path: Path) -> None:
    (tmp_path / "bad.tsnet").write_text(BAD)
    done = run("check", "bad.tsnet", "--format", "sarif")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["version"] == "2.1.0"


def test_github(run, starter: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tsnet").write_text(BAD)
    done = run("check", "bad.tsnet", "--format", "github")
    assert done.exit_code == 1
    assert done.stdout.startswith("::error file=bad.tsnet,title=E")
    assert run("check", starter, "--format", "github").output == ""


def test_dump_loads_back(run, starter: Path) -> None:
    done = run("check", "--dump", starter)
    assert (done.exit_code, done.stderr) == (0, "")
    document = tsdsl.load(starter).document
    assert type(document).model_validate_json(done.stdout) == document


def test_dump_of_a_bad_spec(run, tmp_path: Path) -> None:
    (tmp_path / "bad.tsnet").write_text(BAD)
    done = run("check", "--dump", "bad.tsnet")
    assert done.exit_code == 1 and done.stdout == "" and "error[" in done.stderr


def test_one_of_several_spaces_is_named(run, tmp_path: Path) -> None:
    text = "tsnet 1\n" + "".join(
        f"space {name} {{ input clip(channels=3, frames=4, height=8, width=8)\n"
        f"  stream s(clip) {{ stage a {{ use conv({out}, 1x1x1) }} }}\n"
        "  head s -> global_avg_pool -> linear(5) }\n"
        for name, out in (("A", 8), ("B", 16))
    )
    spec = tmp_path / "several.tsnet"
    spec.write_text(text)
    assert run("check", spec).exit_code == 0
    unnamed = run("flops", spec)
    assert unnamed.exit_code == 1 and "name one: --space A" in unnamed.stderr
    params = [json.loads(run("flops", spec, "--space", n, "--json").stdout)["params"] for n in "AB"]
    assert params == [3 * 8 + 8 * 5 + 5, 3 * 16 + 16 * 5 + 5]
    assert json.loads(run("check", spec, "--dump", "--space", "B").stdout)["name"] == "B"
    # A setting is for the space that is named: the other one need not have it.
    spec.write_text(
        text.replace("conv(8,", "conv(k,").replace("space A {", "space A { param k = 8")
    )
    wide = run("flops", spec, "--space", "A", "--set", "k=4", "--json")
    assert json.loads(wide.stdout)["params"] == 3 * 4 + 4 * 5 + 5
    none = run("flops", spec, "--space", "B", "--set", "k=4")
    assert none.exit_code == 1 and "space 'B' has no param or decision" in none.stderr
    wrong = run("sample", spec, "--space", "C")
    assert wrong.exit_code == 1 and "it has: A, B" in wrong.stderr
    assert run("check", spec, "--space", "A").exit_code == 2


MISSPELT = Path(__file__).parents[1] / "sema" / "corpus" / "W0910_budget.tsnet"


def test_a_misspelt_budget_is_a_warning_unless_a_table_defines_it(run, tmp_path: Path) -> None:
    (tmp_path / "s.tsnet").write_text(MISSPELT.read_text())
    done = run("check", "s.tsnet")
    assert done.exit_code == 0 and done.stderr.count("W0910") == 2
    assert "did you mean 'flops'?" in done.stderr and "energy" not in done.stderr
    space = tsdsl.load(tmp_path / "s.tsnet")
    with pytest.raises(tsdsl.SpecError) as caught:
        space.cost("flop")
    finding = caught.value.diagnostics[0]
    assert finding.code == "E0723" and finding.span is not None and finding.span.text == "flop"
    assert "did you mean 'flops'?" in (finding.help or "") and "--costs" in (finding.help or "")
    values = dict.fromkeys(configurations(space.graph).configurations, 1)
    (tmp_path / "flop.json").write_text(dump(CostTable("flop", "pJ", values)))
    done = run("check", "s.tsnet", "--costs", "flop.json")
    assert done.exit_code == 0 and "'flop'" not in done.stderr and "'latnecy'" in done.stderr
