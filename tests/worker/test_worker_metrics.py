"""What a worker tells Prometheus: what it counts, how it stands, and who may read it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.certificates import Authority
from tests.support.scraping import Scrape, answered, scrape
from tests.worker.worker_fakes import (
    BOUND,
    SECRET,
    FakeExecutor,
    FakeTimer,
    assignment,
    coordinator,
    make_config,
    no_pauses,
)

from grpcflow_protos.metrics.figures import MOST_LABELS, OTHER
from grpcflow_worker.executor import Ended, ExecutorError, ExecutorSettings
from grpcflow_worker.executors.pace import Pace
from grpcflow_worker.metrics import endpoint
from grpcflow_worker.metrics.endpoint import metered, told
from grpcflow_worker.metrics.meter import Meter, MeteredSupervisor
from grpcflow_worker.metrics_options import MetricsOptions, take_metrics
from grpcflow_worker.subscription import ConfigError

LOOPBACK = MetricsOptions(address=("127.0.0.1", 0))


class Measured(FakeExecutor):
    """A fake whose places and lines are known."""

    def stats(self) -> dict[str, Any]:
        return {"processes": [{"pid": 77}, {"pid": 0}], "processes-ended": 3, "waiting": 4}


class It:
    """One worker that is metered, with a coordinator in a test's hands."""

    def __init__(self, url: str, worker: MeteredSupervisor, meter: Meter, executor: FakeExecutor, service: Any) -> None:
        self.url, self.worker, self.meter, self.executor, self.service = url, worker, meter, executor, service
        self.timer: FakeTimer

    async def told(self) -> Scrape:
        return await asyncio.to_thread(scrape, self.url)


@contextlib.asynccontextmanager
async def working() -> AsyncIterator[It]:
    async with coordinator() as service:
        executor, meter, timer = Measured(), Meter(), FakeTimer()
        config = make_config(service.address)
        worker = MeteredSupervisor(config, executor, secret=SECRET, timing=timer.timing, meter=meter)
        with told(LOOPBACK, worker) as url:
            running = asyncio.ensure_future(worker.run())
            try:
                it = It(url, worker, meter, executor, service)
                it.timer = timer
                yield it
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


ENDS: tuple[tuple[Ended, str], ...] = (
    (Ended(1, "value", data=b"1", content_type="application/msgpack"), "success"),
    (Ended(2, "failure"), "failure"),
    (Ended(3, "retry"), "retry"),
    (Ended(4, "rejected"), "rejected"),
    (Ended(5, "rejected", requeue=True), "requeued"),
    (Ended(6, "lost", message="signal 9"), "lost"),
    (Ended(7, "returned"), "returned"),
    (Ended(8, "revoked"), "revoked"),
    (Ended(9, "ignored"), "ignored"),
)


async def test_ends_are_counted_by_task_and_outcome_and_how_it_stands_is_told() -> None:
    async with working() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1, 12))
        await it.executor.holds(*range(1, 13))
        it.executor.begin(11)
        it.executor.give(10, 12)
        it.executor.end(*(end for end, _ in ENDS))
        it.executor.give(10)  # nobody holds it any more
        found = await it.told()
        counted = {
            outcome: found.value("grpcflow_worker_tasks_total", task="t.add", outcome=outcome) for _, outcome in ENDS
        }
        assert counted == {outcome: 3 if outcome == "success" else 1 for _, outcome in ENDS}
        assert found.value("grpcflow_worker_connected") == 1
        assert (found.value("grpcflow_worker_running"), found.value("grpcflow_worker_held")) == (1, 1)
        assert found.value("grpcflow_worker_outbox") == 11
        assert (found.value("grpcflow_worker_slots"), found.value("grpcflow_worker_waiting")) == (2, 4)
        assert (found.value("grpcflow_worker_children"), found.value("grpcflow_worker_children_ended_total")) == (1, 3)
        assert found.value("grpcflow_worker_info", pool="fake") == 1
        assert found.value("grpcflow_worker_memory_anonymous_bytes", process="supervisor") > 1e6


async def test_a_worker_that_came_back_says_so_and_that_it_drains() -> None:
    async with working() as it:
        stream, _ = await it.service.greeted()
        assert (await it.told()).value("grpcflow_worker_reconnects_total") == 0
        stream.refuse(grpc.StatusCode.UNAVAILABLE, "gone")
        await stream.over()
        async with no_pauses(it.timer):
            stream, _ = await it.service.greeted(resumed=True)
        stream.send(assignment(1))
        await it.executor.holds(1)  # so the welcome, which came before, was heard
        found = await it.told()
        assert (found.value("grpcflow_worker_reconnects_total"), found.value("grpcflow_worker_draining")) == (1, 0)
        it.worker.drain()
        assert (await it.told()).value("grpcflow_worker_draining") == 1


