"""`grpcflow ctl inspect` without a question: the whole cluster on one screen.

Joins what the coordinator knows (sessions, waiting lanes) with what the workers say (running tasks, figures).
rich is imported by the drawing functions only.
"""

import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from grpcflow.cli.answers import end_for, silent_lines
from grpcflow.cli.invocation import Invocation
from grpcflow.cli.printing import call_text, duration, echo_json, nodes_online
from grpcflow.control import Replies
from grpcflow.inspection import Inspect
from grpcflow.targets import EVERYBODY

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from grpcflow_protos.v1 import control_service_pb2

#: Running tasks that are shown; the rest is a number.
_RUNNING_SHOWN: Final = 20

#: Lanes that are shown; the rest is a number.
_LANES_SHOWN: Final = 40

#: Columns of workers that a screen has room for when it is at least so wide.
_SPARED: Final = ("PID", "HOST")
_ROOMY: Final = 100

#: Width of the screen where stdout is a file or a pipe: nothing is cut there.
_PIPE_WIDTH: Final = 200

STATES: Final = {1: "live", 2: "broken", 3: "draining"}


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker, as the coordinator and the worker itself tell of it.

    Attributes:
        name: Its name.
        state: `live`, `broken` or `draining`.
        queues: The queues it serves.
        executor: Name of its executor.
        concurrency: How many tasks it runs at once.
        held: How many attempts it holds, running or about to.
        capacity: How many it would hold.
        tasks: How many task names it registered.
        host: Host name.
        process_id: Process id of the supervisor.
        uptime: Seconds since it started; None: it did not say.
        running: The tasks it runs; None: it did not say.
        load: Load averages of its machine over 1, 5 and 15 minutes; empty: it did not say.
        processed: How many tasks have ended there; None: it did not say.
        memory: Bytes in memory of its processes; None: it did not say.
    """

    name: str
    state: str
    queues: tuple[str, ...]
    executor: str
    concurrency: int
    held: int
    capacity: int
    tasks: int
    host: str
    process_id: int
    uptime: float | None
    running: list[Mapping[str, Any]] | None
    load: tuple[float, ...] = ()
    processed: int | None = None
    memory: int | None = None


def show_overview(said: Invocation) -> None:
    """Ask everybody at once, draw the screen, and end with the exit code of `show_replies`."""
    inspect = Inspect(said, said.destination, said.timeout, targets=said.targets)
    connection = said.connection
    everybody = said.destination is None and said.targets == EVERYBODY
    # Two questions at once: a worker that is silent costs its time-out only once.
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(inspect.stats)
        try:
            active = inspect.active()
            stats = asked.result()
        except KeyboardInterrupt:
            connection.close()  # ends the other question, too: the pool waits for it
            raise
    named = {*stats, *active, *stats.no_reply, *stats.disconnected}
    sessions = [session for session in connection.list_workers() if session.name in named or everybody]
    rows = worker_rows(sessions, stats, active)
    if said.as_json:
        echo_json({row.name: row_json(row) for row in rows if row.name in stats})
        for line in silent_lines(stats, said.timeout):
            click.echo(line, err=True)
    else:
        queues = connection.list_queues()
        if not everybody:
            queues = queues_of(rows, queues, said.targets.queues)
        draw(wide_console(), rows, queues, time.time())
        for line in silent_lines(stats, said.timeout):
            click.echo(f"-> {line}")
        click.echo(nodes_online(len(stats)))
    end_for(stats)


def worker_rows(
    sessions: "Iterable[control_service_pb2.WorkerInfo]", stats: Replies, active: Replies
) -> list[WorkerRow]:
    """Join what the coordinator and the workers say, by worker name."""
    rows = []
    for session in sorted(sessions, key=lambda item: item.name):
        figures, running = stats.get(session.name), active.get(session.name)
        uptime = figures.get("uptime") if isinstance(figures, Mapping) else None
        rows.append(
            WorkerRow(
                name=session.name,
                state=STATES.get(session.state, "unknown"),
                queues=tuple(sorted(session.queues)),
                executor=session.executor,
                concurrency=session.concurrency,
                held=session.held,
                capacity=session.capacity,
                tasks=session.tasks,
                host=session.host,
                process_id=session.process_id,
                uptime=float(uptime) if isinstance(uptime, (int, float)) else None,
                running=running if isinstance(running, list) else None,
                load=tuple(session.load.load_average),
                processed=session.load.processed if session.HasField("load") else None,
                memory=session.load.memory or None,
            )
        )
    return rows


def queues_of(
    rows: Sequence[WorkerRow], queues: "control_service_pb2.ListQueuesResponse", only: Collection[str] = ()
) -> "control_service_pb2.ListQueuesResponse":
    """Return the lanes of the queues that these workers serve, without what waits for its time, which is no worker's.

    Args:
        rows: The workers.
        queues: What waits in the cluster.
        only: Of these queues no others; empty: all of them.
    """
    served = {queue for row in rows for queue in row.queues if not only or queue in only}
    return type(queues)(lanes=[lane for lane in queues.lanes if lane.queue in served])


def row_json(row: WorkerRow) -> dict[str, Any]:
    """Return one worker as JSON shows it."""
    return {
        "state": row.state,
        "queues": list(row.queues),
        "running": row.running,
        "held": row.held,
        "capacity": row.capacity,
        "concurrency": row.concurrency,
        "executor": row.executor,
        "tasks": row.tasks,
        "host": row.host,
        "pid": row.process_id,
        "uptime": row.uptime,
        "load": list(row.load) or None,
        "processed": row.processed,
        "memory": row.memory,
    }


def draw(
    console: "Console",
    rows: Sequence[WorkerRow],
    queues: "control_service_pb2.ListQueuesResponse",
    now: float,
) -> None:
    """Draw the screen: workers, running tasks, and what waits and why.

    Args:
        console: Where to draw.
        rows: The workers.
        queues: What waits.
        now: Unix time in seconds that running times are counted to.
    """
    from rich.text import Text

    if rows:
        console.print(_workers_table(rows, console.width))
    else:
        console.print(Text("No worker is connected.", style="bold red"))
    console.print()
    if any(row.running for row in rows):
        console.print(_running_table(rows, now))
        console.print()
    if queues.lanes:
        console.print(_lanes_table(queues.lanes))
        console.print()
    else:
        console.print("Nothing waits in a queue.")
    if queues.scheduled:
        console.print(f"{queues.scheduled:,} {'waits for its' if queues.scheduled == 1 else 'wait for their'} time.")


def wide_console() -> "Console":
    """Return the console on stdout, wide enough that nothing is cut where it is no terminal."""
    from rich.console import Console

    class Screen(Console):
        """A console that leaves it to the program to say what a reader that has gone means."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    terminal = sys.stdout.isatty()
    return Screen(file=sys.stdout, width=None if terminal else _PIPE_WIDTH, highlight=False, emoji=False)


