"""Events from Python: read with filters, followed, published, and told of each kind; on a cluster in process."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grpcflow import Grpcflow, Ignore, Reject, errors, group
from grpcflow.event_model import KINDS, Event, since_when
from grpcflow.event_wire import kind_number
from grpcflow.testing import Cluster
from grpcflow_coordinator.streams import Stream
from grpcflow_protos.v1 import event_service_pb2

app = Grpcflow("events")


@app.task(name="events.add")
def add(left: int, right: int) -> int:
    return left + right


@app.task(name="events.fails")
def fails() -> None:
    raise KeyError("gone")


@app.task(name="events.tells", bind=True, track_started=True, max_retries=1, default_retry_delay=0)
def tells(self: object) -> None:
    task = app.tasks["events.tells"]
    if not task.request.retries:
        task.update_state(state="HALFWAY")
        task.send_event("order-packed", parcels=2)
        raise task.retry()


@app.task(name="events.ignores")
def ignores() -> None:
    raise Ignore


@app.task(name="events.rejects")
def rejects() -> None:
    raise Reject("not mine")


@app.task(name="events.packs", bind=True)
async def packs(self: object) -> None:
    await app.tasks["events.packs"].asend_event("order-packed", parcels=3)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(app, queues=["default"]) as made:
        yield made


@pytest.fixture
def start(cluster: Cluster) -> int:
    """The offset of the last event that there is."""
    with app.events.read() as stream:
        for _ in stream:
            pass
        return stream.offset


def told(*wanted: str, **filters: Any) -> list[Event]:
    return [one for one in app.events.read(**filters) if not wanted or one.kind in wanted]


def test_the_kinds_are_those_of_the_wire() -> None:
    numbers = [kind_number(kind) for kind in KINDS]
    assert sorted(numbers) == sorted(set(event_service_pb2.EventKind.values()) - {0})


def test_each_kind_of_event_of_a_task_is_told(cluster: Cluster, start: int) -> None:
    tells.delay().get(timeout=40)
    with pytest.raises(KeyError):
        fails.delay().get(timeout=40)
    ends = [ignores.delay(), rejects.delay(), add.apply_async((1, 2), queue="nobody")]
    ends[2].revoke()
    cluster.settle()
    found = told(after=start)
    kinds = {one.kind for one in found}
    assert kinds == {kind for kind in KINDS if kind.startswith("task-") or kind == "custom"}
    assert [one.offset for one in found] == list(range(start + 1, start + 1 + len(found)))
    [failed] = [one for one in found if one.kind == "task-failed"]
    assert (failed.task, failed.queue, failed.worker) == ("events.fails", "default", cluster.workers[0].name)
    assert "KeyError" in failed.detail
    [revoked] = [one for one in found if one.kind == "task-revoked"]
    assert revoked.ids == (ends[2].id,)
    [progress] = [one for one in found if one.kind == "task-progress"]
    assert progress.detail == "HALFWAY"
    [custom] = [one for one in found if one.kind == "custom"]
    assert (custom.type, custom.id, custom.task) == ("order-packed", progress.id, "events.tells")
    assert custom.fields == {"parcels": 2, "hostname": cluster.workers[0].name}
    [succeeded] = [one for one in found if one.kind == "task-succeeded"]
    assert (succeeded.retries, succeeded.id, succeeded.type) == (1, progress.id, "task-succeeded")


def test_workers_come_and_go(cluster: Cluster, start: int) -> None:
    worker = cluster.worker("comes")
    assert [(one.kind, one.worker) for one in told(after=start)] == [("worker-online", "comes")]
    worker.stop()
    assert [one.kind for one in told(worker="co*", after=start)] == ["worker-online", "worker-offline"]


def test_a_worker_whose_stream_breaks_is_told_of_and_that_it_is_back(cluster: Cluster, start: int) -> None:
    engine, name = cluster._inside.engine, cluster.workers[0].name

    async def break_stream() -> None:
        [session] = [one for one in engine.machine.cluster.sessions.values() if one.name == name]
        assert isinstance(session.stream, Stream)
        session.stream.close("STOPPING", "broken by the test")

    cluster._inside.background.run(break_stream())
    coming = app.events.read(after=start, follow=True, worker=name, limit=2)
    assert [(one.kind, one.worker) for one in coming] == [("worker-broken", name), ("worker-back", name)]


def test_filters_hold_back_what_is_not_wanted(cluster: Cluster, start: int) -> None:
    result = add.delay(1, 2)
    other = packs.delay()
    for one in (result, other):
        one.get(timeout=40)
    assert {one.task for one in told(after=start, task="events.a*")} == {"events.add"}
    assert {one.id for one in told(after=start, id=other.id)} == {other.id}
    assert not told(after=start, queue="elsewhere")
    assert [one.kind for one in told(after=start, id=result.id, kinds="task-succeeded")] == ["task-succeeded"]
    first = told(after=start, limit=2)
    assert [one.offset for one in first] == [start + 1, start + 2]
    assert told(after=first[-1].offset, limit=1)[0].offset == start + 3
    assert told(since=first[0].time)[0].offset <= start + 1
    assert not told(since=datetime.now(UTC) + timedelta(hours=1))


def test_an_event_of_several_tasks_has_the_ids_of_all(cluster: Cluster, start: int) -> None:
    result = group(add.s(number, 1) for number in range(20)).delay()
    assert result.get(timeout=40) == list(range(1, 21))
    found = told(after=start)
    received = [id for one in found if one.kind == "task-received" for id in one.ids]
    members = [one.id for one in result.results]
    assert sorted(received) == sorted(members)
    [sent] = [one for one in found if one.kind == "task-sent"]
    assert set(members) <= set(sent.ids)
    assert sent.to_dict()["ids"] == [sent.id]
    ended = [one for one in found if one.kind == "task-succeeded"]
    assert set(members) <= {id for one in ended for id in one.to_dict()["ids"]}


def test_what_is_published_is_read_by_who_follows(cluster: Cluster, start: int) -> None:
    with app.events.read(follow=True, after=start) as stream:
        offset = app.events.publish("stock-low", item="tea", left=3)
        event = next(stream)
    assert (event.offset, event.kind, event.type, event.fields) == (
        offset,
        "custom",
        "stock-low",
        {"item": "tea", "left": 3},
    )
    assert (stream.offset, stream.missed) == (offset, 0)
    assert event.to_dict()["fields"] == {"item": "tea", "left": 3}
    assert not list(stream), "what was closed gives nothing more"


def test_celerys_dispatcher_publishes_too(cluster: Cluster, start: int) -> None:
    with app.events.default_dispatcher() as dispatcher:
        offset = dispatcher.send("stock-low", item="tea")
    assert app.events.Dispatcher(app.connection).send("stock-low", item="milk") == offset + 1
    assert [one.fields["item"] for one in told(after=start)] == ["tea", "milk"]


def test_the_same_from_coroutines(cluster: Cluster, start: int) -> None:
    async def main() -> None:
        async with app.events.aread(follow=True, after=start) as stream:
            offset = await app.events.apublish("stock-low", item="tea")
            assert (await anext(stream)).offset == offset
            waiting = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert [one.offset async for one in app.events.aread(after=offset - 1, kinds=["custom"])] == [offset]
        await app.aclose()

    asyncio.run(main())


def test_what_cannot_be_is_refused_with_what_to_write(cluster: Cluster) -> None:
    read = app.events.read
    with pytest.raises(ValueError, match="did you mean 'task-failed'"):
        read(kinds="task-fail")
    with pytest.raises(ValueError, match="there are task-sent"):
        read(kinds=["zzz"])
    with pytest.raises(ValueError, match="give one of them"):
        read(since="10m", after=3)
    with pytest.raises(ValueError, match="offsets are 0 or more"):
        read(after=-1)
    with pytest.raises(ValueError, match="1 or more"):
        read(limit=0)
    with pytest.raises(ValueError, match="time zone"):
        read(since=datetime(2030, 1, 1))
    with pytest.raises(ValueError, match="length of time"):
        read(since="soon")
    with pytest.raises(errors.NotFound):
        list(read(id="nobody knows it"))
    with pytest.raises(errors.InvalidRequest):
        list(read(task="x" * 300))
    with pytest.raises(errors.InvalidRequest):
        app.events.publish("")
    with pytest.raises(errors.SerializationError, match="not JSON"):
        app.events.publish("odd", value=object())
    with pytest.raises(errors.PayloadTooLarge):
        app.events.publish("large", text="x" * 70_000)


def test_moments_are_read_as_users_write_them() -> None:
    assert since_when(None) is None
    assert since_when(datetime(2030, 1, 1, tzinfo=UTC)) == since_when("2030-01-01T00:00+00:00") == 1893456000000
    now = datetime.now(UTC).timestamp() * 1000
    for ago in ("10m", timedelta(minutes=10)):
        assert abs((since_when(ago) or 0) - (now - 600_000)) < 60_000


def test_an_eager_call_publishes_nothing(cluster: Cluster, start: int) -> None:
    add.apply((1, 2))
    packs.apply()
    assert not told(after=start)
