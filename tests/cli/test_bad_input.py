"""Files that are missing, no text, too large, or cannot be written: one clear message each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

READERS = [["check"], ["flops"], ["compile"], ["sample"], ["check", "--dump"]]


@pytest.mark.parametrize("command", READERS, ids=" ".join)
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "E0801"),
        (lambda path: path.mkdir(), "E0802"),
        (lambda path: path.write_bytes(os.urandom(2000) + b"\x00"), "E0805"),
        (lambda path: path.write_bytes(b"tsnet 1 \xff\xfe"), "E0806"),
        (lambda path: path.write_bytes(b"x" * 10_000_000), "E0804"),
    ],
    ids=["missing", "directory", "binary", "not UTF-8", "10 MB"],
)
def test_unreadable_spec(run, tmp_path: Path, command: list[str], make, code: str) -> None:
    path = tmp_path / "a.tsnet"
    make(path)
    done = run(*command, path)
    assert done.exit_code == 3, done.output
    assert done.stderr.count("error[") == 1 and f"error[{code}]" in done.stderr
    assert "a.tsnet" in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_permissions(run, tmp_path: Path) -> None:
    path = tmp_path / "a.tsnet"
    path.write_text("tsnet 1")
    path.chmod(0)
    done = run("check", path)
    assert done.exit_code == 3 and "E0803" in done.stderr


def test_check_goes_on_after_a_missing_file(run, starter: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tsnet").write_text("tsnet 1\nspace {\n")
    done = run("check", "missing.tsnet", "bad.tsnet", starter)
    assert done.exit_code == 3
    assert "missing.tsnet" in done.stderr and "bad.tsnet:2" in done.stderr
    assert "3 files checked" in done.stderr


def test_name_with_control_characters(run) -> None:
    done = run("check", "a\x1b[2J\nb.tsnet")
    assert done.exit_code == 3
    assert "\x1b" not in done.stderr and "\\x1b[2J\\x0ab.tsnet" in done.stderr


@pytest.mark.parametrize("verb", ["flops", "compile"])
@pytest.mark.parametrize(
    ("content", "code", "exit_code"),
    [
        (None, "E0801", 3),
        (b"\x00\x01", "E0805", 3),
        (b"{", "E0701", 1),
        (b"[]", "E0702", 1),
        (b'{"format": "else/1", "decisions": {}}', "E0703", 1),
    ],
)
def test_unreadable_architecture(
    run, starter: Path, tmp_path: Path, verb: str, content: bytes | None, code: str, exit_code: int
) -> None:
    path = tmp_path / "arch.json"
    if content is not None:
        path.write_bytes(content)
    done = run(verb, starter, "--frozen", path)
    assert done.exit_code == exit_code, done.output
    assert f"error[{code}]" in done.stderr and "arch.json" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("output", ["no/model.py", "dir.py"])
def test_unwritable_source(run, starter: Path, arch: Path, tmp_path: Path, output: str) -> None:
    (tmp_path / "dir.py").mkdir()
    before = sorted(os.listdir(tmp_path))
    done = run("compile", starter, "--frozen", arch, "-o", output)
    assert done.exit_code == 3, done.output
    assert "error[E0807]" in done.stderr
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("output", ["no/arch.json", "no/archs.jsonl", "file/archs"])
def test_unwritable_architectures(run, starter: Path, tmp_path: Path, output: str) -> None:
    (tmp_path / "file").touch()
    done = run("sample", starter, "-o", output)
    assert done.exit_code == 3, done.output
    assert "error[E0807]" in done.stderr


def test_a_failed_command_leaves_the_earlier_file(run, starter: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    model.write_text("earlier")
    (tmp_path / "arch.json").write_text('{"format": "tsnet-arch/1", "decisions": {}}')
    done = run("compile", starter, "--frozen", "arch.json", "-o", model)
    assert done.exit_code == 1, done.output
    assert model.read_text() == "earlier"
