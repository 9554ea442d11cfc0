"""The client works before and after os.fork() in both processes, with and without grpc's fork variable.

Each test is a process of its own, since a fork of the test process would take pytest with it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.client.fake_coordinator import FakeCoordinator, chunk

from grpcflow import ids
from grpcflow.connection import Connection

SCRIPT = Path(__file__).with_name("fork_script.py")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture
def coordinator() -> Iterator[FakeCoordinator]:
    server = FakeCoordinator()
    fake = server.fake
    # Node 7 of any graph settles when a graph of 99 nodes comes.
    fake.answer = lambda graph, index: None if index == 7 else str(index).encode()
    fake.on_graph = lambda nodes: fake.settle_watched() if nodes == 99 else None
    fake.emit("stream", *range(40))
    fake.end_items("stream")
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("first", ["first", "later"])
@pytest.mark.parametrize("variable", [None, "1"])
def test_the_client_works_before_and_after_a_fork(
    coordinator: FakeCoordinator, variable: str | None, first: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
    if variable is not None:
        environment["GRPC_ENABLE_FORK_SUPPORT"] = variable
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(SCRIPT), coordinator.address, "5", first],
        capture_output=True,
        text=True,
        timeout=170,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "done"
    assert "Traceback" not in done.stderr, done.stderr
    assert "did not end" not in done.stderr, done.stderr


def test_a_fork_waits_longer_for_the_thread_of_a_connection_than_who_closes_it(coordinator: FakeCoordinator) -> None:
    connection = Connection([coordinator.address])
    connection.submit(chunk(ids.mint_graph()))
    session: Any = connection._session
    driver, waited = session._driver, list[float]()

    def join(seconds: float) -> None:
        waited.append(seconds)
        driver.join(seconds)

    session._driver = SimpleNamespace(join=join)
    session.rest()
    session.resume_in_parent()
    assert waited == [10.0], "what it holds when the child begins nobody gives back there"
    connection.close()


AFTER_FORK = """
import os
from grpcflow import Grpcflow

told = []
app = Grpcflow("forked", set_as_current=False)
app.on_after_fork.connect(lambda sender, **_: told.append(sender.main), weak=False)
child = os.fork()
if child == 0:
    os._exit(7 if told == ["forked"] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert told == []
"""


def test_an_app_is_told_in_the_child_that_it_was_forked() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AFTER_FORK], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
