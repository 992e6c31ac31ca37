"""``tsdsl completion``: the script that makes a shell complete verbs, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tsdsl.cli.colour import colour_option
from tsdsl.cli.output import data

EPILOG = """\b
Examples:
  eval "$(tsdsl completion bash)"                                    # in ~/.bashrc
  eval "$(tsdsl completion zsh)"                                     # in ~/.zshrc
  tsdsl completion fish > ~/.config/fish/completions/tsdsl.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@colour_option
def command(shell: str) -> None:
    """Print the script that lets a shell complete tsdsl."""
    from tsdsl.cli.__main__ import COMPLETE, cli

    found = get_completion_class(shell)
    assert found is not None, shell
    script = found(cli, {}, "tsdsl", COMPLETE)
    data(script.source_template % script.source_vars())
