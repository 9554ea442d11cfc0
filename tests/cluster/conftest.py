"""Fixtures of the tests on real processes.

A test that kills or restarts anything, or needs settings of its own, takes `cluster`. Any other takes `shared`, hires
the workers that it needs, and leaves no work behind.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.harness import Cluster, cluster_in
from tests.cluster.warm import WARM

# Where the suite was started by nohup, what it starts would not hear a hangup either.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _warm() -> Iterator[None]:
    """Ends the process that forks the daemons, if there is one."""
    yield
    WARM.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with nothing started."""
    with cluster_in(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_in(tmp_path_factory.mktemp("shared")) as made:
        made.start_coordinator()
        yield made


@pytest.fixture
def shared(_shared: Cluster) -> Iterator[Cluster]:
    """A cluster with a coordinator, which goes on through the session; its notes are those of this test alone.

    Fails before a test where an earlier one broke it, and after the test that broke it.
    """
    _shared.assert_whole()
    for note in _shared.notes.iterdir():
        note.unlink()
    yield _shared
    print(_shared.logs())
    _shared.assert_whole()


@pytest.fixture
def address(request: pytest.FixtureRequest) -> str:
    """Where the coordinator is of the cluster that this test takes."""
    taken: Cluster = request.getfixturevalue("shared" if "shared" in request.fixturenames else "cluster")
    return taken.address
