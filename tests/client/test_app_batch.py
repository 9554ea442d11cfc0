"""``with app.batch():`` what leaves when, who waits, and what an exception leaves unsent."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from tests.client.fake_coordinator import FakeCoordinator
from tests.client.served import App, T

from grpcflow import Grpcflow, batch, chain, chord, errors, group, signals, state
from grpcflow.connection import Connection
from grpcflow.session import Session
from grpcflow.task import Task


@pytest.fixture
def add(app: App) -> Task[..., Any]:
    @app.task(name="add")
    def plus(x: int, y: int) -> int:
        return x + y

    return plus


def test_nothing_leaves_before_the_end_and_then_everything_at_once(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any]
) -> None:
    with app.batch() as collected:
        results = [add.delay(number, number) for number in range(300)]
        assert not coordinator.fake.graphs
        assert len({result.id for result in results}) == 300, "ids are known at once"
    assert len(coordinator.fake.graphs) == 1, "calls of one queue share a graph"
    assert coordinator.fake.messages <= 4, "a hello, and a message or two"
    assert collected.results == results
    assert (collected.acknowledged, collected.dropped) == (300, 0)


def test_a_block_ends_once_all_is_durable(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any], later: Callable[..., "Future[Any]"]
) -> None:
    coordinator.fake.acks = 0

    def submit() -> batch.Batch:
        with app.batch() as collected:
            add.delay(1, 1)
            add.delay(2, 2)
        return collected

    ends = later(submit)
    assert coordinator.fake.graph_seen.acquire(timeout=T)
    assert not ends.done()
    coordinator.fake.acks = 1
    coordinator.fake.break_streams()
    assert ends.result(T).acknowledged == 2


def test_every_kind_of_canvas_is_collected(coordinator: FakeCoordinator, app: App, add: Task[..., Any]) -> None:
    with app.batch() as collected:
        chain(add.s(1, 1), add.s(2)).delay()
        group(add.s(i, i) for i in range(5)).delay()
        chord([add.s(1, 1), add.s(2, 2)], add.s(3)).delay()
        add.apply_async((1, 2), countdown=5, priority=3)
        app.send_task("elsewhere", (1,))
    assert len(coordinator.fake.graphs) == len(collected.results) == 5


def test_an_empty_batch_asks_nobody(coordinator: FakeCoordinator, app: App) -> None:
    with app.batch() as collected:
        pass
    assert not coordinator.fake.streams
    assert (collected.results, collected.acknowledged) == ([], 0)


def test_what_is_much_leaves_in_parts_before_the_end(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_COLLECTED", 10)
    with app.batch() as collected:
        for number in range(35):
            add.delay(number, 0)
        assert coordinator.fake.graph_seen.acquire(timeout=T)
        assert collected.acknowledged == 20, "two parts are durable, one is on its way, one gathers"
    assert (collected.acknowledged, len(coordinator.fake.graphs)) == (35, 4), "each part is one graph"


def test_what_is_large_leaves_in_parts_before_the_end(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any]
) -> None:
    with app.batch() as collected:
        for _ in range(5):
            add.delay("x" * 3_000_000, 0)
        assert collected.acknowledged == 2
    assert len(coordinator.fake.graphs) == 5


def test_an_exception_submits_nothing_that_was_not_sent_and_says_what_was(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_COLLECTED", 10)
    with pytest.raises(ZeroDivisionError) as caught, app.batch() as collected:
        for number in range(25):
            add.delay(number, 0)
        raise ZeroDivisionError
    assert caught.value.__notes__ == ["app.batch(): 20 submissions are durable, 5 were not sent"]
    assert (collected.acknowledged, collected.dropped) == (20, 5)
    assert len(coordinator.fake.graphs) == 2
    add.delay(1, 1)
    assert len(coordinator.fake.graphs) == 3, "behind the block submissions leave at once again"


def test_an_exception_in_a_small_batch_submits_nothing_at_all(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any]
) -> None:
    with pytest.raises(KeyError) as caught, app.batch():
        add.delay(1, 1)
        raise KeyError("x")
    assert caught.value.__notes__ == ["app.batch(): 0 submissions are durable, 1 were not sent"]
    assert not coordinator.fake.streams


def test_what_the_coordinator_refuses_is_raised_at_the_end_and_the_others_are_durable(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any]
) -> None:
    with pytest.raises(errors.AlreadyExists) as caught, app.batch() as collected:
        results = [add.apply_async((number, 0), queue=f"q{number}") for number in range(3)]
        coordinator.fake.refusals[results[1]._graph] = (6, "ID_TAKEN", "it is taken")
    assert caught.value.code == "ID_TAKEN"
    assert "2 submissions are durable, 1 were sent and refused" in caught.value.__notes__[0]
    assert collected.acknowledged == 2


def test_an_argument_that_cannot_travel_is_refused_where_it_is_passed(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any]
) -> None:
    with app.batch() as collected:
        add.delay(1, 1)
        with pytest.raises(errors.SerializationError):
            add.delay(object(), 1)
        with pytest.raises(errors.PayloadTooLarge):
            add.delay("x" * 5_000_000, 1)
    assert collected.acknowledged == len(coordinator.fake.graphs) == 1


@pytest.mark.parametrize("kind", ["get", "wait_for_submit", "stream", "group", "set", "then"])
def test_waiting_for_what_is_not_sent_is_refused_at_once(app: App, add: Task[..., Any], kind: str) -> None:
    with pytest.raises(RuntimeError, match=r"collected by app\.batch\(\).*behind"), app.batch():
        one = add.delay(1, 1)
        if kind == "get":
            one.get()
        elif kind == "wait_for_submit":
            one.get(wait_for_submit=True)
        elif kind == "stream":
            list(one.stream())
        elif kind == "group":
            group(add.s(1, 1), add.s(2, 2)).delay().get()
        elif kind == "set":
            app.ResultSet([one]).get()
        else:
            one.then(print)


def test_where_it_stands_is_no_question_that_waits(coordinator: FakeCoordinator, app: App, add: Task[..., Any]) -> None:
    with app.batch():
        one = add.delay(1, 1)
        assert (one.state, one.exists(), one.ready()) == ("PENDING", False, False)


def test_what_was_submitted_before_can_be_waited_for_inside(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any]
) -> None:
    before = add.delay(1, 1)
    coordinator.fake.settle(before._graph, 0, 2)
    with app.batch():
        add.delay(3, 4)
        assert before.get(timeout=T) == 2


def test_a_batch_inside_of_a_batch_joins_it(coordinator: FakeCoordinator, app: App, add: Task[..., Any]) -> None:
    with app.batch() as outer:
        add.delay(1, 1)
        with app.batch() as inner:
            add.delay(2, 2)
        assert inner is outer
        assert not coordinator.fake.graphs
    assert outer.acknowledged == 2


def test_an_exception_of_an_inner_block_that_is_handled_drops_what_the_inner_one_collected(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any]
) -> None:
    with app.batch() as outer:
        first = add.delay(1, 1)
        with pytest.raises(KeyError), app.batch():
            add.delay(2, 2)
            raise KeyError("x")
        third = add.delay(3, 3)
    assert set(coordinator.fake.graphs) == {first._graph, third._graph}
    assert (outer.acknowledged, outer.dropped) == (2, 1)


def test_other_threads_and_other_apps_submit_at_once(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any], connection: Connection
) -> None:
    other = App(connection)
    times = other.task(name="times")(lambda x: x)
    with app.batch():
        thread = threading.Thread(target=add.delay, args=(1, 1))
        thread.start()
        thread.join(T)
        times.delay(1)
        assert len(coordinator.fake.graphs) == 2
        add.delay(2, 2)
    assert len(coordinator.fake.graphs) == 3
    state.forget_app(other)


def test_signals_fire_when_a_call_is_made_and_when_it_is_durable(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any]
) -> None:
    seen: list[tuple[str, int]] = []

    def before(**_: Any) -> None:
        seen.append(("before", len(coordinator.fake.graphs)))

    def after(**_: Any) -> None:
        seen.append(("after", len(coordinator.fake.graphs)))

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        with app.batch() as collected:
            add.delay(1, 1)
            add.delay(2, 2)
            assert seen == [("before", 0)] * 2
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert seen[2:] == [("after", 2)] * 2
    assert len(collected.results) == 2


def test_eager_calls_run_at_once(coordinator: FakeCoordinator, app: App, add: Task[..., Any]) -> None:
    app.conf.task_always_eager = True
    with app.batch():
        assert add.delay(1, 2).get() == 3
    assert not coordinator.fake.streams


def test_a_coordinator_that_cannot_be_reached_is_an_error_at_the_end(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any]
) -> None:
    coordinator.stop()
    with pytest.raises(errors.CoordinatorUnavailable) as caught, app.batch():
        add.delay(1, 1)
    assert "0 submissions are durable, 1 were sent and refused, or not acknowledged" in caught.value.__notes__[0]


def test_a_batch_goes_through_one_post_for_each_part(
    coordinator: FakeCoordinator, app: App, add: Task[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    posts: list[int] = []
    post = Session.post

    def counted(self: Session, graphs: Any, **options: Any) -> None:
        posts.append(len(graphs))
        post(self, graphs, **options)

    monkeypatch.setattr(Session, "post", counted)
    with app.batch():
        for number in range(50):
            add.apply_async((number, 1), task_id=str(number))
    assert posts == [50]


def test_on_an_event_loop_the_end_of_the_block_is_awaited(coordinator: FakeCoordinator) -> None:
    app = Grpcflow("loops", coordinator=coordinator.address, set_as_current=False)

    async def submit() -> batch.Batch:
        async with app, app.batch() as collected:
            for number in range(20):
                await app.asend_task("add", (number, number))
            assert not coordinator.fake.graphs
        return collected

    collected = asyncio.run(asyncio.wait_for(submit(), T))
    assert (collected.acknowledged, len(coordinator.fake.graphs)) == (20, 1)
    state.forget_app(app)
