"""`grpcflow completion`: prints what a shell sources to complete commands, options and live names.

What is completed is told by the commands and by `live_names`; here is how the shells are spoken with. It is click's
way, and more careful where shells cut words: bash at `=` and `:`, so that it hands over pieces of `--queue=mail` and
`-A proj:app` and puts in the last piece only; zsh and fish not at all, so that they want the whole word back.
"""

import os
from typing import Any, Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from grpcflow.cli.invocation import Failed

__all__ = ["VARIABLE", "completion"]

#: Set by the shell when it asks for completions; click derives the same from the program's name.
VARIABLE = "_GRPCFLOW_COMPLETE"

_SHELLS = click.Choice(("bash", "zsh", "fish"))

_BASH: Final = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=',' read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_TYPED="${COMP_LINE:0:COMP_POINT}" COMP_PIECE="${COMP_WORDS[COMP_CWORD]}" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_FISH: Final = """\
function %(complete_func)s
    for completion in (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -ct) \\
            %(prog_name)s 2>/dev/null)
        set -l told (string split --max 1 "," -- $completion)
        switch $told[1]
            case dir
                __fish_complete_directories $told[2]
            case file
                __fish_complete_path $told[2]
            case plain
                echo $told[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Quiet(ShellComplete):
    """Completes a word as a whole, and has nothing to say where the line so far makes no sense."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """Return what the word could become; of `--option=value` not the value alone."""
        option, equals, _ = incomplete.partition("=")
        before = option + equals if equals and option.startswith("--") else ""
        return [
            CompletionItem(before + str(item.value), item.type, item.help)
            for item in super().get_completions(args, incomplete)
        ]

    def complete(self) -> str:
        """Return the lines that the shell reads."""
        try:
            return super().complete()
        except click.ClickException:  # the command says it once it is typed to its end
            return ""


class _Bash(_Quiet, BashComplete):
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and what stands of the one that it is in."""
        # With a mark at the cursor there is always a last word, be it empty or quoted.
        *words, last = split_arg_string(os.environ["COMP_TYPED"] + "\0")
        return words[1:], last.removesuffix("\0")

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """Return what is to stand in place of the piece that bash sees."""
        piece = os.environ["COMP_PIECE"]
        known = "" if piece in {"=", ":"} else piece
        head = incomplete.removesuffix(known) if incomplete.endswith(known) else ""
        return [
            CompletionItem(str(item.value).removeprefix(head), item.type, item.help)
            for item in super().get_completions(args, incomplete)
        ]


class _Zsh(_Quiet, ZshComplete):
    pass


class _Fish(_Quiet, FishComplete):
    source_template = _FISH


for _kind in (_Bash, _Zsh, _Fish):
    add_completion_class(_kind)


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
    """Print the script of a shell; it calls us for each completion."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Failed(f"This version of click has no completion for {shell}: pip install -U click.")
    # Not source(): that of bash starts a bash to ask for its version, which need not be here.
    maker = kind(ctx.find_root().command, {}, "grpcflow", VARIABLE)
    click.echo(maker.source_template % maker.source_vars())
