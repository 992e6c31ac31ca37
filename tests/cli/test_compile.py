"""``tsdsl compile``."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import tsdsl


def test_summary(run, fixed: Path) -> None:
    done = run("compile", fixed)
    assert done.exit_code == 0, done.stderr
    assert "1.963 GFLOPs (multiply-adds)" in done.stdout and "3,794,322" in done.stdout
    assert "N x 3 x 13 x 160 x 160" in done.stdout and "N x 400" in done.stdout


def test_source_to_a_file(run, starter: Path, arch: Path, tmp_path: Path) -> None:
    done = run("compile", starter, "--frozen", arch, "-o", "model.py")
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    source = (tmp_path / "model.py").read_text(encoding="utf-8")
    assert source == tsdsl.emit(tsdsl.load(starter), frozen=tsdsl.Architecture.load(arch))
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert {str(name).split(".")[0] for name in imported} <= {"torch", "__future__"}


def test_source_to_standard_output(run, fixed: Path) -> None:
    done = run("compile", fixed, "-o", "-")
    assert done.exit_code == 0 and "class " in done.stdout
    ast.parse(done.stdout)


def test_a_space_needs_an_architecture(run, starter: Path, tmp_path: Path) -> None:
    done = run("compile", starter)
    assert done.exit_code == 2 and "--frozen" in done.stderr


def test_the_supernet_of_a_space(run, starter: Path, tmp_path: Path) -> None:
    done = run("compile", starter, "-o", "supernet.py")
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert "wrote supernet.py: the supernet of" in done.stderr
    assert (tmp_path / "supernet.py").read_text() == tsdsl.emit(tsdsl.load(starter))


def test_source_needs_no_torch(starter: Path, arch: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from tsdsl.cli.__main__ import cli; cli.main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "compile", starter, "--frozen", arch, "-o", "-"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_name_of_a_file_is_printed_without_its_escapes(run, fixed: Path) -> None:
    done = run("compile", fixed, "-o", "a\x1b[31m\u202e\n.py")
    assert done.exit_code == 0
    assert done.stderr == "wrote a\\x1b[31m\\u202e\\x0a.py\n"
