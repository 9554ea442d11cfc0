"""How each kind of line looks in its table: columns, cells, and all that is known of it on one line. Pure."""

from datetime import datetime
from typing import Final

from grpcflow.cli.top.colours import ACCENT, BAD, COOL, DIM, GOOD, WARN, load_colour, state_colour
from grpcflow.cli.top.model import Failure, QueueLine, Running, WorkerLine
from grpcflow.cli.top.table import Column, Row
from grpcflow.cli.top.text import bar, number, per_second, short

__all__ = [
    "FAILURE_COLUMNS",
    "QUEUE_COLUMNS",
    "RUNNING_COLUMNS",
    "WORKER_COLUMNS",
    "failure_row",
    "queue_row",
    "running_row",
    "worker_row",
]

#: Cells of a bar.
_BAR: Final = 6

WORKER_COLUMNS: Final = (
    Column("", 16, share=3),
    Column("STATE", 8),
    Column("POOL", 7, 12, keep=3),
    Column("RUNNING", 10, 16),
    Column("HELD", 8, 12, right=True, keep=4),
    Column("UP", 5, right=True, keep=5),
    Column("LOAD", 5, right=True, keep=3),
    Column("PID", 6, 10, right=True, keep=1),
    Column("HOST", 8, 20, keep=2),
    Column("QUEUES", 8, share=2),
)

QUEUE_COLUMNS: Final = (
    Column("", 16, share=3),
    Column("WAITING", 7, right=True),
    Column("OLDEST", 6, right=True),
    Column("IN/S", 5, right=True, keep=5),
    Column("OUT/S", 5, right=True, keep=4),
    Column("WHY IT WAITS", 22, share=4),
)

RUNNING_COLUMNS: Final = (
    Column("", 36, share=5),
    Column("FOR", 6, right=True),
    Column("WORKER", 10, 30),
    Column("QUEUE", 7, 16, keep=2),
    Column("ID", 36, 36, keep=1),
)

FAILURE_COLUMNS: Final = (
    Column("", 18, share=2),
    Column("WHEN", 8),
    Column("ERROR", 34, share=4),
    Column("WORKER", 8, 24, keep=2),
    Column("ID", 36, 36, keep=1),
)


def worker_row(line: WorkerLine) -> Row:
    """Return a worker as a row."""
    running = f"{bar(line.running, line.concurrency, _BAR)} {line.running}/{line.concurrency}"
    queues = " ".join(line.queues)
    cells = (
        (line.name, ACCENT),
        (line.state, state_colour(line.state)),
        (f"{line.executor} x{line.concurrency}", ""),
        (running, load_colour(line.running, line.concurrency)),
        (f"{number(line.held)}/{number(line.capacity)}", ""),
        (short(line.uptime), DIM),
        (f"{line.load[0]:.2f}" if line.load else "", DIM),
        (str(line.process_id or ""), DIM),
        (line.host, DIM),
        (queues, DIM),
    )
    load = f" load {' '.join(f'{one:.2f}' for one in line.load)}" if line.load else ""
    where = f"{line.host} pid {line.process_id}{load}"
    detail = f"{line.name}  {line.state}  {where}  {line.executor} x{line.concurrency}  queues: {queues or 'none'}"
    return Row(f"{line.name} {line.process_id}", cells, detail)


def queue_row(line: QueueLine) -> Row:
    """Return a queue, or a lane below it, as a row."""
    why, colour = _why(line)
    key = f"{line.queue}\0{line.task}\0{line.priority}" if line.is_lane else line.queue
    if line.is_lane:
        name = (f"  └ {line.task}{f' p{line.priority}' if line.priority else ''}", DIM)
    else:
        name = (line.queue, ACCENT)
    waits = bool(line.waiting)
    cells = (
        name,
        (number(line.waiting), "" if waits else DIM),
        (short(line.oldest) if line.oldest is not None else "-", "" if waits else DIM),
        _rate(line.submitted),
        _rate(line.ended),
        (why, colour),
    )
    task = f"  {line.task}" if line.task else ""
    task += f"  priority {line.priority}" if line.priority else ""
    detail = f"{line.queue}{task}  {line.waiting:,} waiting  {why}"
    return Row(key, cells, detail)


def _rate(rate: float | None) -> tuple[str, str]:
    if rate is None:
        return "", ""
    return (per_second(rate), COOL if rate else DIM)


def _why(line: QueueLine) -> tuple[str, str]:
    """Return what a queue waits for, and its colour."""
    if line.paused:
        return "paused: p resumes it", WARN
    if line.why:
        return line.why, BAD
    if not line.waiting:
        return "", DIM
    tasks = f"{line.lanes} tasks and priorities" if line.lanes > 1 else "" if line.is_lane else line.task
    return (f"free places: {tasks}" if tasks else "free places", DIM)


def running_row(line: Running) -> Row:
    """Return a running task as a row."""
    cells = (
        (line.call, ACCENT),
        (short(line.seconds), COOL),
        (line.worker, ""),
        (line.queue, DIM),
        (line.id, DIM),
    )
    process = f"  process {line.process_id}" if line.process_id else ""
    return Row(line.id, cells, f"{line.id}  {line.call}  on {line.worker}{process}")


def failure_row(line: Failure, now: datetime) -> Row:
    """Return a failure as a row.

    Args:
        line: The failure.
        now: Today's are shown with their time, older ones with their day.
    """
    when = line.when.astimezone(now.tzinfo)
    shown = f"{when:%H:%M:%S}" if when.date() == now.date() else f"{when:%d %b}"
    cells = (
        (line.task, ACCENT),
        (shown, GOOD if not line.error else DIM),
        (line.error, BAD),
        (line.worker, ""),
        (line.id, DIM),
    )
    retries = f"  after {line.retries} retries" if line.retries else ""
    return Row(line.id, cells, f"{line.id}  {line.task}  {line.error}{retries}  on {line.worker or 'no worker'}")
