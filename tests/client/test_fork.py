"""The client works before and after os.fork() in both processes, with and without grpc's fork variable.

Each test is a process of its own, since a fork of the test process would take pytest with it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.fake_coordinator import FakeCoordinator

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
    server.stop()


@pytest.mark.slow
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
        timeout=50,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "done"
    assert "Traceback" not in done.stderr, done.stderr
    assert "did not end" not in done.stderr, done.stderr


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
        [sys.executable, "-W", "error", "-c", AFTER_FORK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
