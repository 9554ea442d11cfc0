"""Every figure that the coordinator tells: its name, unit and labels. The page docs/metrics.md describes each of them.

All but the last belong to a namespace; that of the default one is shown as `default`, which no other can be called.
"""

from __future__ import annotations

from typing import Final, Literal

from grpcflow_protos.metrics.figures import Family

#: Upper bounds of what is measured in seconds: from a queue that is empty to one that is a day behind.
WAITS: Final = (
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
    86400.0,
)

#: Upper bounds of the seconds of one commit.
COMMITS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

#: Upper bounds of how many writes one commit has.
WRITES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)


def _of(name: str, kind: Literal["counter", "gauge", "histogram"], told: str, *labels: str) -> Family:
    return Family(f"grpcflow_{name}", kind, told, ("namespace", *labels))


QUEUE_DEPTH: Final = _of("queue_depth", "gauge", "Tasks that wait to be handed out.", "queue")
QUEUE_AGE: Final = _of(
    "queue_oldest_age_seconds", "gauge", "For how long the first of those tasks has waited; 0: none waits.", "queue"
)
QUEUE_WORKERS: Final = _of(
    "queue_workers", "gauge", "Connected workers that serve the queue and do not drain.", "queue"
)
QUEUE_PAUSED: Final = _of("queue_paused", "gauge", "1: nothing of the queue is handed out since it is paused.", "queue")
QUEUE_WAIT: Final = _of(
    "queue_wait_seconds", "histogram", "From when a task could run to when it was handed to a worker.", "queue"
)

SUBMITTED: Final = _of("nodes_submitted_total", "counter", "Nodes of graphs that were submitted: tasks and joins.")
SETTLED: Final = _of("nodes_settled_total", "counter", "Nodes of graphs that ended, by how they did.", "state")
STARTED: Final = _of("attempts_started_total", "counter", "Attempts that were handed to a worker.", "task")
ENDED: Final = _of("attempts_ended_total", "counter", "Attempts whose worker said how they ended.", "task", "outcome")
LOST: Final = _of("attempts_lost_total", "counter", "Attempts that were lost with their worker or its process.")
RUN: Final = _of("attempt_seconds", "histogram", "From the hand-out of an attempt to the report of its end.", "task")
IN_FLIGHT: Final = _of("attempts_in_flight", "gauge", "Attempts that workers hold: those that run, and those in line.")

WORKERS: Final = _of("workers", "gauge", "Workers, by how they stand: live, draining, or broken.", "state")
CAPACITY: Final = _of("workers_capacity", "gauge", "Attempts that connected workers would hold in all.")
CREDIT: Final = _of("workers_credit", "gauge", "Attempts that connected workers would take now.")
CLIENTS: Final = _of("clients", "gauge", "Streams of clients that are open.")
INBOX: Final = _of("inbox_events", "gauge", "Events that wait for the engine.")

COMMIT: Final = _of("commit_seconds", "histogram", "How long a commit took, the wait for the disk included.")
COMMIT_WRITES: Final = _of("commit_writes", "histogram", "How many records a commit wrote or deleted.")
FULL: Final = _of("disk_full", "gauge", "1: submissions are refused since the disk has too little room.")
FREE: Final = _of("store_free_bytes", "gauge", "Bytes by which the store can still grow, on its disk and in its map.")
SIZE: Final = _of("store_size_bytes", "gauge", "Bytes of the store's file that are in use.")
MAP: Final = _of("store_map_bytes", "gauge", "Size of the map, which the store can never outgrow.")
READERS: Final = _of("store_readers", "gauge", "Readers that hold a moment of the store, such as backups.")
READER_AGE: Final = _of(
    "store_oldest_reader_age_seconds", "gauge", "For how long the oldest reader was seen at its moment; 0: none is."
)
READER_LAG: Final = _of(
    "store_oldest_reader_lag_commits", "gauge", "Commits since the moment of the oldest reader; 0: there is none."
)

SCRAPE: Final = Family("grpcflow_scrape_seconds", "gauge", "How long it took to gather what the last scrape told.")
MEMORY: Final = Family("grpcflow_memory_anonymous_bytes", "gauge", "Memory that the process has to itself.")
BUILD: Final = Family("grpcflow_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "python"))

#: All of them.
FAMILIES: Final = tuple(one for one in list(globals().values()) if isinstance(one, Family))
