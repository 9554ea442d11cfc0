"""Remote control from Python: ask workers and change what they do (``app.control``).

Knows the shapes of questions and replies, and nothing of the wire: requests go through the app's
connection. It may not import grpc, protobuf or the command line, and it never invents a reply: who did not
answer is named in the reply's attributes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from grpcflow.aio.control import AwaitableControl, AwaitableInspect
from grpcflow.limit_control import LimitControl
from grpcflow.pool_control import PoolControl
from grpcflow.queue_control import QueueControl

if TYPE_CHECKING:
    from grpcflow.connection import Connection, Reply

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


class Replies(dict[str, Any]):
    """Replies of workers, ``{worker: value}``; workers that did not answer are named beside it.

    It is empty only where nobody answered; ``no_reply`` and ``disconnected`` tell whether anybody was there.
    A worker that answered with an error has ``{"error": text}`` for a value, as in Celery.

    Attributes:
        no_reply: Workers that are connected and were silent until the time was over.
        disconnected: Workers whose stream is broken, or broke meanwhile.
        errors: What went wrong at those that answered with an error, ``{worker: text}``.
    """

    def __init__(self, replies: "Iterable[Reply]" = ()) -> None:
        super().__init__()
        self.no_reply: tuple[str, ...] = ()
        self.disconnected: tuple[str, ...] = ()
        self.errors: dict[str, str] = {}
        for reply in replies:
            self._add(reply)

    def _add(self, reply: "Reply") -> None:
        """Sort one reply in."""
        if reply.status == "disconnected":
            self.disconnected += (reply.worker,)
        elif reply.status == "no_reply":
            self.no_reply += (reply.worker,)
        else:
            error = reply.error or _error_in(reply.reply)
            if error:
                self.errors[reply.worker] = error
            self[reply.worker] = {"error": reply.error} if reply.error else reply.reply


class ReplyList(list[dict[str, Any]]):
    """Replies in the shape of Celery's control commands: ``[{worker: value}, ...]``.

    Args:
        replies: The same as one mapping; its attributes are kept in ``replies``.
    """

    def __init__(self, replies: Replies) -> None:
        super().__init__({worker: value} for worker, value in replies.items())
        #: The same replies as one mapping, which also names the workers that did not answer.
        self.replies = replies


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revoke has done.

    Attributes:
        revoked: How many tasks are revoked now, or will be once their worker has stopped them.
        unknown: Ids that the coordinator does not know.
    """

    revoked: int
    unknown: tuple[str, ...] = ()


class Control(QueueControl, PoolControl, LimitControl, AwaitableControl):
    """Commands for one worker, some, or all.

    Args:
        app: The app whose coordinator is asked.
    """

    def __init__(self, app: Connected) -> None:
        self._app = app

    def inspect(self, destination: Collection[str] | None = None, timeout: float = DEFAULT_TIMEOUT) -> "Inspect":
        """Return an object whose methods ask questions that change nothing.

        Args:
            destination: Names of workers; the part before "@" is enough where it is unique. None: all that
                are connected.
            timeout: Seconds to wait for each; a question returns as soon as all have answered.
        """
        return Inspect(self._app, destination, timeout)

    def command(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        destination: Collection[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Replies:
        """Send a command and return what each worker answered.

        Args:
            name: Name of the command, for example ``add_consumer``.
            arguments: Its arguments; they travel as JSON.
            destination: As in ``inspect``.
            timeout: Seconds to wait for each worker.

        Raises:
            ValueError: The destination is one text, or empty, or the timeout is not above 0.
            UnknownDestination: No such worker is connected; ``known`` names those that are.
            InvalidRequest: No such command, or arguments that it does not take.
            CoordinatorUnavailable: The coordinator cannot be reached.
        """
        names = names_of(destination)
        check_timeout(timeout)
        return Replies(self._app.connection.control(name, dict(arguments or {}), names, timeout))

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Collection[str] | None = None,
        reply: bool = True,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> ReplyList | None:
        """Send any command; arguments and errors are those of ``command``.

        Args:
            command: Name of the command.
            arguments: Its arguments.
            destination: As in ``inspect``.
            reply: False: return None. The replies are waited for all the same, so that the command has
                reached its workers when this returns.
            timeout: Seconds to wait for each worker.
        """
        replies = self.command(command, arguments, destination=destination, timeout=timeout)
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


class Inspect(AwaitableInspect):
    """Questions to workers; each method returns ``Replies``, ``{worker: value}``, and never None.

    All raise what ``Control.command`` raises.

    Args:
        app: The app whose coordinator is asked.
        destination: Names of workers; None: all that are connected.
        timeout: Seconds to wait for each.
    """

    def __init__(
        self, app: Connected, destination: Collection[str] | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self._app = app
        self.destination = names_of(destination)
        self.timeout = timeout
        check_timeout(timeout)

    def ask(self, command: str, arguments: Mapping[str, Any] | None = None) -> Replies:
        """Ask any question by its name.

        Args:
            command: Name of the question, for example ``active``.
            arguments: Its arguments; they travel as JSON.
        """
        replies = self._app.connection.inspect(command, dict(arguments or {}), self.destination, self.timeout)
        return Replies(replies)

    def ping(self) -> Replies:
        """Ask who is there: ``{"ok": "pong"}`` each."""
        return self.ask("ping")

    def active(self) -> Replies:
        """Ask for the tasks that run: a list of ``{id, name, args, kwargs, time_start, worker_pid, ...}`` each."""
        return self.ask("active")

    def reserved(self) -> Replies:
        """Ask for the tasks that were taken and have not started; items as in ``active``."""
        return self.ask("reserved")

    def scheduled(self) -> Replies:
        """Ask for the tasks that wait for their time at a worker: a list of ``{eta, priority, request}`` each.

        With grpcflow such tasks wait in the coordinator, so the lists are empty as a rule.
        """
        return self.ask("scheduled")

    def registered(self) -> Replies:
        """Ask for the names of the tasks that each worker can run."""
        return self.ask("registered")

    def active_queues(self) -> Replies:
        """Ask for the queues that each worker serves: a list of ``{"name": ..., "weight": ...}`` each."""
        return self.ask("active_queues")

    def stats(self) -> Replies:
        """Ask for figures: uptime, process id, pool, tasks done by name."""
        return self.ask("stats")

    def conf(self) -> Replies:
        """Ask for the settings of the app that each worker runs."""
        return self.ask("conf")

    def query_task(self, *ids: str) -> Replies:
        """Ask where tasks are: ``{id: [state, info]}`` each; ids that a worker does not hold are left out.

        Args:
            ids: Ids of tasks as users know them.
        """
        return self.ask("query_task", {"ids": list(ids)})


def names_of(destination: Collection[str] | None) -> tuple[str, ...]:
    """Return the names of a destination; none at all mean every worker."""
    if destination is None:
        return ()
    if isinstance(destination, str):
        raise ValueError(f"destination is one text; write a list of names: destination=[{destination!r}].")
    names = tuple(destination)
    if not names:
        # An empty list is more likely a filter that found nothing than a wish to reach every worker.
        raise ValueError("destination is empty: name at least one worker, or leave it out to reach all.")
    return names


def check_timeout(timeout: float) -> None:
    """Refuse a time that would mean "no time" or "for ever"."""
    if not 0 < timeout < float("inf"):
        raise ValueError(f"timeout is {timeout!r}; give a number of seconds above 0.")


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


def _error_in(value: Any) -> str:
    """Return the text of a reply in the form ``{"error": text}``, or nothing."""
    if isinstance(value, dict) and value.keys() == {"error"}:
        return str(value["error"])
    return ""
