"""Clusters whose tasks run in Node, for the tests of the example in examples/node-worker."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.warm import WARM
from tests.system.node.nodes import NODE, NodeCluster, made

#: Seconds that an installation of packages may take.
NPM_SECONDS = 300.0


@pytest.fixture(scope="session", autouse=True)
def _warm() -> Iterator[None]:
    yield
    WARM.close()


@pytest.fixture(scope="session", autouse=True)
def packages() -> None:
    """Installs what package-lock.json names, from nothing."""
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=NPM_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeCluster]:
    """A cluster with a worker in Node, which no test breaks; who is silent for six seconds is gone."""
    yield from made(tmp_path_factory.mktemp("node"), "--heartbeat", "1.5", "--silence", "6")


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[NodeCluster]:
    """The same for a test that breaks it."""
    yield from made(tmp_path, "--grace", "60")
