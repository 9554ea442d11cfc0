"""What an app that is traced calls: the port behind which a tracing library stands.

Where nobody asked for traces there is nothing behind it, and what would call it pays one look. It may import nothing
at run time: no tracing library is known here, see ``grpcflow.opentelemetry`` for the one that is.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from grpcflow.canvas.signature import Signature
    from grpcflow.context import Context
    from grpcflow.lower.model import LoweredGraph
    from grpcflow.task import Task

__all__ = ["OpenSpan", "Spans"]


class OpenSpan(Protocol):
    """What is told of while it goes on: an attempt, or the one run of a batch."""

    def end(self, state: str, outcome: Any) -> None:
        """Tell how it ended, once.

        Args:
            state: The state that it came to, such as SUCCESS, FAILURE or RETRY.
            outcome: What it gave, or the exception.
        """
        ...


class Spans(Protocol):
    """Tells of what an app submits and runs."""

    def submitting(
        self, canvas: "Signature", graph: "LoweredGraph", graph_id: bytes, request: "Context | None"
    ) -> AbstractContextManager[None]:
        """Tell of a submission, which goes on inside; the calls of the graph get headers that lead back to it.

        Args:
            canvas: What was lowered.
            graph: What came of that; changed.
            graph_id: The 12 bytes of its id.
            request: That of the task that submits; None: no task does.
        """
        ...

    def applying(self, canvas: "Signature", graph: "LoweredGraph") -> AbstractContextManager[None]:
        """Tell of a canvas that runs in this process, inside; its calls get headers, too.

        Args:
            canvas: What was lowered.
            graph: What came of that; changed.
        """
        ...

    def begin(self, task: "Task[..., Any]", request: "Context") -> OpenSpan | None:
        """Tell that an attempt begins; None: nothing is told of it.

        Args:
            task: The task.
            request: The request of the attempt.
        """
        ...

    def begin_batch(self, task: "Task[..., Any]", members: Sequence[OpenSpan]) -> OpenSpan | None:
        """Tell that the function of a batch task begins; None: nothing is told of it.

        Args:
            task: The task.
            members: What was begun for the calls that it is given.
        """
        ...
