"""Calls in this process: what ``apply()`` gives, what a task sees of it, and what ``task_always_eager`` changes."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from grpcflow import (
    ChordError,
    Context,
    GroupResult,
    Grpcflow,
    GrpcflowError,
    Ignore,
    ImproperlyConfigured,
    MaxRetriesExceededError,
    NotRegistered,
    Reject,
    SerializationError,
    Signature,
    Task,
    TaskRevokedError,
    allow_join_result,
    chain,
    chord,
    group,
    ids,
    signature,
)
from grpcflow.eager import apply_canvas, apply_task
from grpcflow.result.eager import EagerGroupResult, EagerResult

app = Grpcflow("eager", set_as_current=False)
heard: list[Any] = []


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Forgets what earlier tests heard; failures that are meant need no line in the log."""
    heard.clear()
    log = logging.getLogger("grpcflow.task")
    before, log.disabled = log.disabled, True
    yield
    log.disabled = before


@app.task(name="add")
def add(x: Any, y: Any) -> Any:
    return x + y


@app.task(name="total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="same")
def same(value: Any = None) -> Any:
    return value


@app.task(name="fail")
def fail(*args: Any) -> None:
    raise ValueError("no")


@app.task(name="hear")
def hear(value: Any) -> None:
    heard.append(value)


@app.task(name="hear_all")
def hear_all(request: Context, error: BaseException, traceback: str) -> None:
    heard.append((request, error, traceback))


@app.task(name="ask_again", bind=True, max_retries=5)
def ask_again(self: Any, times: int, seen: tuple[int, ...] = ()) -> list[int]:
    retries = self.request.retries
    if retries < times:
        raise self.retry(args=(times, (*seen, retries)), countdown=1_000)
    return [*seen, retries]


@app.task(name="look", bind=True)
def look(self: Any, *args: Any) -> Context:
    request: Context = self.request
    return request


@app.task(name="become", bind=True)
def become(self: Any, *_args: Any, into: Any) -> Any:
    return self.replace(into)


@app.task(name="sink", bind=True)
def sink(self: Any, left: int) -> Any:
    if left:
        raise self.replace(sink.s(left - 1))
    return self.request.replaced_task_nesting


@app.task(name="grow", bind=True)
def grow(self: Any, value: int) -> int:
    self.add_to_chord(same.s(value * 10))
    return value


@app.task(name="leave")
def leave(kind: str) -> None:
    raise Ignore("not today") if kind == "ignore" else Reject("never")


def run(canvas: Signature, *args: Any, **options: Any) -> Any:
    return apply_canvas(canvas, args, **options)


# ------------------------------------------------------------------------------------------------ one call


def test_a_call_gives_a_result_that_is_at_its_end() -> None:
    result = add.apply((2, 2))
    assert isinstance(result, EagerResult)
    assert (result.state, result.status, result.result, result.info) == ("SUCCESS", "SUCCESS", 4, 4)
    assert (result.ready(), result.successful(), result.failed(), result.exists()) == (True, True, False, True)
    assert result.get() == result.wait() == result.maybe_throw() == 4
    assert (result.traceback, result.parent, result.children) == (None, None, [])
    assert (result.name, result.args, result.kwargs, result.retries) == ("add", [2, 2], {}, 0)
    assert result.date_done is not None
    result.forget()
    assert result.get() == 4


def test_a_failing_call_gives_its_exception_and_raises_nothing_itself() -> None:
    result = fail.apply()
    assert result.failed()
    assert isinstance(result.result, ValueError)
    assert result.get(propagate=False) is result.result
    assert "test_eager.py" in (result.traceback or "")
    with pytest.raises(ValueError, match="no"):
        result.get()


def test_arguments_that_a_task_does_not_take_fail_its_call() -> None:
    assert isinstance(add.apply((1,)).result, TypeError)


def test_throw_raises_the_exception_where_it_happens() -> None:
    with pytest.raises(ValueError, match="no"):
        fail.apply(throw=True)
    with pytest.raises(ValueError, match="no"):
        run(chain(fail.s(), hear.s()) | hear.s(), throw=True)
    assert heard == []


def test_propagating_is_a_setting() -> None:
    app.conf.task_eager_propagates = True
    try:
        with pytest.raises(ValueError, match="no"):
            fail.apply()
        assert fail.apply(throw=False).failed()
    finally:
        app.conf.task_eager_propagates = False


def test_objects_stay_what_they_are() -> None:
    thing = object()
    assert same.apply((thing,)).get() is thing
    assert run(chain(same.s(thing), same.s(), group(same.s(), same.s()))).get() == [thing, thing]


def test_a_revoked_result_raises() -> None:
    result = add.apply((1, 1))
    result.revoke()
    assert (result.state, result.successful()) == ("REVOKED", False)
    with pytest.raises(TaskRevokedError):
        result.get()


def test_a_result_can_be_made_as_in_celery() -> None:
    made: EagerResult[Any] = EagerResult("mine", ValueError("x"), "FAILURE", traceback="where", name="add")
    assert (made.id, made.state, made.traceback, made.name) == ("mine", "FAILURE", "where", "add")
    with pytest.raises(ValueError, match="x"):
        made.get()
    assert made.children == []


def test_then_calls_at_once() -> None:
    result = add.apply((1, 1))
    assert result.then(heard.append) is result
    assert heard == [result]
    result.then(lambda _result: 1 / 0, heard.append)
    assert isinstance(heard[1], ZeroDivisionError)


def test_an_interrupt_passes_through() -> None:
    @app.task(name="interrupt")
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt.apply()


@pytest.mark.parametrize(("kind", "state"), [("ignore", "IGNORED"), ("reject", "REJECTED")])
def test_ignore_and_reject_are_ends(kind: str, state: str) -> None:
    result = leave.apply((kind,))
    assert result.state == state
    assert result.ready()
    if kind == "ignore":
        assert result.get() is None
    else:
        with pytest.raises(Reject):
            result.get()


# ------------------------------------------------------------------------------------------------ what a task sees


def test_the_request_of_an_eager_call() -> None:
    request = look.apply(
        (1,), task_id="mine", headers={"h": 1}, retries=2, logfile="f", loglevel=20, queue="q", priority=3
    ).get()
    assert request.id == request.root_id == "mine"
    assert (request.task, request.retries, list(request.args)) == ("look", 2, [1])
    assert (request.is_eager, request.called_directly) == (True, False)
    assert (request.headers, request.logfile, request.loglevel) == ({"h": 1}, "f", 20)
    info = request.delivery_info
    assert (info["is_eager"], info["queue"], info["priority"]) == (True, "q", 3)


def test_members_know_their_group() -> None:
    result = run(chord([look.s(), look.s()], same.s()))
    first, second = result.get()
    assert first.group == second.group == first.chord == result.parent.id
    assert (first.group_index, second.group_index) == (0, 1)
    assert run(group(look.s(), look.s())).get()[1].chord is None


def test_a_call_in_a_task_knows_its_parent_and_its_root() -> None:
    @app.task(name="outer", bind=True)
    def outer(self: Any) -> tuple[Context, Context, list[Any]]:
        inner = look.apply()
        return self.request, inner.get(), self.request.children

    request, inner, children = outer.apply().get()
    assert inner.parent_id == inner.root_id == request.id
    assert [child.id for child in children] == [inner.id]


def test_handlers_and_signals_hear_of_a_call() -> None:
    from grpcflow import signals

    class Loud(Task[..., Any]):
        def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
            heard.append("before_start")

        def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
            heard.append("on_success")

        def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            heard.append(("on_failure", str(exc)))

        def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            heard.append(("after_return", status))

    @app.task(name="loud", base=Loud)
    def loud(ok: bool) -> None:
        if not ok:
            raise ValueError("no")

    def told(**about: Any) -> None:
        heard.append((about["signal"].name, about["sender"].name))

    signals.task_prerun.connect(told)
    signals.task_postrun.connect(told)
    try:
        loud.apply((True,))
        loud.apply((False,))
    finally:
        signals.task_prerun.disconnect(told)
        signals.task_postrun.disconnect(told)
    begin, end = [("task_prerun", "loud"), "before_start"], ("task_postrun", "loud")
    well = [*begin, "on_success", ("after_return", "SUCCESS"), end]
    assert heard == [*well, *begin, ("on_failure", "no"), ("after_return", "FAILURE"), end]


def test_retries_run_at_once_with_new_arguments() -> None:
    result = ask_again.apply((3,))
    assert result.get() == [0, 1, 2, 3]
    assert result.retries == 3


def test_a_retry_beyond_the_limit_fails() -> None:
    assert isinstance(ask_again.apply((9,)).result, MaxRetriesExceededError)


def test_a_thousand_retries_need_no_stack() -> None:
    @app.task(name="stubborn", bind=True, max_retries=None)
    def stubborn(self: Any) -> int:
        if self.request.retries < 3_000:
            raise self.retry()
        return int(self.request.retries)

    assert stubborn.apply().get() == 3_000


# ------------------------------------------------------------------------------------------------ canvases


def test_a_chain_walks_back_by_its_parents() -> None:
    result = run(chain(add.s(1), add.s(10), add.s(100)), 0)
    assert result.get() == 111
    assert (result.parent.get(), result.parent.parent.get()) == (11, 1)
    assert result.parent.parent.parent is None
    assert result.parent is result.parent


def test_a_group_gives_a_group_of_results() -> None:
    result = run(group(add.s(1), group(add.s(2)), chain(add.s(3), add.s(4))), 10)
    assert isinstance(result, EagerGroupResult)
    assert isinstance(result, GroupResult)
    assert result.get() == result.join() == [11, 12, 17]
    assert [member.get() for member in result] == [11, 12, 17]
    assert (len(result), result[1].get(), result.state) == (3, 12, "SUCCESS")
    assert (result.ready(), result.successful(), result.failed(), result.waiting()) == (True, True, False, False)
    assert result.completed_count() == 3
    assert [(key, record["result"]) for key, record in result.iter_native()] == [
        (member.id, member.get()) for member in result
    ]
    result.get(callback=lambda key, value: heard.append((key, value)))
    assert heard == [(member.id, member.get()) for member in result]


def test_a_failing_member_fails_its_group_and_the_others_run() -> None:
    result = run(group(fail.s(), hear.si(1)))
    assert heard == [1]
    assert (result.failed(), result.state, result.completed_count()) == (True, "FAILURE", 1)
    with pytest.raises(ValueError, match="no"):
        result.get()
    assert [type(value) for value in result.get(propagate=False)] == [ValueError, type(None)]


def test_a_revoked_group_and_one_that_is_to_be_saved() -> None:
    result = run(group(add.s(1, 1), add.s(2, 2)))
    with pytest.raises(GrpcflowError, match="this process"):
        result.save()
    result.revoke()
    with pytest.raises(TaskRevokedError):
        result.get()


def test_empty_parts() -> None:
    assert run(chain()) is None
    assert run(group()).get() == []
    assert run(chord([], total.s())).get() == 0
    assert run(chord([], same.s())).get() == []
    assert run(chain(group(), add.s(1)), 1).get() == 2
    assert isinstance(run(chain(fail.s(), group())).get(propagate=False), ValueError)


def test_a_chord_and_its_failure() -> None:
    result = run(chord([add.s(1, 1), add.s(2, 2)], total.s()))
    assert result.get() == 6
    assert result.parent.get() == [2, 4]
    failed = run(chord([add.s(1, 1), fail.s()], total.s().on_error(hear.s())))
    with pytest.raises(ChordError, match=r"Dependency .* raised ValueError\('no'\)") as caught:
        failed.get()
    assert isinstance(caught.value.__cause__, ValueError)
    assert heard == [failed.id]


def test_map_starmap_and_chunks() -> None:
    assert run(same.map([1, 2])).get() == [1, 2]
    assert run(add.starmap([(1, 2), (3, 4)])).get() == [3, 7]
    assert run(add.chunks([(1, 2), (3, 4), (5, 6)], 2)).get() == [[3, 7], [11]]


def test_links_and_errbacks_run_once() -> None:
    assert add.apply((1, 1), link=[hear.s(), chain(add.s(1), hear.s())]).get() == 2
    assert heard == [2, 3]
    heard.clear()
    result = run(chain(fail.s(), add.s(1), add.s(2)).on_error(hear.s()))
    assert heard == [result.parent.parent.id]


def test_errbacks_behind_a_failing_step_are_silent() -> None:
    run(chain(fail.s(), add.s(1).on_error(hear.s()), group(add.s(1), add.s(2)).on_error(hear.s())))
    assert heard == []


def test_an_errback_of_three_parameters_is_told_everything() -> None:
    result = fail.apply((7,), link_error=hear_all.s())
    ((request, error, traceback),) = heard
    assert (request.id, list(request.args), error) == (result.id, [7], result.result)
    assert "ValueError: no" in traceback


def test_links_are_the_children_of_a_result() -> None:
    result = add.apply((1, 1), link=add.s(1))
    assert [child.get() for child in result.children] == [3]
    assert [(node.id, value) for node, value in result.collect()] == [(result.id, 2), (result.children[0].id, 3)]


def test_what_is_behind_an_ignored_call() -> None:
    assert run(chain(leave.s("ignore"), hear.s())).state == "IGNORED"
    with pytest.raises(ChordError):
        run(chord([leave.s("ignore"), add.s(1, 1)], hear.s())).get()
    assert heard == []


def test_a_value_that_is_not_kept_is_not_handed_on() -> None:
    result = run(chain(add.s(1, 1).set(ignore_result=True), same.s()))
    assert result.get() is None
    assert result.parent.get() == 2


def test_a_task_that_nobody_knows_is_refused_before_anything_runs() -> None:
    with pytest.raises(NotRegistered):
        run(chain(hear.s(1), signature("nowhere", app=app)), app=app)
    assert heard == []


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError):
        add.apply((1, 1), colour="red")


