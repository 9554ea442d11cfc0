"""Remote control over the real wire: targets, what the coordinator says itself, bursts, and the time of a hundred."""

import asyncio
import json
import time
from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, Worker, call, mint, refused, serving

from grpcflow_protos.v1 import control_service_pb2 as pb
from grpcflow_protos.v1 import graph_pb2

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "BAD_ARGUMENTS")
NOBODY = (grpc.StatusCode.NOT_FOUND, "UNKNOWN_DESTINATION")


async def answer_all(worker: Worker, reply: bytes = b'{"ok": "pong"}') -> None:
    """Answer each command that comes, until the test ends."""
    done = 0
    while (message := await worker.call.read()) is not grpc.aio.EOF:
        for command in message.commands:
            done += 1
            await worker.say(replies=[{"id": command.id, "reply": reply}])


async def ask(wire: Wire, command: str = "ping", **given: Any) -> dict[str, Any]:
    """Return what each worker answered; BOUND is the longest that it may take."""
    request = pb.InspectRequest(command=command, **{"timeout_ms": 30_000, **given})
    async with asyncio.timeout(BOUND):
        replies = {one.worker: one async for one in wire.control.Inspect(request)}
    assert all(one.status == pb.REPLY_STATUS_ANSWERED for one in replies.values()), replies
    assert not any(one.error for one in replies.values()), replies
    return {name: json.loads(one.reply) for name, one in sorted(replies.items())}


async def said(wire: Wire, command: str = "ping", **given: Any) -> str:
    """Return the text with which a question is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(wire, command, **given)
    return str(caught.value.details())


async def hire(wire: Wire, *names: str, **given: Any) -> list[Worker]:
    return [await wire.work(name=name, **given) for name in names]


async def answering(workers: list[Worker]) -> list["asyncio.Task[None]"]:
    return [asyncio.create_task(answer_all(worker)) for worker in workers]


async def test_workers_are_named_by_pattern_queue_and_label_and_all_of_these_must_agree() -> None:
    async with serving() as wire:
        workers = [
            await wire.work(name="mail1@a", queues=["mail"], labels=["zone=eu", "big"]),
            await wire.work(name="mail2@b", queues=["mail", "bulk"], labels=["zone=us"]),
            await wire.work(name="bulk1@b", queues=["bulk"], labels=["zone=eu"]),
        ]
        tasks = await answering(workers)
        assert list(await ask(wire, patterns=["mail*"])) == ["mail1@a", "mail2@b"]
        assert list(await ask(wire, patterns=[r"\w+1@."], regex=True)) == ["bulk1@b", "mail1@a"]
        assert list(await ask(wire, queues=["bulk"])) == ["bulk1@b", "mail2@b"]
        assert list(await ask(wire, labels=["zone=eu"])) == ["bulk1@b", "mail1@a"]
        assert list(await ask(wire, labels=["zone=eu", "big"])) == ["mail1@a"]
        assert list(await ask(wire, labels=["zone=eu"], queues=["bulk"], patterns=["*@b"])) == ["bulk1@b"]
        assert "zone=mars" in await said(wire, labels=["zone=mars"])
        workers_told = await wire.control.ListWorkers(pb.ListWorkersRequest())
        assert [list(one.labels) for one in workers_told.workers] == [["zone=eu"], ["zone=eu", "big"], ["zone=us"]]
        for task in tasks:
            task.cancel()


async def test_an_ambiguous_name_shows_all_and_an_unknown_one_the_nearest() -> None:
    async with serving() as wire:
        await hire(wire, "mail@a", "mail@b", "bulk@a")
        text = await said(wire, destination=["mail"])
        assert "mail@a, mail@b" in text
        assert "bulk" not in text
        assert "did you mean bulk@a?" in await said(wire, destination=["bullk"])
        assert await refused(ask(wire, destination=["nobody"])) == NOBODY


@pytest.mark.parametrize(
    "pattern", ["(", "(a+)+b", "(a|aa)*b", r"(a)\1", ".*.*.*.*x", "a?" * 11, "(?P<n>a*)*", "(?:x|x){20}", "[*]" * 400]
)
async def test_a_pattern_that_is_none_or_could_take_for_ever_is_refused(pattern: str) -> None:
    async with serving() as wire:
        await hire(wire, "a" * 200 + "@h")
        assert await refused(ask(wire, patterns=[pattern], regex=True)) == INVALID


async def test_an_unknown_command_is_told_the_nearest_or_where_it_is() -> None:
    async with serving() as wire:
        assert "did you mean 'active'?" in await said(wire, "activ")
        assert "use control" in await said(wire, "shutdown")
        assert "RevokeByStamp" in await said(wire, "revoke_by_stamped_headers")
        assert await refused(ask(wire, "ping", arguments=b"[1]")) == INVALID


async def test_commands_of_apps_are_listed_and_asked_of_those_that_have_them() -> None:
    async with serving() as wire:
        cache = {"name": "cache_size", "help": "How large.", "arguments": [{"name": "n", "type": "int"}]}
        quiet = {"name": "cache_seize", "default_timeout_ms": 7_000, "hidden": True}
        workers = [await wire.work(name="a@h", commands=[cache, quiet]), await wire.work(name="b@h")]
        tasks = await answering(workers)
        listed = (await wire.control.ListCommands(pb.ListCommandsRequest())).commands
        assert {one.command.name for one in listed if not one.workers} >= {"ping", "active", "time_limit", "shutdown"}
        [hidden, theirs] = [one for one in listed if one.workers]
        assert (hidden.command.default_timeout_ms, hidden.command.hidden) == (7_000, True)
        assert (theirs.command.name, list(theirs.workers)) == ("cache_size", ["a@h"])
        assert theirs.command.arguments[0].type == "int"
        assert list(await ask(wire, "cache_size")) == list(await ask(wire, "cache_seize")) == ["a@h"]
        for near in ("cachesize", "cache_seiz"):
            assert "did you mean 'cache_size'?" in await said(wire, near)
        for task in tasks:
            task.cancel()


def queued(name: str, count: int = 1, **template: Any) -> graph_pb2.GraphChunk:
    """A graph of calls that nobody's capacity has room for, each with a number for an argument."""
    payloads = [b'[[%d],{"k":"%s"}]' % (number, name.encode()) for number in range(count)]
    template = {"task": "t", "queue": "default", **template}
    runs = [graph_pb2.NodeRun(count=count, payloads=payloads)]
    return graph_pb2.GraphChunk(
        graph=mint(), last=True, node_count=count, templates=[graph_pb2.Template(**template)], runs=runs
    )


