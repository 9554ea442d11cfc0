"""The pytest plugin as its users see it: small test suites of theirs are run, with warnings as errors."""

from pathlib import Path

import pytest

import grpcflow.connection
import grpcflow.lower
import grpcflow.testing
from grpcflow import Grpcflow, state

#: Imported here, or every suite that is run below would import it anew.
IMPORTED = (grpcflow.connection, grpcflow.lower, grpcflow.testing)

pytest_plugins = ["pytester"]

#: No asyncio plugin: that of the outer session has its own settings. Nothing is written beside the tests.
QUIET = (
    "-W",
    "error",
    "-p",
    "no:asyncio",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:hypothesispytest",
    "--strict-markers",
    "--strict-config",
)


def passes(pytester: pytest.Pytester, count: int, *arguments: str) -> None:
    """Runs the suite in the folder, and checks that so many tests passed and nothing else happened."""
    done = pytester.runpytest_inprocess(*QUIET, *arguments)
    done.assert_outcomes(passed=count)


def test_a_task_of_the_tests_own_runs_on_the_worker(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_create_task(grpcflow_app, grpcflow_worker):
            @grpcflow_app.task
            def mul(x, y):
                return x * y

            assert mul.delay(4, 4).get(timeout=40) == 16

        def test_cluster(grpcflow_app, grpcflow_cluster, grpcflow_worker):
            @grpcflow_app.task(name="mul")
            def mul(x, y):
                return x * y

            result = mul.apply_async((4, 4), countdown=3600)
            grpcflow_cluster.time.advance(3600)
            assert result.state == "SUCCESS"
            assert grpcflow_cluster.calls("mul")[0].worker == grpcflow_worker.name
        """
    )
    passes(pytester, 2)


@pytest.mark.usefixtures("forgets_shared")
def test_each_test_has_an_app_of_its_own_which_is_current_while_it_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from grpcflow import current_app, shared_task

        seen = []

        @shared_task(name="shared")
        def shared():
            return "shared"

        def test_one(grpcflow_app):
            seen.append(grpcflow_app)
            assert current_app.main == "tests"
            assert shared.app is grpcflow_app

        def test_two(grpcflow_app, grpcflow_worker):
            assert grpcflow_app is not seen[0]
            assert shared.delay().get(timeout=40) == "shared"
        """
    )
    with Grpcflow("outer", set_as_current=False) as outer:
        before = state.exchange_current_app(outer)
        known = list(state.apps)
        passes(pytester, 2)
        assert state.get_current_app() is outer
        assert state.apps == known
        state.exchange_current_app(before)


def test_marks_set_what_one_test_needs_and_the_nearest_counts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.grpcflow(task_default_queue="module", task_default_priority=3)

        @pytest.mark.grpcflow(task_always_eager=True, task_default_queue="function")
        def test_eager(grpcflow_app):
            grpcflow_app.task(name="one")(lambda: 1)
            assert grpcflow_app.tasks["one"].delay().get() == 1
            assert (grpcflow_app.conf.task_default_queue, grpcflow_app.conf.task_default_priority) == ("function", 3)

        def test_not_eager(grpcflow_app, grpcflow_cluster):
            assert not grpcflow_app.conf.task_always_eager
            grpcflow_app.task(name="one")(lambda: 1)
            assert grpcflow_app.tasks["one"].delay().get(timeout=40) == 1
            assert grpcflow_app.conf.task_default_queue == "module"
        """
    )
    passes(pytester, 2)


def test_a_mark_with_a_setting_that_does_not_exist_says_which_was_meant(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.grpcflow(task_allways_eager=True)
        def test_eager(grpcflow_app):
            pass
        """
    )
    done = pytester.runpytest_inprocess(*QUIET)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*task_allways_eager*task_always_eager*"])