def plain_table(*columns: str, right: Collection[str] = (), fold: Collection[str] = ()) -> "Table":
    """Return an empty table in the one style of this screen, which reads as well in a file.

    Args:
        columns: The heads.
        right: Columns of numbers.
        fold: Columns whose text may take several lines where the screen is narrow; all others are shown whole.
    """
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", caption_justify="left")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            min_width=len(column),  # a head is never cut
            no_wrap=column not in fold,
        )
    return table


def _workers_table(rows: Sequence[WorkerRow], width: int) -> "Table":
    """Return the table of workers; where the screen is narrow, without what only `--json` then tells."""
    cells = [_worker_cells(row) for row in rows]
    heads = [head for head in cells[0] if width >= _ROOMY or head not in _SPARED]
    table = plain_table(*heads, right=("LOAD", "PID"), fold=("WORKER", "HOST", "QUEUES"))
    for one in cells:
        table.add_row(*(one[head] for head in heads))
    return table


def _worker_cells(row: WorkerRow) -> "dict[str, Text]":
    """Return what the table says of one worker, by head."""
    from rich.text import Text

    running = "?" if row.running is None else str(len(row.running))
    return {
        "WORKER": Text(row.name, style="bold"),
        "STATE": Text(row.state, style="green" if row.state == "live" else "yellow"),
        "POOL": Text(f"{row.executor} x{row.concurrency}"),
        "RUNNING": Text(f"{running} of {row.concurrency}"),
        "HELD": Text(f"{row.held} of {row.capacity}"),
        "LOAD": Text(f"{row.load[0]:.2f}" if row.load else "?"),
        "UPTIME": Text("?" if row.uptime is None else duration(row.uptime)),
        "PID": Text(str(row.process_id)),
        "HOST": Text(row.host),
        "QUEUES": Text(" ".join(row.queues)),
    }


def _running_table(rows: Sequence[WorkerRow], now: float) -> "Table":
    """Return the table of running tasks, the oldest first."""
    from rich.text import Text

    table = plain_table("FOR", "WORKER", "ID", "TASK", right=("FOR",), fold=("WORKER", "TASK"))
    running = [(row.name, task) for row in rows for task in row.running or ()]
    running.sort(key=lambda pair: pair[1].get("time_start") or now)
    for worker, task in running[:_RUNNING_SHOWN]:
        started = task.get("time_start")
        since = duration(now - started) if isinstance(started, (int, float)) else "?"
        table.add_row(Text(since), Text(worker), Text(str(task.get("id", "?"))), Text(call_text(task)))
    if len(running) > _RUNNING_SHOWN:
        table.caption = f"and {len(running) - _RUNNING_SHOWN} more: grpcflow ctl inspect active"
    return table


def _lanes_table(lanes: "Sequence[control_service_pb2.LaneInfo]") -> "Table":
    """Return the table of waiting lanes; blocked ones say why, and come first."""
    from rich.text import Text

    table = plain_table(
        "QUEUE", "TASK", "PRIORITY", "WAITING", "WHY", right=("PRIORITY", "WAITING"), fold=("TASK", "WHY")
    )
    ordered = sorted(lanes, key=lambda lane: (not lane.blocked, lane.queue, lane.task, -lane.priority))
    for lane in ordered[:_LANES_SHOWN]:
        table.add_row(
            Text(lane.queue),
            Text(lane.task),
            Text(str(lane.priority)),
            Text(f"{lane.waiting:,}"),
            Text(
                f"blocked: {lane.blocked}" if lane.blocked else "for a free worker", style="red" if lane.blocked else ""
            ),
        )
    if len(lanes) > _LANES_SHOWN:
        table.caption = f"and {len(lanes) - _LANES_SHOWN} lanes more"
    return table