# ------------------------------------------------------------------------------------------------ replacing


def test_a_replacement_ends_for_the_task_in_whose_place_it_runs() -> None:
    result = run(chain(become.si(into=chain(add.s(1, 2), add.s(3))), add.s(4)))
    assert result.get() == 10
    assert run(chord([become.si(into=group(add.s(1, 1), add.s(2, 2)))], same.s())).get() == [[2, 4]]
    assert run(chord([become.si(into=chord([add.s(1, 1)], total.s())), add.s(5, 5)], total.s())).get() == 12


def test_a_replacement_has_the_place_of_the_replaced_call() -> None:
    result = run(chord([same.s(0), become.si(into=chain(same.s(1), look.s()))], same.s()), task_id="body")
    request = result.get()[1]
    assert (request.id, request.group, request.group_index) == (result.parent[1].id, result.parent.id, 1)
    assert request.replaced_task_nesting == 1


def test_a_failing_replacement_fires_the_errbacks_of_the_replaced_call_once() -> None:
    result = run(become.si(into=chain(fail.s(), add.s(1))).on_error(hear.s()))
    assert isinstance(result.get(propagate=False), ValueError)
    assert heard == [result.id]


def test_an_empty_replacement_is_refused_in_the_task() -> None:
    assert isinstance(run(become.si(into=chain())).result, ImproperlyConfigured)


