"""What the screen shows: plain data, made by `gather`. Every text in it is clean: no letter that a terminal obeys.

It may not import textual, rich, grpc or protobuf.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeAlias, TypeVar

__all__ = [
    "MOST",
    "Failure",
    "Line",
    "Listing",
    "QueueLine",
    "Rate",
    "Running",
    "Summary",
    "View",
    "WorkerLine",
]

#: Lines of a kind that are shown at most; the rest is a number.
MOST: Final = 200


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """A worker.

    Attributes:
        name: Its name.
        state: `live`, `no reply`, `broken`, `draining` or `unknown`.
        executor: Name of its executor.
        concurrency: How many tasks it runs at once.
        running: How many run.
        held: How many attempts it holds, running or about to.
        capacity: How many it would hold.
        uptime: Seconds since it started; None: it did not say.
        queues: The queues it serves.
        host: Host name.
        process_id: Process id of its supervisor.
        load: Load averages of its machine over 1, 5 and 15 minutes; empty: it did not say.
        memory: Bytes of its supervisor and the processes that run tasks; 0: it did not say.
        processed: How many tasks have ended there since it started, where it said so.
        version: Its version; empty: it did not say.
        labels: Its labels.
    """

    name: str
    state: str
    executor: str = ""
    concurrency: int = 0
    running: int = 0
    held: int = 0
    capacity: int = 0
    uptime: float | None = None
    queues: tuple[str, ...] = ()
    host: str = ""
    process_id: int = 0
    load: tuple[float, ...] = ()
    memory: int = 0
    processed: int = 0
    version: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueLine:
    """A queue, or one lane of it.

    Attributes:
        queue: Name of the queue.
        task: Name of the lane's task; of a queue with several lanes empty.
        priority: Of a lane.
        lanes: How many lanes hold work.
        is_lane: True: this is a lane, shown below its queue.
        waiting: How many calls wait.
        oldest: Seconds since the oldest of them was submitted; None: not known.
        submitted: Submitted a second, lately; None: not known, as of a lane.
        ended: Ended a second, lately; None: not known, as of a lane.
        paused: True: nothing of it is handed out until it is resumed.
        why: Why nothing is handed out, in the coordinator's words; empty: nothing blocks it.
    """

    queue: str
    task: str = ""
    priority: int = 0
    lanes: int = 0
    is_lane: bool = False
    waiting: int = 0
    oldest: float | None = None
    submitted: float | None = None
    ended: float | None = None
    paused: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """A task that runs.

    Attributes:
        id: Its id.
        call: Name and arguments.
        worker: Name of the worker.
        seconds: For how long it runs; None: its worker did not say.
        queue: The queue that it came from.
        process_id: Process that it runs in; 0: not told.
    """

    id: str
    call: str
    worker: str
    seconds: float | None
    queue: str = ""
    process_id: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed for good.

    Attributes:
        id: Its id.
        task: Name of the task.
        error: Class and message of the failure, on one line.
        when: When it failed, UTC.
        worker: Name of the worker.
        queue: Its queue.
        retries: How often it was retried.
    """

    id: str
    task: str
    error: str
    when: datetime
    worker: str = ""
    queue: str = ""
    retries: int = 0


Line: TypeAlias = WorkerLine | QueueLine | Running | Failure

_Line_co = TypeVar("_Line_co", covariant=True, bound=Line)


@dataclass(frozen=True, slots=True)
class Listing(Generic[_Line_co]):
    """Some of the lines of one kind, the most important first.

    Attributes:
        lines: Those that are shown.
        left_out: How many more there are.
        at_least: True: and nobody counted how many more.
    """

    lines: tuple[_Line_co, ...] = ()
    left_out: int = 0
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened.

    Attributes:
        per_second: Lately.
        history: How often in each of the last seconds, the newest last.
    """

    per_second: float = 0.0
    history: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """The cluster in numbers, whatever is filtered.

    Attributes:
        workers: How many workers are in each state.
        running: How many tasks run.
        places: How many could.
        waiting: How many calls wait in queues.
        scheduled: How many wait for their time.
        failures: How many failures are on the list, as far as it was read.
        more_failures: True: it was not read to its end.
    """

    workers: dict[str, int] = field(default_factory=dict)
    running: int = 0
    places: int = 0
    waiting: int = 0
    scheduled: int = 0
    failures: int = 0
    more_failures: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """All that is shown at one moment.

    Attributes:
        workers: The workers.
        queues: The queues and their lanes.
        running: The running tasks, the longest first.
        failures: What failed for good, the newest first.
        summary: All of it in numbers.
        finished: How many tasks ended by themselves, well or not.
        failed: How many of them failed.
        submitted: How many were submitted.
        fault: Why this is not fresh; empty: it is.
        asked: True: the coordinator has been asked and has answered at least once.
        missed: True: some of what happened lately was no longer kept, so that rates are too low.
    """

    workers: Listing[WorkerLine] = Listing()
    queues: Listing[QueueLine] = Listing()
    running: Listing[Running] = Listing()
    failures: Listing[Failure] = Listing()
    summary: Summary = Summary()
    finished: Rate = Rate()
    failed: Rate = Rate()
    submitted: Rate = Rate()
    fault: str = ""
    asked: bool = False
    missed: bool = False
