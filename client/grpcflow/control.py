"""Remote control from Python: ask workers and change what they do (``app.control``).

Knows the shapes of questions and replies, and nothing of the wire: requests go through the app's
connection. It may not import grpc, protobuf or the command line, and it never invents a reply: who did not
answer is named in the reply's attributes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from grpcflow.aio.control import AwaitableControl
from grpcflow.erasing import EraseControl
from grpcflow.inspection import Callback, Inspect, Matcher, check_timeout, names_of, narrowed
from grpcflow.limit_control import LimitControl
from grpcflow.pool_control import PoolControl
from grpcflow.queue_control import QueueControl
from grpcflow.replies import Replies, ReplyList
from grpcflow.targets import EVERYBODY, Targets, targets_of
from grpcflow.worker_control import OF_THE_COORDINATOR, WorkerControl, by_coordinator

if TYPE_CHECKING:
    from grpcflow.app_commands import AppCommand
    from grpcflow.command_model import CommandDescription
    from grpcflow.connection import Connection

__all__ = ["Connected", "Control", "Inspect", "Replies", "ReplyList", "Revoked"]

#: Seconds to wait for each worker unless told otherwise.
DEFAULT_TIMEOUT: Final = 1.0

#: Most ids that one revoke request carries; more are cut into several.
REVOKE_BATCH: Final = 10_000


class Connected(Protocol):
    """What Control needs of an app: its connection to the coordinator."""

    @property
    def connection(self) -> "Connection":
        """The connection, opened at first use."""
        ...


class HasId(Protocol):
    """Anything that carries the id of a task, such as an AsyncResult."""

    @property
    def id(self) -> str:
        """The id as users know it."""
        ...


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revoke has done.

    Attributes:
        revoked: How many tasks are revoked now, or will be once their worker has stopped them.
        unknown: Ids that the coordinator does not know.
    """

    revoked: int
    unknown: tuple[str, ...] = ()


