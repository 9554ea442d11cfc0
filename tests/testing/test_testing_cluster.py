"""A cluster inside the test's process: it runs real work, many at once, and leaves nothing behind."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from grpcflow import Grpcflow, Ignore, chain, chord, group, shared_task, signals
from grpcflow.conf import Settings
from grpcflow.connection import connection_for, discard_connection
from grpcflow.log import get_task_logger
from grpcflow.testing import Cluster
from grpcflow_coordinator.errors import ConfigurationError

BOUND = 40.0


@pytest.fixture
def app() -> Iterator[Grpcflow]:
    with Grpcflow("shop", set_as_current=False) as made:
        yield made


def names_left(before: set[threading.Thread]) -> list[str]:
    """Returns the names of threads that came after `before` and stay; those that are about to end may do so."""
    left = [thread for thread in set(threading.enumerate()) - before if "_poll_wrapper" not in thread.name]
    for thread in left:
        thread.join(BOUND)
    return [thread.name for thread in left if thread.is_alive()]


def blocker(begun: threading.Event, go_on: threading.Event) -> Callable[[], bool]:
    """Returns a task's body that says when it runs and waits to be let go on."""

    def block() -> bool:
        begun.set()
        return go_on.wait(BOUND)

    return block


def test_work_of_all_kinds_runs_and_its_results_arrive(app: Grpcflow) -> None:
    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    with Cluster(app):
        assert add.delay(2, 2).get(timeout=BOUND) == 4
        assert chain(add.s(1, 1), add.s(10)).delay().get(timeout=BOUND) == 12
        assert chord([add.s(i, i) for i in range(100)], total.s()).delay().get(timeout=BOUND) == 9900


def test_a_task_that_is_defined_while_the_cluster_runs_is_known_at_once(app: Grpcflow) -> None:
    with Cluster(app) as cluster:

        @app.task(name="late", queue="another")
        def late() -> str:
            return "in time"

        assert late.delay().get(timeout=BOUND) == "in time"
        assert [call.worker for call in cluster.calls(late)] == [cluster.workers[0].name]


def test_a_worker_of_named_queues_takes_nothing_else(app: Grpcflow) -> None:
    @app.task(name="note")
    def note() -> str:
        return "noted"

    with Cluster(app, queues=["letters"]) as cluster:
        left, taken = note.delay(), note.apply_async(queue="letters")
        cluster.settle()
        assert (left.state, taken.state) == ("PENDING", "SUCCESS")
        postman = cluster.worker("postman", queues=["default"])
        assert left.get(timeout=BOUND) == "noted"
        assert cluster.calls("note")[-1].worker == postman.name == "postman"


def test_several_clusters_run_side_by_side_and_each_knows_its_own_calls(app: Grpcflow) -> None:
    with Grpcflow("bank", set_as_current=False) as other, Cluster(app) as first, Cluster(other) as second:
        for one in (app, other):
            one.task(name="who")(lambda name=one.main: name)
        assert [one.send_task("who").get(timeout=BOUND) for one in (app, other)] == ["shop", "bank"]
        assert [[call.value for call in one.calls()] for one in (first, second)] == [["shop"], ["bank"]]
        assert first.address != second.address


def test_the_app_belongs_to_the_cluster_and_afterwards_to_whom_it_did(app: Grpcflow) -> None:
    app.conf.add_defaults({"coordinator": "127.0.0.1:9"})
    before = app.conf.saved()
    with Cluster(app) as cluster:
        assert app.conf.addresses == (cluster.address,)
        app.conf.task_ignore_result = True
    assert app.conf.saved() == before
    app.conf.add_defaults({"coordinator": "127.0.0.1:10"})
    assert app.conf.coordinator == "127.0.0.1:10"  # it was set as a default, and is one again
    assert isinstance(app.conf, Settings)


def test_no_connection_is_kept_to_a_cluster_that_is_gone(app: Grpcflow) -> None:
    app.task(name="one")(lambda: 1)
    with Cluster(app) as cluster:
        used, addresses = app.connection, (cluster.address,)
        assert app.send_task("one").get(timeout=BOUND) == 1
    assert used.is_closed
    again = connection_for(addresses)
    assert again is not used
    discard_connection(addresses)
    assert again.is_closed
    discard_connection(addresses)  # nobody is there: does nothing


