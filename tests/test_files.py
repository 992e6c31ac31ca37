"""Files read with limits, and written whole or not at all."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from tsdsl.diagnostics import FileError
from tsdsl.files import MAX_TEXT, check_writable, read_text, write_atomic


def code(error: pytest.ExceptionInfo[FileError]) -> str:
    (found,) = error.value.diagnostics
    return found.code


def test_text_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.tsnet"
    path.write_bytes("\ufefftsnet 1 // é\r\n".encode())
    assert read_text(path) == "tsnet 1 // é\r\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x00\x01", "E0805"),
        (b"abc\xff", "E0806"),
        (b"x" * (MAX_TEXT + 1), "E0804"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "a.tsnet"
    path.write_bytes(content)
    with pytest.raises(FileError) as error:
        read_text(path)
    assert code(error) == expected
    assert error.value.diagnostics[0].file == str(path)


def test_missing_suggests_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "x3d_s.tsnet").touch()
    with pytest.raises(FileError) as error:
        read_text(tmp_path / "x3d-s.tsnet")
    assert code(error) == "E0801"
    assert "x3d_s.tsnet" in (error.value.diagnostics[0].help or "")
    with pytest.raises(FileError) as error:
        read_text(tmp_path / "no" / "a.tsnet")
    assert "does not exist" in (error.value.diagnostics[0].help or "")


@pytest.mark.parametrize("name", ["a\x00b", "n" * 5000])
def test_names_that_no_file_has(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError) as error:
        read_text(str(tmp_path / name))
    assert code(error) == "E0801"
    with pytest.raises(FileError) as error:
        write_atomic(str(tmp_path / name), "x")
    assert code(error) == "E0807"


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(FileError) as error:
        read_text(tmp_path)
    assert code(error) == "E0802"
    with pytest.raises(FileError) as error:
        write_atomic(tmp_path, "x")
    assert code(error) == "E0807"


def test_endless_file() -> None:
    with pytest.raises(FileError) as error:
        read_text("/dev/zero")
    assert code(error) == "E0804"


def test_pipe_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("tsnet 1"))
    writer.start()
    assert read_text(pipe) == "tsnet 1"
    writer.join()


def test_write_replaces_and_keeps_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    write_atomic(path, "new é")
    assert path.read_text(encoding="utf-8") == "new é"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a"]


def test_write_honours_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_write_follows_links(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink() and target.read_text() == "new"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FileError) as error:
        write_atomic(path, "new")
    assert code(error) == "E0807"
    assert "no space left" in error.value.diagnostics[0].message
    assert os.listdir(tmp_path) == ["a"] and path.read_text() == "old"


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(FileError) as error:
        write_atomic(tmp_path / "no" / "a", "x")
    assert "does not exist" in (error.value.diagnostics[0].help or "")


def test_devices_are_written_to_directly() -> None:
    write_atomic("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_full_device() -> None:
    with pytest.raises(FileError) as error:
        write_atomic("/dev/full", "x")
    assert code(error) == "E0807"


def test_what_can_be_written_is_known_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    check_writable(tmp_path / "new")
    check_writable(tmp_path / "file")
    check_writable(os.devnull)
    assert (tmp_path / "file").read_text() == "kept" and not (tmp_path / "new").exists()
    for path in (tmp_path, tmp_path / "none/new", tmp_path / "file/new", "a\0b"):
        with pytest.raises(FileError) as before:
            check_writable(path)
        with pytest.raises(FileError) as later:
            write_atomic(path, "x")
        assert before.value.diagnostics[0].code == later.value.diagnostics[0].code == "E0807"
