"""Sets of results: members that change, waiting as one, and app.GroupResult, walks as graphs, deep values."""

import inspect
import io
from typing import Any

import pytest
from tests.client.fake_connection import FakeApp

import grpcflow
from grpcflow import AsyncResult, GroupResult, ResultSet, codec, errors, group, state
from grpcflow.connection import Settled
from grpcflow.result.dependency_graph import DependencyGraph
from grpcflow.result.eager import EagerResult
from grpcflow_protos.v1 import value_pb2

app = FakeApp("set")


@app.task(name="add")
def add(x: Any, y: Any = 0) -> Any:
    return x + y


@pytest.fixture(autouse=True)
def fake() -> Any:
    app.fake.__init__()  # type: ignore[misc]
    return app.fake


def three() -> ResultSet:
    return app.ResultSet([app.AsyncResult(name) for name in "abc"])


def test_members_are_added_and_removed_by_result_or_id() -> None:
    many = three()
    many.add(app.AsyncResult("a"))
    many.update([app.AsyncResult("c"), app.AsyncResult("d")])
    many.remove("a")
    many.discard("a")
    many.discard(app.AsyncResult("b"))
    assert ([one.id for one in many], len(many), many[0].id) == (["c", "d"], 2, "c")
    assert [one.id for one in many[1:]] == ["d"]
    with pytest.raises(KeyError, match="nobody"):
        many.remove("nobody")
    many.clear()
    assert (len(many), bool(many), many.get(), many.ready()) == (0, False, [], True)


def test_sets_are_equal_where_their_members_are() -> None:
    other = three()
    assert three() == other
    other.add(app.AsyncResult("d"))
    assert three() != other
    with pytest.raises(TypeError, match="unhashable"):
        hash(other)


def test_a_set_tells_how_its_members_stand(fake: Any) -> None:
    many = three()
    fake.succeed("a", 1)
    fake.fail("b", ValueError("no"))
    assert (many.ready(), many.waiting(), many.failed(), many.successful()) == (False, True, True, False)
    assert many.completed_count() == 1, "failures do not count"
    many.maybe_throw(propagate=False)
    with pytest.raises(ValueError, match="no"):
        many.maybe_reraise()
    fake.succeed("c", 3)
    assert (many.ready(), many.successful()) == (True, False)


def test_values_come_in_the_order_of_members_with_callbacks(fake: Any) -> None:
    many = three()
    for name in "cba":
        fake.succeed(name, name * 2)
    told: list[Any] = []
    assert many.join(5, callback=lambda *one: told.append(one)) == ["aa", "bb", "cc"]
    assert told == [("a", "aa"), ("b", "bb"), ("c", "cc")]
    assert (many.join_native(5), fake.asked) == (["aa", "bb", "cc"], ["wait"])
    many.remove("a")
    assert many.get() == ["bb", "cc"], "what was known of the whole does not hold any more"
    assert [key for key, _ in many.iter_native()] == ["c", "b"]


def test_messages_and_intervals_while_a_set_is_waited_for(fake: Any) -> None:
    many = three()
    fake.looks["b"] = Settled("STARTED", custom_state="PROGRESS", meta=(b"3", ""))
    for name in "cba":
        fake.succeed(name, name)
    told: list[Any] = []
    ticks: list[int] = []
    values = many.get(on_message=told.append, on_interval=lambda: ticks.append(1))
    assert (values, len(ticks)) == (["a", "b", "c"], 1)
    seen = [(one["task_id"], one["status"]) for one in told]
    assert ("b", "PROGRESS") in seen
    assert seen[-3:] == [("c", "SUCCESS"), ("b", "SUCCESS"), ("a", "SUCCESS")]


def test_a_watched_set_raises_the_first_failure_at_once(fake: Any) -> None:
    fake.fail("a", ValueError("a"))
    with pytest.raises(ValueError, match="a"):
        three().get(on_interval=lambda: None)


def test_positional_parameters_are_in_the_order_of_celery() -> None:
    waits = ["timeout", "propagate", "interval", "callback", "no_ack", "on_message"]
    for kind in (ResultSet, GroupResult):
        for name in ("get", "join"):
            found = list(inspect.signature(getattr(kind, name)).parameters)[1:]
            assert found == [*waits, "disable_sync_subtasks", "on_interval"]
        found = list(inspect.signature(kind.join_native).parameters)[1:]
        assert found == [*waits, "on_interval", "disable_sync_subtasks"]
    found = list(inspect.signature(AsyncResult).parameters)
    assert found == ["id", "backend", "task_name", "app", "parent"]


def test_a_set_refuses_to_wait_inside_a_task_unless_that_is_asked_for(fake: Any) -> None:
    for name in "abc":
        fake.succeed(name, name)
    with state.denied_join_result():
        with pytest.raises(RuntimeError):
            three().get()
        with pytest.raises(RuntimeError):
            three().join_native()
        assert three().get(None, True, 0.5, None, True, None, False) == ["a", "b", "c"]


def test_then_waits_also_for_what_is_added_and_a_later_one_anew(fake: Any) -> None:
    many = three()
    done: list[Any] = []
    assert many.then(done.append) is many
    many.add(app.AsyncResult("d"))
    fake.calls[0][1](None)
    assert (done, fake.calls[1][0]) == ([], ["d"])
    fake.calls[1][1](None)
    assert done == [many]
    many.add(app.AsyncResult("e"))
    many.then(done.append)
    assert (len(done), fake.calls[2][0]) == (1, ["a", "b", "c", "d", "e"])
    wrong: list[Exception] = []
    many.then(done.append, wrong.append)
    fake.calls[3][1](errors.GrpcflowError("gone"))
    assert (len(done), len(wrong)) == (1, 1)


