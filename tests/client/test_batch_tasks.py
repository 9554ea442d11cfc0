"""Batch tasks at the caller: how they are declared and called, and that they run in place with one call each."""

from typing import Any

import pytest
from tests.client.fake_connection import FakeApp

from grpcflow import BatchCall, Grpcflow, group, shared_batch_task, state
from grpcflow.batching import each_end


@pytest.fixture
def app() -> FakeApp:
    return FakeApp("batches", set_as_current=False)


def squares(calls: list[BatchCall]) -> list[Any]:
    """The function of a batch task: some calls may fail."""
    return [call.args[0] ** 2 if call.args[0] >= 0 else ValueError(f"negative in {call.id}") for call in calls]


def test_calls_of_a_batch_task_are_those_of_any_task(app: FakeApp) -> None:
    task = app.batch_task(name="squares", size=100, within=2, queue="q", rate_limit="1/s")(squares)
    assert (task.batch_size, task.batch_within, task.queue, task.rate_limit) == (100, 2, "q", "1/s")
    task.delay(3)
    task.delay(1, 2, 3, anything="goes")
    task.apply_async((4,), countdown=5)
    group(task.s(number) for number in range(3)).apply_async()
    assert [chunks[0].templates[0].task for chunks in app.fake.graphs] == ["squares"] * 4


def test_a_batch_task_waits_half_a_second_where_nothing_is_said(app: FakeApp) -> None:
    assert app.batch_task(name="squares", size=1)(squares).batch_within == 0.5


@pytest.mark.parametrize("size", [0, -1, 1.5, None, True, 10_001])
def test_a_size_that_cannot_be_is_refused(size: Any, app: FakeApp) -> None:
    with pytest.raises(ValueError, match="the size of batches is"):
        app.batch_task(size=size)
    with pytest.raises(ValueError, match="the size of batches is"):
        shared_batch_task(size=size)


@pytest.mark.parametrize("within", [-1, 3601, None, "1s", float("nan")])
def test_a_wait_that_cannot_be_is_refused(within: Any, app: FakeApp) -> None:
    with pytest.raises(ValueError, match="within is"):
        app.batch_task(name="squares", size=5, within=within)(squares)


def test_a_batch_size_that_cannot_be_is_refused_as_an_attribute(app: FakeApp) -> None:
    for size in (-1, 10_001):
        with pytest.raises(ValueError, match="batch_size is"):
            app.task(name="squares", batch_size=size)(squares)


def test_keys_of_a_batch_task_come_from_named_arguments(app: FakeApp) -> None:
    task = app.batch_task(name="squares", size=5, concurrency_key="account", unique_for=60)(squares)
    task.delay(1, account=7)
    keys = app.fake.last[0].runs[0]
    assert keys.concurrency_key == "squares:7"
    assert keys.unique_key.startswith("squares:#")
    task.delay(2, account=7)
    assert app.fake.last[0].runs[0].unique_key != keys.unique_key
    with pytest.raises(ValueError, match="'account', which this call does not have"):
        task.delay(1)


def test_in_place_the_function_gets_one_call(app: FakeApp) -> None:
    task = app.batch_task(name="squares", size=100)(squares)
    assert task.apply((3,)).get() == 9
    failed = task.apply((-3,), task_id="mine")
    assert failed.state == "FAILURE"
    with pytest.raises(ValueError, match="negative in mine"):
        failed.get()


def test_in_always_eager_mode_too_and_the_task_itself_may_be_bound() -> None:
    app = Grpcflow("eager", set_as_current=False, task_always_eager=True)

    @app.batch_task(size=5, bind=True)
    def described(self: Any, calls: list[BatchCall]) -> list[Any]:
        name = self.name.rpartition(".")[2]
        return [[name, list(call.args), dict(call.kwargs), call.request.id == call.id] for call in calls]

    assert described.delay(1, a=2).get() == ["described", [1], {"a": 2}, True]
    assert [value[1] for value in group(described.s(n) for n in range(3))().get()] == [[0], [1], [2]]


@pytest.mark.parametrize("returned", [5, [], [1, 2], {"a": 1}])
def test_a_function_that_does_not_answer_for_each_call_fails_it(returned: Any, app: FakeApp) -> None:
    task = app.batch_task(name="wrong", size=5)(lambda calls: returned)
    with pytest.raises(TypeError, match="for 1 calls: return None, or a list with a value or an exception"):
        task.apply((1,)).get()


def test_none_stands_for_none_of_each(app: FakeApp) -> None:
    assert app.batch_task(name="silent", size=5)(lambda calls: None).apply((1,)).get() is None
    assert each_end(None, 3) == [None, None, None]
    assert each_end((1, 2), 2) == [1, 2]


def test_a_shared_batch_task_belongs_to_every_app(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Grpcflow("first", set_as_current=False)
    monkeypatch.setattr(state, "apps", [first])
    monkeypatch.setattr(state, "shared_registrations", [])
    shared_batch_task(size=7, within=0, name="shared.squares")(squares)
    second = Grpcflow("second", set_as_current=False)
    for app in (first, second):
        task = app.tasks["shared.squares"]
        assert (task.batch_size, task.batch_within) == (7, 0)
