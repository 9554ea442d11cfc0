"""Celery's monitor: a Receiver that hands dictionaries to handlers, and a State that remembers; on a real cluster."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from grpcflow import Grpcflow, errors, group
from grpcflow.event_model import Event
from grpcflow.event_receiver import shapes
from grpcflow.event_state import State
from grpcflow.testing import Cluster

app = Grpcflow("monitored")


@app.task(name="monitored.double")
def double(number: int) -> int:
    return 2 * number


@app.task(name="monitored.fails", bind=True, track_started=True)
def fails(self: object) -> None:
    app.tasks["monitored.fails"].send_event("task-about-to-fail", why="so")
    raise ValueError("no")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(app, queues=["default"]) as made:
        yield made


def test_the_monitor_of_celerys_manual(cluster: Cluster) -> None:
    kept = app.events.State()
    told: list[str] = []

    def announce(event: dict[str, Any]) -> None:
        kept.event(event)
        task = kept.tasks[event["uuid"]]
        told.append(f"{task.name}[{task.uuid}] {task.info()['exception']}")

    receiver = app.events.Receiver(None, handlers={"task-failed": announce, "*": kept.event}, after=0)
    failed = fails.delay()
    results = group(double.s(number) for number in range(5)).delay()
    results.get(timeout=40)
    cluster.settle()
    for event in receiver.itercapture(limit=500, timeout=40, wakeup=True):
        if all(task.ready for task in kept.tasks.values()) and len(kept.tasks) == 7:
            break
        assert event["type"]
    assert told == [f"monitored.fails[{failed.id}] ValueError: no"]
    for one in results.results:
        task = kept.tasks[one.id]
        assert (task.state, task.name, task.ready) == ("SUCCESS", "monitored.double", True)
        assert task.worker is not None
        assert task.worker.hostname == cluster.workers[0].name
    assert [worker.hostname for worker in kept.alive_workers()] == [cluster.workers[0].name]
    assert {"monitored.double", "monitored.fails"} <= set(kept.task_types())
    assert next(kept.tasks_by_type("monitored.fails"))[0] == failed.id


def test_a_receiver_without_an_offset_begins_with_who_is_there_and_what_comes_then(cluster: Cluster) -> None:
    double.delay(1).get(timeout=40)
    seen: list[dict[str, Any]] = []
    receiver = app.events.Receiver(handlers={"*": seen.append}, task="monitored.*")
    coming = receiver.itercapture(timeout=40)
    assert next(coming)["type"] == "worker-heartbeat"
    assert (seen[0]["hostname"], seen[0]["active"]) == (cluster.workers[0].name, 0)
    failed = fails.delay()
    types = [next(coming)["type"] for _ in range(5)]
    assert [types[0], types[1], types[4]] == ["task-sent", "task-received", "task-failed"]
    # The worker tells that it began on its own stream, the task its event by a call beside that.
    assert set(types[2:4]) == {"task-started", "task-about-to-fail"}
    assert {one["uuid"] for one in seen[1:]} == {failed.id}
    custom = next(one for one in seen if one["type"] == "task-about-to-fail")
    assert (custom["why"], custom["hostname"]) == ("so", cluster.workers[0].name)
    assert seen[5]["exception"] == "ValueError: no"
    assert seen[5]["timestamp"] <= seen[5]["local_received"] + 60


def event(kind: str, **fields: Any) -> Event:
    return Event(1, datetime(2030, 1, 1, tzinfo=UTC), kind, kind, **fields)


def test_an_event_of_several_tasks_is_one_dictionary_for_each_and_does_not_guess_their_names() -> None:
    several = event("task-succeeded", graph=bytes(12), nodes=(3, 5), count=2, task="a.first", worker="w1")
    found = list(shapes(several, 7.0))
    assert [one["uuid"][-1] for one in found] == ["3", "5"]
    assert {(one["name"], one["runtime"], one["local_received"]) for one in found} == {("", None, 7.0)}
    handed = event("task-received", graph=bytes(12), nodes=(3, 5), count=2, task="a.first", queue="q")
    assert [(one["name"], one["queue"]) for one in shapes(handed)] == [("a.first", "q")] * 2
    assert len(list(shapes(event("task-sent", graph=bytes(12), count=3)))) == 3
    [gone] = shapes(event("worker-offline", worker="w1", detail="its grace is over"))
    assert (gone["hostname"], gone["reason"]) == ("w1", "its grace is over")


def fed(state: State, /, *told: tuple[str, str], **fields: Any) -> State:
    """Tells a state of events: the type, and the id or the worker."""
    for number, (kind, of) in enumerate(told):
        key = "uuid" if kind.startswith("task") else "hostname"
        state.event({"type": kind, "timestamp": float(number), key: of, **fields})
    return state


def test_a_state_follows_each_task_through_its_life() -> None:
    types = ["sent", "received", "started", "progress", "retried", "received", "succeeded"]
    seen: list[str] = []
    state = State(lambda state, told: seen.append(state.tasks["a"].state))
    for kind in types:
        fed(state, (f"task-{kind}", "a"), state="HALF", retries=1, exception="KeyError")
    assert seen == ["PENDING", "RECEIVED", "STARTED", "HALF", "RETRY", "RECEIVED", "SUCCESS"]
    task = state.tasks["a"]
    assert (task.retries, task.succeeded, task.failed, task.id) == (1, 0.0, None, "a")
    assert task.info() == {"exception": "KeyError", "retries": 1}
    assert task.info(["state"], ["uuid"]) == {"state": "SUCCESS", "uuid": "a"}
    assert task.as_dict()["name"] == ""
    for kind, then in {"failed": "FAILURE", "revoked": "REVOKED", "rejected": "REJECTED", "ignored": "IGNORED"}.items():
        assert fed(State(), (f"task-{kind}", "b")).tasks["b"].state == then
    assert state.event({"type": "task-sent"}) == (None, False)
    assert state.event({"type": "something", "uuid": "c"}) == (None, False)


def test_a_state_is_bounded_and_forgets_what_was_told_of_longest_ago() -> None:
    state = fed(State(max_tasks_in_memory=2), ("task-sent", "a"), ("task-sent", "b"), ("task-received", "a"))
    fed(state, ("task-sent", "c"))
    assert [uuid for uuid, _ in state.tasks_by_timestamp()] == ["c", "a"]
    assert [uuid for uuid, _ in state.tasks_by_timestamp(1, reverse=False)] == ["a"]
    assert (state.task_count, state.event_count) == (3, 4)
    workers = fed(State(max_workers_in_memory=1), ("worker-online", "w1"), ("worker-online", "w2"))
    assert list(workers.workers) == ["w2"]
    with pytest.raises(ValueError, match="1 or more"):
        State(max_tasks_in_memory=0)


def test_a_state_knows_which_workers_are_there() -> None:
    state = fed(State(), ("worker-online", "w1"), ("worker-heartbeat", "w2"), ("worker-broken", "w1"))
    assert [one.hostname for one in state.alive_workers()] == ["w2"]
    fed(state, ("worker-back", "w1"), ("worker-offline", "w2"))
    assert Counter(one.status_string for one in state.workers.values()) == {"ONLINE": 1, "OFFLINE": 1}
    state.event({"type": "task-received", "uuid": "a", "hostname": "w2", "timestamp": 9.0})
    assert not state.workers["w2"].alive, "what is told late of a worker that is gone does not bring it back"
    assert [uuid for uuid, _ in state.tasks_by_worker("w2")] == ["a"]
    assert repr(state.tasks["a"]) == "<task ?(a) RECEIVED>"
    assert repr(state.workers["w1"]) == "<worker w1 ONLINE>"
    fed(state, ("task-succeeded", "b"))
    state.clear_tasks()
    assert list(state.tasks) == ["a"]
    state.clear(ready=False)
    assert repr(state) == "<State of 0 tasks and 0 workers after 0 events>"


def test_a_heartbeat_has_celerys_fields_and_a_state_keeps_them(cluster: Cluster) -> None:
    double.delay(1).get(timeout=40)
    state = app.events.State()
    receiver = app.events.Receiver(handlers={"worker-heartbeat": state.event}, after=0)
    beat = next(one for one in receiver.itercapture(timeout=40, wakeup=False) if one["type"] == "worker-heartbeat")
    [name] = [worker.name for worker in cluster.workers]
    assert (beat["hostname"], beat["freq"], beat["sw_ident"], len(beat["loadavg"])) == (name, 5.0, "grpcflow", 3)
    assert {"active", "processed", "sw_ver", "sw_sys", "timestamp", "local_received", "clock"} <= beat.keys()
    worker = state.workers[name]
    assert (worker.alive, worker.loadavg, worker.processed, worker.active) == (
        *(True, beat["loadavg"], beat["processed"], beat["active"]),
    )
    assert worker.heartbeats == [beat["timestamp"]]
    [woken] = receiver.wakeup_workers()
    assert (woken["type"], woken["loadavg"]) == ("worker-heartbeat", beat["loadavg"])


def test_heartbeats_come_only_to_those_who_ask(cluster: Cluster) -> None:
    double.delay(1).get(timeout=40)
    cluster.settle()
    assert {event.kind for event in app.events.read()}.isdisjoint({"worker-heartbeat"})
    [beat] = app.events.read(kinds="worker-heartbeat")
    assert (beat.type, beat.worker) == ("worker-heartbeat", cluster.workers[0].name)
    assert beat.to_dict()["fields"]["active"] == 0
    receiver = app.events.Receiver(handlers={"task-succeeded": print}, after=0)
    types = [one["type"] for one in receiver.itercapture(limit=4, timeout=40, wakeup=False)]
    with pytest.raises(errors.TimeoutError):
        types += [one["type"] for one in receiver.itercapture(timeout=0.3, wakeup=False)]
    assert types == ["worker-online", "task-sent", "task-received", "task-succeeded"]


def test_a_state_keeps_the_times_of_the_last_heartbeats() -> None:
    state = fed(State(), *[("worker-heartbeat", "w1")] * 6, loadavg=[1.0, 2.0, 3.0], processed=5)
    assert state.workers["w1"].heartbeats == [2.0, 3.0, 4.0, 5.0]
    assert (state.workers["w1"].loadavg, state.workers["w1"].processed) == ([1.0, 2.0, 3.0], 5)
