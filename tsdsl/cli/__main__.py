"""The entry point of ``tsdsl``.

Exit codes: 0 ok; 1 findings; 2 usage; 3 file or network input and output; 70 a bug in tsdsl;
130 interrupted; 141 the reader of the output has left.

Only click is imported until a verb runs: a short command spends most of its time starting.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

import click

import tsdsl
from tsdsl.cli.colour import colour, colour_option
from tsdsl.cli.group import VERBS, LazyGroup
from tsdsl.cli.standard_streams import OutputError, discard, secure

FINDINGS, USAGE, IO, INTERNAL, INTERRUPTED, BROKEN_PIPE = 1, 2, 3, 70, 130, 141

#: Environment variable that the completion scripts set.
COMPLETE = "_TSDSL_COMPLETE"

EPILOG = """\b
Examples:
  tsdsl init my_space                                 # writes my_space.tsnet
  tsdsl check my_space.tsnet
  tsdsl flops my_space.tsnet                          # minimum and maximum of the space
  tsdsl sample my_space.tsnet --seed 1 -o arch.json
  tsdsl compile my_space.tsnet --frozen arch.json -o model.py
"""


class Main(LazyGroup):
    """The command ``tsdsl``: runs a verb, and turns every outcome into an exit code."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        extra["standalone_mode"] = False
        colour.set("auto")
        try:
            code = self._run(list(sys.argv[1:] if args is None else args), extra)
            code = _flushed(code)
        except BrokenPipeError:
            code = _closed_pipe()
        sys.exit(code)

    def _run(self, args: list[str], extra: dict[str, Any]) -> int:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Characters that the terminal's encoding lacks are printed as escapes.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            result = super().main(args=args, prog_name="tsdsl", complete_var=COMPLETE, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except SystemExit:
            if COMPLETE in os.environ:
                raise
            # Outside of standalone mode, click exits only where it meets a broken pipe.
            return BROKEN_PIPE
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            return INTERRUPTED
        except click.ClickException as error:
            error.show()
            return USAGE
        except Exception as error:
            return _failed(error, args)
        return result if isinstance(result, int) else 0


def _failed(error: Exception, args: list[str]) -> int:
    from tsdsl.diagnostics import DiagnosticError, FileError

    if isinstance(error, DiagnosticError) and error.diagnostics:
        from tsdsl.cli.output import show

        show(error.diagnostics)
        return IO if isinstance(error, FileError) else FINDINGS
    if isinstance(error, OutputError):
        _discard_output()
        click.echo(f"tsdsl: cannot write the output: {error}", err=True)
        return IO
    from tsdsl.cli.crash_report import report

    report(error, args)
    return INTERNAL


def _flushed(code: int) -> int:
    """Flush standard output; the exit code, which is that of a failure if this fails."""
    try:
        sys.stdout.flush()
    except OutputError:
        _discard_output()
        return code or IO
    return code


def _closed_pipe() -> int:
    _discard_output()
    # Standard error may be the same pipe.
    with suppress(BrokenPipeError):
        sys.stderr.flush()
        return BROKEN_PIPE
    discard(2)
    return BROKEN_PIPE


def _discard_output() -> None:
    with suppress(OSError, ValueError):
        discard(sys.stdout.fileno())


@click.command(
    cls=Main,
    verbs=VERBS,
    subcommand_metavar="VERB ...",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(tsdsl.__version__, prog_name="tsdsl", message="%(prog)s %(version)s")
@colour_option
def cli() -> None:
    """Describe, check, count and compile two-stream video networks written in the tsnet language.

    Data goes to standard output, diagnostics to standard error.
    """


def _without_plugins() -> None:
    """Replace pydantic's plug-in loader by one that finds none: it imports `importlib.metadata`,
    which alone takes as long as checking a small spec."""
    if os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__") == "__all__":
        loader = ModuleType("pydantic.plugin._loader")
        vars(loader)["get_plugins"] = tuple
        sys.modules.setdefault(loader.__name__, loader)


def main() -> NoReturn:
    """Entry point of the console script. The process is short: it collects garbage rarely, and does
    not search all installed packages for plug-ins of pydantic."""
    secure()
    gc.set_threshold(100_000, 50, 50)
    _without_plugins()
    cli.main()


if __name__ == "__main__":
    main()
