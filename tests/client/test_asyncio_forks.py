"""Event loops and os.fork(), each test in a process of its own: a fork of the test process would take pytest too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.client.fake_coordinator import FakeCoordinator

ROOT = Path(__file__).parents[2]

FORKS = """
import asyncio, os, sys
from grpcflow import ids
from grpcflow.errors import ForkedEventLoop
from grpcflow.aio.connection import close_connections, connection_on_loop
from grpcflow.connection import connection_for
from tests.client.fake_coordinator import chunk

address = [sys.argv[1]]

def here():
    connection_for(address).submit(chunk(ids.mint_graph()))

async def on_loop():
    await connection_on_loop(address).asubmit(chunk(ids.mint_graph()))

def both():
    here()
    asyncio.run(on_loop())
    here()

def neither():
    for ask in (here, lambda: connection_for(address).list_workers(), lambda: asyncio.run(on_loop())):
        try:
            ask()
        except ForkedEventLoop as error:
            assert "aclose" in str(error) and "spawn" in str(error) and error.code == "FORKED_EVENT_LOOP"
        else:
            raise AssertionError("it was not refused")

def forked(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0

async def main():
    for _ in range(2):
        await on_loop()
        here()
        if os.environ.get("GRPC_ENABLE_FORK_SUPPORT") == "0":
            forked(neither)
            await on_loop()
        await close_connections()
        forked(both)

forked(both)
asyncio.run(main())
forked(both)
asyncio.run(main())
print("done")
"""


# With grpc's own fork handlers some children of a connected loop crash in threads that those handlers start: what such
# a child is told is tested without them.
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("variable", [None, "0"])
def test_a_child_of_a_connected_loop_is_told_what_to_do_and_any_other_child_works(
    coordinator: FakeCoordinator, variable: str | None
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
    if variable is not None:
        environment["GRPC_ENABLE_FORK_SUPPORT"] = variable
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", FORKS, coordinator.address],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "done"
    assert "did not end" not in done.stderr, done.stderr
