"""The pytest plugin: fixtures for an app, an in-process cluster and its worker, and the mark ``grpcflow``.

pytest imports this file in every run, whether a test uses it or not, so it stands beside the package ``grpcflow`` and
imports nothing of it, nor grpc, until a fixture is used. What a cluster is and does is known to ``grpcflow.testing``.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from grpcflow import Grpcflow
    from grpcflow.testing import Cluster, Worker

__all__ = [
    "grpcflow_app",
    "grpcflow_cluster",
    "grpcflow_config",
    "grpcflow_includes",
    "grpcflow_parameters",
    "grpcflow_session_app",
    "grpcflow_session_cluster",
    "grpcflow_session_worker",
    "grpcflow_worker",
    "grpcflow_worker_parameters",
]

_OPTION = "grpcflow_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option of the configuration file."""
    parser.addini(_OPTION, "the app that the fixtures of grpcflow give, as MODULE:APP; empty: a new one")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the mark known."""
    config.addinivalue_line("markers", "grpcflow(**settings): settings of the app that the fixture grpcflow_app gives")


# --- to be overridden by the user ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def grpcflow_config() -> Mapping[str, Any]:
    """Settings of the apps, by name; override it."""
    return {}


@pytest.fixture(scope="session")
def grpcflow_parameters() -> Mapping[str, Any]:
    """Arguments of ``Grpcflow()`` for new apps, such as ``main`` and ``task_cls``; override it."""
    return {}


@pytest.fixture(scope="session")
def grpcflow_includes() -> Sequence[str]:
    """Modules of tasks that are imported before the first call; override it."""
    return ()


@pytest.fixture(scope="session")
def grpcflow_worker_parameters() -> Mapping[str, Any]:
    """Arguments of ``grpcflow.testing.Cluster()``: ``concurrency``, ``queues``, ``pool``, ...; override it."""
    return {}


# --- for each test ---------------------------------------------------------------------------------------------


@pytest.fixture
def grpcflow_app(
    request: pytest.FixtureRequest,
    grpcflow_config: Mapping[str, Any],
    grpcflow_parameters: Mapping[str, Any],
    grpcflow_includes: Sequence[str],
) -> "Iterator[Grpcflow]":
    """An app for one test, current while it runs: a new one, or the user's own with its settings put back after."""
    marks: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("grpcflow"))):
        marks |= mark.kwargs
    with _app(request.config, {**grpcflow_config, **marks}, grpcflow_parameters, grpcflow_includes) as app:
        yield app


@pytest.fixture
def grpcflow_cluster(grpcflow_app: "Grpcflow", grpcflow_worker_parameters: Mapping[str, Any]) -> "Iterator[Cluster]":
    """A cluster for one test, with one worker, which the app of the test belongs to."""
    from grpcflow.testing import Cluster

    with Cluster(grpcflow_app, **grpcflow_worker_parameters) as cluster:
        yield cluster


@pytest.fixture
def grpcflow_worker(grpcflow_cluster: "Cluster") -> "Worker":
    """The worker of that cluster."""
    return grpcflow_cluster.workers[0]


# --- for all tests of a session --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def grpcflow_session_app(
    request: pytest.FixtureRequest,
    grpcflow_config: Mapping[str, Any],
    grpcflow_parameters: Mapping[str, Any],
    grpcflow_includes: Sequence[str],
) -> "Iterator[Grpcflow]":
    """An app for all tests of the session; marks do not change it."""
    with _app(request.config, grpcflow_config, grpcflow_parameters, grpcflow_includes) as app:
        yield app


@pytest.fixture(scope="session")
def grpcflow_session_cluster(
    grpcflow_session_app: "Grpcflow", grpcflow_worker_parameters: Mapping[str, Any]
) -> "Iterator[Cluster]":
    """A cluster for all tests of the session, with one worker."""
    from grpcflow.testing import Cluster

    with Cluster(grpcflow_session_app, **grpcflow_worker_parameters) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def grpcflow_session_worker(grpcflow_session_cluster: "Cluster") -> "Worker":
    """The worker of that cluster."""
    return grpcflow_session_cluster.workers[0]


@contextmanager
def _app(
    config: pytest.Config, settings: Mapping[str, Any], parameters: Mapping[str, Any], includes: Sequence[str]
) -> "Iterator[Grpcflow]":
    """Give an app that is current inside; the user's own is what it was afterwards, a new one is given up."""
    from grpcflow import Grpcflow, state
    from grpcflow.loading import find_app

    named: str = config.getini(_OPTION)
    # Found before the current app is noted: its module, imported for the first time, makes it the current one for good.
    app = find_app(named) if named else Grpcflow(**{"main": "tests", "set_as_current": False, **parameters})
    if named:
        app.finalize()  # once for good, or what its handlers set would be gone with the first test
    before = state.exchange_current_app(app)
    saved = app.conf.saved()
    try:
        app.conf.update({**settings, "include": (*settings.get("include", app.conf.include), *includes)})
        yield app
    finally:
        app.conf.restore(saved)
        if not named:
            app.close()
        state.exchange_current_app(before)