class Control(QueueControl, EraseControl, PoolControl, LimitControl, WorkerControl, AwaitableControl):
    """Commands for one worker, some, or all.

    Args:
        app: The app whose coordinator is asked.
    """

    def __init__(self, app: Connected) -> None:
        self._app = app

    def inspect(
        self,
        destination: Collection[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        callback: Callback | None = None,
        *,
        limit: int | None = None,
        pattern: str | Collection[str] | None = None,
        matcher: Matcher | None = None,
        queues: str | Collection[str] | None = None,
        labels: str | Collection[str] | None = None,
        upcoming: int | None = None,
    ) -> "Inspect":
        """Return an object whose methods ask questions that change nothing. All that narrows must agree.

        Args:
            destination: Names of workers; the part before "@" is enough where it is unique. None: all that
                are connected.
            timeout: Seconds to wait for each; a question returns as soon as all have answered.
            callback: Called with each reply as it comes, as ``{worker: value}``.
            limit: Replies after which the others are not waited for; None: all are.
            pattern: Pattern of workers' names, or several.
            matcher: ``"glob"``: with * and ? as in a shell; ``"regex"``, also ``"pcre"``: regular expressions for the
                whole name. Default glob.
            queues: Only workers that serve one of these.
            labels: Only workers that bear all of these.
            upcoming: How many calls that wait in the coordinator ``reserved`` and ``scheduled`` list for each worker,
                and how many ids ``revoked``; None: 100.

        Raises:
            ValueError: The destination is one text, or empty, or a number cannot be.
        """
        targets = targets_of(pattern, matcher, queues, labels, upcoming, limit)
        return Inspect(self._app, destination, timeout, targets=targets, callback=callback)

    def commands(self) -> "tuple[CommandDescription, ...]":
        """Return which commands there are: our own, then those that the apps of connected workers define.

        Raises:
            CoordinatorUnavailable: The coordinator cannot be reached.
        """
        from grpcflow.command_model import described

        return tuple(described(one) for one in self._app.connection.list_commands())

    def command(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        destination: Collection[str] | None = None,
        timeout: float | None = None,
        targets: Targets = EVERYBODY,
        callback: Callback | None = None,
    ) -> Replies:
        """Send a command and return what each worker answered.

        Args:
            name: Name of the command, for example ``add_consumer``.
            arguments: Its arguments; they travel as JSON.
            destination: As in ``inspect``.
            timeout: Seconds to wait for each worker; None: as the app says of a command of its own, or 1.
            targets: Whom else to leave out; see ``targets_of``.
            callback: As in ``inspect``.

        Raises:
            ValueError: The destination is one text, or empty, or the timeout is not above 0.
            UnknownDestination: No such worker is connected; ``known`` names those that are.
            InvalidRequest: No such command, or arguments that it does not take.
            CoordinatorUnavailable: The coordinator cannot be reached.
        """
        names = names_of(destination)
        defined: Mapping[str, AppCommand] = getattr(self._app, "commands", {})
        usual = defined[name].default_timeout if name in defined else DEFAULT_TIMEOUT
        seconds = usual if timeout is None else timeout
        check_timeout(seconds)
        more = narrowed(targets, callback)
        return Replies(self._app.connection.control(name, dict(arguments or {}), names, seconds, **more))

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Collection[str] | None = None,
        reply: bool = True,
        timeout: float | None = None,
        limit: int | None = None,
        callback: Callback | None = None,
        pattern: str | Collection[str] | None = None,
        matcher: Matcher | None = None,
    ) -> ReplyList | None:
        """Send any command; errors are those of ``command``.

        What the coordinator does by itself (``rate_limit``, ``revoke``, ``terminate``, ``revoke_by_stamped_headers``)
        it does here too, with Celery's arguments: the reply is ``[{"coordinator": {"ok": text}}]``.

        Args:
            command: Name of the command.
            arguments: Its arguments.
            destination: As in ``inspect``.
            reply: False: return None. The replies are waited for all the same, so that the command has
                reached its workers when this returns.
            timeout: As in ``command``.
            limit: As in ``inspect``.
            callback: As in ``inspect``.
            pattern: As in ``inspect``.
            matcher: As in ``inspect``.
        """
        if command in OF_THE_COORDINATOR:
            done = by_coordinator(self, command, arguments or {}, destination)
            return done if reply else None
        targets = targets_of(pattern, matcher, limit=limit)
        replies = self.command(
            command, arguments, destination=destination, timeout=timeout, targets=targets, callback=callback
        )
        return ReplyList(replies) if reply else None

    def ping(self, destination: Collection[str] | None = None, timeout: float = DEFAULT_TIMEOUT) -> ReplyList:
        """Ask who is there: ``[{worker: {"ok": "pong"}}, ...]``."""
        return ReplyList(self.inspect(destination, timeout).ping())

    def add_consumer(
        self,
        queue: str,
        *,
        weight: int | None = None,
        destination: Collection[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> ReplyList:
        """Make workers serve a queue from now on, until they end; for one that they serve, change its weight.

        Args:
            queue: Name of the queue; it need not exist yet.
            weight: Its share of the worker beside its other queues: 1 to 100; None: as the app declares, or 1.
            destination: As in ``inspect``.
            timeout: Seconds to wait for each worker.
        """
        arguments = {"queue": queue} if weight is None else {"queue": queue, "weight": weight}
        return ReplyList(self.command("add_consumer", arguments, destination=destination, timeout=timeout))

    def cancel_consumer(
        self, queue: str, *, destination: Collection[str] | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> ReplyList:
        """Make workers stop serving a queue, be it their last; what they have taken from it they still run.

        Args:
            queue: Name of the queue.
            destination: As in ``inspect``.
            timeout: Seconds to wait for each worker.
        """
        return ReplyList(self.command("cancel_consumer", {"queue": queue}, destination=destination, timeout=timeout))

    def shutdown(self, destination: Collection[str] | None = None, timeout: float = DEFAULT_TIMEOUT) -> ReplyList:
        """Make workers finish what they run and exit; what they have not started goes to others.

        Args:
            destination: As in ``inspect``; None stops all of them.
            timeout: Seconds to wait until each has heard it.
        """
        return ReplyList(self.command("shutdown", destination=destination, timeout=timeout))

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, str | Sequence[str]],
        destination: Collection[str] | None = None,
        terminate: bool = False,
        signal: str = "SIGTERM",
    ) -> "Revoked":
        """Give up all tasks that bear one of these stamps, durably, whether workers are there or not.

        Args:
            headers: For each name of a stamp one value or several.
            destination: None; the coordinator settles the tasks, wherever they are.
            terminate: True: stop those that run. Default False.
            signal: Signal for the processes they run in.

        Raises:
            ValueError: A destination is named.
            InvalidRequest: A name or a value is too long, or there is no such signal.
            CoordinatorUnavailable: The coordinator cannot be reached.
        """
        if destination is not None:
            raise ValueError("the coordinator revokes tasks wherever they are: leave destination out.")
        return Revoked(self._app.connection.revoke_by_stamp(stamps_of(headers), terminate, signal))

    def revoke(
        self,
        task_id: "str | HasId | Iterable[str | HasId]",
        terminate: bool = False,
        signal: str = "SIGTERM",
    ) -> Revoked:
        """Revoke tasks wherever they are, durably; the coordinator does it, whether workers are there or not.

        Args:
            task_id: An id or a result, or several.
            terminate: True: stop the ones that run. False: those run to their end.
            signal: What to stop a child process with.

        Raises:
            InvalidRequest: An id is too long, or there is no such signal.
            CoordinatorUnavailable: The coordinator cannot be reached.
        """
        ids = ids_of(task_id)
        revoked = 0
        unknown: list[str] = []
        for start in range(0, len(ids), REVOKE_BATCH):
            answer = self._app.connection.revoke(ids[start : start + REVOKE_BATCH], terminate, signal)
            revoked += answer.revoked
            unknown.extend(answer.unknown)
        return Revoked(revoked, tuple(unknown))

    def terminate(self, task_id: "str | HasId | Iterable[str | HasId]", signal: str = "SIGTERM") -> Revoked:
        """Revoke tasks and stop the ones that run; ``revoke`` with ``terminate=True``."""
        return self.revoke(task_id, terminate=True, signal=signal)


def ids_of(task_id: "str | HasId | Iterable[str | HasId]") -> Sequence[str]:
    """Return the ids in what was given to revoke."""
    if isinstance(task_id, str):
        return [task_id]
    if isinstance(task_id, Iterable) and not hasattr(task_id, "id"):
        return [item if isinstance(item, str) else item.id for item in task_id]
    return [task_id.id]  # type: ignore[union-attr]


def stamps_of(headers: Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    """Return the values of each stamp as a list."""
    return {name: [values] if isinstance(values, str) else list(values) for name, values in headers.items()}
