"""Calls in this process: what ``apply()`` gives, what a task sees of it, and what ``task_always_eager`` changes."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from tests.client.eager_tasks import (
    add,
    app,
    ask_again,
    fail,
    hear,
    heard,
    leave,
    look,
    run,
    same,
    total,
)

from grpcflow import (
    Context,
    Grpcflow,
    ImproperlyConfigured,
    MaxRetriesExceededError,
    Reject,
    SerializationError,
    Task,
    TaskRevokedError,
    allow_join_result,
    chain,
    chord,
    group,
    ids,
    signals,
)
from grpcflow.eager import apply_task
from grpcflow.result.eager import EagerResult


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Forgets what earlier tests heard; failures that are meant need no line in the log."""
    heard.clear()
    log = logging.getLogger("grpcflow.trace")
    before, log.disabled = log.disabled, True
    yield
    log.disabled = before


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
    assert "eager_tasks.py" in (result.traceback or "")
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
        (1,),
        task_id="mine",
        headers={"h": 1},
        retries=2,
        logfile="f",
        loglevel=20,
        queue="q",
        priority=3,
        reply_to="me",
    ).get()
    assert request.id == request.root_id == "mine"
    assert (request.task, request.retries, list(request.args)) == ("look", 2, [1])
    assert (request.is_eager, request.called_directly) == (True, False)
    assert (request.headers, request.logfile, request.loglevel) == ({"h": 1}, "f", 20)
    assert (request.reply_to, request.argsrepr) == ("me", "(1,)")
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


@pytest.mark.parametrize(("inherits", "own", "expected"), [(True, None, 7), (True, 2, 2), (False, None, 0)])
def test_a_call_in_a_task_inherits_its_priority_where_that_is_set_and_it_has_none(
    inherits: bool, own: int | None, expected: int
) -> None:
    family = Grpcflow("family", set_as_current=False, task_inherit_parent_priority=inherits)

    @family.task(name="inner", bind=True)
    def inner(self: Any) -> int:
        priority: int = self.request.delivery_info["priority"]
        return priority

    @family.task(name="replaced", bind=True)
    def replaced(self: Any) -> Any:
        return self.replace(inner.s().set(priority=own))

    @family.task(name="outer", bind=True)
    def outer(self: Any) -> list[Any]:
        family.conf.task_always_eager = True
        with allow_join_result():
            return [inner.apply(priority=own).get(), inner.apply_async(priority=own).get()]

    assert outer.apply(priority=7).get() == [expected, expected]
    assert replaced.apply(priority=7).get() == expected


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


def test_eager_results_are_stored_nowhere_and_the_setting_says_so() -> None:
    with pytest.raises(ImproperlyConfigured, match="no coordinator knows it"):
        app.conf.task_store_eager_result = True
    app.conf.task_store_eager_result = False


def test_an_interrupt_in_a_receiver_of_an_eager_call_reaches_the_program() -> None:
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    signals.task_success.connect(interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            same.apply((1,))
    finally:
        signals.task_success.disconnect(interrupted)
