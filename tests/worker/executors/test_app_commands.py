"""Commands that an app defines: they run where the app is, beside the tasks, and whatever they do is answered."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.worker.executors.executor_kit import Running, Start

from grpcflow_worker.executors import KINDS

#: Seconds that a test waits for an answer.
BOUND = 20.0


@pytest.fixture(autouse=True)
def unloaded() -> Iterator[None]:
    """The app of these tests is imported anew by each."""
    yield
    sys.modules.pop("executor_commands", None)


async def ask(one: Running, name: str, **arguments: Any) -> tuple[Any, str]:
    """Return the reply of a command, and what went wrong."""
    future: asyncio.Future[tuple[bytes, str]] = asyncio.get_running_loop().create_future()
    one.executor.ask(name, json.dumps(arguments).encode(), lambda reply, error: future.set_result((reply, error)))
    async with asyncio.timeout(BOUND):
        reply, error = await future
    return json.loads(reply or b"null"), error


@pytest.mark.parametrize("kind", KINDS)
async def test_a_command_runs_where_the_app_is_and_whatever_it_does_is_answered(start: Start, kind: str) -> None:
    one = await start(kind, concurrency=1, app="executor_commands")
    assert [each["name"] for each in one.registered.conf["commands"]] == [
        *("dies", "double", "fails", "hangs", "mark", "mk", "much")
    ]
    told, error = await ask(one, "double", n=4)
    assert (told.pop("pid") == os.getpid(), error) == (kind != "prefork", "")
    assert told == {"hostname": "w@test", "app": "executor_commands", "twice": 8}
    assert await ask(one, "mk", label="a", parts="bc", rest=["y", "x", "y"]) == (
        {"ok": ["a", "('b', 'c')", ["x", "y"]]},
        "",
    )
    assert await ask(one, "fails") == (None, "SystemExit: no such luck")
    reply, error = await ask(one, "much")
    assert (reply, "have it answer less" in error) == (None, True)


async def test_a_command_that_never_ends_keeps_no_other_and_one_that_kills_its_process_is_told(start: Start) -> None:
    one = await start("prefork", concurrency=1, app="executor_commands")
    hanging: list[str] = []
    one.executor.ask("hangs", b"{}", lambda _, error: hanging.append(error))
    assert (await ask(one, "double"))[0]["twice"] == 2
    assert isinstance(await one.get("where", app="executor_commands"), int)
    _, error = await ask(one, "dies")
    assert "has ended" in error
    assert hanging == [error]
    _, error = await ask(one, "double")
    assert "restart the worker" in error
    assert isinstance(await one.get("where", app="executor_commands"), int)
