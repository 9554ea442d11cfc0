"""`grpcflow completion`: prints what a shell sources to complete commands, options and live names.

The scripts are click's own; what they complete is told by the commands and by `live_names`.
"""

import click
from click.shell_completion import get_completion_class

from grpcflow.cli.invocation import Failed

__all__ = ["VARIABLE", "completion"]

#: Set by the shell when it asks for completions; click derives the same from the program's name.
VARIABLE = "_GRPCFLOW_COMPLETE"

_SHELLS = click.Choice(("bash", "zsh", "fish"))


# The line "\b" tells click to leave the paragraph below it as it is.
_HELP = """Print the script that completes commands and live names in a shell.

\b
bash  eval "$(grpcflow completion bash)"             in ~/.bashrc
zsh   eval "$(grpcflow completion zsh)"              in ~/.zshrc, after compinit
fish  grpcflow completion fish > ~/.config/fish/completions/grpcflow.fish
"""


@click.command("completion", help=_HELP)
@click.argument("shell", metavar="bash|zsh|fish", type=_SHELLS)
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print click's script of a shell; it calls us for each completion."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Failed(f"This version of click has no completion for {shell}: pip install -U click.")
    # Not source(): that of bash starts a bash to ask for its version, which need not be here.
    maker = kind(ctx.find_root().command, {}, "grpcflow", VARIABLE)
    click.echo(maker.source_template % maker.source_vars())