def test_forgetting_and_revoking_a_set(fake: Any) -> None:
    many = three()
    fake.succeed("a", 1)
    assert many[0].get() == 1
    many.revoke(terminate=True, signal="KILL")
    assert fake.revoked == [(["a", "b", "c"], True, "KILL")]
    many.forget()
    assert fake.forgotten == ["a", "b", "c"]
    assert many[0].state == "PENDING", "the members know nothing any more either"


def test_sets_hold_groups_sets_and_what_ran_here(fake: Any) -> None:
    bound = group(add.s(1), add.s(2))()
    fake.settle_list(2, [1, 2])
    fake.succeed(0, 1)
    fake.succeed(1, 2)
    fake.succeed("a", 0)
    local: EagerResult[int] = EagerResult("local", 7, "SUCCESS", app=app)
    many = app.ResultSet([bound, app.ResultSet([app.AsyncResult("a")]), local])
    assert many.get(timeout=5) == [[1, 2], [0], 7]
    assert (many.ready(), many.successful(), many.completed_count()) == (True, True, 3)
    many.then(lambda _: None)
    assert fake.calls[-1][0] == [bound._key, "a"]


def test_a_group_is_a_set_and_stays_small_until_it_is_changed(fake: Any) -> None:
    many = group(add.s(i) for i in range(20_000))()
    assert isinstance(many, ResultSet)
    assert (bool(many), many == many.id, many == GroupResult(many.id), many._results) == (True, True, False, None)
    small = group(add.s(1), add.s(2))()
    fake.succeed(0, 1)
    fake.succeed(1, 2)
    fake.succeed("x", 3)
    assert small.get() == [1, 2]
    small.add(app.AsyncResult("x"))
    assert small.get() == [1, 2, 3]


def test_the_group_result_of_an_app_restores(fake: Any) -> None:
    made = app.GroupResult("g", [app.AsyncResult("a")])
    made.save()
    back = app.GroupResult.restore("g")
    assert back == made
    assert back is not None
    assert (back.app, app.GroupResult.restore("nobody")) == (app, None)
    assert isinstance(made, app.GroupResult)  # type: ignore[arg-type]
    assert type(made) is GroupResult


def test_a_backend_is_refused_and_a_name_taken(fake: Any) -> None:
    assert AsyncResult[Any]("x", None, "add", app).name == "add"
    with pytest.raises(ValueError, match="coordinator"):
        AsyncResult[Any]("x", "redis://", None, app)  # type: ignore[arg-type]


def test_what_was_linked_as_a_graph(fake: Any) -> None:
    sig = add.s(1, 2)
    sig.link(add.s(3))
    result = sig.delay()
    with pytest.raises(errors.IncompleteStream):
        result.build_graph()
    assert len(result.build_graph(intermediate=True)) == 1
    fake.succeed(0, 3)
    fake.succeed(1, 6)
    child = result.children[0]
    assert dict(result.graph.items()) == {result: [child], child: []}
    assert result.graph.topsort() == [child, result]
    assert [value for _, value in result.collect()] == [3, 6]
    text = io.StringIO()
    result.graph.to_dot(text)
    assert f'"{result.id}" -> "{child.id}"' in text.getvalue()


def test_graphs_sort_count_and_find_circles() -> None:
    graph = DependencyGraph()
    for name in "abcd":
        graph.add_arc(name)
    for a, b in ("ab", "ac", "bd", "cd"):
        graph.add_edge(a, b)
    line = graph.topsort()
    assert all(line.index(b) < line.index(a) for a, found in graph.items() for b in found)
    assert (list(graph.edges()), graph.valency_of("a"), graph.valency_of("x")) == (["a", "b", "c"], 4, 0)
    assert ("a" in graph, graph["b"], list(graph)) == (True, ["d"], list("abcd"))
    graph.add_edge("d", "a")
    with pytest.raises(ValueError, match="circle"):
        graph.topsort()
    with pytest.raises(KeyError):
        graph.add_edge("nobody", "a")


def test_values_of_any_depth_are_read() -> None:
    value = value_pb2.Value(data=b"1")
    whole = value
    for _ in range(50):  # more would be refused by protobuf when it copies, not by the codec
        whole = value_pb2.Value(list=value_pb2.ValueList(values=[whole, value_pb2.Value()]))
    found = codec.decode_value(whole)
    for _ in range(50):
        assert found[1] is None
        found = found[0]
    assert found == 1


def test_depth_costs_no_stack() -> None:
    whole: Any = _Listed(None)
    for _ in range(20_000):
        whole = _Listed(whole)
    found = codec.decode_value(whole)
    depth = 0
    while found:
        depth, found = depth + 1, found[0]
    assert depth == 20_000
    while whole is not None:
        whole = whole.list.inner


class _Listed:
    """Stands for a Value that holds a list, at depths that protobuf's own classes do not reach."""

    class _List:
        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.values = [] if inner is None else [inner]

    def __init__(self, inner: Any) -> None:
        self.list = self._List(inner)

    def WhichOneof(self, name: str) -> str:
        return "list"


def test_the_new_names_are_public() -> None:
    assert grpcflow.states.SUCCESS == "SUCCESS"
    assert issubclass(grpcflow.StaleAttempt, errors.GrpcflowError)
    assert {"ResultSet", "StaleAttempt", "states"} <= set(grpcflow.__all__)
