"""What `grpcflow top` knows: rates from events, queues and lanes, workers, running tasks, failures. No terminal."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from tests.client.cli.conftest import NAP, worker
from tests.client.cli.fake_coordinator import FakeConnection

from grpcflow import errors
from grpcflow.cli.top.gather import Gatherer
from grpcflow.cli.top.model import MOST, QueueLine
from grpcflow.cli.top.queue_lines import queue_lines
from grpcflow.cli.top.rates import Rates
from grpcflow.event_model import Event, EventPage
from grpcflow.failed_model import FailedCall
from grpcflow_protos.v1.control_service_pb2 import LaneInfo, ListQueuesResponse

NOW = 1_900_000_000.0
EVIL = "\x1b[2J\x07[red]na\nme\u202e"


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Connection(FakeConnection):
    """Two workers, and a list of failures."""

    failed: list[FailedCall]

    def list_failed(self, _wanted: Any, limit: int) -> list[FailedCall]:
        return self.failed[:limit]


class App:
    def __init__(self, *workers: Any) -> None:
        self.connection: Any = Connection(*workers)
        self.connection.failed = []


def event(kind: str, at: float, count: int = 1, queue: str = "default", task: str = "t") -> Event:
    return Event(0, datetime.fromtimestamp(at, UTC), kind, kind, task=task, queue=queue, count=count)


def page(*events: Event, missed: int = 0) -> EventPage:
    return EventPage(events, 1, missed)


def failure(at: int, **more: Any) -> FailedCall:
    known = {"id": f"id{at}", "graph": "", "task": "proj.add", "queue": "q", "type": "ValueError", "message": "bad"}
    when = datetime.fromtimestamp(NOW - at, UTC)
    return FailedCall(**{**known, "failed_at": when, "reason": "", "retries": 0, "worker": "w1", **more})


# --- rates -------------------------------------------------------------------------------------------------


def test_what_comes_in_is_counted_by_node_also_where_a_group_is_its_end() -> None:
    rates = Rates(Clock())
    rates.take(page(event("task-sent", NOW - 2, 1_001, queue="", task=""), event("task-succeeded", NOW - 1, task="")))
    assert rates.rate("submitted").per_second == 200.2
    assert rates.rate("finished").per_second == 0.0, "a join is no task"
    assert rates.queues() == {}, "which queues its calls are in is not told"


def test_rates_are_counted_by_the_second_over_the_last_five() -> None:
    clock = Clock()
    rates = Rates(clock)
    rates.take(
        page(event("task-sent", NOW - 3, 20), event("task-succeeded", NOW - 2, 9), event("task-failed", NOW - 2))
    )
    rates.take(page(event("task-succeeded", NOW, 50), event("task-revoked", NOW - 1, 5, "mail")))
    assert rates.rate("submitted").per_second == 4.0
    assert rates.rate("finished").per_second == 2.0, "the second that is not over does not count"
    assert rates.rate("failed").per_second == 0.2
    assert rates.rate("finished").history[-2:] == (10, 0)
    assert rates.queues() == {"default": (4.0, 2.0), "mail": (0.0, 1.0)}
    clock.now += 5
    assert rates.rate("finished").per_second == 2.0, "nobody has looked since then, and that is no pause"
    rates.take(page())
    assert rates.rate("finished").per_second == 10.0
    clock.now += 60
    rates.take(page())
    assert rates.rate("finished").history == (0,) * 60
    assert rates.queues() == {}


def test_a_coordinator_whose_clock_is_ahead_or_behind_has_the_same_rates() -> None:
    for skew in (3_600.0, -3_600.0):
        rates = Rates(Clock())
        rates.take(page(event("task-succeeded", NOW + skew - 1, 10), event("task-succeeded", NOW + skew, 1)))
        assert rates.rate("finished").per_second == 2.0


def test_what_came_late_is_put_where_it_belongs_and_makes_no_peak() -> None:
    rates = Rates(Clock())
    rates.take(page(event("task-succeeded", NOW)))
    rates.take(page(*(event("task-succeeded", NOW - 30 - at) for at in range(10))))
    assert rates.rate("finished").per_second == 0
    assert max(rates.rate("finished").history) == 1


def test_what_collects_members_is_no_task_and_what_was_missed_is_known() -> None:
    clock = Clock()
    rates = Rates(clock)
    rates.take(page(event("task-succeeded", NOW - 1, task=""), missed=3))
    assert rates.rate("finished").per_second == 0
    assert rates.missed
    clock.now += 61
    assert not rates.missed


# --- queues ------------------------------------------------------------------------------------------------


def lane(queue: str, waiting: int, task: str = "t", **more: Any) -> LaneInfo:
    return LaneInfo(queue=queue, waiting=waiting, task=task, **more)


def test_queues_join_lanes_rates_and_pauses_and_what_is_blocked_comes_first() -> None:
    answer = ListQueuesResponse(
        lanes=[
            lane("b", 10, oldest_ms=2_500),
            lane("b", 3, "u", blocked="rate limit", priority=5, oldest_ms=9_000),
            lane("stuck", 1, blocked="nobody serves it"),
        ],
        paused=["held"],
    )
    lines = queue_lines(answer, {"a", "b"}, {"a": (1.5, 2.5)})
    assert [(line.queue, line.task, line.is_lane) for line in lines] == [
        ("b", "", False),
        ("b", "t", True),
        ("b", "u", True),
        ("stuck", "t", False),
        ("held", "", False),
        ("a", "", False),
    ]
    whole = lines[0]
    assert (whole.waiting, whole.lanes, whole.oldest, whole.why) == (13, 2, 9.0, "1 of 2 lanes: rate limit")
    assert lines[4].paused
    assert (lines[5].submitted, lines[5].ended, lines[5].oldest) == (1.5, 2.5, None)
    assert lines[2].priority == 5


def test_a_queue_of_very_many_lanes_shows_the_longest_few() -> None:
    lanes = [lane("q", at + 1, f"t{at}") for at in range(10_000)]
    lines = queue_lines(ListQueuesResponse(lanes=lanes), (), {})
    assert len(lines) == 5
    assert lines[0].lanes == 10_000
    assert min(line.waiting for line in lines[1:]) >= 8_192


# --- the whole ---------------------------------------------------------------------------------------------


def test_workers_running_tasks_and_numbers_are_joined() -> None:
    app = App(worker("w1", 4700, "hipri", "default", running=[dict(NAP)]), worker("w2", 4800, "default"))
    app.connection.workers["w2"].status = "no_reply"
    app.connection.workers["w1"].info |= {"running": 1, "load": {"load_average": [0.5, 0.25, 0.125]}}
    gatherer = Gatherer(app, now=Clock())
    assert not gatherer.view().asked
    gatherer.ask_coordinator()
    gatherer.ask_workers()
    view = gatherer.view()
    assert view.asked
    assert [(line.name, line.state) for line in view.workers.lines] == [("w2", "no reply"), ("w1", "live")]
    first = view.workers.lines[1]
    assert (first.load, view.workers.lines[0].load) == ((0.5, 0.25, 0.125), ())
    assert (first.uptime, first.queues, first.running, first.concurrency) == (3_725, ("default", "hipri"), 1, 2)
    (task,) = view.running.lines
    assert (task.call, task.worker, task.process_id) == ('proj.tasks.nap(2, why="tired")', "w1", 4711)
    assert task.seconds == NOW - 1_000
    assert view.summary.workers == {"no reply": 1, "live": 1}
    assert (view.summary.running, view.summary.places) == (1, 4)


def test_uptime_is_asked_once_for_each_worker_and_again_for_one_that_started_anew() -> None:
    clock, app = Clock(), App(worker("w1", 4700, "default"))
    gatherer = Gatherer(app, now=clock)
    for _ in range(3):
        gatherer.ask_coordinator()
        gatherer.ask_workers()
        clock.now += 10
    assert [asked[1] for asked in app.connection.asked].count("stats") == 1
    assert gatherer.view().workers.lines[0].uptime == 3_755
    app.connection.workers["w1"].status = "no_reply"
    gatherer.ask_workers()
    assert gatherer.view().workers.lines[0].uptime == 3_755, "who is silent has not begun anew"
    app.connection.workers = {"w1": worker("w1", 9, "default")}
    gatherer.ask_coordinator()
    gatherer.ask_workers()
    assert gatherer.view().workers.lines[0].uptime == 3_725


def test_text_of_strangers_is_cleaned_and_answers_of_no_shape_are_none() -> None:
    task = {**NAP, "name": EVIL, "args": [EVIL], "delivery_info": "odd", "worker_pid": "odd", "time_start": "odd"}
    app = App(worker(EVIL, 1, EVIL, running=[task, {"id": 5}, {**NAP, "args": 7, "kwargs": [8]}]))
    app.connection.workers["w2"] = worker("w2", 2, "q")
    app.connection.workers["w2"].answers |= {"active": "odd", "stats": ["odd"]}
    app.connection.failed = [failure(1, task=EVIL, message=EVIL, worker=EVIL, id=EVIL)]
    app.connection.queues = ListQueuesResponse(lanes=[lane(EVIL, 1, EVIL, blocked=EVIL)], paused=[EVIL])
    gatherer = Gatherer(app, now=Clock())
    gatherer.ask_coordinator()
    gatherer.ask_workers()
    view = gatherer.view()
    lines = (*view.workers.lines, *view.queues.lines, *view.running.lines, *view.failures.lines)
    texts = [value for line in lines for one in fields(cast(Any, line)) for value in _texts(getattr(line, one.name))]
    assert [text for text in texts if not text.isprintable()] == []
    assert len(view.running.lines) == 2
    assert {line.call for line in view.running.lines} >= {"proj.tasks.nap(7, [8])"}
    assert view.workers.lines[-1].uptime is None


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, tuple) else []


def test_lines_are_bounded_the_longest_first_and_the_rest_is_a_number() -> None:
    tasks = [{**NAP, "id": f"id{at}", "time_start": NOW - at} for at in range(MOST + 50)]
    app = App(worker("w1", 1, "q", running=tasks))
    app.connection.failed = [failure(at) for at in range(MOST + 5)]
    gatherer = Gatherer(app, now=Clock())
    gatherer.ask_coordinator()
    gatherer.ask_workers()
    view = gatherer.view()
    assert (len(view.running.lines), view.running.left_out) == (MOST, 50)
    assert view.running.lines[0].seconds == MOST + 49
    assert (len(view.failures.lines), view.failures.at_least) == (MOST, True)
    assert view.failures.lines[0].id == "id0"
    found = gatherer.view("ID7").running
    assert {line.id for line in found.lines} == {"id7", *(f"id7{at}" for at in range(10))}


def test_a_filter_looks_at_every_kind_of_line() -> None:
    app = App(worker("w1", 1, "mail", running=[dict(NAP)]), worker("w2", 2, "bulk"))
    app.connection.failed = [failure(1), failure(2, task="proj.mail")]
    gatherer = Gatherer(app, now=Clock())
    gatherer.ask_coordinator()
    gatherer.ask_workers()
    view = gatherer.view("MAIL")
    assert [line.name for line in view.workers.lines] == ["w1"]
    assert [line.queue for line in view.queues.lines] == ["mail"]
    assert [line.task for line in view.failures.lines] == ["proj.mail"]
    assert view.running.lines == ()
    assert view.summary.workers == {"live": 2}, "numbers are of all"


def test_a_coordinator_that_is_gone_leaves_what_was_known() -> None:
    app = App(worker("w1", 1, "q"))
    gatherer = Gatherer(app, now=Clock())
    gatherer.ask_coordinator()
    app.connection.error = errors.CoordinatorUnavailable("gone")
    with pytest.raises(errors.CoordinatorUnavailable):
        gatherer.ask_workers()
    view = gatherer.view(fault="gone")
    assert (view.fault, len(view.workers.lines)) == ("gone", 1)


def test_ages_of_queues_are_in_seconds_and_equal_sizes_keep_their_places() -> None:
    def places(first: int, second: int) -> list[str]:
        answer = ListQueuesResponse(lanes=[lane("a", first), lane("b", second)])
        return [line.queue for line in queue_lines(answer, (), {})]

    assert places(100, 101) == places(101, 100) == ["a", "b"]
    assert places(100, 10_000) == ["b", "a"]
    assert QueueLine("q").oldest is None
