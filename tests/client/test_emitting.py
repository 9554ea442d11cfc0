"""What tasks emit: batches, order, back-pressure and the end of an attempt, without a coordinator; and eager calls."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from tests.client.served import T

from grpcflow import Grpcflow, codec, emitting, errors, group, state
from grpcflow.context import Context
from grpcflow.emitting import Emitter, flushed
from grpcflow.task import Task


class Line:
    """Stands for the connection: keeps what it is given, and lets a test hold it up or refuse."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[Any]]] = []
        self.came = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.errors: list[Exception] = []

    def emit(self, node: bytes, token: int, first: int, items: Any) -> None:
        """Take a batch."""
        self.came.release()
        assert self.gate.wait(T)
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append((first, [codec.decode(*item) for item in items]))

    @property
    def items(self) -> list[Any]:
        """All items, in the order of their numbers."""
        found: list[Any] = []
        for first, items in self.batches:
            assert first == len(found), "a batch begins where the one before ended"
            found += items
        return found


class App(Grpcflow):
    """An app whose connection is a Line."""

    def __init__(self) -> None:
        self.line = Line()
        super().__init__("emitting", set_as_current=False)

    @property
    def connection(self) -> Any:
        """The line."""
        return self.line


@pytest.fixture
def app() -> Iterator[App]:
    made = App()
    yield made
    made.line.gate.set()
    state.forget_app(made)


@pytest.fixture
def line(app: App) -> Line:
    return app.line


@pytest.fixture
def emitter(app: App) -> Emitter:
    return Emitter(app, b"n" * 16, 7)


@pytest.fixture
def task(app: App) -> Iterator[Task[..., Any]]:
    """A task that runs here, as on a worker."""

    @app.task
    def busy() -> None:
        """Do nothing."""

    busy.push_request(Context(id="x", called_directly=False, _node=b"n" * 16, _token=7))
    yield busy
    busy.pop_request()


# --- batches ----------------------------------------------------------------------------------------------


def test_the_first_item_leaves_at_once_and_the_next_ones_gather_behind_it(emitter: Emitter, line: Line) -> None:
    line.gate.clear()
    emitter.emit(0)
    assert line.came.acquire(timeout=T), "nobody had to flush"
    for number in range(1, 100):
        emitter.emit(number)
    line.gate.set()
    emitter.flush()
    assert line.items == list(range(100))
    assert [first for first, _ in line.batches] == [0, 1]


def test_an_item_alone_reaches_its_readers_without_a_flush(emitter: Emitter, line: Line) -> None:
    for number in range(3):
        emitter.emit(number)
        assert line.came.acquire(timeout=T)


def test_a_batch_has_at_most_500_items_and_a_mebibyte(emitter: Emitter, line: Line) -> None:
    for number in range(2_000):
        emitter.emit(number)
    for _ in range(5):
        emitter.emit("x" * 600_000)
    emitter.flush()
    assert len(line.items) == 2_005
    for _, items in line.batches:
        assert len(items) <= 500
        assert len(items) == 1 or sum(len(codec.encode(item)) for item in items) <= 1024 * 1024


def test_a_task_waits_while_two_batches_are_not_acknowledged(
    emitter: Emitter, line: Line, later: Callable[..., "Future[Any]"]
) -> None:
    line.gate.clear()
    emitter.emit("first")
    assert line.came.acquire(timeout=T)
    for number in range(500):
        emitter.emit(number)
    assert not emitter.has_room()
    waiting = later(emitter.emit, "one too many")
    assert not waiting.done()
    line.gate.set()
    waiting.result(T)
    emitter.flush()
    assert line.items == ["first", *range(500), "one too many"]


def test_a_flush_returns_once_everything_is_durable(
    emitter: Emitter, line: Line, later: Callable[..., "Future[Any]"]
) -> None:
    line.gate.clear()
    for number in range(10):
        emitter.emit(number)
    flush = later(emitter.flush)
    assert line.came.acquire(timeout=T)
    assert not flush.done()
    line.gate.set()
    flush.result(T)
    assert line.items == list(range(10))
    emitter.flush()


def test_many_tasks_emit_at_once_and_none_mixes_with_another(later: Callable[..., "Future[Any]"]) -> None:
    apps = [App() for _ in range(20)]

    def emit(app: App) -> None:
        mine = Emitter(app, b"n" * 16, 7)
        for number in range(300):
            mine.emit(number)
        mine.flush()

    for future in [later(emit, app) for app in apps]:
        future.result(T)
    for app in apps:
        assert app.line.items == list(range(300))
        state.forget_app(app)


def test_an_item_that_cannot_travel_is_refused_where_it_is_emitted(emitter: Emitter, line: Line) -> None:
    with pytest.raises(errors.SerializationError):
        emitter.emit(object())
    with pytest.raises(errors.PayloadTooLarge, match="in parts"):
        emitter.emit("x" * (5 * 1024 * 1024))
    emitter.emit("fine")
    emitter.flush()
    assert line.items == ["fine"]


# --- what may go wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errors.CoordinatorUnavailable("away"), errors.TimeoutError("slow")])
def test_items_wait_for_a_coordinator_that_is_away(
    emitter: Emitter, line: Line, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emitting, "_AGAIN", 0.001)
    line.errors += [error, error, error]
    for number in range(20):
        emitter.emit(number)
    emitter.flush()
    assert line.items == list(range(20))