@pytest.mark.usefixtures("forgets_shared")
def test_a_suite_says_once_what_its_apps_and_workers_are(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        house_tasks="""
        from grpcflow import shared_task

        @shared_task(name="house")
        def house():
            return "built"
        """
    )
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def grpcflow_config():
            return {"task_default_queue": "ours"}

        @pytest.fixture(scope="session")
        def grpcflow_parameters():
            return {"main": "houses"}

        @pytest.fixture(scope="session")
        def grpcflow_includes():
            return ["house_tasks"]

        @pytest.fixture(scope="session")
        def grpcflow_worker_parameters():
            return {"concurrency": 3, "pool": "asyncio", "queues": ["ours"]}
        """
    )
    pytester.makepyfile(
        """
        def test_all(grpcflow_app, grpcflow_worker):
            assert grpcflow_app.main == "houses"
            assert grpcflow_app.send_task("house").get(timeout=40) == "built"
            config = grpcflow_worker.config
            assert (config.concurrency, config.pool, tuple(config.queues)) == (3, "asyncio", ("ours",))

        def test_session(grpcflow_session_app, grpcflow_session_worker):
            assert grpcflow_session_app.send_task("house").get(timeout=40) == "built"
        """
    )
    pytester.syspathinsert()
    passes(pytester, 2)


def test_the_fixtures_of_the_session_are_made_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        seen = []

        @pytest.mark.parametrize("number", range(3))
        def test_same(grpcflow_session_app, grpcflow_session_cluster, grpcflow_session_worker, number):
            seen.append((grpcflow_session_app, grpcflow_session_cluster.address, grpcflow_session_worker))
            assert len(set(seen)) == 1
            if number == 0:
                grpcflow_session_app.task(name="one")(lambda: 1)
            assert grpcflow_session_app.send_task("one").get(timeout=40) == 1
            assert len(grpcflow_session_cluster.calls("one")) == number + 1
        """
    )
    passes(pytester, 3)


def test_the_users_own_app_is_used_and_put_back(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngrpcflow_app = own_project:app\n")
    pytester.makepyfile(
        own_project="""
        from grpcflow import Grpcflow

        app = Grpcflow("own", coordinator="127.0.0.1:9", task_default_priority=2)

        @app.task(name="own")
        def own():
            return "own"
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from own_project import app, own

        @pytest.mark.grpcflow(task_default_priority=7)
        def test_own(grpcflow_app, grpcflow_worker):
            assert grpcflow_app is app
            assert app.conf.task_default_priority == 7
            assert own.delay().get(timeout=40) == "own"

        def test_afterwards():
            assert app.conf.task_default_priority == 2
            assert app.conf.coordinator == "127.0.0.1:9"
        """
    )
    pytester.syspathinsert()
    before = state.exchange_current_app(None)
    passes(pytester, 2)
    state.exchange_current_app(before)


@pytest.mark.slow
def test_what_an_app_sets_when_it_is_complete_stays_for_every_test(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngrpcflow_app = complete:app")
    pytester.makepyfile(
        complete="""
        from grpcflow import Grpcflow

        app = Grpcflow("complete", set_as_current=False)

        @app.on_after_finalize.connect
        def set_up(sender, **_):
            sender.conf.timezone = "Europe/Paris"
        """,
        test_complete="""
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_each(grpcflow_app, number):
            grpcflow_app.finalize()
            assert grpcflow_app.conf.timezone == "Europe/Paris"
        """,
    )
    passes(pytester, 2)


def test_a_test_that_is_a_coroutine_uses_the_same_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_time(grpcflow_app, grpcflow_cluster):
            @grpcflow_app.task
            async def later():
                return "now"

            result = later.apply_async(countdown=60)
            await grpcflow_cluster.time.aadvance(60)
            assert result.state == "SUCCESS"
        """
    )
    done = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    done.assert_outcomes(passed=1)


@pytest.mark.slow
def test_test_processes_side_by_side_have_a_cluster_each(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_one(grpcflow_app, grpcflow_worker, number):
            grpcflow_app.task(name="one")(lambda: number)
            assert grpcflow_app.send_task("one").get(timeout=40) == number
        """
    )
    done = pytester.runpytest_subprocess(*QUIET, "-n", "2")
    done.assert_outcomes(passed=6)


def test_a_suite_that_does_not_use_it_imports_neither_grpcflow_nor_grpc(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            print("loaded:", sorted({name.split(".")[0] for name in sys.modules} & {"grpc", "grpcflow", "google"}))
        """
    )
    pytester.makepyfile("def test_nothing(): pass")
    done = pytester.runpytest_subprocess(*QUIET, "--co")
    assert done.ret == 0
    done.stdout.fnmatch_lines(["plugins: *grpcflow*", "loaded: *"])
    assert "loaded: []" in done.outlines


def test_nothing_is_left_in_the_folder(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(grpcflow_worker): pass")
    passes(pytester, 1)
    left = {path.name for path in Path(pytester.path).iterdir()}
    assert left - {"__pycache__"} == {"test_nothing_is_left_in_the_folder.py"}
