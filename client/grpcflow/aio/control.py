"""Remote control for coroutines: what ``app.control`` does, on the running event loop's own connection.

Importing it must stay light: it may import neither asyncio nor grpc.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from grpcflow.aio.connection import LoopConnection
    from grpcflow.control import Connected, HasId, Replies, Revoked
    from grpcflow.targets import Callback, Targets

__all__ = ["AwaitableControl", "AwaitableInspect", "on_loop"]


def on_loop(app: "Connected") -> "LoopConnection":
    """Return the running event loop's connection of an app."""
    return cast("LoopConnection", cast("Any", app).loop_connection)


class AwaitableControl:
    """The commands of ``Control`` for coroutines; parameters, results, errors are those of the names without ``a``."""

    _app: "Connected"

    async def acommand(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        destination: Collection[str] | None = None,
        timeout: float = 1.0,
    ) -> "Replies":
        """Send a command and return what each worker answered; see ``command``."""
        from grpcflow.inspection import check_timeout, names_of
        from grpcflow.replies import Replies

        names = names_of(destination)
        check_timeout(timeout)
        return Replies(await on_loop(self._app).acontrol(name, dict(arguments or {}), names, timeout))

    async def arevoke(
        self, task_id: "str | HasId | Iterable[str | HasId]", terminate: bool = False, signal: str = "SIGTERM"
    ) -> "Revoked":
        """Revoke tasks wherever they are; see ``revoke``."""
        from grpcflow.control import REVOKE_BATCH, Revoked, ids_of

        ids = ids_of(task_id)
        revoked = 0
        unknown: list[str] = []
        for start in range(0, len(ids), REVOKE_BATCH):
            answer = await on_loop(self._app).arevoke(ids[start : start + REVOKE_BATCH], terminate, signal)
            revoked += answer.revoked
            unknown.extend(answer.unknown)
        return Revoked(revoked, tuple(unknown))

    async def arevoke_by_stamped_headers(
        self, headers: Mapping[str, str | Sequence[str]], terminate: bool = False, signal: str = "SIGTERM"
    ) -> "Revoked":
        """Give up all tasks that bear one of these stamps; see ``revoke_by_stamped_headers``."""
        from grpcflow.control import Revoked, stamps_of

        return Revoked(await on_loop(self._app).arevoke_by_stamp(stamps_of(headers), terminate, signal))

    async def arevoke_matching(
        self, task: str | None = None, *, queue: str | None = None, terminate: bool = False, signal: str = "SIGTERM"
    ) -> int:
        """Revoke every call that has not ended and matches; see ``revoke_matching``."""
        if not (task or queue):
            raise ValueError("name a task or a queue: to revoke everything say task='*'")
        return await on_loop(self._app).arevoke_matching(task or "", queue or "", terminate, signal)

    async def apurge(self, queues: str | Iterable[str] | None = None) -> int:
        """Revoke all calls that stand in queues now; see ``purge``."""
        connection = on_loop(self._app)
        if queues is None:
            queues = sorted({lane.queue for lane in (await connection.alist_queues()).lanes})
        names = [queues] if isinstance(queues, str) else list(queues)
        return sum([await connection.apurge_queue(name) for name in names])

    async def apause_queue(self, queue: str) -> None:
        """Let nothing of a queue be handed out until it is resumed; see ``pause_queue``."""
        await on_loop(self._app).apause_queue(queue)

    async def aresume_queue(self, queue: str) -> None:
        """Hand out again what waits in a queue; see ``resume_queue``."""
        await on_loop(self._app).aresume_queue(queue)


class AwaitableInspect:
    """The questions of ``Inspect`` for coroutines."""

    _app: "Connected"
    destination: tuple[str, ...]
    timeout: float
    targets: "Targets"
    _callback: "Callback | None"

    async def aask(self, command: str, arguments: Mapping[str, Any] | None = None) -> "Replies":
        """Ask any question by its name: ``await app.control.inspect().aask("active")``; see ``ask``."""
        from grpcflow.inspection import narrowed
        from grpcflow.replies import Replies

        connection, more = on_loop(self._app), narrowed(self.targets, self._callback)
        answers = await connection.ainspect(command, dict(arguments or {}), self.destination, self.timeout, **more)
        return Replies(answers)