async def test_reserved_goes_on_with_what_a_worker_could_be_given_next() -> None:
    async with serving() as wire:
        here, other = await wire.work(name="here@h", capacity=0), await wire.work(name="other@h", queues=["mail"])
        tasks = await answering([]) + [asyncio.create_task(answer_all(one, b'[{"id": "x"}]')) for one in (here, other)]
        await wire.submit(queued("low", 150))
        await wire.submit(queued("high", 2, priority=9))
        await wire.submit(queued("strange", 1, task="unknown"))
        reserved = await ask(wire, "reserved")
        assert reserved["other@h"] == [{"id": "x"}]
        own, *coming = reserved["here@h"]
        assert own == {"id": "x"}
        assert len(coming) == 100
        assert [one["kwargs"]["k"] for one in coming[:3]] == ["high", "high", "low"]
        assert [one["args"] for one in coming[2:]] == [[number] for number in range(98)]
        assert coming[0]["delivery_info"]["priority"] == 9
        assert coming[0]["hostname"] is None
        assert len((await ask(wire, "reserved", limit=3))["here@h"]) == 4
        for task in tasks:
            task.cancel()


async def test_what_waits_for_its_time_and_what_was_revoked_is_told_without_asking_anybody() -> None:
    async with serving() as wire:
        mute, _ = await hire(wire, "mute@h", "busy@h")
        other = await wire.work(name="other@h", queues=["mail"])
        later, soon = queued("later"), queued("soon", 3)
        later.templates[0].eta.FromSeconds(9_000_000_000)
        soon.templates[0].countdown.FromSeconds(3_600)
        await wire.submit(later)
        await wire.submit(soon)
        told = await ask(wire, "scheduled")
        assert told["other@h"] == []
        assert [one["request"]["kwargs"]["k"] for one in told["mute@h"]] == ["soon"] * 3 + ["later"]
        assert told["mute@h"][-1]["eta"].startswith("2255-")
        assert len((await ask(wire, "scheduled", limit=1))["busy@h"]) == 1
        await wire.submit(call(id="mine", task="nobody"))
        await wire.control.Revoke(pb.RevokeRequest(ids=["mine"]))
        assert await ask(wire, "revoked", destination=["mute"]) == {"mute@h": ["mine"]}
        assert mute.commands == other.commands == []


async def test_a_hundred_workers_answer_at_once() -> None:
    async with serving() as wire:
        workers = await hire(wire, *[f"w{number:03}@h" for number in range(100)])
        tasks = await answering(workers)
        await wire.submit(queued("wait", 200, queue="elsewhere"))
        for command in ("ping", "scheduled"):
            took = []
            for _ in range(5):
                began = time.process_time()  # of this processor, which is where all of them live
                assert len(await ask(wire, command)) == 100
                took.append(time.process_time() - began)
            print(f"{command}: {[round(1000 * one) for one in took]} ms")
            # The hundred workers live on this event loop too: a coordinator by itself takes a third of it.
            assert min(took) < 0.3, took
        for task in tasks:
            task.cancel()


