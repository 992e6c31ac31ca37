"""Reading and writing files, so that whatever goes wrong is one clear `FileError`.

What is read has a size limit and must be UTF-8 text. What is written is written whole or not at
all: into a temporary file of the same directory, which then takes the name.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from tsdsl.diagnostics import Diagnostic, FileError

PathLike = str | os.PathLike[str]

#: Bytes of the largest file that is read as a spec: 30,000 lines, far more than anyone writes.
MAX_TEXT = 1 << 20


def read_text(path: PathLike, *, limit: int = MAX_TEXT, what: str = "file") -> str:
    """The text of a file (without a byte order mark). ``what`` names its kind in messages.

    Raises `FileError`: missing, a directory, unreadable, over ``limit`` bytes, binary, not UTF-8.
    """
    name = os.fspath(path)
    data = _read(name, limit, what)
    if b"\x00" in data:
        raise _failure("E0805", f"this {what} is not text: it has a zero byte", name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = data.count(b"\n", 0, bad.start) + 1
        raise _failure(
            "E0806",
            f"this {what} is not UTF-8 text: byte 0x{data[bad.start]:02x} in line {line}",
            name,
            "save it as UTF-8",
        ) from None


def read_lines(path: PathLike, *, limit: int, what: str) -> tuple[list[str], int]:
    """The lines of a log, and the number of lines that are left out because they are not text:
    after a power cut, the end of the file can hold zero bytes or half of a character.

    Raises `FileError`: missing, no regular file, unreadable, over ``limit`` bytes.
    """
    name = os.fspath(path)
    mode = _mode(name)
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        # Reading a pipe would wait for a writer, perhaps for ever.
        raise _failure("E0803", f"this {what} cannot be read: it is not a regular file", name)
    found, bad = [], 0
    for line in _read(name, limit, what).removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            bad += 1
            continue
        if "\0" in text:
            bad += 1
        elif text:
            found.append(text.removesuffix("\r"))
    return found, bad


def _read(name: str, limit: int, what: str) -> bytes:
    try:
        with open(name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > limit else file.read(limit + 1)
    except OSError as error:
        raise unreadable(error, name, what) from None
    except ValueError:
        raise _failure("E0801", f"there is no such {what}", name) from None
    if size > limit or len(data) > limit:
        amount = f"{_megabytes(size)}; " if size > limit else ""
        raise _failure(
            "E0804",
            f"this {what} is too large: {amount}at most {_megabytes(limit)} are read",
            name,
        )
    return data


def unreadable(error: OSError, name: str, what: str) -> FileError:
    """The `FileError` for a file that the operating system refuses to read; ``what`` names its
    kind."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return _failure("E0801", f"there is no such {what}", name, _nearest_file(name))
    if error.errno == errno.EISDIR:
        return _failure("E0802", f"this is a directory, not a {what}", name)
    return _failure("E0803", f"this {what} cannot be read: {_reason(error)}", name)


def _nearest_file(name: str) -> str | None:
    """A help line with the most similar name in the same directory, if there is one."""
    from tsdsl.diagnostics import nearest

    directory, base = os.path.split(name)
    try:
        with os.scandir(directory or ".") as entries:
            names = [entry.name for _, entry in zip(range(2000), entries, strict=False)]
    except (OSError, ValueError):
        return f"the directory '{directory}' does not exist" if directory else None
    found = nearest(base, names)
    return f"did you mean '{os.path.join(directory, found)}'?" if found else None


def write_atomic(
    path: PathLike,
    content: str | bytes | Iterable[str | bytes | memoryview],
    *,
    sync: bool = False,
) -> None:
    """Write a file whole or not at all; an earlier one stays as it was until then. ``content`` may
    be an iterable of parts, which are written one by one. With ``sync``, the data has reached the
    disk before the file takes its name.

    A symbolic link is followed, permissions of an earlier file are kept. What is no regular file
    (``/dev/stdout``, a pipe) is written to directly. Raises `FileError`.
    """
    parts = [content] if isinstance(content, str | bytes) else content
    data = (part.encode("utf-8") if isinstance(part, str) else part for part in parts)
    name = os.fspath(path)
    try:
        target = os.path.realpath(name)
        mode = _mode(target)
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if mode is not None and not stat.S_ISREG(mode):
            with open(target, "wb") as file:
                file.writelines(data)
            return
        if mode is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _replace(target, data, mode, sync)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritten(error, name) from None
    except ValueError:
        raise _failure("E0807", "cannot write: not a file name", name) from None


def check_writable(path: PathLike) -> None:
    """Raise the `FileError` that `write_atomic` would raise, as far as this can be known without
    writing. To be called before long work."""
    name = os.fspath(path)
    try:
        target = os.path.realpath(name)
        code = None
        if os.path.exists(name) and not (os.path.isfile(name) or os.path.isdir(name)):
            return  # a device, a pipe
        if os.path.isdir(target):
            code = errno.EISDIR
        elif not os.path.isdir(os.path.dirname(target)):
            code = errno.ENOENT
        elif not os.access(target if os.path.exists(target) else os.path.dirname(target), os.W_OK):
            code = errno.EACCES
    except ValueError:
        raise _failure("E0807", "cannot write: not a file name", name) from None
    if code is not None:
        raise _unwritten(OSError(code, os.strerror(code)), name)


def _unwritten(error: OSError, name: str) -> FileError:
    help_line = None
    folder = os.path.dirname(name) or "."
    if error.errno == errno.ENOENT and not os.path.isdir(folder):
        help_line = f"the directory '{folder}' does not exist"
    return _failure("E0807", f"cannot write: {_reason(error)}", name, help_line)


def _replace(target: str, data: Iterable[bytes | memoryview], mode: int | None, sync: bool) -> None:
    directory, base = os.path.split(target)
    temporary = os.path.join(directory, f".{base[:100]}.{os.getpid():x}-{os.urandom(4).hex()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(handle, "wb") as file:
            file.writelines(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def sync_folder(path: PathLike) -> None:
    """Flush the names in a folder to the disk. Does nothing where folders cannot be opened
    (Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def os_failure(code: str, what: str, error: OSError, name: PathLike) -> FileError:
    """The `FileError` for an error of the operating system; ``what`` begins the message."""
    return _failure(code, f"{what}: {_reason(error)}", os.fspath(name))


def folder_failure(error: OSError | ValueError, path: PathLike) -> FileError:
    """The `FileError` for a folder that cannot be made or written to."""
    name = there = os.fspath(path)
    what = "cannot write to this folder"
    if not isinstance(error, OSError):
        return _failure("E0807", f"{what}: no name", name)
    while there and not os.path.lexists(there) and there != os.path.dirname(there):
        there = os.path.dirname(there)
    taken = os.path.exists(there) and not os.path.isdir(there)
    hint = f"'{there}' is a file: give the name of a folder, there or not" if taken else None
    return _failure("E0807", f"{what}: {_reason(error)}", name, hint)


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB".replace(".0 ", " ")


def _failure(code: str, message: str, name: str, help_line: str | None = None) -> FileError:
    return FileError([Diagnostic(code, message, file=name, help=help_line)])
