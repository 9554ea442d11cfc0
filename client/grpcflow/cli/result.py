"""`grpcflow result`: how a task stands, and its value; also the end of `grpcflow call --wait`.

A settled value goes to stdout as JSON; everything else goes to stderr, so that a script can pipe it.
"""

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from grpcflow import errors
from grpcflow.cli.invocation import (
    EXIT_FAILED,
    EXIT_NOT_SETTLED,
    Bounded,
    Invocation,
    Unknown,
    invocation,
    json_option,
    reach_options,
)
from grpcflow.cli.printing import echo_json
from grpcflow.cli.progress import ProgressDisplay
from grpcflow.settled import Settled

if TYPE_CHECKING:
    from collections.abc import Collection

    from grpcflow_protos.v1 import value_pb2

#: States with a value, or with nothing to complain of.
_GOOD = ("SUCCESS", "IGNORED")

#: States after which nothing changes any more.
_SETTLED = (*_GOOD, "FAILURE", "REVOKED", "REJECTED")


@click.command("result")
@click.argument("task_id", metavar="ID")
@click.option("--traceback", is_flag=True, help="Print the traceback of a task that failed.")
@click.option(
    "--timeout", "-t", metavar="SECONDS", type=Bounded(min=0, max=86400), help="Wait for it. Default: do not."
)
@json_option
@reach_options
def result(task_id: str, traceback: bool, timeout: float | None) -> None:
    """Show how the task ID stands and what it returned."""
    said = invocation()
    if timeout:
        on_screen = sys.stderr.isatty()
        settled = followed(task_id, task_id, timeout, said) if on_screen else wait_for(task_id, timeout, said)
    else:
        settled = said.connection.lookup([task_id])[0]
    if settled is None:
        raise Unknown(f"The coordinator does not know {task_id}: it never did, or its time is over.")
    show(task_id, settled, said, traceback=traceback)


def wait_for(task_id: str, timeout: float, said: Invocation) -> "Settled | None":
    """Wait until a task has settled and return its result; after the time, return how it stands then."""
    try:
        settled = said.connection.wait([task_id], timeout=timeout, on_result=None)[task_id]
    except errors.TimeoutError:
        return said.connection.lookup([task_id])[0]
    if said.as_json:
        # A value that comes over the stream comes alone; worker and time are told on asking.
        return said.connection.lookup([task_id])[0] or settled
    return settled


def followed(name: str, task_id: str, timeout: float, said: Invocation) -> "Settled | None":
    """Wait as ``wait_for`` does, and show meanwhile how far the task is.

    Args:
        name: What the task is called.
        task_id: Its id.
        timeout: Seconds to wait.
        said: The options of this call.
    """
    coming = said.connection.arrivals([task_id], timeout=timeout, progress=True)
    with ProgressDisplay(name) as display, closing(coming):
        try:
            for one in coming:
                if one is None:
                    continue
                if one[1].state in _SETTLED:
                    display.finish(one[1].state == "SUCCESS")
                    return said.connection.lookup([task_id])[0] or one[1] if said.as_json else one[1]
                display.show(one[1].custom_state or one[1].state, _meta(one[1], said))
        except errors.TimeoutError:
            pass  # what it is then is told below, as without a bar
    return said.connection.lookup([task_id])[0]


def show(task_id: str, settled: "Settled", said: Invocation, *, traceback: bool = False) -> None:
    """Print how a task stands and end the program with the exit code of its state.

    Args:
        task_id: Its id.
        settled: How it stands.
        said: The options of this call.
        traceback: True: print the whole traceback of a failure, on stdout.
    """
    failure = settled.failure
    if said.as_json:
        echo_json(_as_json(task_id, settled, said))
    elif settled.state == "SUCCESS":
        echo_json(_value(settled, said))
    elif failure is not None and traceback and failure.traceback:
        click.echo(failure.traceback.rstrip("\n"))
    elif failure is not None:
        click.echo(f"{settled.state}: {_headline(failure)}", err=True)
    elif settled.state in _SETTLED:
        click.echo(settled.state, err=True)
    if settled.state not in _SETTLED:
        if not said.as_json:
            click.echo(f"{settled.state}: not settled yet. `grpcflow result {task_id} --timeout 60` waits.", err=True)
        click.get_current_context().exit(EXIT_NOT_SETTLED)
    if settled.state not in _GOOD:
        click.get_current_context().exit(EXIT_FAILED)


def _headline(failure: "value_pb2.Failure") -> str:
    """Return a failure as the last line of a traceback would."""
    name = failure.type_name if failure.module in ("", "builtins") else f"{failure.module}.{failure.type_name}"
    return f"{name}: {failure.message}" if failure.message else name


def _meta(told: "Settled", said: Invocation) -> Any:
    """Return what a task said with a state of its own."""
    if told.meta is None or not told.meta[0]:
        return None
    return _value(Settled(told.state, told.meta[0], told.meta[1]), said)


def _value(settled: "Settled", said: Invocation) -> Any:
    """Return the value of a task; the app's settings are asked only where the default refuses."""
    try:
        return _decode(settled, None)
    except errors.ContentDisallowed:
        return _decode(settled, said.app_or_plain().conf.accepted_values)


def _decode(settled: "Settled", accept: "Collection[str] | None") -> Any:
    """Return the value in a result, read with the content types that are accepted."""
    from grpcflow.codec import DEFAULT_ACCEPT, decode, decode_value

    accepted = DEFAULT_ACCEPT if accept is None else accept
    if settled.value is not None:
        return decode_value(settled.value, accepted)
    return None if settled.data is None else decode(settled.data, settled.content_type, accept=accepted)


def _as_json(task_id: str, settled: "Settled", said: Invocation) -> dict[str, Any]:
    """Return all that is known of a task, for programs."""
    failure = settled.failure
    return {
        "id": task_id,
        "state": settled.state,
        "result": _value(settled, said) if settled.state == "SUCCESS" else None,
        "error": _headline(failure) if failure is not None else None,
        "traceback": failure.traceback if failure is not None else None,
        "settled_at": settled.settled_at,
        "worker": settled.worker or None,
        "retries": settled.retries,
    }
