"""What a running task may do beside returning: retry with options, replace itself, add members, set a state."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.client.fake_connection import FakeApp, FakeConnection, lowered_calls

from grpcflow import AsyncResult, Context, chain, chord, codec, errors, group
from grpcflow.contrib.abortable import AbortableAsyncResult, AbortableTask
from grpcflow_protos.v1 import graph_pb2

NODE = bytes(range(16))
JOIN_ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
JOIN = bytes(range(16))


class Connection(FakeConnection):
    """Notes states that were set as well."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[tuple[str, str, Any]] = []

    def update_state(self, id: str, state: str, data: bytes, content_type: str) -> None:
        self.states.append((id, state, codec.decode(data, content_type)))


app = FakeApp("running", set_as_current=False)
app.fake = Connection()


def states() -> list[tuple[str, str, Any]]:
    assert isinstance(app.fake, Connection)
    return app.fake.states


@app.task(bind=True, name="work", max_retries=2)
def work(self: Any, *args: Any) -> Any:
    return self


@app.task(name="add")
def add(x: int, y: int) -> int:
    return x + y


def request(**fields: Any) -> Context:
    return Context(
        **{
            "id": "the-id",
            "task": "work",
            "root_id": "the-root",
            "called_directly": False,
            "_node": NODE,
            "_token": 9,
            "delivery_info": {"queue": "default", "priority": 3},
            **fields,
        }
    )


@pytest.fixture
def running() -> Iterator[Callable[..., Context]]:
    """Lets `work` run with a request."""
    pushed: list[Context] = []

    def push(**fields: Any) -> Context:
        made = request(**fields)
        work.push_request(made)
        pushed.append(made)
        return made

    states().clear()
    app.fake.graphs.clear()
    yield push
    for _ in pushed:
        work.pop_request()


# --- retry -----------------------------------------------------------------------------------------------------


def test_a_retry_takes_options_that_change_nothing(running: Any) -> None:
    running(time_limit=5.0, headers={"a": 1})
    same: dict[str, Any] = {
        "queue": "default",
        "priority": 3,
        "time_limit": 5,
        "headers": {"a": 1},
        "task_id": "the-id",
        "eta": None,
    }
    assert work.retry(throw=False, shadow=None, **same).countdown == 180


@pytest.mark.parametrize("option", [{"queue": "other"}, {"priority": 4}, {"time_limit": 5}, {"link": ["x"]}, {"no": 1}])
def test_a_retry_refuses_options_that_would_make_another_call(option: dict[str, Any], running: Any) -> None:
    running()
    with pytest.raises(errors.ImproperlyConfigured, match=rf"cannot change the option '{next(iter(option))}'"):
        work.retry(**option)


def test_the_limit_that_a_body_gives_to_retry_holds_for_autoretry_too() -> None:
    @app.task(bind=True, name="limited", autoretry_for=(errors.MaxRetriesExceededError,), max_retries=9)
    def limited(self: Any) -> None:
        self.retry(max_retries=1)

    limited.push_request(request(retries=1))
    try:
        with pytest.raises(errors.MaxRetriesExceededError):
            limited()
    finally:
        limited.pop_request()


def test_autoretry_passes_its_arguments_to_retry() -> None:
    @app.task(name="again", autoretry_for=(ValueError,), retry_kwargs={"countdown": 7, "max_retries": 1})
    def again() -> None:
        raise ValueError("x")

    for retries, wanted in ((0, errors.Retry), (1, ValueError)):
        again.push_request(request(retries=retries))
        try:
            with pytest.raises(wanted) as raised:
                again()
        finally:
            again.pop_request()
        if isinstance(raised.value, errors.Retry):
            assert raised.value.countdown == 7


# --- replace ---------------------------------------------------------------------------------------------------


def attached() -> graph_pb2.Attachment:
    attachment = app.fake.last[0].attachment
    assert (attachment.node, attachment.token) == (NODE, 9)
    return attachment


def test_a_replacement_is_a_graph_that_names_the_attempt(running: Any) -> None:
    running(group=JOIN_ID, group_index=4, chord=JOIN_ID, replaced_task_nesting=1)
    with pytest.raises(errors.Ignore, match="is replaced by"):
        work.replace(chain(add.s(1, 2), add.s(3)))
    assert lowered_calls(app.fake.last) == [["add", [1, 2], {}], ["add", [3], {}]]
    assert attached().kind == graph_pb2.ATTACHMENT_KIND_REPLACE
    template = app.fake.last[0].templates[0]
    assert (template.root_id, template.parent_id, template.replaced_nesting) == ("the-root", "the-id", 2)


def test_a_group_replaces_as_a_group(running: Any) -> None:
    running()
    with pytest.raises(errors.Ignore):
        work.replace(group(add.s(1, 2), add.s(3, 4)))
    assert attached().final == 2
    assert len(lowered_calls(app.fake.last)) == 2


def test_a_replacement_keeps_the_stamps_of_the_call(running: Any) -> None:
    running(stamps={"tenant": ["a"]})
    sig = add.s(1, 2).stamp(tenant="b")
    with pytest.raises(errors.Ignore):
        work.replace(sig)
    headers = codec.decode(app.fake.last[0].templates[0].headers)
    assert sorted(headers["stamps"]["tenant"]) == ["a", "b"]
    assert sig.options["tenant"] == "b", "the signature that was given is left as it is"


