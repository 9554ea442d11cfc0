"""`grpcflow erase`: delete everything of some tasks, graphs and stamps, and say what may still hold it."""

import click

from grpcflow.cli.invocation import Failed, Unknown, agreed, invocation, json_option, reach_options, yes_option
from grpcflow.cli.printing import echo_json

__all__ = ["erase"]


@click.command("erase")
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--stamp", "stamps", multiple=True, metavar="NAME=VALUE", help="Every graph with this stamp; repeatable.")
@click.option(
    "--timeout", "-t", type=float, default=10.0, metavar="SECONDS", help="How long what runs may take to stop."
)
@yes_option
@json_option
@reach_options
def erase(ids: tuple[str, ...], stamps: tuple[str, ...], timeout: float, yes: bool) -> None:
    """Delete everything that is kept of tasks, graphs and saved groups; what runs is stopped."""
    said = invocation()
    named: dict[str, list[str]] = {}
    for stamp in stamps:
        name, equals, value = stamp.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{stamp!r} is not NAME=VALUE.", param_hint="--stamp")
        named.setdefault(name, []).append(value)
    if not ids and not named:
        raise click.UsageError("name ids, or stamps with --stamp NAME=VALUE.")
    if not yes:
        agreed(f"Delete everything of {', '.join((*ids, *stamps))}, for good?", "--yes")
    done = said.control.erase(ids, stamps=named, timeout=timeout)
    if done.running:
        raise Failed(f"{done.running} still run though they were told to stop, and nothing was erased: try again.")
    if said.as_json:
        counts = {"graphs": done.graphs, "calls": done.calls, "groups": done.groups}
        echo_json({**counts, "unknown": list(done.unknown), "left": list(done.left)})
    else:
        click.echo(f"Erased: {done.graphs} graphs, {done.calls} single calls, {done.groups} saved groups.")
        if done.left:
            click.echo("What may still hold copies:")
        for place in done.left:
            click.echo(f"  {place}")
    if done.unknown:
        raise Unknown(f"Not known: {', '.join(done.unknown)}.")
