"""``--plot`` of ``tsdsl space`` and ``tsdsl flops``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from text_spaces import coupled

import tsdsl

START = {".svg": b"<?xml", ".png": b"\x89PNG\r\n\x1a\n", ".pdf": b"%PDF"}


@pytest.fixture
def drawing() -> None:
    # It says so when it looks for fonts for the first time.
    pytest.importorskip("matplotlib.font_manager")


def test_formats_are_those_of_the_library(drawing: None) -> None:
    from tsdsl import plots
    from tsdsl.cli.parameter_types import FORMATS

    assert FORMATS == plots.FORMATS == tuple(START)


def said(path: Path) -> str:
    root = ElementTree.parse(path).getroot()
    return "\n".join("".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("suffix", START)
def test_a_network(run, fixed: Path, tmp_path: Path, drawing: None, suffix: str) -> None:
    plain = run("flops", fixed)
    done = run("flops", fixed, "--plot", f"x3d{suffix}")
    assert (done.exit_code, done.stdout) == (0, plain.stdout)
    assert done.stderr == f"wrote x3d{suffix}\n"
    assert (tmp_path / f"x3d{suffix}").read_bytes().startswith(START[suffix])


def test_one_architecture(run, starter: Path, arch: Path, tmp_path: Path, drawing: None) -> None:
    done = run("flops", starter, "--frozen", arch, "--by", "op", "--json", "--plot", "a.SVG")
    macs = json.loads(done.stdout)["macs"]
    assert done.exit_code == 0
    shown = said(tmp_path / "a.SVG")
    assert "FLOPs by kind of operation: one architecture" in shown and "conv" in shown
    assert f"{macs / 1e9:.3f} GFLOPs in total" in shown


def test_bounds_of_a_space(run, starter: Path, tmp_path: Path, drawing: None) -> None:
    assert run("flops", starter, "--plot", "a.svg").exit_code == 0
    ends = tsdsl.load(starter).bounds("macs")
    shown = said(tmp_path / "a.svg")
    for end in ends:
        assert f"{end.value / 1e9:.3f}" in shown


def test_a_space(run, starter: Path, tmp_path: Path, drawing: None) -> None:
    plain = run("space", starter, "--window", "params:..3M", "--json")
    done = run("space", starter, "--window", "params:..3M", "--json", "--plot", "a.svg")
    assert (done.exit_code, done.stdout) == (plain.exit_code, plain.stdout)
    assert done.stderr == plain.stderr + "wrote a.svg\n"
    shown = said(tmp_path / "a.svg")
    for part in ("FLOPs of the arch", "Parameters of the arch", "FLOPs by stage", "up to 3 M: "):
        assert part in shown


def test_a_space_and_its_budget(run, starter: Path, tmp_path: Path, drawing: None) -> None:
    """A window without architectures is a finding; the figure that shows why is written."""
    done = run("space", starter, "--window", "1000G..", "--plot", "a.svg")
    assert done.exit_code == 1 and "E0591" in done.stderr
    assert "window from 1000 GFLOPs: 0%" in said(tmp_path / "a.svg")


@pytest.mark.parametrize("verb", ["flops", "space"])
@pytest.mark.parametrize("name", ["a.jpg", "a", "svg", "", "a.svg/", "a\x1b.gif"])
def test_other_formats(run, fixed: Path, tmp_path: Path, verb: str, name: str) -> None:
    done = run(verb, fixed, "--plot", name)
    assert done.exit_code == 2 and done.stdout == ""
    assert ".svg, .png or .pdf" in done.stderr and "\x1b" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["flops", "space"])
def test_without_matplotlib(
    run, fixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == "matplotlib" or name.startswith("tsdsl.plots"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run(verb, fixed, "--plot", "a.svg")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "needs matplotlib: pip install 'tsdsl[plot]'" in done.stderr
    assert not (tmp_path / "a.svg").exists()
    assert run(verb, fixed).exit_code == 0


def test_broken_configuration_of_matplotlib(spawn, fixed: Path, drawing: None) -> None:
    done = spawn("flops", fixed, "--plot", "a.svg", env={"MPLBACKEND": "no such thing"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "matplotlib, which cannot be imported: ValueError" in done.stderr


def test_name_that_is_not_text(spawn, fixed: Path, tmp_path: Path, drawing: None) -> None:
    done = spawn("flops", fixed, "--plot", b"\xff.svg".decode("utf-8", "surrogateescape"))
    assert done.returncode == 0, done.stderr
    assert [path.suffix for path in tmp_path.iterdir()] == [".svg"]


@pytest.mark.parametrize("verb", ["flops", "space"])
def test_where_nothing_can_be_written(
    run, fixed: Path, tmp_path: Path, drawing: None, verb: str
) -> None:
    done = run(verb, fixed, "--plot", "none/a.svg")
    assert done.exit_code == 3
    assert "E0807" in done.stderr and "the directory 'none' does not exist" in done.stderr
    (tmp_path / "b.png").mkdir()
    done = run(verb, fixed, "--plot", "b.png")
    assert done.exit_code == 3 and "is a directory" in done.stderr


def test_nothing_that_can_be_drawn(run, tmp_path: Path, drawing: None) -> None:
    """All tables of costs are too large: the page stands, and why there is no figure."""
    (tmp_path / "coupled.tsnet").write_text(coupled(), encoding="utf-8")
    done = run("space", "coupled.tsnet", "--plot", "a.svg")
    assert done.exit_code == 1 and "error[E0592]" in done.stderr and "wrote" not in done.stderr
    assert "68,719,476,736" in done.stdout and not (tmp_path / "a.svg").exists()


def test_errors_leave_the_old_figure(run, tmp_path: Path, drawing: None) -> None:
    (tmp_path / "bad.tsnet").write_text("tsnet 1\nspace A {\n", encoding="utf-8")
    (tmp_path / "a.svg").write_text("old", encoding="utf-8")
    assert run("flops", "bad.tsnet", "--plot", "a.svg").exit_code == 1
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == "old"


def test_a_bug_of_a_figure_is_not_taken_for_a_wrong_path(
    run, tmp_path: Path, drawing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What matplotlib or numpy raise is no mistake of the user's."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("tsdsl.searching.history.History.read", lambda folder: None)

    def fail(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("tsdsl.plots.search", fail)
    done = run("plot", "run", "-o", "a.svg")
    assert done.exit_code == 70 and "internal error (ValueError)" in done.stderr