async def test_a_burst_of_questions_is_answered_in_turns_and_nobody_else_waits_for_it() -> None:
    async with serving() as wire:
        [worker, mute] = await hire(wire, "quick@h", "mute@h")
        task = asyncio.create_task(answer_all(worker))
        request = pb.InspectRequest(command="ping", destination=["mute"], timeout_ms=60_000)
        hogging = [wire.control.Inspect(request) for _ in range(200)]
        reading = [asyncio.create_task(one.read()) for one in hogging]
        await mute.read(lambda _: len(mute.commands) >= 8)
        address = wire.coordinator.address
        async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            other = Wire(wire.coordinator, channel)
            assert list(await ask(other, destination=["quick"])) == ["quick@h"]
            # Commands arrive in order: once this one has, all that were sent before it have.
            last = other.control.Inspect(pb.InspectRequest(command="clock", destination=["mute"], timeout_ms=60_000))
            reading.append(asyncio.create_task(last.read()))
            await mute.read(lambda _: mute.commands[-1].command == "clock")
        assert len(mute.commands) == 8 + 1, "more of one client's questions were under way than it has turns"
        for one in (*hogging, *reading, task):
            one.cancel()


async def _answer(worker: object, reply: bytes, error: str = "") -> None:
    await worker.read(lambda message: message.commands)  # type: ignore[attr-defined]
    number = worker.commands[-1].id  # type: ignore[attr-defined]
    await worker.say(replies=[{"id": number, "reply": reply, "error": error}])  # type: ignore[attr-defined]


async def test_inspect_names_those_that_answered_and_those_that_did_not() -> None:
    async with serving() as wire:
        names = ("quick", "mute", "gone", "away")
        quick, mute, gone, away = [await wire.work(name=f"{name}@host") for name in names]
        away.call.cancel()
        async with asyncio.timeout(BOUND):
            while all(one.stream is not None for one in wire.coordinator.engine.machine.cluster.sessions.values()):
                await asyncio.sleep(0)

        async def leave() -> None:
            await gone.read(lambda message: message.commands)
            gone.call.cancel()

        others = [f"{name}@host" for name in ("quick", "gone", "away")]
        request = pb.InspectRequest(command="ping", timeout_ms=3_600_000, destination=others)
        answering = asyncio.gather(_answer(quick, b'{"ok":"pong"}'), leave())
        async with asyncio.timeout(BOUND):  # it ends with the last answer, and not when the time is over
            replies = {reply.worker: reply async for reply in wire.control.Inspect(request)}
        await answering
        assert replies["quick@host"].status == pb.REPLY_STATUS_ANSWERED
        assert json.loads(replies["quick@host"].reply) == {"ok": "pong"}
        assert replies["gone@host"].status == pb.REPLY_STATUS_DISCONNECTED
        assert replies["away@host"].status == pb.REPLY_STATUS_DISCONNECTED, "in its grace it is no secret"
        request = pb.InspectRequest(command="ping", timeout_ms=50, destination=["mute@host", "away@host"])
        told = {reply.worker: reply.status async for reply in wire.control.Inspect(request)}
        assert told == {"mute@host": pb.REPLY_STATUS_NO_REPLY, "away@host": pb.REPLY_STATUS_DISCONNECTED}
        assert await mute.read(lambda message: message.commands) is not None, "it was asked, too"


@pytest.mark.parametrize("together", [True, False])
async def test_answers_of_many_travel_together_where_that_is_asked_for(together: bool) -> None:
    async with serving() as wire:
        workers = [await wire.work(name=f"w{number:02}@host") for number in range(20)]
        request = pb.InspectRequest(command="ping", timeout_ms=500, together=together)
        stream = wire.control.Inspect(request)
        answering = asyncio.gather(*(_answer(worker, b'{"ok":"pong"}') for worker in workers[:-1]))
        told = [(message.worker, [one.worker for one in message.more]) async for message in stream]
        await answering
        assert sorted(name for first, more in told for name in (first, *more)) == [
            f"w{number:02}@host" for number in range(20)
        ]
        assert (len(told) < 20) is together


async def test_a_short_name_is_enough_and_an_error_travels() -> None:
    async with serving() as wire:
        worker = await wire.work()
        await wire.work(name="other@host")
        request = pb.ControlRequest(command="add_consumer", destination=["w"], timeout_ms=5_000)
        stream = wire.control.Control(request)
        answering = asyncio.create_task(_answer(worker, b"", "no such queue"))
        [reply] = [reply async for reply in stream]
        await answering
        assert (reply.worker, reply.error) == ("w@host", "no such queue")


async def test_a_question_to_nobody_ends_at_once() -> None:
    async with serving() as wire:
        stream = wire.control.Inspect(pb.InspectRequest(command="ping", timeout_ms=3_600_000))
        async with asyncio.timeout(BOUND):
            assert [reply async for reply in stream] == []
