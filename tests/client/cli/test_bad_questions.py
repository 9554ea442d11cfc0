"""Questions and commands that cannot be answered well, from Python and typed: each gets a clear answer.

A real coordinator, workers that are streams of this process, and the client and the command as users have them.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, Worker, serving

from grpcflow import Grpcflow, InvalidRequest, SerializationError, UnknownDestination
from grpcflow.cli import main
from grpcflow_protos import limits

#: What a worker does with one command.
Manner = Callable[[Worker, Any], Any]

#: Larger than any message may be. Our own workers say of less that it is too much; a stranger's may not.
LARGE = b'"%s"' % (b"x" * limits.MESSAGE_LIMIT)


async def answers(worker: Worker, command: Any) -> None:
    await worker.say(replies=[{"id": command.id, "reply": b'{"ok": "pong"}'}])


async def fails(worker: Worker, command: Any) -> None:
    await worker.say(replies=[{"id": command.id, "error": "LookupError: no words"}])


async def leaves(worker: Worker, _command: Any) -> None:
    worker.call.cancel()


async def says_too_much(worker: Worker, command: Any) -> None:
    await worker.say(replies=[{"id": command.id, "reply": LARGE}])


class Asking:
    """The two ways to ask: Python, and a command that is typed."""

    def __init__(self, wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
        self._address = wire.coordinator.address
        self.app = Grpcflow("asks", coordinator=self._address, set_as_current=False)
        self._capsys = capsys

    async def python(self, ask: Callable[[Grpcflow], Any]) -> Any:
        """Runs a program where it does not hold up the coordinator."""
        async with asyncio.timeout(BOUND):
            return await asyncio.to_thread(ask, self.app)

    async def typed(self, *words: str) -> tuple[int, str, str]:
        """Types a command; returns exit code, stdout and stderr."""
        self._capsys.readouterr()
        async with asyncio.timeout(BOUND):
            code = await asyncio.to_thread(main, ["ctl", *words, "--coordinator", self._address])
        said = self._capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err


@asynccontextmanager
async def living(wire: Wire, **manners: Manner) -> AsyncIterator[None]:
    """Has a worker live for each manner, under its name at a host."""

    async def live(worker: Worker, manner: Manner) -> None:
        while (message := await worker.call.read()) is not grpc.aio.EOF:
            for command in message.commands:
                await manner(worker, command)

    tasks = []
    for name, manner in manners.items():
        worker = await wire.work(name=name.replace("_", "@"))
        tasks.append(asyncio.create_task(live(worker, manner)))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[Wire], Asking]]:
    """Makes askers, and closes their connections."""
    made: list[Asking] = []

    def make(wire: Wire) -> Asking:
        made.append(Asking(wire, capsys))
        return made[-1]

    yield make
    for one in made:
        one.app.close()


Ask = Callable[[Wire], Asking]


def _ask_for(name: str, app: Grpcflow) -> Any:
    return app.control.inspect().ask(name)


async def test_an_unknown_command_is_told_the_nearest(ask: Ask) -> None:
    async with serving() as wire, living(wire, w1=answers):
        asking = ask(wire)
        for near, wrong in (("active", "activ"), ("ping", "pnig")):
            with pytest.raises(InvalidRequest, match=f"did you mean '{near}'"):
                await asking.python(partial(_ask_for, wrong))
            code, out, err = await asking.typed("inspect", wrong)
            assert (code, out, f"Did you mean '{near}'?" in err) == (2, "", True)
        with pytest.raises(InvalidRequest, match="did you mean 'heartbeat'"):
            await asking.python(lambda app: app.control.broadcast("hartbeat"))
        code, _, err = await asking.typed("control", "ping")
        assert (code, "No such command 'ping'" in err) == (2, True)


async def test_wrong_types_reach_nobody(ask: Ask) -> None:
    async with serving() as wire, living(wire, w1=answers):
        asking = ask(wire)
        with pytest.raises(SerializationError, match="must be plain data"):
            await asking.python(lambda app: app.control.broadcast("heartbeat", {"a": object()}))
        for words in (("control", "pool_grow", "many"), ("inspect", "ping", "-t", "soon"), ("control", "autoscale")):
            code, out, err = await asking.typed(*words)
            assert (code, out, err.startswith("Usage: ")) == (2, "", True), words


async def test_an_unknown_destination_and_an_ambiguous_one_show_the_names(ask: Ask) -> None:
    async with serving() as wire, living(wire, mail_a=answers, mail_b=answers):
        asking = ask(wire)
        with pytest.raises(UnknownDestination, match="did you mean mail@a"):
            await asking.python(lambda app: app.control.inspect(["mial"]).ping())
        with pytest.raises(UnknownDestination, match="mail@a, mail@b") as caught:
            await asking.python(lambda app: app.control.broadcast("heartbeat", destination=["mail"]))
        assert "say which one" in str(caught.value)
        for name, shown in (
            ("mial", "did you mean mail@a?"),
            ("mail", "several workers, say which one: mail@a, mail@b"),
        ):
            code, out, err = await asking.typed("control", "heartbeat", "-d", name)
            assert (code, out, shown in err) == (69, "", True)
        code, out, _ = await asking.typed("inspect", "ping", "-d", "mail@b", "--json")
        assert (code, json.loads(out)) == (0, {"mail@b": {"ok": "pong"}})


async def test_a_worker_that_leaves_while_it_answers_is_named(ask: Ask) -> None:
    async with serving() as wire, living(wire, quick=answers, gone=leaves):
        asking = ask(wire)
        replies = await asking.python(lambda app: app.control.inspect(timeout=60).ping())
        assert (replies, replies.disconnected, replies.no_reply) == ({"quick": {"ok": "pong"}}, ("gone",), ())
    async with serving() as wire, living(wire, quick=answers, gone=leaves):
        code, out, err = await ask(wire).typed("control", "heartbeat", "-t", "60", "--json")
        assert (code, json.loads(out)) == (0, {"quick": {"ok": "pong"}})
        assert "gone: NOT CONNECTED" in err
    async with serving() as wire, living(wire, gone=leaves):
        code, out, _ = await ask(wire).typed("control", "heartbeat", "-t", "60")
        assert (code, "-> gone: NOT CONNECTED" in out) == (69, True)


async def test_a_handler_that_raises_is_that_worker_s_error(ask: Ask) -> None:
    async with serving() as wire, living(wire, good=answers, bad=fails):
        asking = ask(wire)
        replies = await asking.python(lambda app: app.control.inspect(timeout=30).stats())
        assert replies.errors == {"bad": "LookupError: no words"}
        code, out, _ = await asking.typed("control", "heartbeat")
        assert (code, "-> bad: ERROR\n    LookupError: no words\n-> good: OK" in out) == (1, True)


async def test_a_reply_that_fits_no_message_ends_that_worker_s_stream_and_hides_no_other(ask: Ask) -> None:
    async with serving() as wire, living(wire, good=answers, much=says_too_much):
        replies = await ask(wire).python(lambda app: app.control.inspect(timeout=60).stats())
        assert (replies, replies.disconnected) == ({"good": {"ok": "pong"}}, ("much",))


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("inspect", "ping", "--destinaton", "w1"), "--destination"),
        (("inspect", "--jsn"), "--json"),
        (("control", "revoke", "x", "--termnate"), "--terminate"),
        (("control", "shutdown", "--yse"), "--yes"),
    ],
)
async def test_a_mistyped_option_is_told_the_nearest(ask: Ask, words: tuple[str, ...], near: str) -> None:
    async with serving() as wire, living(wire, w1=answers):
        code, out, err = await ask(wire).typed(*words)
        assert (code, out, near in err) == (2, "", True), err
