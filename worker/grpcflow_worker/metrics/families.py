"""Every figure that a worker tells: its name, unit and labels. The page docs/metrics.md describes each of them."""

from __future__ import annotations

from typing import Final, Literal

from grpcflow_protos.metrics.figures import Family

#: Upper bounds of the seconds that a task runs.
RUNS: Final = (
    0.0005,
    0.001,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
    3600.0,
)


def _of(name: str, kind: Literal["counter", "gauge", "histogram"], told: str, *labels: str) -> Family:
    return Family(f"grpcflow_worker_{name}", kind, told, labels)


CONNECTED: Final = _of("connected", "gauge", "1: the coordinator has welcomed it and its stream is open.")
DRAINING: Final = _of("draining", "gauge", "1: it takes no new work and ends once all it holds has ended.")
RECONNECTS: Final = _of("reconnects_total", "counter", "Streams to the coordinator that were opened after the first.")
OUTBOX: Final = _of("outbox", "gauge", "Ends of attempts that the coordinator has not acknowledged.")
HELD: Final = _of("held", "gauge", "Attempts that it was handed and that have not ended.")
RUNNING: Final = _of("running", "gauge", "Tasks that run.")
WAITING: Final = _of("waiting", "gauge", "Attempts that wait here for a slot.")
SLOTS: Final = _of("slots", "gauge", "How many tasks it can run at once.")
CHILDREN: Final = _of("children", "gauge", "Child processes that there are; 0 where tasks run in threads or on a loop.")
CHILDREN_ENDED: Final = _of("children_ended_total", "counter", "Child processes that ended: replaced, died, or let go.")
TASKS: Final = _of("tasks_total", "counter", "Attempts that ended here, by how they did.", "task", "outcome")
RUN: Final = _of(
    "task_seconds", "histogram", "How long a task ran; the shortest share what they took together.", "task"
)
MEMORY: Final = _of("memory_anonymous_bytes", "gauge", "Memory that its processes have to themselves.", "process")
INFO: Final = _of("info", "gauge", "Always 1; the labels say who it is.", "worker", "pool")

BUILD: Final = Family("grpcflow_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "python"))

#: All of them.
FAMILIES: Final = tuple(one for one in list(globals().values()) if isinstance(one, Family))
