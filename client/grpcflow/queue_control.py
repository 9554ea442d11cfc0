"""Queues from Python: purge, pause, resume, and revoke by what is called; a part of ``app.control``.

The coordinator does all of it, durably, whether workers are there or not. It may not import grpc or protobuf.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grpcflow.control import Connected

__all__ = ["QueueControl"]


class QueueControl:
    """What ``app.control`` does to queues. All raise CoordinatorUnavailable where the coordinator cannot be reached."""

    _app: "Connected"

    def purge(self, queues: str | Iterable[str] | None = None) -> int:
        """Revoke all calls that stand in queues now; return how many that were.

        What runs, what waits for other calls or for its time, and what is queued later is left alone. A call that is
        purged ends as REVOKED, and what follows it fails, as with any revoke.

        Args:
            queues: One name or several. None: every queue in which something waits, whosever it is.

        Raises:
            InvalidRequest: A name is empty or too long.
        """
        connection = self._app.connection
        if queues is None:
            queues = sorted({lane.queue for lane in connection.list_queues().lanes})
        names = [queues] if isinstance(queues, str) else list(queues)
        return sum(connection.purge_queue(name) for name in names)

    discard_all = purge

    def pause_queue(self, queue: str) -> None:
        """Let nothing of a queue be handed out until ``resume_queue``, also over restarts; what runs goes on.

        Args:
            queue: Its name; it need not exist yet.

        Raises:
            InvalidRequest: The name is empty or too long.
        """
        self._app.connection.pause_queue(queue)

    def resume_queue(self, queue: str) -> None:
        """Hand out again what waits in a queue; where it is not paused nothing happens.

        Args:
            queue: Its name.

        Raises:
            InvalidRequest: The name is empty or too long.
        """
        self._app.connection.resume_queue(queue)

    def revoke_matching(
        self, task: str | None = None, *, queue: str | None = None, terminate: bool = False, signal: str = "SIGTERM"
    ) -> int:
        """Revoke every call that has not ended and matches, wherever it is; return how many, now or soon.

        Args:
            task: Name of the task, or a pattern with * and ?. None: any.
            queue: Name of its queue. None: any.
            terminate: True: stop the ones that run. Default False.
            signal: What to stop a child process with.

        Raises:
            ValueError: Neither task nor queue is named.
            InvalidRequest: A name is too long, or there is no such signal.
        """
        if not (task or queue):
            raise ValueError("name a task or a queue: to revoke everything say task='*'")
        return self._app.connection.revoke_matching(task or "", queue or "", terminate, signal)
