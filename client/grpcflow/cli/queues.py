"""`grpcflow ctl control pause|resume|purge|revoke_matching`: what the coordinator does to queues. Asks and shows."""

import click

from grpcflow.cli.control import check_signal
from grpcflow.cli.invocation import agreed, invocation, json_option, reach_options, yes_option
from grpcflow.cli.live_names import QUEUE, TASK
from grpcflow.cli.printing import echo_json
from grpcflow.cli.waiting import Waiting


def _tell_revoked(count: int) -> None:
    """Say how many calls were revoked."""
    if invocation().as_json:
        echo_json({"revoked": count})
    else:
        click.echo(f"{count} {'task' if count == 1 else 'tasks'} revoked.")


def _tell_paused(queue: str, paused: bool) -> None:
    """Say how a queue stands now."""
    if invocation().as_json:
        echo_json({"queue": queue, "paused": paused})
    else:
        click.echo(f"Queue {queue} is {'paused' if paused else 'not paused'}.")


@click.command("pause")
@click.argument("queue", type=QUEUE)
@json_option
@reach_options
def pause(queue: str) -> None:
    """Hand out nothing of QUEUE until it is resumed; what runs goes on."""
    invocation().control.pause_queue(queue)
    _tell_paused(queue, True)


@click.command("resume")
@click.argument("queue", type=QUEUE)
@json_option
@reach_options
def resume(queue: str) -> None:
    """Hand out again what waits in QUEUE."""
    invocation().control.resume_queue(queue)
    _tell_paused(queue, False)


@click.command("purge")
@click.argument("queues", metavar="QUEUE...", nargs=-1, type=QUEUE)
@click.option("--all", "every", is_flag=True, help="Every queue in which something waits.")
@click.option("-y", "--yes", "-f", "--force", "yes", is_flag=True, help="Do not ask.")  # Celery's is --force
@json_option
@reach_options
def purge(queues: tuple[str, ...], every: bool, yes: bool) -> None:
    """Revoke all calls that stand in QUEUE now; what runs goes on."""
    if bool(queues) == every:
        raise click.UsageError("Name queues, or say --all.")
    if not yes:
        what = "every queue" if every else ", ".join(queues)
        agreed(f"Revoke all that waits in {what}?", "--yes")
    with Waiting("Purging"):
        count = invocation().control.purge(None if every else queues)
    _tell_revoked(count)


@click.command("revoke_matching")
@click.option("--task", metavar="PATTERN", type=TASK, help="Name of the task, with * and ?.")
@click.option("--queue", "-Q", metavar="QUEUE", type=QUEUE, help="Name of its queue.")
@click.option("--terminate", is_flag=True, help="Stop those that run, too.")
@click.option("--signal", "-s", "signal_name", default="SIGTERM", callback=check_signal, help="What to stop them with.")
@yes_option
@json_option
@reach_options
def revoke_matching(task: str | None, queue: str | None, terminate: bool, signal_name: str, yes: bool) -> None:
    """Revoke every call of a task, of a queue, or both, wherever it is."""
    if not (task or queue):
        raise click.UsageError("Name a --task or a --queue; everything is --task '*'.")
    if not yes:
        parts = [f"of the task {task}"] * bool(task) + [f"of the queue {queue}"] * bool(queue)
        agreed(f"Revoke every call {' and '.join(parts)}{', and stop those that run' * terminate}?", "--yes")
    with Waiting("Revoking"):
        control = invocation().control
        count = control.revoke_matching(task, queue=queue, terminate=terminate, signal=signal_name)
    _tell_revoked(count)
