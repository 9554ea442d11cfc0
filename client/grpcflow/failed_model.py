"""What failed for good, to those who look at the list; plain data of the standard library's types.

It may not import grpc or protobuf: ``failed_calls`` makes these from messages.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypedDict

from grpcflow.errors import GrpcflowError
from grpcflow.graph.model import as_dict

__all__ = ["LOST", "FailedCall", "FailedFilter", "Refused", "RetriedCalls"]

#: The reason of calls that were given up because their workers died under them.
LOST: Final = "WORKER_LOST"


class FailedFilter(TypedDict, total=False):
    """Which calls of the list; as the arguments of ``app.failed.list``."""

    task: str
    queue: str
    type: str
    since: datetime | None
    lost: bool


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call that failed for good.

    Attributes:
        id: Its id.
        graph: Id of its graph, 24 hexadecimal digits.
        task: Name of the task.
        queue: Name of its queue.
        failed_at: When it failed, UTC.
        type: Class name of the failure.
        message: What it says.
        reason: Stable code where grpcflow made the failure itself, such as ``WORKER_LOST``; empty: the task raised it.
        retries: How often it was retried.
        worker: Name of the worker that ran it last; empty: none did.
    """

    id: str
    graph: str
    task: str
    queue: str
    failed_at: datetime
    type: str
    message: str
    reason: str
    retries: int
    worker: str

    @property
    def error(self) -> str:
        """The failure in short, ``type: message``."""
        return f"{self.type}: {self.message}" if self.message else self.type

    @property
    def lost(self) -> bool:
        """True: it was given up because its workers died under it."""
        return self.reason == LOST

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; moments as ISO 8601."""
        return as_dict(self)


@dataclass(frozen=True, slots=True)
class Refused:
    """A call whose graph could not be retried.

    Attributes:
        id: Its id.
        error: Why: NotFound, StillRunning, or RequestFailed where its arguments are gone.
    """

    id: str
    error: GrpcflowError


@dataclass(frozen=True, slots=True)
class RetriedCalls:
    """What became of retrying calls that failed.

    Attributes:
        retried: How many calls will settle once more: those that failed, and what waited for them.
        graphs: How many graphs they belong to.
        unknown_tasks: Names of tasks among them that no connected worker of their queue knows.
        refused: Calls whose graph was not retried.
    """

    retried: int
    graphs: int
    unknown_tasks: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()

    def __str__(self) -> str:
        """Return it in a sentence or two."""
        if not self.retried:
            return "Nothing runs again."
        text = f"Runs again: {_counted(self.retried, 'task')} of {_counted(self.graphs, 'graph')}."
        if self.unknown_tasks:
            text += (
                f" No connected worker knows {', '.join(self.unknown_tasks)}: those wait until one does. "
                "Start a worker whose app has them, or cancel the graph."
            )
        return text


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"
