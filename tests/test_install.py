"""Wheel, source distribution and editable install: the grammar, its tables and the standard
library are found in each. Nothing is downloaded: dependencies are those of this environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build")
pytest.importorskip("hatchling")

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ["pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"]
TREES = ["tsdsl", "grammars", "specs"]

#: What an installation knows of itself, as JSON.
PROBE = """
import json, sys, tsdsl
from importlib.metadata import version
from pathlib import Path
from tsdsl.syntax import tables
tables.load()
print(json.dumps({
    "package": str(Path(tsdsl.__file__).parent),
    "version": version("tsdsl"),
    "grammar": str(tables.grammar_path()),
    "lark": "lark" in sys.modules,
    "std": sorted(p.name for p in (Path(tsdsl.__file__).parent / "std").glob("*.tsnet")),
    "typed": (Path(tsdsl.__file__).parent / "py.typed").exists(),
}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves no trace in it."""
    copy = tmp_path_factory.mktemp("project") / "tsdsl"
    copy.mkdir()
    for name in SHIPPED:
        shutil.copy(ROOT / name, copy)
    for name in TREES:
        ignored = shutil.ignore_patterns("__pycache__", "_grammars")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    return copy


@pytest.fixture(scope="module")
def built(project: Path) -> Path:
    """A directory with the source distribution and the wheel that was built from it."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    return project / "dist"


def environment(directory: Path) -> Path:
    """The interpreter of a new environment that sees the dependencies of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return directory / "bin" / "python"


def install(python: Path, *what: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
    settings = {**os.environ, "PIP_NO_INDEX": "1"}
    done = subprocess.run([*command, *what], capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stderr


def call(command: list[str], cwd: Path) -> str:
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_source_distribution(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"grammars/tsnet.lark", "hatch_build.py", "LICENSE", "specs/x3d_s.tsnet"} <= names
    assert not any(name.startswith("tsdsl/_grammars") for name in names)


def test_wheel_holds(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "tsdsl/_grammars/tsnet.lark",
        "tsdsl/_grammars/tsnet.tables.json",
        "tsdsl/cli/templates/starter.tsnet",
        "tsdsl/py.typed",
        "tsdsl/std/video.tsnet",
    } <= names
    assert all(name.startswith(("tsdsl/", "tsdsl-0.1.0.dist-info/")) for name in names)


def test_wheel_install(built: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    (wheel,) = built.glob("*.whl")
    install(python, str(wheel))
    found = json.loads(call([str(python), "-c", PROBE], tmp_path))
    assert str(tmp_path / "env") in found["package"] and found["version"] == "0.1.0"
    assert found["grammar"] == f"{found['package']}/_grammars/tsnet.lark"
    assert found["lark"] is False, "the precomputed tables were not used"
    assert "video.tsnet" in found["std"] and found["typed"]
    command = str(python.parent / "tsdsl")
    assert call([command, "--version"], tmp_path) == "tsdsl 0.1.0\n"
    call([command, "init", "a"], tmp_path)
    call([command, "check", "a.tsnet", str(ROOT / "specs" / "x3d_s.tsnet")], tmp_path)


def test_editable_install(project: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    install(python, "--no-build-isolation", "-e", str(project))
    found = json.loads(call([str(python), "-c", PROBE], tmp_path))
    assert found["package"] == str(project / "tsdsl")
    assert found["grammar"] == str(project / "grammars" / "tsnet.lark")
    assert found["lark"] is False, "the precomputed tables were not used"
    assert "video.tsnet" in found["std"]
    command = str(python.parent / "tsdsl")
    call([command, "check", str(ROOT / "specs" / "x3d_s.tsnet")], tmp_path)

    grammar = project / "grammars" / "tsnet.lark"
    before = grammar.read_text(encoding="utf-8")
    try:
        grammar.write_text(before + "\n// edited\n", encoding="utf-8")
        edited = json.loads(call([str(python), "-c", PROBE], tmp_path))
        assert edited["lark"] is True, "tables of another grammar were used"
    finally:
        grammar.write_text(before, encoding="utf-8")
