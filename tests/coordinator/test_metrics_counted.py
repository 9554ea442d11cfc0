"""What the coordinator counts for its metrics, with a clock that the test moves and workers that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, calls, serving
from tests.support.scraping import Scrape, scrape

from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.core.turns import direct_queue
from grpcflow_coordinator.metrics import meter
from grpcflow_coordinator.metrics.meter import History
from grpcflow_coordinator.metrics.readers import Readers
from grpcflow_coordinator.storage.lmdb_reading import Usage, read_readers
from grpcflow_protos.metrics import figures
from grpcflow_protos.v1 import control_service_pb2 as pb
from grpcflow_protos.v1 import graph_pb2, value_pb2, worker_service_pb2


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> Now:
        return Now(1_750_000_000_000 + self.ms, self.ms / 1_000)


@asynccontextmanager
async def metered(**settings: Any) -> AsyncIterator[tuple[Wire, Clock]]:
    """Serve a coordinator with metrics."""
    clock = Clock()
    async with serving(now=clock, metrics="127.0.0.1:0", silence=1e6, heartbeat=1e5, **settings) as wire:
        yield wire, clock


async def told(wire: Wire) -> Scrape:
    """Return what a scrape tells."""
    assert wire.coordinator.metrics is not None
    return await asyncio.to_thread(scrape, wire.coordinator.metrics.url)


def queued(queue: str, task: str = "t") -> graph_pb2.GraphChunk:
    """Return a graph of one call in a queue."""
    chunk = call(task=task)
    chunk.templates[0].queue = queue
    return chunk


async def test_without_metrics_nothing_is_made_and_nothing_imported() -> None:
    async with serving() as wire:
        assert wire.coordinator.metrics is None
        assert wire.coordinator.home.meter is None
        assert type(wire.coordinator.engine.machine).__name__ == "Machine"


async def test_what_waits_is_told_by_queue_with_the_age_of_the_first() -> None:
    async with metered() as (wire, clock):
        await wire.submit(queued("a"))
        clock.ms = 40_000
        await wire.submit(queued("a"))
        await wire.submit(queued("b"))
        await wire.control.PauseQueue(pb.PauseQueueRequest(queue="b"), timeout=BOUND)
        worker = await wire.work(queues=["c"], capacity=7)
        clock.ms = 45_000
        found = await told(wire)
        assert found.value("grpcflow_queue_depth", queue="a", namespace="default") == 2
        assert [found.value("grpcflow_queue_oldest_age_seconds", queue=one) for one in "abc"] == [45, 5, 0]
        assert [found.value("grpcflow_queue_workers", queue=one) for one in "abc"] == [0, 0, 1]
        assert [found.value("grpcflow_queue_paused", queue=one) for one in "abc"] == [0, 1, 0]
        assert found.value("grpcflow_workers", state="live") == 1
        assert found.value("grpcflow_workers_capacity") == found.value("grpcflow_workers_credit") == 7
        assert found.value("grpcflow_nodes_submitted_total") == 3
        await worker.leave()
        assert (await told(wire)).value("grpcflow_workers", state="live") == 0


async def test_waits_and_runs_are_measured_from_what_is_there_anyway() -> None:
    async with metered() as (wire, clock):
        await wire.submit(calls(3))
        clock.ms = 3_000
        worker = await wire.work()
        await worker.have(3)
        clock.ms = 3_200
        assert (await told(wire)).value("grpcflow_attempts_in_flight") == 3
        await worker.run(3)
        found = await told(wire)
        assert found.value("grpcflow_queue_wait_seconds_count", queue="default") == 3
        assert found.value("grpcflow_queue_wait_seconds_sum", queue="default") == 9
        assert found.value("grpcflow_queue_wait_seconds_bucket", le="2.5") == 0
        assert found.value("grpcflow_queue_wait_seconds_bucket", le="5.0") == 3
        assert found.value("grpcflow_attempt_seconds_count", task="t") == 3
        assert round(found.value("grpcflow_attempt_seconds_sum", task="t"), 6) == 0.6
        assert found.value("grpcflow_attempts_started_total", task="t") == 3
        assert found.value("grpcflow_attempts_ended_total", task="t", outcome="success") == 3
        assert found.value("grpcflow_nodes_settled_total", state="success") == 4
        assert found.value("grpcflow_attempts_in_flight") == 0
        assert found.value("grpcflow_commit_seconds_count") == found.value("grpcflow_commit_writes_count") > 2
        assert found.value("grpcflow_commit_writes_sum") > 5


def failure() -> value_pb2.Failure:
    return value_pb2.Failure(type_name="ValueError", message="no")


OUTCOMES = {
    "success": worker_service_pb2.Report(value=value_pb2.Value(data=b"1", content_type="application/msgpack")),
    "failure": worker_service_pb2.Report(failure=failure()),
    "retry": worker_service_pb2.Report(retry=worker_service_pb2.Retry(countdown_ms=10**9, failure=failure())),
    "ignored": worker_service_pb2.Report(ignored=worker_service_pb2.Ignored()),
    "rejected": worker_service_pb2.Report(rejected=worker_service_pb2.Rejected()),
    "returned": worker_service_pb2.Report(returned=worker_service_pb2.Returned()),
    "revoked": worker_service_pb2.Report(revoked=worker_service_pb2.Revoked()),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_each_outcome_is_counted_under_its_name(outcome: str) -> None:
    async with metered() as (wire, _):
        await wire.submit(call(task="x"))
        worker = await wire.work(tasks=["x"], capacity=1)
        [token] = await worker.have(1)
        report = worker_service_pb2.Report()
        report.CopyFrom(OUTCOMES[outcome])
        report.token = token
        await worker.report(reports=[report], drain=True)
        found = await told(wire)
        assert found.value("grpcflow_attempts_ended_total", task="x", outcome=outcome) == 1
        assert len(found.several("grpcflow_attempts_ended_total")) == 1
        ran = outcome not in ("returned", "revoked")
        assert found.several("grpcflow_attempt_seconds_count", task="x") == ([1] if ran else [])
        assert found.value("grpcflow_attempts_lost_total") == 0


async def test_what_is_lost_is_counted_once_however_that_came_and_waits_anew_for_nothing() -> None:
    async with metered(max_deliveries=3) as (wire, clock):
        await wire.submit(call())
        worker = await wire.work()
        for losses in (1, 2, 3):
            token = (await worker.have(losses))[-1]
            clock.ms += 10_000
            lost = worker_service_pb2.Report(token=token, lost=worker_service_pb2.Lost(message="signal 9"))
            await worker.report(reports=[lost])
            assert (await told(wire)).value("grpcflow_attempts_lost_total") == losses
        found = await told(wire)
        assert found.value("grpcflow_nodes_settled_total", state="failure") == 1
        assert found.value("grpcflow_attempts_started_total", task="t") == 3
        assert found.value("grpcflow_queue_wait_seconds_count") == 1
        assert found.several("grpcflow_attempts_ended_total") == []


async def test_names_beyond_the_bound_are_one_and_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures.Labels.__init__, "__defaults__", (2,))
    async with metered() as (wire, clock):
        for queue in ("a", "b", "c", "d", "d"):
            await wire.submit(queued(queue, task=queue))
            clock.ms += 1_000
        found = await told(wire)
        assert [found.value("grpcflow_queue_depth", queue=one) for one in ("a", "b", figures.OTHER)] == [1, 1, 3]
        assert found.value("grpcflow_queue_oldest_age_seconds", queue=figures.OTHER) == 3
        worker = await wire.work(queues=["a", "b", "c", "d"], tasks=["a", "b", "c", "d"])
        await worker.have(5)
        found = await told(wire)
        assert sorted(found.several("grpcflow_attempts_started_total")) == [1, 1, 3]


async def test_shares_of_a_broadcast_queue_are_shown_as_one() -> None:
    async with metered() as (wire, _):
        first, _ = [await wire.work(name=f"w{one}@host", capacity=0, queues=["news"]) for one in (1, 2)]
        chunk = queued("news")
        chunk.templates[0].broadcast = True
        await wire.submit(chunk)
        found = await told(wire)
        assert found.value("grpcflow_queue_depth", queue="news@*") == 2
        assert found.value("grpcflow_queue_workers", queue="news@*") == 1
        assert found.value("grpcflow_queue_depth", queue="news") == 0
        assert found.value("grpcflow_queue_workers", queue="news") == 2
        await first.say(capacity_plus_one=2)
        await first.have(1)
        assert (await told(wire)).value("grpcflow_queue_wait_seconds_count", queue="news@*") == 1


async def test_queues_that_each_worker_has_for_itself_are_one_and_are_served() -> None:
    async with metered() as (wire, _):
        worker = await wire.work(name="w1@host", tasks=["other"])
        await wire.submit(queued(direct_queue("w1@host")))
        found = await told(wire)
        assert found.value("grpcflow_queue_depth", queue="*.dq") == 1
        assert found.value("grpcflow_queue_workers", queue="*.dq") == 1
        assert found.several("grpcflow_queue_depth", queue="default") == [0]
        await worker.leave()
        assert (await told(wire)).value("grpcflow_queue_workers", queue="*.dq") == 0


def test_a_history_that_was_thinned_is_exact_for_what_came_last_and_near_for_what_came_first() -> None:
    history = History(5)
    assert history.when(7) is None
    for moment in range(20_000):
        history.note(6 + moment, 1_000 + moment)
    assert history.when(4) is None
    assert history.when(20_004) == 20_999
    assert history.when(10**9) == 20_999
    assert all(0 <= (history.when(5 + moment) or 0) - (1_000 + moment) <= 8 for moment in range(20_000))
    assert len(history._times) <= meter.MOMENTS


def test_of_several_sequences_of_one_moment_all_came_then() -> None:
    history = History(1)
    history.note(4, 100)
    history.note(9, 100)
    history.note(9, 200)
    history.note(12, 300)
    assert [history.when(sequence) for sequence in (1, 3, 8, 9, 11)] == [100, 100, 100, 300, 300]


def test_a_reader_is_as_old_as_it_has_been_seen_at_its_moment() -> None:
    readers = Readers()
    assert readers.look(Usage(1, 7, []), 10.0) == (0.0, 0)
    assert readers.look(Usage(1, 8, [(1, 7)]), 20.0) == (0.0, 1)
    assert readers.look(Usage(1, 9, [(1, 7), (2, 9)]), 25.0) == (5.0, 2)
    assert readers.look(Usage(1, 9, [(2, 9)]), 30.0) == (5.0, 0)
    assert readers.look(Usage(1, 9, []), 40.0) == (0.0, 0)


def test_the_table_of_readers_is_read_as_lmdb_prints_it() -> None:
    table = "    pid     thread     txnid\n     31402 7fcd22e34b80 12\n     31403 7fcd22e34b81 -\n"
    assert read_readers(table) == [(31402, 12)]
    assert read_readers("(no active readers)\n") == []
