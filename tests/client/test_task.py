"""Tasks: how they are made, named, checked and retried; what a running one knows."""

import asyncio
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.client.fake_connection import FakeApp, lowered_calls

from grpcflow import (
    Context,
    DuplicateTaskName,
    Grpcflow,
    Task,
    chain,
    chord,
    current_app,
    current_task,
    errors,
    group,
    shared_task,
    state,
)
from grpcflow.autoretry import backoff

app = FakeApp("proj")


@app.task
def add(x: int, y: int, debug: bool = False) -> int:
    """Adds."""
    return x + y


@app.task(bind=True, name="proj.me", queue="slow", max_retries=2)
def me(self: Task[..., Any], *parts: object) -> Any:
    return self


def test_importing_grpcflow_is_light() -> None:
    heavy = "{m.split('.')[0] for m in sys.modules} & {'grpc', 'google', 'msgspec', 'asyncio', 'click', 'rich'}"
    code = f"import sys, grpcflow; a = grpcflow.Grpcflow('x'); a.task(len); print({heavy})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150, check=True)
    assert out.stdout.strip() == "set()"


def test_names() -> None:
    assert add.name == f"{__name__}.add"
    assert me.name == "proj.me"
    assert app.tasks["proj.me"] is me
    assert app.gen_task_name("f", "__main__") == "proj.f"
    assert (add.__doc__, add.__name__, add.__module__) == ("Adds.", "add", __name__)


def test_a_call_in_place_runs_here() -> None:
    assert add(2, 2) == 4
    assert me(1) is me


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match=r"'queu'.*did you mean 'queue'"):
        app.task(queu="x")(len)


def test_a_name_that_is_used_twice_warns_and_the_later_function_is_called() -> None:
    own = Grpcflow("own", set_as_current=False)
    own.task(name="f")(lambda: 1)
    with pytest.warns(DuplicateTaskName, match="'f' is used twice"):

        @own.task(name="f")
        def second() -> int:
            return 2

    assert own.tasks["f"]() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own.task(name="f")(second.__wrapped__)  # the same function again: a module that was imported twice


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(errors.NotRegistered, match=r"'proj\.ne'.*'proj\.me'"):
        app.task_named("proj.ne")


def test_a_base_class_that_sends_calls_itself_sends_all_of_them() -> None:
    class Once(Task[..., Any]):
        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            return ("sent", tuple(args or ()), dict(kwargs or {}))

    class OnceOnLoop(Once):
        async def aapply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            return ("sent on a loop", tuple(args or ()), dict(kwargs or {}))

    own = FakeApp("own")
    once, on_loop = own.task(base=Once, name="once")(abs), own.task(base=OnceOnLoop, name="loop")(abs)
    assert once.delay(1) == ("sent", (1,), {})
    with own.batch():
        assert once.delay(3) == ("sent", (3,), {})
    assert on_loop.delay(4) == ("sent", (4,), {})
    assert asyncio.run(on_loop.adelay(5)) == ("sent on a loop", (5,), {})
    assert own.fake.graphs == []


def test_signatures_do_not_go_through_an_overridden_apply_async() -> None:
    sent: list[Any] = []

    class Noted(Task[..., Any]):
        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            sent.append(args)
            return super().apply_async(args, kwargs, **options)

    own = FakeApp("own")
    noted = own.task(base=Noted, name="noted")(abs)
    chain(noted.s(1), noted.s()).apply_async()
    group(noted.s(2), noted.s(3)).apply_async()
    chord([noted.s(4), noted.s(5)], noted.s()).apply_async()
    assert sent == []
    assert len(own.fake.graphs) == 3
    noted.s(6).apply_async()
    assert sent == [], "nor does a signature alone"
    noted.delay(7)
    assert sent == [(7,)]


def test_a_base_class_and_a_class_based_task() -> None:
    class Loud(Task[..., Any]):
        priority = 9

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return f"{super().__call__(*args, **kwargs)}!"

    own = Grpcflow("own", set_as_current=False)
    assert own.task(base=Loud, name="shout")(lambda x: x)("hey") == "hey!"

    class Named(Task[..., Any]):
        name = "named"

        def run(self, *args: Any, **kwargs: Any) -> Any:
            return args

    assert own.register_task(Named)(1) == (1,)
    assert own.tasks["named"].app is own


def test_shared_tasks_belong_to_every_app() -> None:
    @shared_task(name="shared.twice", queue="q")
    def twice(x: int) -> int:
        return 2 * x

    try:
        later = FakeApp("later")
        assert app.tasks["shared.twice"].queue == later.tasks["shared.twice"].queue == "q"
        assert twice(4) == 8
        twice.delay(1)
        assert lowered_calls(later.fake.last) == [["shared.twice", [1], {}]]
    finally:
        state.shared_registrations.pop()
        app.set_current()