def test_what_cannot_replace_is_refused(running: Any) -> None:
    running()
    with pytest.raises(errors.ImproperlyConfigured, match="empty chain"):
        work.replace(chain())
    with pytest.raises(errors.ImproperlyConfigured, match="empty chain"):
        work.replace(chain(chain()))
    with pytest.raises(errors.ImproperlyConfigured, match="option 'chord'"):
        work.replace(add.s(1, 2).set(chord=add.s(1)))
    with pytest.raises(TypeError, match="signature"):
        work.replace("add")  # type: ignore[arg-type]
    assert not app.fake.graphs


def test_a_task_that_was_called_in_place_has_nothing_to_replace() -> None:
    with pytest.raises(RuntimeError, match="called in place"):
        work.replace(add.s(1, 2))


def test_on_replace_is_asked_first(running: Any) -> None:
    seen: list[Any] = []

    def on_replace(sig: Any) -> Any:
        seen.append(sig)
        return "instead"

    running()
    work.on_replace = on_replace  # type: ignore[method-assign]
    try:
        assert work.replace(add.s(1, 2)) == "instead"
    finally:
        del work.on_replace
    assert [sig.task for sig in seen] == ["add"]
    assert not app.fake.graphs


# --- add_to_chord ----------------------------------------------------------------------------------------------


def test_a_member_is_added_at_once_or_when_it_is_sent(running: Any) -> None:
    running(group=JOIN_ID, group_index=4, chord=JOIN_ID)
    work.add_to_chord(add.s(1, 2))
    assert attached().kind == graph_pb2.ATTACHMENT_KIND_MEMBER
    late = work.add_to_chord(add.s(3), lazy=True)
    assert len(app.fake.graphs) == 1
    late.clone((9,)).delay()
    assert lowered_calls(app.fake.last) == [["add", [9, 3], {}]]
    assert attached().kind == graph_pb2.ATTACHMENT_KIND_MEMBER
    with pytest.raises(TypeError, match="compose first"):
        _ = late | add.s(1)


def test_a_member_that_is_sent_after_the_task_ended_is_refused() -> None:
    work.push_request(request(group=JOIN_ID))
    late = work.add_to_chord(chord([add.s(1, 2)], work.s()), lazy=True)
    work.pop_request()
    sent = len(app.fake.graphs)
    with pytest.raises(RuntimeError, match=r"chord of work\[the-id\], which does not run here any more"):
        late.apply_async()
    assert len(app.fake.graphs) == sent


def test_outside_of_a_group_nothing_can_be_added(running: Any) -> None:
    running()
    with pytest.raises(ValueError, match="no member of a group"):
        work.add_to_chord(add.s(1, 2))


# --- states ----------------------------------------------------------------------------------------------------


def test_the_own_state_goes_through_the_worker(running: Any) -> None:
    told: list[tuple[str, bytes, str]] = []
    running(_progress=lambda *report: told.append(report))
    work.update_state(state="PROGRESS", meta={"done": 1})
    work.update_state("the-id", "PROGRESS", None)
    assert told == [("PROGRESS", b'{"done":1}', codec.JSON), ("PROGRESS", b"null", codec.JSON)]
    work.update_state("another", "PROGRESS", 5)
    assert states() == [("another", "PROGRESS", 5)]


def test_without_a_worker_the_coordinator_is_asked(running: Any) -> None:
    running()
    work.update_state(state="MINE")
    assert states() == [("the-id", "MINE", None)]
    running(is_eager=True)
    work.update_state(state="MINE")
    assert len(states()) == 1


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED", "IGNORED", "REJECTED", "", None])
def test_a_state_that_ends_a_call_is_refused(state: Any, running: Any) -> None:
    running()
    with pytest.raises(ValueError, match="one of your own"):
        work.update_state(state=state)


def test_a_call_in_place_has_no_state() -> None:
    with pytest.raises(ValueError, match="called in place"):
        work.update_state(state="MINE")


# --- the rest --------------------------------------------------------------------------------------------------


def test_the_signature_of_the_running_call(running: Any) -> None:
    running(args=(1,), kwargs={"a": 2}, time_limit=4.0)
    sig = work.signature_from_request(queue="other", priority=9)
    assert (sig.task, sig.args, sig.kwargs) == ("work", (1,), {"a": 2})
    assert sig.options == {"task_id": "the-id", "queue": "other", "priority": 9, "time_limit": 4.0}
    assert work.signature_from_request(args=(5,), kwargs={}).args == (5,)


def test_a_task_makes_results_and_runs_itself_in_place(running: Any) -> None:
    running()
    result = work.AsyncResult("another")
    assert (type(result), result.id, result.app) == (AsyncResult, "another", app)
    assert add.apply((1, 2)).get() == 3
    assert not app.fake.graphs


def test_a_task_without_trail_notes_no_children(running: Any) -> None:
    noted = running()
    result = add.delay(1, 2)
    work.trail = False
    try:
        add.delay(1, 2)
    finally:
        work.trail = True
    assert noted.children == [result]
    assert work.request_stack.top is noted


def test_abortable_tasks_are_aborted_by_a_state(running: Any) -> None:
    @app.task(bind=True, base=AbortableTask, name="long")
    def long(self: Any) -> bool:
        return bool(self.is_aborted())

    result = long.delay()
    assert isinstance(result, AbortableAsyncResult)
    states().clear()
    result.abort()
    assert states() == [(result.id, "ABORTED", None)]
    assert not result.is_aborted()
    assert not long()


def test_a_name_for_the_logs_travels_as_shadow(running: Any) -> None:
    @app.task(name="named", shadow_name=lambda self, args, kwargs, options: f"named-{args[0]}")
    def named(x: int) -> int:
        return x

    named.delay(7)
    assert codec.decode(app.fake.last[0].templates[0].headers)["shadow"] == "named-7"