def test_what_tasks_log_is_in_the_log_of_the_test(
    app: Grpcflow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = get_task_logger("shop")
    # As it is in a process in which no worker has set up the log: other tests of this one may have.
    monkeypatch.setattr(logging.getLogger("grpcflow.task"), "propagate", True)

    @app.task(name="chatty")
    def chatty() -> None:
        log.info("told by %s", "chatty")

    with caplog.at_level(logging.INFO), Cluster(app) as cluster:
        chatty.delay()
        cluster.settle()
    assert "told by chatty" in caplog.messages


def test_a_cluster_without_an_app_makes_one_that_is_not_current(app: Grpcflow) -> None:
    with Cluster() as cluster:
        cluster.app.task(name="one")(lambda: 1)
        assert cluster.app.send_task("one").get(timeout=BOUND) == 1


def test_the_same_cluster_starts_again_after_it_was_stopped(app: Grpcflow) -> None:
    app.task(name="one")(lambda: 1)
    cluster = Cluster(app)
    for _ in range(2):
        with cluster:
            assert app.send_task("one").get(timeout=BOUND) == 1
            with pytest.raises(RuntimeError, match="runs already"):
                cluster.start()
    cluster.stop()  # again: does nothing
    with pytest.raises(RuntimeError, match="inside of its with"):
        cluster.settle()


def test_no_thread_is_left_but_the_one_that_grpc_keeps(app: Grpcflow) -> None:
    app.task(name="one")(lambda: 1)
    before = set(threading.enumerate())
    with Cluster(app) as cluster:
        cluster.worker(pool="solo")
        cluster.worker(pool="asyncio")
        group(app.tasks["one"].s() for _ in range(20)).delay().get(timeout=BOUND)
    assert names_left(before) == []


@pytest.mark.parametrize("pool", ["threads", "solo", "asyncio"])
def test_a_worker_may_have_any_executor_that_needs_no_fork(app: Grpcflow, pool: str) -> None:
    async def wait() -> str:
        return threading.current_thread().name

    app.task(name="wait")(wait)
    with Cluster(app, pool=pool) as cluster:
        assert pool in app.send_task("wait").get(timeout=BOUND)
        assert list(app.control.inspect(timeout=30).ping() or []) == [cluster.workers[0].name]


def test_prefork_is_refused_with_the_reason(app: Grpcflow) -> None:
    with Cluster(app, concurrency=0) as cluster:
        with pytest.raises(ValueError, match="would fork the test"):
            cluster.worker(pool="prefork")
        assert cluster.workers == []


def test_a_module_that_cannot_be_imported_ends_the_start_and_all_that_had_started(app: Grpcflow) -> None:
    app.conf.include = ["no_such_module_anywhere"]
    before = set(threading.enumerate())
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        Cluster(app).start()
    assert app.conf.coordinator is None
    assert names_left(before) == []


@pytest.mark.parametrize("wrong", [{"result_expires": -1}, {"no_such_setting": 1}])
def test_a_setting_that_the_coordinator_refuses_ends_the_start(app: Grpcflow, wrong: dict[str, int]) -> None:
    before = set(threading.enumerate())
    with pytest.raises((ConfigurationError, TypeError), match=r"result_expires|no_such_setting"):
        Cluster(app, coordinator=wrong).start()
    assert names_left(before) == []


def test_a_name_that_is_taken_is_refused_and_the_cluster_goes_on(
    app: Grpcflow, caplog: pytest.LogCaptureFixture
) -> None:
    app.task(name="one")(lambda: 1)
    with Cluster(app, concurrency=0) as cluster:
        first = cluster.worker("same")
        with pytest.raises(ValueError, match="a worker named same is there already"):
            cluster.worker("same")
        assert cluster.workers == [first]
        assert app.send_task("one").get(timeout=BOUND) == 1
    assert not caplog.records


def test_nobody_listens_any_more_when_the_cluster_is_gone(app: Grpcflow) -> None:
    listening = [signal.receivers.copy() for signal in (signals.task_prerun, signals.task_postrun)]
    with Cluster(app):
        assert [signal.receivers for signal in (signals.task_prerun, signals.task_postrun)] != listening
    assert [signal.receivers for signal in (signals.task_prerun, signals.task_postrun)] == listening


def test_a_stopped_worker_gives_back_what_it_has_not_started(app: Grpcflow) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @app.task(name="block")
    def block() -> None:
        begun.set()
        assert go_on.wait(BOUND)

    with Cluster(app, concurrency=1) as cluster:
        results = [block.delay() for _ in range(3)]
        assert begun.wait(BOUND)
        go_on.set()
        cluster.workers[0].stop()
        assert not cluster.workers
        cluster.worker()
        cluster.settle()
        assert [result.state for result in results] == ["SUCCESS"] * 3
        assert len(cluster.calls("block")) == 3


def test_a_task_that_does_not_end_is_named_when_the_cluster_stops(app: Grpcflow) -> None:
    begun, go_on = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    @app.task(name="block")
    def block() -> None:
        threads.append(threading.current_thread())
        begun.set()
        assert go_on.wait(BOUND)

    with pytest.raises(TimeoutError, match="block still runs on the worker w"), Cluster(app, concurrency=0) as cluster:
        cluster.worker("w")
        block.delay()
        assert begun.wait(BOUND)
        with pytest.raises(TimeoutError, match=r"come to rest within 0.01 s: block on w\."):
            cluster.settle(timeout=0.01)
        cluster.timeout = 0.01
    go_on.set()
    threads[0].join(BOUND)
    assert not threads[0].is_alive()


def test_a_failing_test_keeps_its_own_error_where_a_task_hangs_too(app: Grpcflow) -> None:
    begun, go_on = threading.Event(), threading.Event()
    app.task(name="block")(blocker(begun, go_on))
    with pytest.raises(KeyError, match="mine") as caught, Cluster(app) as cluster:
        app.send_task("block")
        assert begun.wait(BOUND)
        cluster.timeout = 0.01
        raise KeyError("mine")
    go_on.set()
    assert "block still runs on" in caught.value.__notes__[0]


def test_every_attempt_is_noted_with_its_arguments_and_its_end(app: Grpcflow) -> None:
    @app.task(name="divide")
    def divide(x: int, y: int = 1) -> float:
        return x / y

    @app.task(name="silent")
    def silent() -> None:
        raise Ignore

    with Cluster(app, concurrency=1) as cluster:
        fine, failed = divide.delay(6, y=2), divide.delay(1, 0)
        silent.delay()
        cluster.settle()
        first, second = cluster.calls(divide)
        assert (first.id, first.args, first.kwargs, first.state, first.value) == (fine.id, (6,), {"y": 2}, "SUCCESS", 3)
        assert (second.id, second.args, second.state) == (failed.id, (1, 0), "FAILURE")
        assert isinstance(second.error, ZeroDivisionError)
        assert [call.state for call in cluster.calls("silent")] == ["IGNORED"]
        assert len(cluster.calls()) == 3
        cluster.clear_calls()
        assert cluster.calls() == []
        divide.apply((1,))
        assert cluster.calls() == []  # an eager call runs on no cluster


def test_what_tasks_raise_is_raised_where_that_was_asked_for(app: Grpcflow) -> None:
    errors = [KeyError("one"), ValueError("two")]

    @app.task(name="fail")
    def fail(which: int) -> None:
        raise errors[which]

    with Cluster(app, raise_errors=True) as cluster:
        fail.delay(0)
        with pytest.raises(KeyError) as caught:
            cluster.settle()
        assert caught.value is errors[0]  # the very object, its traceback leads into the task
        cluster.settle()  # it was told
        group(fail.s(0), fail.s(1)).apply_async(countdown=60)
        with pytest.raises(ExceptionGroup, match="2 tasks failed") as several:
            cluster.time.advance(60)
        assert set(several.value.exceptions) == set(errors)


def test_a_task_replaces_itself_and_submits_others_as_on_any_cluster(app: Grpcflow) -> None:
    @app.task(name="double")
    def double(x: int) -> int:
        return 2 * x

    @app.task(name="both", bind=True)
    def both(self, x: int):  # type: ignore[no-untyped-def]
        double.delay(x + 1)
        raise self.replace(double.s(x))

    with Cluster(app) as cluster:
        result = both.delay(4)
        cluster.settle()
        assert result.get(timeout=BOUND) == 8
        assert sorted(call.args for call in cluster.calls(double)) == [(4,), (5,)]


def test_a_program_that_the_test_starts_disturbs_no_cluster(app: Grpcflow) -> None:
    app.task(name="one")(lambda: 1)
    with Cluster(app):
        assert app.send_task("one").get(timeout=BOUND) == 1
        subprocess.run([sys.executable, "-c", ""], check=True, timeout=BOUND)
        assert app.send_task("one").get(timeout=BOUND) == 1


def test_how_far_work_came_can_be_looked_at(app: Grpcflow) -> None:
    @app.task(name="half")
    def half(x: int) -> int:
        return 6 // x

    with Cluster(app) as cluster:
        result = group(half.s(number) for number in (1, 2, 0)).delay()
        cluster.settle()
        tree = result.graph().tree()
        assert "group of 3" in tree
        assert "2 SUCCESS" in tree
        assert "1 FAILURE" in tree


@pytest.mark.usefixtures("forgets_shared")
def test_a_shared_task_runs_on_the_cluster_of_its_app() -> None:
    @shared_task(name="shared_on_a_cluster")
    def shared() -> str:
        return "shared"

    with Grpcflow("with_shared", set_as_current=False) as app, Cluster(app) as cluster:
        assert app.send_task("shared_on_a_cluster").get(timeout=BOUND) == "shared"
        assert len(cluster.calls("shared_on_a_cluster")) == 1


async def test_a_test_that_is_a_coroutine_waits_without_stopping_its_loop(app: Grpcflow) -> None:
    app.task(name="one")(lambda: 1)
    with Cluster(app) as cluster:
        soon, later = app.send_task("one"), app.send_task("one", countdown=3600)
        await cluster.asettle()
        assert (soon.state, later.state) == ("SUCCESS", "PENDING")
        await cluster.time.aadvance(3600)
        assert later.state == "SUCCESS"