def test_the_current_app_and_the_current_task() -> None:
    app.set_current()
    assert current_app.main == "proj"
    assert not bool(current_task)
    me.push_request(Context(id="1"))
    try:
        assert bool(current_task)
        assert current_task.name == "proj.me"
    finally:
        me.pop_request()


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1,), {}), ((1, 2, 3, 4), {}), ((1, 2), {"y": 3}), ((1, 2), {"nope": 1})]
)
def test_wrong_arguments_raise_where_the_call_is_made(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    sent = len(app.fake.graphs)
    with pytest.raises(TypeError, match=r"\.add\(x"):
        add.apply_async(args, kwargs)
    assert len(app.fake.graphs) == sent


def test_right_arguments_pass() -> None:
    add.check_arguments((1, 2), {})
    add.check_arguments((1,), {"y": 2})
    add.check_arguments((), {"x": 1, "y": 2, "debug": True})
    add.check_arguments((2,), {}, 1)
    me.check_arguments((), {})
    own = Grpcflow("own", set_as_current=False)
    own.task(name="loose", typing=False)(lambda x: x).check_arguments((), {})
    own.task(name="built_in")(print).check_arguments((1, 2, 3), {})

    @own.task
    def keyword(*, must: int) -> int:
        return must

    keyword.check_arguments((), {"must": 1})
    with pytest.raises(TypeError, match="must"):
        keyword.check_arguments((), {})


def test_the_request_is_that_of_the_running_call() -> None:
    assert me.request.called_directly
    assert me.request.id is None
    me.push_request(Context(id="outer", called_directly=False))
    add.push_request(Context(id="inner", called_directly=False))
    assert [me.request.id, add.request.id] == ["outer", "inner"]
    add.pop_request()
    me.pop_request()
    assert me.request.id is None
    assert Context(id="x").get("id") == "x"
    assert Context().get("nothing", 5) == 5


def test_a_call_inside_a_task_knows_its_parent_and_its_root() -> None:
    context = Context(id="the-parent", root_id="the-root", called_directly=False)
    me.push_request(context)
    try:
        result = add.delay(1, 2)
    finally:
        me.pop_request()
    template = app.fake.last[0].templates[0]
    assert (template.parent_id, template.root_id) == ("the-parent", "the-root")
    assert context.children == [result]
    add.delay(1, 2)
    assert (app.fake.last[0].templates[0].parent_id, app.fake.last[0].templates[0].root_id) == ("", "")


def running(retries: int = 0) -> Context:
    return Context(id="1", retries=retries, called_directly=False)


@pytest.fixture
def called() -> Any:
    """Runs `me` with a request, and ends it whatever happens."""
    pushed: list[Context] = []

    def push(context: Context) -> None:
        me.push_request(context)
        pushed.append(context)

    yield push
    for _ in pushed:
        me.pop_request()


def test_retry_carries_reason_and_delay(called: Any) -> None:
    called(running())
    why = ValueError("no")
    with pytest.raises(errors.Retry) as raised:
        me.retry(exc=why, countdown=3, args=(1,), kwargs={"a": 1})
    retry = raised.value
    assert (retry.exc, retry.countdown, retry.call_args, retry.call_kwargs) == (why, 3, (1,), {"a": 1})
    assert me.retry(throw=False).countdown == 180
    late = me.retry(throw=False, eta=datetime.now(UTC) + timedelta(hours=1))
    assert 3590 < late.countdown <= 3600
    assert me.retry(throw=False, eta=datetime(2000, 1, 1)).countdown == 0


def test_retry_takes_the_exception_that_is_being_handled(called: Any) -> None:
    called(running())
    lost = KeyError("lost")
    with pytest.raises(errors.Retry) as raised:
        try:
            raise lost
        except KeyError:
            me.retry()
    assert raised.value.exc is lost
    assert raised.value.__cause__ is lost


def test_retries_end(called: Any) -> None:
    called(running(retries=2))
    with pytest.raises(errors.MaxRetriesExceededError, match="used its 2 retries"):
        me.retry()
    with pytest.raises(ValueError, match="no"):
        me.retry(exc=ValueError("no"))
    with pytest.raises(errors.Retry):
        me.retry(max_retries=3)


def test_retry_of_a_call_in_place_raises_the_reason() -> None:
    with pytest.raises(ValueError, match="no"):
        me.retry(exc=ValueError("no"))
    with pytest.raises(errors.Retry, match="called in place"):
        me.retry()


def test_autoretry() -> None:
    own = Grpcflow("own", set_as_current=False)

    @own.task(autoretry_for=(ArithmeticError,), dont_autoretry_for=(OverflowError,), retry_backoff=2, max_retries=1)
    def risky(error: BaseException) -> None:
        raise error

    risky.push_request(running())
    try:
        with pytest.raises(errors.Retry) as raised:
            risky(ZeroDivisionError("x"))
        assert isinstance(raised.value.exc, ZeroDivisionError)
        assert 0 <= raised.value.countdown <= 2
        for other in (OverflowError(), ValueError(), errors.Ignore()):
            with pytest.raises(type(other)):
                risky(other)
    finally:
        risky.pop_request()
    risky.push_request(running(retries=1))
    try:
        with pytest.raises(ZeroDivisionError):
            risky(ZeroDivisionError("x"))
    finally:
        risky.pop_request()
    risky.retry_jitter = False
    assert [backoff(risky, n) for n in (0, 1, 2, 20)] == [2, 4, 8, 600]


def test_send_task_needs_no_registration() -> None:
    result = app.send_task("elsewhere.f", [1], {"a": 2}, queue="q", task_id="mine")
    assert result.id == "mine"
    assert lowered_calls(app.fake.last) == [["elsewhere.f", [1], {"a": 2}]]
    assert app.fake.last[0].templates[0].queue == "q"
    assert app.fake.last[0].runs[0].id == "mine"


def test_joins_are_refused_inside_a_task() -> None:
    with state.running_task():
        with pytest.raises(RuntimeError, match="inside a task"):
            state.check_join_allowed()
        with state.allow_join_result():
            state.check_join_allowed()
        assert state.in_task()
    state.check_join_allowed()
