"""Results: values, errors, states, groups, parents and children; against a connection that only remembers."""

from typing import Any

import pytest
from tests.client.fake_connection import FakeApp

from grpcflow import AsyncResult, ChordError, GroupResult, chain, chord, errors, group, result_from_tuple, state
from grpcflow.connection import Settled

app = FakeApp("result")


@app.task(name="add")
def add(x: Any, y: Any) -> Any:
    return x + y


@app.task(name="noop")
def noop(*args: Any) -> Any:
    return list(args)


@pytest.fixture(autouse=True)
def fake() -> Any:
    app.fake.__init__()  # type: ignore[misc]
    return app.fake


def test_get_returns_the_value_and_asks_once(fake: Any) -> None:
    result = add.delay(1, 2)
    assert (result.ready(), result.state, result.result, result.exists()) == (False, "PENDING", None, False)
    fake.succeed(0, 3)
    assert result.get(timeout=1) == 3
    fake.asked.clear()
    seen: list[Any] = []
    assert result.get(callback=lambda *told: seen.append(told)) == 3
    assert seen == [(result.id, 3)]
    assert (result.ready(), result.successful(), result.failed(), result.status) == (True, True, False, "SUCCESS")
    assert (result.result, result.info, result.traceback, result.worker, result.retries) == (3, 3, None, "w1", 0)
    assert fake.asked == []


def test_get_in_time_or_not_at_all() -> None:
    with pytest.raises(TimeoutError):
        add.delay(1, 2).get(timeout=0.1)


def test_the_exception_of_the_task_comes_back(fake: Any) -> None:
    result = add.delay(1, 2)
    fake.fail(0, ValueError("no funds"))
    with pytest.raises(ValueError, match="no funds"):
        result.get()
    error = result.get(propagate=False)
    assert isinstance(error, ValueError)
    assert (result.state, result.failed(), result.successful()) == ("FAILURE", True, False)
    assert isinstance(result.result, ValueError)
    assert "no funds" in (result.traceback or "")
    with pytest.raises(ValueError, match="no funds"):
        result.maybe_throw()


def test_other_ends(fake: Any) -> None:
    result = add.delay(1, 2)
    fake.settled[result.id] = Settled("REVOKED")
    with pytest.raises(errors.TaskRevokedError):
        result.get()
    ignored = app.AsyncResult("ignored")
    fake.settled["ignored"] = Settled("IGNORED")
    assert (ignored.get(), ignored.ignored, ignored.ready()) == (None, True, True)
    nothing = app.AsyncResult("nothing")
    fake.settled["nothing"] = Settled("SUCCESS", data=b"")
    assert nothing.get() is None
    retried = app.AsyncResult("retried")
    fake.fail("retried", KeyError("again"), state="RETRY")
    assert (retried.state, retried.ready()) == ("RETRY", False)
    assert isinstance(retried.result, KeyError)
    assert retried.maybe_throw() is None


def test_a_state_that_is_no_end_is_asked_for_again(fake: Any) -> None:
    result = app.AsyncResult("x")
    fake.settled["x"] = Settled("STARTED")
    assert result.state == "STARTED"
    fake.succeed("x", 1)
    assert result.state == "SUCCESS"


def test_get_inside_a_task_is_refused(fake: Any) -> None:
    result = add.delay(1, 2)
    many = group(add.s(1, 1))()
    for index in (0,):
        fake.settled[fake.node(index, 0)] = Settled("SUCCESS", data=b"3")
        fake.settled[fake.node(index, 1)] = Settled("SUCCESS", data=b"2")
    with state.running_task():
        for refused in (result, many):
            with pytest.raises(RuntimeError, match="inside a task"):
                refused.get()
        assert result.get(disable_sync_subtasks=False) == 3
        with state.allow_join_result():
            assert many.get() == [2]


def test_the_value_of_a_join_is_a_list(fake: Any) -> None:
    many = group(add.s(1, 1), add.s(2, 2))()
    fake.settle_list(2, [2, 4])
    assert app.AsyncResult(many.id).get() == [2, 4]
    assert many.state == "SUCCESS"


def test_a_group_of_plain_calls_is_waited_for_as_one_range(fake: Any) -> None:
    many = group(add.s(i, i) for i in range(1_000))()
    for index in range(1_000):
        fake.succeed(index, 2 * index)
    assert many.get(timeout=1) == [2 * i for i in range(1_000)]
    assert fake.asked == ["range 0+1000"]
    assert many._results is None, "no object for a member that nobody asked for"
    assert [len(many), many.ready(), many.successful(), many.failed(), many.completed_count()] == [
        1_000, True, True, False, 1_000,
    ]  # fmt: skip
    assert many.get() == many.join()
    assert fake.asked == ["range 0+1000"]
    assert many[3].get() == 6
    assert [result.id for result in many[:2]] == [fake.node(0), fake.node(1)]
    assert list(many) == many.results == many.children


