"""Commands of Celery's that need few words here: time limits, events, heartbeats; a part of ``app.control``.

It may not import grpc or protobuf.
"""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from grpcflow.commanding import Commanding

if TYPE_CHECKING:
    from grpcflow.control import Control
    from grpcflow.replies import ReplyList

__all__ = ["OF_THE_COORDINATOR", "WorkerControl", "by_coordinator"]


class WorkerControl(Commanding):
    """What ``app.control`` does to single workers; ``destination``, ``timeout`` and errors are those of ``command``."""

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Collection[str] | None = None,
        *,
        timeout: float = 1.0,
    ) -> "ReplyList":
        """Change the time limits of a task at workers, for calls that reach them from now on, until they end.

        Args:
            task_name: Name of the task.
            soft: Seconds; None: no soft limit.
            hard: Seconds; None: no hard limit.
            destination: As in ``inspect``.
            timeout: Seconds to wait for each worker.
        """
        limits = {"task_name": task_name, "soft": soft, "hard": hard}
        return self._tell("time_limit", limits, destination, timeout)

    def enable_events(self, destination: Collection[str] | None = None, *, timeout: float = 1.0) -> "ReplyList":
        """Do nothing: events are always there and need no switch; the replies say so."""
        return self._tell("enable_events", {}, destination, timeout)

    def disable_events(self, destination: Collection[str] | None = None, *, timeout: float = 1.0) -> "ReplyList":
        """Do nothing: events are always there, and cost nothing where nobody reads them; the replies say so."""
        return self._tell("disable_events", {}, destination, timeout)

    def heartbeat(self, destination: Collection[str] | None = None, *, timeout: float = 1.0) -> "ReplyList":
        """Have workers say at once that they are alive."""
        return self._tell("heartbeat", {}, destination, timeout)

    def _tell(
        self, name: str, arguments: Mapping[str, Any], destination: Collection[str] | None, timeout: float
    ) -> "ReplyList":
        from grpcflow.replies import ReplyList

        return ReplyList(self.command(name, arguments, destination=destination, timeout=timeout))


def _rate_limit(control: "Control", given: dict[str, Any]) -> str:
    rate = given.pop("rate_limit")
    control.rate_limit(given.pop("task_name"), rate)
    return "new rate limit set successfully" if rate else "rate limit disabled successfully"


def _revoke(control: "Control", given: dict[str, Any]) -> str:
    ids = given.pop("task_id")
    done = control.revoke(ids, given.pop("terminate", False), given.pop("signal", None) or "SIGTERM")
    return f"{done.revoked} tasks revoked"


def _terminate(control: "Control", given: dict[str, Any]) -> str:
    done = control.terminate(given.pop("task_id"), given.pop("signal", None) or "SIGTERM")
    return f"{done.revoked} tasks revoked"


def _revoke_by_stamp(control: "Control", given: dict[str, Any]) -> str:
    stamps, terminate = given.pop("headers"), given.pop("terminate", False)
    signal = given.pop("signal", None) or "SIGTERM"
    done = control.revoke_by_stamped_headers(stamps, terminate=terminate, signal=signal)
    return f"{done.revoked} tasks revoked"


#: Commands that workers carry out in Celery and the coordinator here.
OF_THE_COORDINATOR: Final[Mapping[str, "Callable[[Control, dict[str, Any]], str]"]] = {
    "rate_limit": _rate_limit,
    "revoke": _revoke,
    "revoke_by_stamped_headers": _revoke_by_stamp,
    "terminate": _terminate,
}


def by_coordinator(
    control: "Control", command: str, arguments: Mapping[str, Any], destination: Collection[str] | None
) -> "ReplyList":
    """Have the coordinator do what workers do in Celery.

    Args:
        control: Where it is asked for.
        command: One of ``OF_THE_COORDINATOR``.
        arguments: Under Celery's names.
        destination: None.

    Raises:
        ValueError: A destination is named.
        TypeError: An argument is missing, or there is none of that name.
    """
    from grpcflow.replies import Replies, ReplyList

    if destination is not None:
        raise ValueError(f"the coordinator does {command}, wherever tasks are: leave destination out.")
    given = dict(arguments)
    try:
        told = OF_THE_COORDINATOR[command](control, given)
    except KeyError as error:
        raise TypeError(f"{command} needs the argument {error}.") from None
    if given:
        raise TypeError(f"{command} takes no argument {next(iter(given))!r}.")
    replies = Replies()
    replies["coordinator"] = {"ok": told}
    return ReplyList(replies)