def test_an_attempt_that_was_taken_away_hears_of_it_at_its_next_item(emitter: Emitter, line: Line) -> None:
    line.errors.append(errors.StaleAttempt("gone"))
    emitter.emit(1)
    with pytest.raises(errors.StaleAttempt):
        emitter.flush()
    with pytest.raises(errors.StaleAttempt):
        emitter.emit(2)
    assert not line.batches


def test_an_unexpected_error_ends_the_task_and_not_the_sender(emitter: Emitter, line: Line, app: App) -> None:
    line.errors.append(ZeroDivisionError("a defect"))
    emitter.emit(1)
    with pytest.raises(errors.GrpcflowError, match="ZeroDivisionError"):
        emitter.flush()
    other = Emitter(app, b"m" * 16, 8)
    other.emit(2)
    other.flush()
    assert line.items == [2]


def test_the_end_of_an_attempt_is_what_its_body_says_with_a_note_where_items_are_lost(
    emitter: Emitter, line: Line
) -> None:
    request = Context(_emits=emitter)
    assert flushed(request, None) is None
    assert flushed(None, None) is None
    line.errors.append(errors.RequestFailed("full", code="STORE_FULL"))
    emitter.emit(1)
    raised = ValueError("its own")
    assert flushed(request, raised) is raised
    assert "full" in raised.__notes__[0]
    assert isinstance(flushed(request, None), errors.RequestFailed)


def test_an_attempt_that_is_no_longer_current_ends_as_lost_whatever_it_raised(emitter: Emitter, line: Line) -> None:
    line.errors.append(errors.StaleAttempt("gone"))
    emitter.emit(1)
    assert isinstance(flushed(Context(_emits=emitter), ValueError("its own")), errors.StaleAttempt)


# --- in tasks ---------------------------------------------------------------------------------------------


def test_a_running_task_emits_by_its_own_name(task: Task[..., Any], line: Line) -> None:
    task.emit(1)
    task.emit([2])
    assert flushed(task.request, None) is None
    assert line.items == [1, [2]]


def test_a_task_that_was_called_in_place_has_nobody_to_emit_to(app: App) -> None:
    @app.task(bind=True)
    def talk(self: Task[..., Any]) -> None:
        self.emit(1)

    with pytest.raises(RuntimeError, match=r"does not run as a task here.*delay\(\) or apply\(\)"):
        talk()


def test_a_coroutine_lets_the_loop_go_on_while_its_items_wait(task: Task[..., Any], line: Line) -> None:
    turns = 0

    async def emit_all() -> None:
        for number in range(1_002):
            await task.aemit(number)

    async def count() -> None:
        nonlocal turns
        while turns < 50:
            turns += 1
            await asyncio.sleep(0)
        line.gate.set()

    async def both() -> None:
        line.gate.clear()
        await asyncio.wait_for(asyncio.gather(emit_all(), count()), T)

    asyncio.run(both())
    assert turns == 50
    assert flushed(task.request, None) is None
    assert line.items == list(range(1_002))


# --- eager calls ------------------------------------------------------------------------------------------


@pytest.fixture
def eager(app: App) -> Task[..., Any]:
    @app.task(bind=True, name="spell", max_retries=3)
    def spell(self: Task[..., Any], word: str, fail: int = 0) -> int:
        for letter in word:
            self.emit(letter)
        if self.request.retries < fail:
            raise self.retry(countdown=0)
        return len(word)

    return spell


def test_an_eager_call_collects_what_it_emits(eager: Task[..., Any], line: Line) -> None:
    result = eager.apply(("abc",))
    assert list(result.stream()) == ["a", "b", "c"]
    assert list(result.stream(first=2)) == ["c"]
    assert result.get() == 3
    assert not line.batches


def test_an_eager_call_that_is_retried_emits_each_item_once(eager: Task[..., Any]) -> None:
    assert list(eager.apply(("abc", 2)).stream()) == ["a", "b", "c"]


def test_an_eager_call_that_emits_nothing_has_an_empty_stream(eager: Task[..., Any]) -> None:
    assert not list(eager.apply(("",)).stream())


def test_the_stream_of_a_failed_eager_call_raises_behind_its_items(app: App) -> None:
    @app.task(bind=True)
    def bad(self: Task[..., Any]) -> None:
        self.emit(1)
        raise KeyError("x")

    items = bad.apply().stream()
    assert next(items) == 1
    with pytest.raises(KeyError):
        next(items)
    assert list(bad.apply().stream(propagate=False)) == [1]


def test_eager_items_are_as_sent_where_all_calls_are_eager(app: App) -> None:
    @app.task(bind=True)
    def pair(self: Task[..., Any]) -> None:
        self.emit((1, 2))

    assert list(pair.apply().stream()) == [(1, 2)]
    app.conf.task_always_eager = True
    assert list(pair.delay().stream()) == list(codec.decode(codec.encode([(1, 2)])))


def test_members_of_an_eager_group_have_streams_of_their_own(eager: Task[..., Any]) -> None:
    members = group(eager.s("ab"), eager.s("c")).apply()
    assert [list(one.stream()) for one in members] == [["a", "b"], ["c"]]


def test_the_items_of_a_replaced_eager_call_stand_before_those_of_its_replacement(
    app: App, eager: Task[..., Any]
) -> None:
    @app.task(bind=True)
    def outer(self: Task[..., Any]) -> Any:
        self.emit("outer")
        return self.replace(eager.s("ab"))

    assert list(outer.apply().stream()) == ["outer", "a", "b"]