def test_a_group_of_anything(fake: Any) -> None:
    many = group(add.s(1, 1), chain(noop.s(1), group(noop.s(2), noop.s(3))), chord([noop.s(4)], noop.s(5)))()
    ends = [fake.node(0), many[1].id, many[2].id]
    fake.succeed(ends[0], 2)
    assert (many.ready(), many.waiting(), many.completed_count()) == (False, True, 1)
    fake.succeed(ends[1], [3, 4])
    fake.succeed(ends[2], 5)
    seen: list[Any] = []
    assert many.get(callback=lambda *told: seen.append(told)) == [2, [3, 4], 5]
    assert [key for key, _ in seen] == ends
    assert isinstance(many[1], GroupResult)
    assert len(many[1]) == 2


def test_a_group_raises_the_error_of_its_first_failing_member(fake: Any) -> None:
    many = group(add.s(i, i) for i in range(3))()
    fake.succeed(0, 0)
    fake.fail(1, ValueError("one"))
    fake.fail(2, KeyError("two"))
    assert [many.ready(), many.successful(), many.failed(), many.completed_count()] == [True, False, True, 1]
    with pytest.raises(ValueError, match="one"):
        many.get()
    first, second, third = many.get(propagate=False)
    assert (first, type(second), type(third)) == (0, ValueError, KeyError)
    with pytest.raises(ValueError, match="one"):
        many.maybe_throw()


def test_an_empty_group(fake: Any) -> None:
    many = group()()
    fake.settle_list(0, [])
    assert (many.get(), len(many), many.ready(), many.successful(), bool(many)) == ([], 0, True, True, True)


def test_a_chain_walks_back(fake: Any) -> None:
    result = chain(add.s(2, 2), add.s(4), add.s(8))()
    for index, value in enumerate((4, 8, 16)):
        fake.succeed(index, value)
    assert [result.get(), result.parent.get(), result.parent.parent.get()] == [16, 8, 4]
    assert result.parent.parent.parent is None


def test_a_chord_has_its_header_for_a_parent(fake: Any) -> None:
    result = chord([add.s(1, 1), add.s(2, 2)])(noop.s())
    assert isinstance(result, AsyncResult)
    assert isinstance(result.parent, GroupResult)
    assert len(result.parent) == 2
    fake.fail(3, ChordError("a member failed"))
    with pytest.raises(ChordError):
        result.get()
    assert isinstance(chord([add.s(1, 1)], group(noop.s(), noop.s()))(), GroupResult)


def test_links_are_children(fake: Any) -> None:
    sig = add.s(1, 2)
    sig.link(noop.s("a"))
    sig.link(noop.s("b") | noop.s("c"))
    result = sig.delay()
    first, second = result.children
    assert (first.id, first.parent.id) == (fake.node(1), result.id)
    assert (second.id, second.parent.id) == (fake.node(3), fake.node(2))
    for index, value in enumerate((3, 30, 300, 3000)):
        fake.succeed(index, value)
    assert result.get_leaf() == 3000
    assert app.AsyncResult(result.id).children == []
    whole = group(add.s(1, 1))
    whole.link(noop.s())
    assert [child.id for child in whole().linked] == [fake.node(2)]


def test_revoke(fake: Any) -> None:
    result = add.apply_async((1, 2), task_id="mine")
    result.revoke()
    group(add.s(1, 1), add.s(2, 2))().revoke(terminate=True, signal="SIGKILL")
    assert fake.revoked == [
        ([fake.node(0, 0)], False, "SIGTERM"),
        ([fake.node(0), fake.node(1)], True, "SIGKILL"),
    ]


def test_a_result_with_an_id_of_the_users_asks_for_its_own_node(fake: Any) -> None:
    """The id may belong to another call once this one has ended."""
    result = add.apply_async((1, 2), task_id="mine")
    fake.succeed("mine", "another call's")
    fake.succeed(0, "its own")
    assert (result.id, result.get()) == ("mine", "its own")


def test_equality_and_text() -> None:
    one, same = app.AsyncResult("a"), app.AsyncResult("a")
    assert one == same == "a"
    assert len({one, same}) == 1
    assert (str(one), repr(one), one.task_id) == ("a", "<AsyncResult a>", "a")
    assert one != app.AsyncResult("b")


def test_results_as_tuples(fake: Any) -> None:
    for canvas in (add.s(1, 1), chain(add.s(1, 1), add.s(1)), chord([add.s(1, 1)], noop.s()), group(add.s(1, 1))):
        result = canvas.apply_async()
        back = result_from_tuple(result.as_tuple(), app)
        assert type(back) is type(result)
        assert back.as_tuple() == result.as_tuple()


def test_a_long_chain_walks_back_to_its_beginning() -> None:
    result = chain([noop.s(), *(noop.s(i) for i in range(9_999))]).apply_async()
    steps = 0
    while result is not None:
        result, steps = result.parent, steps + 1
    assert steps == 10_000


def test_a_group_made_by_hand(fake: Any) -> None:
    fake.succeed("a", 1)
    fake.succeed("b", 2)
    by_hand = app.GroupResult("g", [app.AsyncResult("a"), app.AsyncResult("b")])
    assert by_hand.get() == [1, 2]
    assert by_hand.as_tuple() == (("g", None), [(("a", None), None), (("b", None), None)])
