"""The app: its arguments, its life, its names, and what happens around sending."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from tests.client.fake_connection import FakeApp, lowered_calls
from tests.support.awaited import AlsoAwaited

from grpcflow import Grpcflow, Task, codec, errors, sending, signals, state
from grpcflow.app import AlwaysEagerIgnored


def app_with_add(**settings: Any) -> tuple[FakeApp, Any]:
    app = FakeApp("appt", set_as_current=False, **settings)

    @app.task(name="appt.add")
    def add(x: int, y: int) -> int:
        return x + y

    return app, add


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Leaves no receiver behind: a failure's traceback would keep it."""
    yield
    signals.before_task_publish.receivers.clear()
    signals.after_task_publish.receivers.clear()


# --- making one ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "words"),
    [("broker", "coordinator='HOST"), ("backend", "keeps the results"), ("loader", "cannot be replaced")],
)
def test_an_argument_of_celery_that_has_no_place_says_what_to_write(argument: str, words: str) -> None:
    with pytest.raises(errors.ImproperlyConfigured, match=words):
        Grpcflow("x", set_as_current=False, **cast("dict[str, Any]", {argument: "redis://"}))


def test_what_is_none_in_celery_too_is_passed_over() -> None:
    app = Grpcflow(None, broker=None, backend=None, include=None, set_as_current=False)
    assert (app.main, tuple(app.conf.include)) == ("", ())


def test_changes_and_keywords_are_settings() -> None:
    app = Grpcflow("x", changes={"task_default_queue": "q"}, task_acks_late=False, set_as_current=False)
    assert (app.conf.task_default_queue, app.conf.task_acks_late) == ("q", False)


def test_task_cls_may_be_named() -> None:
    assert Grpcflow("x", task_cls="grpcflow.task:Task", set_as_current=False).task_cls is Task
    with pytest.raises(errors.ImproperlyConfigured, match=r"derived from grpcflow\.Task"):
        Grpcflow("x", task_cls="grpcflow.task:Any", set_as_current=False)


def test_strict_typing_is_the_default_of_typing() -> None:
    app = FakeApp("loose", strict_typing=False, set_as_current=False)

    @app.task(name="loose.add")
    def add(x: int, y: int) -> int:
        return x + y

    add.apply_async((1,))
    strict, strict_add = app_with_add()
    with pytest.raises(TypeError):
        strict_add.apply_async((1,))
    assert (len(app.fake.graphs), len(strict.fake.graphs)) == (1, 0)


def test_an_app_finalizes_itself_once_and_says_so() -> None:
    app, add = app_with_add()
    told: list[Any] = []
    app.on_after_finalize.connect(lambda sender, **_: told.append(sender), weak=False)
    add.delay(1, 1)
    add.delay(1, 1)
    app.finalize()
    assert told == [app]


def test_without_autofinalize_tasks_are_refused_until_it_is_called() -> None:
    app, add = app_with_add(autofinalize=False)
    with pytest.raises(RuntimeError, match=r"finalize\(\)"):
        add.delay(1, 1)
    app.finalize()
    add.delay(1, 1)
    assert len(app.fake.graphs) == 1


def test_a_closed_app_is_no_longer_current_and_gets_no_shared_tasks() -> None:
    before = state._current_app
    try:
        with Grpcflow("short") as app:
            assert state.get_current_app() is app
        assert state._current_app is None
        assert app not in state.apps
    finally:
        state._current_app = before


def test_names_of_convenience() -> None:
    app, add = app_with_add(timezone="Europe/Paris")
    assert str(app.now().tzinfo) == str(app.timezone) == "Europe/Paris"
    assert app.current_task is None
    assert issubclass(app.Task, Task)
    assert app.Task.app is app
    assert app.gen_task_name("f", "m") == "m.f"
    assert "grpcflow:" in app.bugreport()
    assert "timezone: 'Europe/Paris'" in app.bugreport()
    for canvas in (app.chain(add.s(1, 1), add.s(1)), app.group(add.s(1, 1)), app.chord([add.s(1, 1)], add.si(1, 1))):
        canvas.delay()
    assert len(app.fake.graphs) == 3
    assert not [name for name in app.tasks if name.startswith(("celery.", "grpcflow."))]