def test_a_member_that_grows_its_chord() -> None:
    assert run(chord([grow.s(1), grow.s(2)], same.s())).get() == [1, 2, 10, 20]
    assert isinstance(grow.apply((1,)).result, ValueError)


# ------------------------------------------------------------------------------------------------ depth and size


def test_depth_needs_no_stack() -> None:
    assert run(chain(*[add.s(1)] * 10_000), 0).get() == 10_000
    assert sink.apply((3_000,)).get() == 3_000
    nested: Signature = same.s(1)
    for _ in range(50):
        nested = group(nested, same.s(2))
    value = run(nested).get()
    assert (len(value), value[0]) == (51, 1)
    inner: Any = same.s(1)
    for _ in range(50):
        inner = chord([inner], same.s())
    value = run(inner).get()
    for _ in range(50):
        (value,) = value
    assert value == 1


def test_a_failure_at_the_head_of_a_long_chain_is_the_error_of_its_end() -> None:
    result = run(chain(fail.s(), *[add.s(1)] * 5_000))
    assert isinstance(result.get(propagate=False), ValueError)


# ------------------------------------------------------------------------------------------------ always eager


@pytest.fixture
def always() -> Iterator[Grpcflow]:
    app.conf.task_always_eager = True
    yield app
    app.conf.task_always_eager = False


