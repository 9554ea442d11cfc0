"""Results: custom states, details, forgetting, saving, walking, notices, and what raises when."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.client.fake_connection import FakeApp

from grpcflow import GroupResult, chain, chord, codec, errors, group, ids, states
from grpcflow.connection import Settled
from grpcflow_protos.v1 import value_pb2

app = FakeApp("more")


@app.task(name="add")
def add(x: Any, y: Any = 0) -> Any:
    return x + y


@pytest.fixture(autouse=True)
def fake() -> Any:
    app.fake.__init__()  # type: ignore[misc]
    return app.fake


def test_a_state_of_the_tasks_own_is_state_and_info(fake: Any) -> None:
    fake.settled["x"] = Settled("STARTED", custom_state="PROGRESS", meta=(codec.encode({"done": 3}), ""))
    result = app.AsyncResult("x")
    assert (result.state, result.info, result.result) == ("PROGRESS", {"done": 3}, {"done": 3})
    assert (result.ready(), result.maybe_throw()) == (False, None)


def test_get_tells_messages_and_intervals(fake: Any) -> None:
    fake.looks["x"] = Settled("STARTED", custom_state="PROGRESS", meta=(b"3", ""))
    fake.settled["x"] = Settled("SUCCESS", data=b"7")
    told: list[Any] = []
    ticks: list[int] = []
    value = app.AsyncResult("x").get(on_message=told.append, on_interval=lambda: ticks.append(1))
    assert (value, len(ticks)) == (7, 1)
    assert [(one["task_id"], one["status"], one["result"]) for one in told] == [
        ("x", "PROGRESS", 3),
        ("x", "SUCCESS", 7),
    ]


def test_how_a_call_was_made(fake: Any) -> None:
    join = ids.node_bytes(ids.mint_graph(), 7)
    details = value_pb2.CallDetails(task="add", queue="q", payload=b'[[1],{"y":2}]', parent_id="p", group=join)
    fake.settled["x"] = Settled("PENDING", details=details, settled_at=datetime(2020, 1, 1, tzinfo=UTC))
    result = app.AsyncResult("x")
    assert (result.name, result.args, result.kwargs, result.queue) == ("add", [1], {"y": 2}, "q")
    assert (result.parent_id, result.group_id) == ("p", ids.node_id(join[:12], 7))
    assert fake.asked == ["lookup"], "one question answers all of them"
    unknown = app.AsyncResult("nobody")
    assert (unknown.name, unknown.args, unknown.queue, unknown.group_id) == (None, None, None, None)


def test_the_stamps_of_a_call_are_known_to_its_result(fake: Any) -> None:
    headers = codec.encode({"mine": 1, "stamps": {"order": [17]}})
    fake.settled["x"] = Settled("PENDING", details=value_pb2.CallDetails(task="add", headers=headers))
    fake.settled["y"] = Settled("PENDING", details=value_pb2.CallDetails(task="add"))
    assert [app.AsyncResult(name).stamps for name in ("x", "y", "nobody")] == [{"order": [17]}, {}, {}]


def test_a_result_that_is_not_wanted_is_none_at_once(fake: Any) -> None:
    result = add.delay(1)
    result.ignored = True
    assert (result.get(), fake.asked) == (None, [])


def test_a_group_raises_its_first_failure_and_waits_for_none_behind_it(fake: Any) -> None:
    many = group(add.s(i) for i in range(3))()
    fake.succeed(0, 0)
    fake.fail(1, ValueError("one"))
    with pytest.raises(ValueError, match="one"):
        many.get(timeout=1)
    with pytest.raises(errors.TimeoutError):
        many.get(timeout=1, propagate=False)
    fake.succeed(2, 2)
    assert [type(value) for value in many.get(propagate=False)] == [int, ValueError, int]


def test_a_group_without_members_behind_a_failed_step_fails_too(fake: Any) -> None:
    sig = add.s(1)
    sig.link(group())
    bare = sig.delay().children[0]
    assert isinstance(bare, GroupResult)
    with pytest.raises(errors.TimeoutError):
        bare.get(timeout=1)
    assert not bare.ready()
    got: list[Any] = []
    bare.then(got.append)
    assert (got, fake.calls[-1][0]) == ([], [fake.node(1)])
    fake.fail(1, ValueError("before it"))
    for ask in (bare.get, bare.join_native, lambda: bare.get(on_interval=lambda: None), bare.maybe_throw):
        with pytest.raises(ValueError, match="before it"):
            ask()
    assert (bare.ready(), bare.failed(), bare.successful(), bare.completed_count()) == (True, True, False, 0)
    assert bare.get(propagate=False) == []
    fake.settle_list(1, [])
    assert (bare.get(), bare.successful(), bare.completed_count()) == ([], True, 0)


def test_members_come_in_the_order_of_their_ends(fake: Any) -> None:
    many = group(add.s(i) for i in range(2))()
    fake.succeed(1, "b")
    fake.succeed(0, "a")
    assert [(key, meta["result"]) for key, meta in many.iter_native()] == [(fake.node(1), "b"), (fake.node(0), "a")]
    assert list(group()().iter_native()) == []
    assert many.supports_native_join


def test_a_saved_group_comes_back_and_is_small(fake: Any) -> None:
    many = group(add.s(i) for i in range(20_000))()
    assert many.save() is many
    assert len(fake.groups[many.id]) < 200
    back = GroupResult.restore(many.id, app=app)
    assert back is not None
    assert (back.id, len(back), back.as_list()) == (many.id, 20_000, many.as_list())
    assert back._results is None, "no object for a member that nobody asked for"
    assert back[19_999].id == many[19_999].id
    many.delete()
    assert GroupResult.restore(many.id, app=app) is None


def test_groups_by_hand_and_nested_ones_come_back_too(fake: Any) -> None:
    by_hand = app.GroupResult("g", [app.AsyncResult("a"), app.AsyncResult("b")])
    nested = group(add.s(1), chain(add.s(1), group(add.s(2), add.s(3))), chord([add.s(4)], add.s(5)))()
    for many in (by_hand, nested):
        many.save()
        back = GroupResult.restore(many.id, app=app)
        assert back is not None
        assert back.as_tuple() == many.as_tuple()


def test_forgetting_goes_back_along_the_chain(fake: Any) -> None:
    result = chain(add.s(1), add.s(2))()
    fake.succeed(1, 3)
    assert result.get() == 3
    result.forget()
    assert fake.forgotten == [fake.node(1), fake.node(0)]
    assert (result.state, result.exists()) == ("PENDING", False)
    many = group(add.s(1), add.s(2))()
    many.forget()
    assert set(fake.forgotten[2:]) == {fake.node(0), fake.node(1), many.id}


def test_walking_what_was_linked(fake: Any) -> None:
    sig = add.s(1, 2)
    sig.link(add.s("a"))
    result = sig.delay()
    with pytest.raises(errors.IncompleteStream, match="intermediate=True"):
        list(result.iterdeps())
    assert [node for _, node in result.iterdeps(intermediate=True)] == [result]
    fake.succeed(0, 3)
    fake.succeed(1, 4)
    assert [(above and above.id, node.id) for above, node in result.iterdeps()] == [
        (None, result.id),
        (result.id, result.children[0].id),
    ]
    assert [value for _, value in result.collect()] == [3, 4]
    assert result.get_leaf() == 4


def test_then_calls_with_the_result_and_tells_what_went_wrong(fake: Any) -> None:
    result = add.delay(1)
    got: list[Any] = []
    assert result.then(got.append, got.append) is result
    (keys, call), = fake.calls  # fmt: skip
    assert keys == [result.id]
    call(None)
    unknown = errors.NotFound("gone")
    call(unknown)
    assert got == [result, unknown]
    result.then(lambda _: 1 / 0, got.append)
    fake.calls[-1][1](None)
    assert isinstance(got[-1], ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        result.then(lambda _: 1 / 0)
        fake.calls[-1][1](None)


def test_then_weakly_calls_nothing_where_the_result_is_gone(fake: Any) -> None:
    got: list[Any] = []
    app.AsyncResult("x").then(got.append, weak=True)
    fake.calls[-1][1](None)
    assert got == []


def test_revoking_by_stamps_and_waiting_for_it(fake: Any) -> None:
    result = add.delay(1)
    result.revoke_by_stamped_headers({"order": "7", "batch": ["a", "b"]}, terminate=True)
    assert fake.stamps == [({"order": ["7"], "batch": ["a", "b"]}, True, "SIGTERM")]
    result.revoke(wait=True, timeout=0.1)  # it has not settled, which is no error
    assert fake.asked == ["wait"]


def test_throwing(fake: Any) -> None:
    result = add.delay(1)
    result.throw()
    with pytest.raises(KeyError):
        result.throw(KeyError("k"))
    fake.fail(0, ValueError("own"))
    with pytest.raises(ValueError, match="own"):
        result.throw()
    got: list[Any] = []
    assert isinstance(result.maybe_throw(propagate=False, callback=lambda *told: got.append(told)), ValueError)
    assert got[0][0] == result.id


def test_states_compare_by_precedence() -> None:
    order = ["SUCCESS", "FAILURE", "PROGRESS", "REVOKED", "STARTED", "RECEIVED", "REJECTED", "RETRY", "PENDING"]
    assert sorted(order, key=states.precedence) == order
    assert states.state("SUCCESS") > states.state("FAILURE") >= states.state("FAILURE") > states.PENDING
    assert states.state("PENDING") < states.STARTED
    assert states.state("RETRY") <= states.RETRY
    assert {states.SUCCESS, states.FAILURE, states.REVOKED} < states.READY_STATES
    assert states.PROPAGATE_STATES | {states.RETRY} == states.EXCEPTION_STATES
    assert not states.READY_STATES & states.UNREADY_STATES
