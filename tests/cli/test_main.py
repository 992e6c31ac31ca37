"""The command as a whole: help, version, colour, exit codes, what becomes of errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import tsdsl
from tsdsl.cli.__main__ import cli
from tsdsl.cli.colour import colour
from tsdsl.cli.group import VERBS
from tsdsl.cli.parameter_types import Amount, plain_value
from tsdsl.cli.verbs import check
from tsdsl.cli.verbs.data import DATA_VERBS
from tsdsl.diagnostics import Diagnostic, FileError, SpecError


def test_version(run) -> None:
    assert run("--version").stdout == f"tsdsl {tsdsl.__version__}\n"


def test_help_lists_every_verb(run) -> None:
    done = run("--help")
    assert done.exit_code == 0
    for verb, line in VERBS.items():
        assert f"{verb} " in done.stdout and line in done.stdout


def test_verbs_are_files_and_listed() -> None:
    directory = Path(check.__file__).parent
    verbs = {
        path.stem
        for path in directory.glob("*.py")
        if re.search(r"^def command\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert verbs == set(VERBS) | {f"data_{verb}" for verb in DATA_VERBS}
    assert list(VERBS) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(run, verb: str) -> None:
    done = run(verb, "--help")
    assert done.exit_code == 0
    assert "Examples:" in done.stdout and f"tsdsl {verb}" in done.stdout.split("Examples:")[1]
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    assert command.get_short_help_str(100) == VERBS[verb]
    assert any("--color" in p.opts for p in command.params)


def test_no_arguments_show_the_help(run) -> None:
    done = run()
    assert done.exit_code == 2
    assert "Verbs:" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "did you mean 'check'?"),
        (["\x1b[2Jx"], "\\x1b[2Jx"),
        (["--nonsense"], "No such option"),
        (["check"], "Missing argument"),
        (["check", "a", "--format", "xml"], "'xml' is not one of"),
        (["check", "a", "b", "--dump"], "--dump takes one FILE"),
        (["check", "a", "--color", "sometimes"], "'sometimes' is not one of"),
        (["flops", "a", "--set", "crop"], "not name=value"),
        (["flops", "a", "--set", "=3"], "not name=value"),
        (["flops", "a", "--min", "fast"], "not an amount"),
        (["flops", "a", "--min", "2G", "--max", "1G"], "--min is larger than --max"),
        (["flops", "a", "--views", "0"], "0 is not in the range"),
        (["sample", "a", "-n", "0"], "0 is not in the range"),
        (["sample", "a", "-n", "2", "-o", "x.json"], ".jsonl file or a directory"),
        (["compile", "a", "-o", "model.pt2"], "not '.pt2'"),
        (["compile", "a", "-o", "model"], "a name without a suffix"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_usage_errors(run, arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.stderr.split())
    assert done.stdout == ""


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Result:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("tsdsl.cli.verbs.check._check", fail)
    return CliRunner().invoke(cli, ["check", "a.tsnet"])


def test_findings_end_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    done = raising(monkeypatch, SpecError([Diagnostic("E0101", "bad", file="a.tsnet")]))
    assert done.exit_code == 1
    assert done.stderr == "error[E0101]: bad\n --> a.tsnet\n\n"
    assert done.stdout == ""


def test_file_errors_end_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    done = raising(monkeypatch, FileError([Diagnostic("E0801", "no file", file="a.tsnet")]))
    assert done.exit_code == 3
    assert "error[E0801]: no file" in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        RecursionError("deep"),
        MemoryError(),
        KeyError("x"),
        SpecError([]),
        AssertionError(),
        # Not every failure of the system without a file's name is one of standard output.
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_a_bug_ends_with_70(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = raising(monkeypatch, error)
    assert done.exit_code == 70
    assert "Traceback" not in done.output
    assert f"internal error ({type(error).__name__})" in done.stderr
    (saved,) = tmp_path.glob("tsdsl-crash-*.txt")
    assert str(saved) in done.stderr
    text = saved.read_text(encoding="utf-8")
    assert "Traceback" in text and "'a.tsnet'" in text and tsdsl.__version__ in text


def test_a_bug_where_nothing_can_be_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    done = raising(monkeypatch, KeyError("x"))
    assert done.exit_code == 70
    assert "Please report it" in done.stderr


def test_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    done = raising(monkeypatch, KeyboardInterrupt())
    assert done.exit_code == 130
    assert done.stderr.strip() == "interrupted"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["completion", "bash"], ["--help"], ["check", "--help"]])
def test_broken_pipe(spawn, arguments: list[str], unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = spawn(
            *arguments,
            env={"PYTHONUNBUFFERED": unbuffered},
            capture_output=False,
            stdout=writer,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_output(spawn, unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        done = spawn(
            "--help",
            env={"PYTHONUNBUFFERED": unbuffered},
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 3
    assert done.stderr == "tsdsl: cannot write the output: No space left on device\n"


def test_closed_output(spawn) -> None:
    program = "import os, sys; os.close(1); os.execv(sys.executable, sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, sys.executable, "-m", "tsdsl.cli", "--version"],
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "coloured"),
    [
        ([], {}, False),
        (["--color", "always"], {}, True),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {}, False),
    ],
)
def test_colour(spawn, arguments: list[str], env: dict[str, str], coloured: bool) -> None:
    for command in ([*arguments, "check", "missing"], ["check", "missing", *arguments]):
        done = spawn(*command, env=env)
        assert done.returncode == 3
        assert ("\x1b[" in done.stderr) is coloured


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colour_on_a_terminal(spawn, env: dict[str, str], coloured: bool) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    settings = {"TERM": "xterm", "NO_COLOR": "", **env}
    done = spawn("check", "missing", env=settings, capture_output=False, stderr=theirs)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert done.returncode == 3
    assert ("\x1b[" in shown) is coloured


def test_colour_is_forgotten_between_runs(run) -> None:
    assert "\x1b[" in run("check", "missing", "--color", "always").stderr
    assert "\x1b[" not in run("check", "missing").stderr
    assert colour.get() == "auto"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(run, shell: str) -> None:
    done = run("completion", shell)
    assert done.exit_code == 0
    assert "_TSDSL_COMPLETE" in done.stdout and "tsdsl" in done.stdout


def test_completion_completes(spawn) -> None:
    def complete(line: str) -> str:
        words = line.split(" ")
        env = {
            "_TSDSL_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
        return spawn(env=env).stdout

    assert "plain,check" in complete("tsdsl ch")
    assert complete("tsdsl check sp") == "file,sp\n"
    assert "plain,--frozen" in complete("tsdsl flops --fr")
    assert complete("tsdsl flops a.tsnet --frozen ar") == "file,ar\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.37G", 1_370_000_000),
        ("250M", 250_000_000),
        ("12", 12),
        ("1.5k", 1500),
        ("2T", 2 * 10**12),
    ],
)
def test_amounts_are_exact(text: str, value: int) -> None:
    assert Amount().convert(text, None, None) == value


@pytest.mark.parametrize("text", ["-1", "1.5", "1e9", "G", "1.0001k", "nan", "9" * 50])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Amount().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("182", 182),
        ("-3", -3),
        ("2.25", 2.25),
        ("true", True),
        ("1x3x3", "1x3x3"),
        ("v.se(16)", "v.se(16)"),
    ],
)
def test_values_of_settings(text: str, value: object) -> None:
    read = plain_value(text)
    assert read == value and type(read) is type(value)
