"""The contract between the worker's supervisor and whatever runs the tasks.

This file holds data and protocols only. It may NOT import gRPC, protobuf, asyncio's event loop or an executor: the
supervisor, every executor and the child processes all import it, and a child must start light.

All methods of `Executor` are called on the supervisor's event loop, and every callback of `Listener` comes on
that loop too. Each attempt that was put ends in exactly one report: a value, or an `Ended`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from grpcflow_protos.limits import PAYLOAD_LIMIT
from grpcflow_worker.log_lines import Logged

#: How an attempt can end; see `Ended`.
Kind = Literal["value", "failure", "retry", "ignored", "rejected", "lost", "returned", "revoked", "batch"]


#: A worker that a signal stops at once exits with its number and so much more.
STOP: Final = 128


class ExecutorError(Exception):
    """The executor cannot start, or cannot go on; the message holds the reason and what to do about it."""


class Call(msgspec.Struct, frozen=True, array_like=True):
    """What many attempts share: one for each template of an assignment.

    Attributes:
        task: registered name of the task.
        queue: queue it came from.
        priority: 0 to 9, higher first.
        content_type: of the payloads; "" means application/json.
        headers: one encoded mapping, b"" for none; holds `via` for map and starmap.
        headers_content_type: of the headers; "" means application/json.
        parent_id: id of the task that submitted the call, "" for none.
        root_id: id of the root of its work, "" where that is the first call of its graph.
        eta: ISO 8601 time before which it was not to run, or None.
        expires: ISO 8601 time after which it is not to run, or None.
        ignore_result: True where nobody wants the value; it is dropped and reported as b"".
        track_started: True: call `Listener.started` when it begins.
        acks_early: True: it must never run twice, so a dead child may not have it run again.
        time_limit: seconds after which its process is killed and the attempt fails; None: no limit.
        soft_time_limit: seconds after which `SoftTimeLimitExceeded` is raised in it; None: no limit.
        replaced_nesting: how many replacements lie above it.
        sensitive: True: nobody is to be shown its arguments.
        apart: True: its calls were only sent together, and each is the root of its own work.
    """

    task: str
    queue: str = "default"
    priority: int = 0
    content_type: str = ""
    headers: bytes = b""
    headers_content_type: str = ""
    parent_id: str = ""
    root_id: str = ""
    eta: str | None = None
    expires: str | None = None
    ignore_result: bool = False
    track_started: bool = False
    acks_early: bool = False
    time_limit: float | None = None
    soft_time_limit: float | None = None
    replaced_nesting: int = 0
    apart: bool = False
    sensitive: bool = False


class CallRun(msgspec.Struct):
    """Attempts that differ in node, token and payload only; the same shape as `AssignedRun` on the wire.

    Attributes:
        call: what they share.
        graph: the 12 bytes of the graph id.
        first: index of the first node.
        token: token of the first attempt; the others follow by one.
        payloads: for each attempt the encoded [args, kwargs]; a large one may be a view of a message.
        inputs: serialized `grpcflow.v1.Value` messages to prepend; only in a run of one.
        id: the user's own id; only in a run of one; "" means the text form of the node's 16 bytes.
        retries: how often it was retried.
        losses: how many attempts were lost before this one.
        content_type: of the payloads where it is not the call's.
        group: the 16 bytes of the join that the nodes are members of, b"" for none.
        group_index: place of the first node in that join's list; the others follow by one.
        in_chord: True where that join is the header of a chord.
        inputs_apart: True: the inputs are still with the coordinator; no executor is given such a run.
        batch: number of the batch that the attempts belong to; 0: each runs by itself. An executor is given a batch as
            one attempt with this token, whose payload holds the members; see `batches`.
        after: token of the node's last attempt whose end was reported; 0: none was.
    """

    call: Call
    graph: bytes
    first: int
    token: int
    payloads: list[bytes]
    inputs: tuple[bytes, ...] = ()
    id: str = ""
    retries: int = 0
    losses: int = 0
    content_type: str = ""
    group: bytes = b""
    group_index: int = 0
    in_chord: bool = False
    inputs_apart: bool = False
    batch: int = 0
    after: int = 0

    def part(self, start: int, stop: int) -> "CallRun":
        """The attempts from `start` up to, not including, `stop`, as a run of their own."""
        if start == 0 and stop >= len(self.payloads):
            return self
        return CallRun(
            call=self.call,
            graph=self.graph,
            first=self.first + start,
            token=self.token + start,
            payloads=self.payloads[start:stop],
            inputs=self.inputs,
            id=self.id,
            retries=self.retries,
            losses=self.losses,
            content_type=self.content_type,
            group=self.group,
            group_index=self.group_index + start,
            in_chord=self.in_chord,
            inputs_apart=self.inputs_apart,
            batch=self.batch,
            after=self.after,
        )


class Ended(msgspec.Struct, array_like=True, omit_defaults=True):
    """How one attempt ended, where it is not a plain JSON value.

    Attributes:
        token: token of the attempt.
        kind: "value" (data, content_type), "failure" (failure), "retry" (countdown_ms, failure; data holds the new
            [args, kwargs] or is b""), "ignored", "rejected" (requeue, failure), "lost" (message: its process died
            under it), "returned" (it never started and never will), "revoked" (stopped on request); of a batch that
            ran "batch" (data holds the ends of its members), which goes no further than `batches`.
        data: the encoded value, or the new payload of a retry.
        content_type: of data; "" means application/json.
        failure: a serialized `grpcflow.v1.Failure`, or b"".
        countdown_ms: not before this many milliseconds from now.
        requeue: True: the task asked to be handed out again.
        message: for people, how its process died, for example "signal 9" or "exit code 3".
        logged: True: the process that ran it has logged its end, traceback and all, so that nobody else need.
        signal: of "revoked": number of the signal that ended what ran; 0: it had not started.
    """

    token: int
    kind: Kind
    data: bytes = b""
    content_type: str = ""
    failure: bytes = b""
    countdown_ms: int = 0
    requeue: bool = False
    message: str = ""
    logged: bool = False
    signal: int = 0


class Registered(msgspec.Struct):
    """What an executor learned from the app when it started.

    Attributes:
        tasks: names of the tasks that it can run, sorted.
        conf: the settings of the app that a supervisor needs and that are plain JSON, by name; the supervisor does
            not import the app itself.
        warnings: what the user should know, one sentence each, for example who started a thread at import.
    """

    tasks: tuple[str, ...]
    conf: dict[str, Any]
    warnings: tuple[str, ...] = ()


class Running(msgspec.Struct):
    """One attempt that runs now: attempt `offset` of `run`, in process `pid`, since Unix time `started_at` (s)."""

    token: int
    run: CallRun
    offset: int
    started_at: float
    pid: int


class Waiting(msgspec.Struct):
    """One attempt that has not started: attempt `offset` of `run`."""

    token: int
    run: CallRun
    offset: int


class ExecutorSettings(msgspec.Struct):
    """What every executor is made from.

    Attributes:
        app: name of the app as for `-A`, or None: from GRPCFLOW_APP or pyproject.toml.
        hostname: name of the worker, as `task.request.hostname` shows it.
        concurrency: how many tasks run at once; solo takes 1 whatever it says; of asyncio, how many coroutines.
        includes: modules to import besides those that the app names.
        payload_limit: largest value in bytes; a larger one is a failure.
        start_timeout: seconds within which the app must be imported and every child be there.
        time_limit: seconds for calls that say none of their own; None: as the app's task_time_limit says.
        soft_time_limit: the same for the soft limit.
        log_level: name of the log level where the app is; "": the log is left as it is.
        log_file: path of the log, with ``%`` letters; "": standard error.
        log_color: True or False: its lines are coloured or not; None: as the app says, or where it is a terminal.
        log_json: True: its lines are JSON objects.
        threads: asyncio only: threads for tasks that are not `async def`, at most the concurrency.
        blocked_after: asyncio only: seconds after which a task that blocks the event loop is named in a warning; 0:
            never.
        max_tasks_per_child: prefork only: a child is replaced once it has run so many; None: as the app's
            worker_max_tasks_per_child says.
        max_memory_per_child: prefork only: a child is replaced once it takes more KiB than this after a task; None: as
            the app's worker_max_memory_per_child says.
        autoscale: prefork only: the most and the fewest children, which come and go with the work; None: there are
            always as many as the concurrency.
        autoscale_keepalive: seconds without work after which a child that autoscale made may go; None: as the app's
            worker_autoscale_keepalive says.
        ran: called on the event loop when so many runs of a task have taken so many seconds together; None: nobody
            wants to know.
    """

    app: str | None = None
    hostname: str = "worker"
    concurrency: int = 1
    includes: tuple[str, ...] = ()
    payload_limit: int = PAYLOAD_LIMIT
    start_timeout: float = 60.0
    time_limit: float | None = None
    soft_time_limit: float | None = None
    log_level: str = ""
    log_file: str = ""
    log_color: bool | None = None
    log_json: bool = False
    threads: int = 8
    blocked_after: float = 0.1
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    autoscale: tuple[int, int] | None = None
    autoscale_keepalive: float | None = None
    ran: Callable[[str, int, float], None] | None = None


class Listener(Protocol):
    """Who hears how the attempts end. Called on the event loop; must not raise and must not block."""

    def values(self, tokens: Sequence[int], datas: Sequence[bytes]) -> None:
        """Plain JSON values, column by column: the hot path. b"" where the result is ignored."""

    def ended(self, ends: Sequence[Ended]) -> None:
        """All other ends."""

    def started(self, tokens: Sequence[int]) -> None:
        """Attempts whose call says `track_started` began. Not an end."""

    def progressed(self, token: int, state: str, data: bytes, content_type: str) -> None:
        """A running attempt says how far it is: a state of its own and an encoded value. Not an end."""

    def logged(self, said: Sequence[Logged]) -> None:
        """Attempts printed and logged; always before their ends."""

    def broken(self, reason: str) -> None:
        """The executor cannot go on (it tried); end the worker. Comes at most once."""


class Executor(Protocol):
    """What runs tasks. Made by `grpcflow_worker.executors.create(kind, settings)`.

    Order of calls: `start` once, then anything in any order, `close` once. Nothing here blocks the event loop.
    """

    #: "prefork", "threads", "solo" or "asyncio".
    kind: str

    async def start(self, listener: Listener) -> Registered:
        """Import the app, start what runs tasks, and say what is registered.

        Raises ExecutorError with the traceback where the app cannot be imported, or after `start_timeout`.
        """
        ...

    def put(self, run: CallRun) -> None:
        """Take a run; its attempts start in order as places get free. Takes any amount."""

    def capacity(self) -> int:
        """How many attempts it would like to hold in all just now, at least the concurrency.

        Follows how long tasks take: about 100 ms of work, and one attempt for each place while tasks are long or
        unknown. Cheap; ask after each batch of results.
        """
        ...

    def places(self) -> int:
        """How many tasks run at once at most; with autoscale, when all children are there."""
        ...

    def resize(self, by: int) -> int:
        """Have so many places more, or fewer where it is below 0; returns how many there are then.

        What runs is left to end. Raises ExecutorError where there would be none left, where the number is not the
        user's to change (autoscale), and where it cannot change (solo).
        """
        ...

    def restart(self, *, reload: bool = False, modules: Sequence[str] = ()) -> None:
        """Replace every child process once what it runs has ended.

        Args:
            reload: True: the app is imported anew for the new ones; where that fails, the old ones stay and the log
                says why. False: they are copies of the app as it was imported first.
            modules: further modules to import; some: as if `reload` were True.

        Raises ExecutorError where there are no child processes.
        """

    def autoscale(self, most: int | None = None, least: int | None = None) -> tuple[int, int]:
        """Change the bounds of autoscale; None leaves one as it is. Returns the most and the fewest children.

        Raises ExecutorError where autoscale is off, and for bounds that cannot be.
        """
        ...

    def held(self) -> int:
        """How many attempts were put and have not ended."""
        ...

    def idle(self) -> bool:
        """True where no attempt is held."""
        ...

    def take_back(self, tokens: Sequence[int]) -> None:
        """Ask for attempts back that have not started, also from a child's buffer.

        Each one that had not started ends as "returned", at once or when its child has answered. One that runs, or
        is not held, is left alone and nothing is said.
        """

    def take_back_waiting(self, keep: int = 0) -> None:
        """The same for all that wait, last come first, until `keep` of them are left. For drain (0) and surplus."""

    def stop(self, token: int, signal: str | None = None) -> bool:
        """End an attempt as "revoked".

        Without a signal only where it has not started. With the name of one ("SIGTERM", "SIGKILL"): its process
        gets it, then SIGKILL after 5 s, and what waited in that process goes elsewhere. A running attempt in a thread
        (threads, solo, asyncio) cannot be stopped: it ends as "revoked" when its code returns, and its value is
        dropped. A coroutine of asyncio is cancelled, and may clean up for 5 s, with SIGKILL not at all.

        Returns False where no such attempt is held: it has ended. Raises ValueError for an unknown signal name.
        """
        ...

    def forget(self, token: int) -> bool:
        """As `stop(token, "SIGKILL")`, and nothing is reported: the attempt was superseded. False: not held."""
        ...

    def running(self) -> list[Running]:
        """The attempts that run now."""
        ...

    def waiting(self, limit: int = 1_000) -> list[Waiting]:
        """The attempts that have not started, in order, at most `limit` of them."""
        ...

    def dump_stacks(self) -> None:
        """Have the stacks of all threads of all processes that run tasks written to the log, but for this one's."""

    def stats(self) -> dict[str, Any]:
        """Plain JSON figures for people: processes or threads, held, done by task name, durations."""
        ...

    def emit(self, name: str, number: int = 0, *, attempt: CallRun | None = None, expired: bool = False) -> None:
        """Tell the app's receivers of a signal of the worker, where they are; costs nothing where nobody listens.

        Args:
            name: "worker_ready", "worker_shutting_down", "worker_shutdown", "heartbeat_sent" or "task_revoked".
            number: for "worker_shutting_down" the number of the signal that caused it, 0 for a command; `STOP` more
                where the worker stops at once. For "task_revoked" that of the signal that ended the attempt, 0 for
                one that had not started.
            attempt: for "task_revoked" the attempt, as a run of one.
            expired: for "task_revoked": True where it was not started in time.
        """

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        """Have a command that the app defines carried out where the app is, beside the tasks.

        Args:
            name: of the command.
            data: its arguments, one JSON object.
            told: called on the event loop, once, perhaps before this returns, with the reply as JSON and "", or with
                b"" and what went wrong. A handler that never returns is never told of.
        """

    async def close(self, *, drain: bool, deadline: float) -> None:
        """End it within `deadline` seconds (and a second of grace for the killing).

        What waits ends as "returned". What runs may end by itself until the deadline where `drain` is True; otherwise
        at once, and else at the deadline, it is killed and ends as "lost". A thread cannot be killed: its attempt
        ends as "lost" and the thread is left to the end of the process. After it nothing is reported.
        """
