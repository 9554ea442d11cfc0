"""Commands that change the pool: what they answer, what they refuse, and what the coordinator is told of it."""

import json
from typing import Any

import pytest
from tests.worker.worker_fakes import FakeExecutor, make_session, welcome

from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.control import Control, Facts
from grpcflow_worker.executor import Registered
from grpcflow_worker.session import Session


class Pool:
    """A worker's control with its executor, its session and its title."""

    def __init__(self) -> None:
        self.session: Session = make_session(2)
        self.session.hello()
        self.session.received(welcome(), 0.0)
        self.executor = FakeExecutor()
        self.executor.kind = "prefork"
        self.titles: list[str] = []
        self.woken = 0
        self.control = Control(
            Facts(
                session=self.session,
                executor=self.executor,
                registered=Registered((), {}),
                shutdown=lambda: None,
                wake=self._wake,
                show=self.titles.append,
            )
        )

    def _wake(self) -> None:
        self.woken += 1

    def reply(self, command: str, **arguments: Any) -> pb.ControlReply:
        data = json.dumps(arguments).encode()
        return self.control.answer(pb.ControlCommand(id=1, command=command, arguments=data))

    def ask(self, command: str, **arguments: Any) -> Any:
        reply = self.reply(command, **arguments)
        assert not reply.error
        return json.loads(reply.reply)

    def said(self) -> pb.WorkRequest:
        message = self.session.next_message()
        assert message is not None
        return message


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_growing_and_shrinking_answer_how_many_there_will_be(pool: Pool) -> None:
    assert pool.ask("pool_grow") == {"ok": "the pool will have 3 places"}
    assert pool.ask("pool_grow", n=4) == {"ok": "the pool will have 7 places"}
    assert pool.ask("pool_shrink") == {"ok": "the pool will have 6 places"}
    assert pool.ask("pool_shrink", n=5) == {"ok": "the pool will have 1 places"}
    assert "not so" in pool.reply("pool_shrink").error


def test_the_coordinator_is_told_of_the_new_size_and_offered_as_much(pool: Pool) -> None:
    pool.ask("pool_grow", n=3)
    assert pool.woken == 1
    message = pool.said()
    assert (message.concurrency, message.capacity_plus_one) == (5, 6)
    pool.ask("pool_shrink", n=4)
    message = pool.said()
    assert (message.concurrency, message.capacity_plus_one) == (1, 2)
    assert pool.session.next_message() is None
    hello = pool.session.hello().hello
    assert (hello.concurrency, hello.capacity) == (1, 1)


def test_a_place_more_is_offered_however_many_there_are(pool: Pool) -> None:
    pool.ask("pool_grow", n=98)
    assert pool.said().capacity_plus_one == 101
    pool.ask("pool_grow")
    message = pool.said()
    assert (message.concurrency, message.capacity_plus_one) == (101, 102)


@pytest.mark.parametrize("n", [0, -1, "2", 1.5, True])
def test_a_number_that_is_none_is_refused(pool: Pool, n: object) -> None:
    for command in ("pool_grow", "pool_shrink"):
        assert "above 0" in pool.reply(command, n=n).error
    pool.executor.bounds = (4, 1)
    assert "above 0" in pool.reply("autoscale", max=n).error
    assert "above 0" in pool.reply("autoscale", min=n).error
    assert pool.executor.places() == 4


def test_bounds_are_changed_and_what_is_offered_follows(pool: Pool) -> None:
    assert "off" in pool.reply("autoscale", max=5, min=2).error
    pool.executor.bounds = (4, 1)
    assert pool.ask("autoscale", max=6, min=2) == {"ok": "autoscale now max=6 min=2"}
    assert pool.ask("autoscale", max=8) == {"ok": "autoscale now max=8 min=2"}
    assert pool.said().concurrency == 8
    assert "not so" in pool.reply("pool_grow").error


def test_a_restart_says_what_it_does(pool: Pool) -> None:
    assert pool.ask("pool_restart") == {"ok": "replacing the pool"}
    assert "anew" not in pool.ask("pool_restart", reload=True)["ok"]
    pool.ask("pool_restart", modules=["more"])
    assert pool.executor.restarts == [(False, []), (True, []), (False, ["more"])]
    assert "not now" in pool.reply("pool_restart", modules=["broken"]).error


@pytest.mark.parametrize("arguments", [{"reload": 1}, {"modules": "more"}, {"modules": [1]}, {"modules": [""]}])
def test_a_restart_names_what_it_takes(pool: Pool, arguments: dict[str, Any]) -> None:
    assert '"modules": [NAME, ...]' in pool.reply("pool_restart", **arguments).error
    assert not pool.executor.restarts


def test_the_title_says_what_the_worker_is_now(pool: Pool) -> None:
    pool.control.show_title()
    pool.ask("pool_grow")
    pool.ask("add_consumer", queue="more")
    pool.ask("pool_shrink", n=2)
    assert pool.titles == [
        "grpcflow-worker: w1 (1 queue, 2 children)",
        "grpcflow-worker: w1 (1 queue, 3 children)",
        "grpcflow-worker: w1 (2 queues, 3 children)",
        "grpcflow-worker: w1 (2 queues, 1 child)",
    ]


def test_stats_show_the_bounds_where_there_are_any(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "autoscaler" not in pool.ask("stats")
    figures = {"autoscale": {"max": 4, "min": 1, "current": 2}, "max-tasks-per-child": 7}
    monkeypatch.setattr(pool.executor, "stats", lambda: figures)
    shown = pool.ask("stats")
    assert shown["autoscaler"] == figures["autoscale"]
    assert shown["pool"]["max-tasks-per-child"] == 7


def test_the_coordinator_is_told_of_a_new_size_also_where_as_much_is_offered_as_before(pool: Pool) -> None:
    pool.session.capacity.want(16)
    assert pool.said().capacity_plus_one == 17
    pool.session.resize(3)
    pool.session.capacity.want(16)
    message = pool.said()
    assert (message.concurrency, message.capacity_plus_one) == (3, 0)
    assert pool.session.next_message() is None