async def test_before_its_start_is_over_it_is_told_that_it_is_not_connected() -> None:
    worker = MeteredSupervisor(make_config("127.0.0.1:1"), FakeExecutor(), meter=Meter())
    with told(LOOPBACK, worker) as url:
        found = await asyncio.to_thread(scrape, url)
    assert found.value("grpcflow_worker_connected") == 0
    assert found.several("grpcflow_worker_slots") == []


def test_how_long_tasks_ran_is_told_by_the_executor() -> None:
    meter = Meter()
    pace = Pace(meter.ran)
    pace.learn("t.add", 4, 0.2)
    pace.learn("t.nap", 1, 7.0)
    assert meter.run["t.add"].counts[meter.run["t.add"].bounds.index(0.05)] == 4
    assert round(meter.run["t.nap"].total, 6) == 7.0
    Pace().learn("t.add", 1, 1.0)


def test_names_of_tasks_have_a_bound() -> None:
    meter = Meter()
    for number in range(MOST_LABELS + 5):
        meter.ran(f"t.{number}", 1, 0.1)
    assert len(meter.run) == MOST_LABELS + 1
    assert sum(meter.run[OTHER].counts) == 5


async def test_the_executor_of_a_metered_worker_tells_its_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, ExecutorSettings]] = []

    def create(kind: str, settings: ExecutorSettings) -> FakeExecutor:
        made.append((kind, settings))
        return FakeExecutor()

    monkeypatch.setattr(endpoint, "create", create)
    config = replace(make_config("127.0.0.1:1"), metrics=LOOPBACK)
    with metered(config, LOOPBACK, ExecutorSettings()) as worker:
        [(kind, settings)] = made
        assert kind == config.pool
        assert settings.ran is not None
        settings.ran("t.add", 1, 0.5)
        rows = dict(await worker.figures())
    assert [family.name for family, found in rows.items() if ("t.add",) in found] == ["grpcflow_worker_task_seconds"]


# --- who may read it ------------------------------------------------------------------------------------------------


async def statuses(options: MetricsOptions, tokens: Sequence[str], context: ssl.SSLContext | None = None) -> list[int]:
    worker = MeteredSupervisor(make_config("127.0.0.1:1"), FakeExecutor(), meter=Meter())
    with told(options, worker) as url:
        return [(await asyncio.to_thread(answered, url, token, context=context))[0] for token in tokens]


async def test_where_there_is_a_token_only_who_shows_it_is_answered(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    options = replace(LOOPBACK, token_file=str(file))
    assert await statuses(options, ["", "wrong", "s3cret"]) == [401, 401, 200]
    file.write_text("")
    assert await statuses(options, ["", "s3cret", " "]) == [401, 401, 401]  # the last one shows an empty token
    file.unlink()
    assert await statuses(options, ["s3cret"]) == [401]


async def test_it_is_told_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.vouch()
    context = ssl.create_default_context(cafile=str(authority.cert))
    assert await statuses(replace(LOOPBACK, cert=str(pair.cert), key=str(pair.key)), [""], context) == [200]


async def test_a_certificate_or_a_port_that_cannot_be_had_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="--metrics"):
        await statuses(replace(LOOPBACK, cert=str(tmp_path / "none"), key=str(tmp_path / "none")), [])


def given(**options: Any) -> MetricsOptions | None:
    every: dict[str, Any] = {
        "metrics": None,
        "metrics_token_file": None,
        "metrics_cert": None,
        "metrics_key": None,
        "metrics_insecure": False,
    }
    assert options.keys() <= every.keys()
    return take_metrics(every | options)


def test_what_is_told_of_metrics_is_checked() -> None:
    assert given() is None
    assert given(metrics="127.0.0.1:9552") == MetricsOptions(address=("127.0.0.1", 9552))
    assert given(metrics="[::1]:0", metrics_token_file="t") == MetricsOptions(address=("::1", 0), token_file="t")
    assert given(metrics="0.0.0.0:1", metrics_insecure=True) == MetricsOptions(address=("0.0.0.0", 1))
    guarded = {"metrics_token_file": "t", "metrics_cert": "c", "metrics_key": "k"}
    assert given(metrics="0.0.0.0:1", **guarded) is not None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"metrics": "9552"}, "is not HOST:PORT"),
        ({"metrics": "127.0.0.1:65536"}, "is not HOST:PORT"),
        ({"metrics_insecure": True}, "without --metrics HOST:PORT"),
        ({"metrics": "0.0.0.0:1"}, "TLS and a token lack.*--metrics-insecure"),
        ({"metrics": "worker.example:1", "metrics_token_file": "t"}, "TLS lack"),
        ({"metrics": "localhost:1", "metrics_cert": "c"}, "belong together"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        given(**options)


async def test_nothing_of_this_waits_for_ever() -> None:
    async with asyncio.timeout(BOUND), working() as it:
        assert (await it.told()).value("grpcflow_build_info") == 1
