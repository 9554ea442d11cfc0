"""`grpcflow ctl control pause|resume|purge|revoke_matching`: what the coordinator does to queues. Asks and shows."""

import click

from grpcflow.cli.control import check_signal
from grpcflow.cli.invocation import agreed, invocation, json_option, reach_options
from grpcflow.cli.printing import echo_json


def _tell_revoked(count: int) -> None:
    """Say how many calls were revoked."""
    if invocation().as_json:
        echo_json({"revoked": count})
    else:
        click.echo(f"{count} {'task' if count == 1 else 'tasks'} revoked.")


@click.command("pause")
@click.argument("queue")
@reach_options
def pause(queue: str) -> None:
    """Hand out nothing of QUEUE until it is resumed; what runs goes on."""
    invocation().control.pause_queue(queue)
    click.echo(f"Queue {queue} is paused.")


@click.command("resume")
@click.argument("queue")
@reach_options
def resume(queue: str) -> None:
    """Hand out again what waits in QUEUE."""
    invocation().control.resume_queue(queue)
    click.echo(f"Queue {queue} is not paused.")


@click.command("purge")
@click.argument("queues", metavar="QUEUE...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every queue in which something waits.")
@click.option("--force", "-f", is_flag=True, help="Do not ask.")
@json_option
@reach_options
def purge(queues: tuple[str, ...], every: bool, force: bool) -> None:
    """Revoke all calls that stand in QUEUE now; what runs goes on."""
    if bool(queues) == every:
        raise click.UsageError("Name queues, or say --all.")
    if not force:
        what = "every queue" if every else ", ".join(queues)
        agreed(f"Revoke all that waits in {what}?", "--force")
    _tell_revoked(invocation().control.purge(None if every else queues))


@click.command("revoke_matching")
@click.option("--task", metavar="PATTERN", help="Name of the task, with * and ?.")
@click.option("--queue", help="Name of its queue.")
@click.option("--terminate", is_flag=True, help="Stop those that run, too.")
@click.option("--signal", "-s", "signal_name", default="SIGTERM", callback=check_signal, help="What to stop them with.")
@json_option
@reach_options
def revoke_matching(task: str | None, queue: str | None, terminate: bool, signal_name: str) -> None:
    """Revoke every call of a task, of a queue, or both, wherever it is."""
    if not (task or queue):
        raise click.UsageError("Name a --task or a --queue; everything is --task '*'.")
    _tell_revoked(invocation().control.revoke_matching(task, queue=queue, terminate=terminate, signal=signal_name))
