"""`grpcflow ctl control pool_grow`, `pool_shrink`, `pool_restart` and `autoscale`: the pools of workers.

Asks; what is shown is built in `answers`.
"""

import click

from grpcflow.cli.asking import send, target_options

_COUNT = click.IntRange(min=1)


@click.command("pool_grow")
@click.argument("n", type=_COUNT, default=1)
@target_options
def pool_grow(n: int) -> None:
    """Run N more tasks at once."""
    send("pool_grow", {"n": n})


@click.command("pool_shrink")
@click.argument("n", type=_COUNT, default=1)
@target_options
def pool_shrink(n: int) -> None:
    """Run N fewer tasks at once, at least one; what runs is left to end."""
    send("pool_shrink", {"n": n})


@click.command("pool_restart")
@click.argument("modules", nargs=-1)
@click.option("--reload", is_flag=True, help="Import the app anew for the new child processes.")
@target_options
def pool_restart(modules: tuple[str, ...], reload: bool) -> None:
    """Replace child processes once what they run has ended; the new ones import MODULES too."""
    send("pool_restart", {"modules": list(modules), "reload": reload})


@click.command("autoscale")
@click.argument("most", metavar="MAX", type=_COUNT)
@click.argument("least", metavar="[MIN]", type=_COUNT, required=False)
@target_options
def autoscale(most: int, least: int | None) -> None:
    """Scale between MIN and MAX child processes."""
    send("autoscale", {"max": most} if least is None else {"max": most, "min": least})
