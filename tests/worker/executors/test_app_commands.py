"""Commands that an app defines: they run where the app is, beside the tasks, and whatever they do is answered."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from tests.worker.executors.executor_kit import Running, Start

from grpcflow_worker.executors import KINDS
from grpcflow_worker.executors.frames import News
from grpcflow_worker.executors.herald_link import DEATHS, PERIOD, HeraldLink

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
    first = (await ask(one, "double"))[0]
    assert isinstance(await one.get("where", app="executor_commands"), int)
    _, error = await ask(one, "dies")
    assert "has ended: see the worker's log and ask again" in error
    assert hanging == [error]
    again = (await ask(one, "double"))[0]
    assert (again["twice"], again["pid"] == first["pid"]) == (2, False)
    with pytest.raises(ProcessLookupError):  # not even as a zombie
        os.kill(first["pid"], 0)


async def test_a_herald_that_dies_of_each_command_is_not_made_again_without_end(start: Start) -> None:
    one = await start("prefork", concurrency=1, app="executor_commands")
    told = [(await ask(one, "dies"))[1] for _ in range(DEATHS + 1)]
    assert all("ask again" in each for each in told[:DEATHS])
    assert f"ended {DEATHS} times within" in told[DEATHS]
    assert "a new one can be had in" in (await ask(one, "double"))[1]
    assert isinstance(await one.get("where", app="executor_commands"), int)


def _put_error(told: "asyncio.Queue[str]", _reply: bytes, error: str) -> None:
    told.put_nowait(error)


async def test_after_a_while_there_is_a_herald_again_and_signals_reach_it() -> None:
    clock: list[float] = [0.0]
    made: list[socket.socket] = []
    link = HeraldLink(lambda theirs: made.append(theirs.dup()), now=lambda: clock[0])
    made.append(link.open())
    wrong: list[str] = []
    for _ in range(DEATHS):
        told: asyncio.Queue[str] = asyncio.Queue()
        link.ask("any", b"{}", partial(_put_error, told))
        made[-1].close()
        async with asyncio.timeout(BOUND):
            wrong.append(await told.get())
    assert ["ask again" in each for each in wrong] == [True] * DEATHS
    refused: list[str] = []
    link.ask("any", b"{}", lambda _, error: refused.append(error))
    link.emit(News("heartbeat_sent"))
    assert ["can be had in 60 s" in each for each in refused] == [True]
    assert len(made) == DEATHS
    clock[0] = PERIOD
    link.emit(News("heartbeat_sent"))
    assert b"heartbeat_sent" in made[-1].recv(1_000)
    assert len(made) == DEATHS + 1
    link.close()
    for each in made:
        each.close()