# --- sending ---------------------------------------------------------------------------------------------------


def test_send_task_needs_no_registration() -> None:
    app, _ = app_with_add()
    result = app.send_task("elsewhere.task", (1,), {"k": 2}, queue="far")
    assert lowered_calls(app.fake.last) == [["elsewhere.task", [1], {"k": 2}]]
    assert result.id == app.fake.node(0)


def test_send_task_sends_though_calls_are_eager_and_warns() -> None:
    app, _ = app_with_add(task_always_eager=True)
    with pytest.warns(AlwaysEagerIgnored):
        app.send_task("elsewhere.task")
    assert len(app.fake.graphs) == 1


def test_task_always_eager_runs_calls_here() -> None:
    app, add = app_with_add(task_always_eager=True)
    assert add.delay(2, 3).get() == 5
    assert not app.fake.graphs


class Failing(AlsoAwaited):
    """A connection that fails so many times."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.left = error, times
        self.tries: list[bytes] = []
        self.retries: list[bool] = []

    def submit(self, chunks: Any, *, retry: bool = True) -> None:
        self.tries.append(chunks[0].graph)
        self.retries.append(retry)
        if self.left:
            self.left -= 1
            raise self.error


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(sending, "pause", waited.append)
    return waited


def test_a_retry_policy_adds_tries_of_the_same_submission(pauses: list[float]) -> None:
    app, add = app_with_add()
    connection = app.fake = Failing(errors.CoordinatorUnavailable("away"), 3)  # type: ignore[assignment]
    policy = {"max_retries": 3, "interval_start": 1, "interval_step": 2, "interval_max": 4}
    add.apply_async((1, 1), retry_policy=policy)
    assert len(connection.tries) == 4
    assert len(set(connection.tries)) == 1
    assert pauses == [1, 3, 4]


def test_past_the_limit_the_error_is_raised_and_without_retry_at_once(pauses: list[float]) -> None:
    app, add = app_with_add(task_publish_retry_policy={"max_retries": 1})
    connection = app.fake = Failing(errors.CoordinatorUnavailable("away"), 9)  # type: ignore[assignment]
    with pytest.raises(errors.CoordinatorUnavailable):
        add.delay(1, 1)
    assert (len(connection.tries), len(pauses)) == (2, 1)
    with pytest.raises(errors.CoordinatorUnavailable):
        add.apply_async((1, 1), retry=False)
    assert (len(connection.tries), len(pauses)) == (3, 1)
    assert connection.retries == [True, True, False], "and the connection does not try again either"


@pytest.mark.parametrize("setting", [True, False])
def test_what_a_signature_says_of_its_submission_holds_and_the_submission_may_say_otherwise(
    pauses: list[float], setting: bool
) -> None:
    app, add = app_with_add(task_publish_retry=setting)
    connection = app.fake = Failing(errors.CoordinatorUnavailable("away"), 99)  # type: ignore[assignment]
    once = add.s(1, 1).set(retry=False)
    twice = add.s(1, 1).set(retry=True, retry_policy={"max_retries": 1})
    calls: list[tuple[Callable[[], Any], int]] = [
        (lambda: once.delay(), 1),
        (lambda: twice.delay(), 2),
        (lambda: twice.apply_async(retry=None, retry_policy=None), 2),
        (lambda: twice.apply_async(retry=False), 1),
        (lambda: (add.s(1, 1) | add.s(1)).set(retry=True, retry_policy={"max_retries": 2}).delay(), 3),
    ]
    for sent, tries in calls:
        connection.tries.clear()
        with pytest.raises(errors.CoordinatorUnavailable):
            sent()
        assert len(connection.tries) == tries
    with pytest.raises(errors.CoordinatorUnavailable):
        add.delay(1, 1)
    assert connection.retries[-1] is setting


def test_retry_errors_names_more_errors(pauses: list[float]) -> None:
    app, add = app_with_add()
    connection = app.fake = Failing(errors.TimeoutError("slow"), 1)  # type: ignore[assignment]
    add.apply_async((1, 1), retry_policy={"retry_errors": (errors.TimeoutError,)})
    assert len(connection.tries) == 2
    assert pauses == [0]


def test_a_wrong_retry_policy_is_refused() -> None:
    app, add = app_with_add()
    with pytest.raises(errors.ImproperlyConfigured, match="retry_policy"):
        add.apply_async((1, 1), retry_policy={"tries": 1})
    assert not app.fake.graphs


# --- signals of publishing -------------------------------------------------------------------------------------


def test_both_signals_tell_of_every_call_of_a_canvas() -> None:
    app, add = app_with_add(task_default_queue="q")
    heard: list[tuple[str, Any, dict[str, Any]]] = []

    def hear(signal: Any, sender: Any, **told: Any) -> None:
        heard.append((signal.name, sender, told))

    signals.before_task_publish.connect(hear, sender=add)
    signals.after_task_publish.connect(hear, sender="appt.add")
    app.group([add.s(i, i) for i in range(3)]).apply_async(reply_to="me")
    assert [name for name, _, _ in heard] == ["before_task_publish"] * 3 + ["after_task_publish"] * 3
    _, sender, told = heard[1]
    assert sender == "appt.add"
    assert told["body"][:2] == ([1, 1], {})
    assert (told["exchange"], told["routing_key"], told["declare"]) == ("", "q", [])
    assert told["headers"]["id"] == told["properties"]["correlation_id"] == app.fake.node(1)
    assert told["headers"]["task"] == "appt.add"
    assert (told["headers"]["argsrepr"], told["headers"]["kwargsrepr"]) == ("(1, 1)", "{}")
    assert told["properties"]["reply_to"] == "me"
    assert told["retry_policy"]["max_retries"] == 3


def test_headers_that_a_receiver_adds_travel_with_that_call_only() -> None:
    app, add = app_with_add()

    def trace(headers: dict[str, Any], body: Any, **_: Any) -> None:
        if body[0][0]:
            headers["traceparent"] = f"t{body[0][0]}"

    signals.before_task_publish.connect(trace)
    app.group([add.s(i, i) for i in range(3)]).apply_async(headers={"own": 1})
    found = {}
    chunk = app.fake.last[0]
    for run in chunk.runs:
        for payload in run.payloads:
            template = chunk.templates[run.template]
            found[codec.decode(payload)[0][0]] = codec.decode(template.headers)
    assert [headers.get("traceparent") for _, headers in sorted(found.items())] == [None, "t1", "t2"]
    assert {headers["own"] for headers in found.values()} == {1}


def test_a_receiver_that_fails_does_not_keep_a_call_from_being_sent() -> None:
    app, add = app_with_add()

    def fails(**_: Any) -> None:
        raise OSError("no luck")

    signals.before_task_publish.connect(fails)
    add.delay(1, 1)
    assert len(app.fake.graphs) == 1


# --- inside a task ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inherits", "own", "expected"), [(True, None, 7), (True, 2, 2), (False, None, 0)])
def test_a_call_inside_a_task_inherits_its_priority_unless_it_has_its_own(
    inherits: bool, own: int | None, expected: int
) -> None:
    app, add = app_with_add(task_inherit_parent_priority=inherits)
    from grpcflow import Context

    add.push_request(Context(id="a", root_id="a", delivery_info={"priority": 7}))
    try:
        add.apply_async((1, 1), priority=own)
    finally:
        add.pop_request()
    assert app.fake.last[0].templates[0].priority == expected


def test_add_to_parent_false_leaves_no_child() -> None:
    _, add = app_with_add()
    from grpcflow import Context

    request = Context(id="a", root_id="a")
    add.push_request(request)
    try:
        add.apply_async((1, 1), add_to_parent=False)
        add.s(1, 1).set(add_to_parent=False).delay()
        kept = add.apply_async((1, 1))
    finally:
        add.pop_request()
    assert request.children == [kept]


def test_nothing_here_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, add = app_with_add()
        add.delay(1, 1)