@pytest.mark.usefixtures("always")
def test_always_eager_runs_what_would_be_sent() -> None:
    assert add.delay(1, 2).get() == 3
    assert add.apply_async((1, 2), link=hear.s()).get() == 3
    assert chain(add.s(1, 2), add.s(3)).delay().get() == 6
    assert group(add.s(1, 2), add.s(3, 4)).apply_async().get() == [3, 7]
    assert chord([add.s(1, 2), add.s(3, 4)])(total.s()).get() == 10
    assert heard == [3]


@pytest.mark.usefixtures("always")
def test_always_eager_checks_what_a_cluster_would_refuse() -> None:
    with pytest.raises(TypeError):
        add.s(1).delay()
    with pytest.raises(SerializationError):
        same.delay(object())
    assert same.delay((1, 2)).get() == [1, 2]


@pytest.mark.usefixtures("always")
def test_always_eager_denies_waiting_inside_a_task() -> None:
    @app.task(name="wait")
    def wait(allowed: bool) -> Any:
        inner = add.delay(1, 1)
        if not allowed:
            return inner.get()
        with allow_join_result():
            return inner.get()

    assert isinstance(wait.delay(False).result, RuntimeError)
    assert wait.delay(True).get() == 2


def test_ids_are_those_of_nodes_or_the_users_own() -> None:
    assert ids.parse(add.apply((1, 1)).id) is not None
    assert run(chain(add.s(1, 1), add.s(1)), task_id="mine").id == "mine"
    assert apply_task(add, (1, 1), task_id="mine").id == "mine"
