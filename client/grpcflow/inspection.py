"""Questions to workers that change nothing: ``app.control.inspect()``.

Knows the names of the questions and their arguments; it may not import grpc, protobuf or the command line.
"""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from grpcflow.aio.control import AwaitableInspect
from grpcflow.replies import Replies
from grpcflow.targets import EVERYBODY, Callback, Targets

if TYPE_CHECKING:
    from grpcflow.connection import Reply
    from grpcflow.control import Connected

__all__ = ["Callback", "Inspect", "Matcher", "check_timeout", "names_of", "narrowed"]

#: Seconds to wait for each worker unless told otherwise.
DEFAULT_TIMEOUT: Final = 1.0

#: How a pattern is read.
Matcher = Literal["glob", "pcre", "regex"]


class Inspect(AwaitableInspect):
    """Questions to workers; each method returns ``Replies``, ``{worker: value}``, and never None.

    All raise what ``Control.command`` raises.

    Args:
        app: The app whose coordinator is asked.
        destination: Names of workers; None: all that are connected.
        timeout: Seconds to wait for each.
        targets: Whom else to leave out, and how much is told.
        callback: Called with each reply as it comes.
    """

    def __init__(
        self,
        app: "Connected",
        destination: Collection[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        *,
        targets: Targets = EVERYBODY,
        callback: Callback | None = None,
    ) -> None:
        self._app = app
        self.destination = names_of(destination)
        self.timeout = timeout
        self.targets = targets
        self._callback = callback
        check_timeout(timeout)

    def ask(self, command: str, arguments: Mapping[str, Any] | None = None) -> Replies:
        """Ask any question by its name.

        Args:
            command: Name of the question, for example ``active``.
            arguments: Its arguments; they travel as JSON.
        """
        more = narrowed(self.targets, self._callback)
        connection = self._app.connection
        return Replies(connection.inspect(command, dict(arguments or {}), self.destination, self.timeout, **more))

    def ping(self) -> Replies:
        """Ask who is there: ``{"ok": "pong"}`` each."""
        return self.ask("ping")

    def active(self, safe: bool = False) -> Replies:
        """Ask for the tasks that run: a list of ``{id, name, args, kwargs, time_start, worker_pid, ...}`` each.

        Args:
            safe: True: arguments as one text each.
        """
        return self.ask("active", {"safe": True} if safe else None)

    def reserved(self) -> Replies:
        """Ask for the tasks that were taken and have not started, then those that the worker could be given next.

        Items are as in ``active``; of those that wait in the coordinator, ``hostname`` is None.
        """
        return self.ask("reserved")

    def scheduled(self) -> Replies:
        """Ask for the tasks that wait for their time and could be given to the worker then.

        A list of ``{eta, priority, request}`` each. They wait in the coordinator, which answers for all.
        """
        return self.ask("scheduled")

    def revoked(self) -> Replies:
        """Ask for the ids of tasks that were revoked lately, the newest first; the same for all, from the coordinator.

        It remembers the last 10,000 since its start; what was revoked before is revoked all the same.
        """
        return self.ask("revoked")

    def registered(self, *attributes: str) -> Replies:
        """Ask for the tasks that each worker can run: a name each, or ``name [attribute=value ...]``.

        Args:
            attributes: What to tell of each, where it has one: ``rate_limit``, ``time_limit``, ``queue``, ...; none:
                ``rate_limit``.
        """
        return self.ask("registered", {"attrs": list(attributes)} if attributes else None)

    registered_tasks = registered

    def active_queues(self) -> Replies:
        """Ask for the queues that each worker serves: a list of ``{"name": ..., "weight": ...}`` each."""
        return self.ask("active_queues")

    def stats(self) -> Replies:
        """Ask for figures: uptime, process id, pool, tasks done by name."""
        return self.ask("stats")

    def conf(self, with_defaults: bool = False) -> Replies:
        """Ask for the settings of the app that each worker runs; what is secret by its name is not told.

        Args:
            with_defaults: True: also those that nobody set.
        """
        return self.ask("conf", {"with_defaults": True} if with_defaults else None)

    def report(self) -> Replies:
        """Ask for versions and what each worker is: ``{"ok": text}`` each."""
        return self.ask("report")

    def clock(self) -> Replies:
        """Ask how many messages each worker has sent since it connected: ``{"clock": number}`` each."""
        return self.ask("clock")

    def memsample(self) -> Replies:
        """Ask for the memory that each worker's supervisor takes, such as ``"54.2MB"``."""
        return self.ask("memsample")

    def query_task(self, *ids: str | Collection[str]) -> Replies:
        """Ask where tasks are: ``{id: [state, info]}`` each; ids that a worker does not hold are left out.

        Args:
            ids: Ids of tasks as users know them, or lists of them.
        """
        flat = [one for part in ids for one in ([part] if isinstance(part, str) else part)]
        return self.ask("query_task", {"ids": flat})


def narrowed(targets: Targets, callback: Callback | None) -> dict[str, Any]:
    """Return what a connection is told beyond names and time."""
    more: dict[str, Any] = {} if targets == EVERYBODY else {"targets": targets}
    if callback is not None:
        more["on_reply"] = _telling(callback)
    return more


def _telling(callback: Callback) -> "Callable[[Reply], None]":
    def tell(reply: "Reply") -> None:
        for worker, value in Replies([reply]).items():
            callback({worker: value})

    return tell


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
