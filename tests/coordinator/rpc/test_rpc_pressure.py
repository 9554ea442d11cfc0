"""More than is good for it, over the real wire: floods, slow readers, workers that behave badly. It serves on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tests.coordinator.support import serving
from tests.coordinator.support.serving import call, calls, encoded, ranges, reason

from grpcflow_coordinator import client_stream as streams_module
from grpcflow_coordinator import feed as feed_module
from grpcflow_coordinator.core.model import Now, text_id
from grpcflow_coordinator.engine import system_now
from grpcflow_coordinator.rpc import client as client_module
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc import gate as gate_module
from grpcflow_coordinator.rpc import lookup as lookup_module
from grpcflow_coordinator.rpc import worker as worker_module
from grpcflow_coordinator.rpc.gate import Gate
from grpcflow_coordinator.rpc.lookup import Lookup
from grpcflow_protos.v1 import (
    client_service_pb2,
    control_service_pb2,
    event_service_pb2,
    event_service_pb2_grpc,
    graph_pb2,
)
from soaking.connections import crowd

# Messages that are given fields as plain dicts.
ClientMessage: Any = client_service_pb2.SessionRequest

#: Graphs in one message of a flood.
MANY = 500


def deep(wire: serving.Wire) -> int:
    """Return how many events wait in the inbox."""
    engine = wire.coordinator.engine
    return engine.posted - engine.stepped


async def flood(wire: serving.Wire, accepted: list[int]) -> None:
    """Submit as much as the transport takes, for as long as it may; read what is said."""
    session = await wire.session()

    async def read() -> None:
        while True:
            message = await session.read(lambda message: message.accepted)
            accepted[0] += len(message.accepted)

    reading = asyncio.create_task(read())
    try:
        while True:
            await session.say(submits=[call(task="nobody's") for _ in range(MANY)])
    finally:
        reading.cancel()
        session.call.cancel()


async def test_a_flood_holds_up_nobody_and_what_waits_has_a_bound() -> None:
    async with serving.serving() as wire:
        accepted = [0]
        floods = [asyncio.create_task(flood(wire, accepted)) for _ in range(3)]
        modest = await wire.session()
        ahead, depths = [], []
        for _ in range(8):
            before = accepted[0]
            graph = call(task="nobody's either")
            await modest.say(submits=[graph])
            await modest.read(lambda message: message.accepted)
            ahead.append(accepted[0] - before)
            depths.append(deep(wire))
        for one in floods:
            one.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        print(f"accepted {accepted[0]}, ahead {sorted(ahead)}, deepest {max(depths)}")
        assert accepted[0] > 10 * len(ahead)  # there was a flood
        most = (gate_module.LONG + gate_module.GROUP) // gate_module.PIECE_WEIGHT
        assert max(depths) <= most
        assert max(ahead) <= 4 * most, "what was taken of the flood before a modest call that came meanwhile"


async def test_beyond_the_bound_a_stream_and_a_call_are_told_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving.serving() as wire:
        gate: Gate = wire.coordinator.home.clients._gate
        blocked = asyncio.Event()

        async def turn(*_: Any) -> None:
            blocked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(gate_module, "LONG", 1)
        for name in ("SMALL", "GROUP"):
            monkeypatch.setattr(gate_module, name, 1)
        monkeypatch.setattr(gate, "_held_bytes", 1)
        monkeypatch.setattr(gate, "_let_in", turn)
        first, second = await wire.session(), await wire.session()
        await first.say(submits=[call() for _ in range(10)])
        async with asyncio.timeout(serving.BOUND):
            await blocked.wait()
        await second.say(submits=[call() for _ in range(10)])
        for ending in (second.read(lambda _: False), wire.client.Submit(_two_pieces(), timeout=serving.BOUND)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ending
            assert reason(caught.value) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            hint = error_details_pb2.RetryInfo()
            status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
            assert status is not None
            status.details[1].Unpack(hint)
            assert hint.retry_delay.ToMilliseconds() == gate_module.COME_BACK * 1000
        monkeypatch.undo()
        await wire.works()


def _two_pieces() -> client_service_pb2.SubmitRequest:
    """Return a graph of two pieces."""
    first, second = call(), call()
    second.graph, first.last, first.node_count, second.node_count = first.graph, False, 2, 2
    second.sequence, second.runs[0].first, second.runs[0].template = 1, 1, 0
    second.ClearField("templates")
    return client_service_pb2.SubmitRequest(chunks=[first, second])


async def test_a_slow_reader_of_results_costs_ranges_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "UNREAD", 10)
    monkeypatch.setattr(streams_module, "KEPT_BYTES", 2_000_000)
    most, count, size = [0, 0], 60, 100_000
    add = streams_module.ClientStream.add_value

    def counted(stream: streams_module.ClientStream, *given: Any) -> None:
        add(stream, *given)
        most[0], most[1] = max(most[0], len(stream._values)), max(most[1], len(stream._spilled))

    monkeypatch.setattr(streams_module.ClientStream, "add_value", counted)
    async with serving.serving() as wire:
        slow = await wire.session()
        graphs = [calls(count) for _ in range(3)]
        for graph in graphs:
            await slow.say(submits=[graph], watches=[ranges(graph.graph, count)])
        await slow.read(lambda _: len(slow.accepted) == len(graphs))
        worker = await wire.work(capacity=1_000)
        tokens = list(await worker.have(count * len(graphs)))
        for start in range(0, len(tokens), 20):
            part = tokens[start : start + 20]
            await worker.report(values={"tokens": part, "values": [b"1" * size] * len(part)})
        assert most[0] <= 10
        assert most[1] > 0  # it was slow indeed
        await slow.read(lambda _: len(slow.values) == count * len(graphs))
        assert {len(data) for data in slow.values.values()} == {size}


async def test_a_worker_that_floods_is_read_as_fast_as_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "CROWDED", 5)
    async with serving.serving() as wire:
        workers = [await wire.work(name=f"{number}@host") for number in range(10)]
        deepest = 0
        for _ in range(50):
            for worker in workers:
                await worker.say(values={"tokens": [1, 2, 3], "values": [b"0"] * 3})
            deepest = max(deepest, deep(wire))
        assert deepest <= 5 + len(workers)
        await asyncio.gather(*(_acknowledged(worker, 51) for worker in workers))
        await wire.works()


async def _acknowledged(worker: serving.Worker, sequence: int) -> None:
    """Read until a message of the worker's is acknowledged."""
    await worker.read(lambda _: worker.acknowledged >= sequence)


async def test_more_reports_than_a_worker_can_hold_attempts() -> None:
    async with serving.serving() as wire:
        worker = await wire.work()
        count = worker_module.CAPACITY_LIMIT + 1
        await worker.say(values={"tokens": [1] * count, "values": [b""] * count})
        assert await worker.end() == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")
        await wire.works()


async def test_a_worker_that_says_hello_and_nothing_else_is_silent() -> None:
    moved = [0.0]  # by hand: on a busy machine a fifth of a second is over before anybody has said a word
    clock = SimpleNamespace(now=lambda: Now(system_now().wall_ms, moved[0]))
    async with serving.serving(now=clock.now, heartbeat=0.05, silence=0.2, grace=0.2) as wire:
        mute = await wire.work()
        await wire.submit(call())
        await mute.have(1)
        moved[0] += 0.3
        assert await mute.end() == (grpc.StatusCode.UNAVAILABLE, "SILENT")
        live = await wire.work(name="another@host")
        moved[0] += 0.15
        await live.report()
        moved[0] += 0.15
        await live.run(1)  # what it had is another's
        await wire.works()


async def test_nonsense_of_a_worker_is_superseded_or_costs_its_session() -> None:
    async with serving.serving() as wire:
        worker = await wire.work()
        tokens = [0, 1, (1 << 63) - 1, *range(10_000, 10_100)]
        await worker.report(values={"tokens": tokens, "values": [b"not JSON {"] * len(tokens)})
        assert sorted(worker.superseded) == sorted(tokens)
        await worker.say(capacity_plus_one=1 << 31, concurrency=1 << 31)
        await worker.report()
        await wire.works()


async def test_a_storm_of_watches_tells_each_result_and_holds_up_nobody() -> None:
    count = 2_000
    async with serving.serving() as wire:
        session, graph = await wire.session(), calls(count)
        await session.say(submits=[graph])
        await session.read(lambda message: message.accepted)
        whole = [ranges(graph.graph, count)] * 1_000
        single = [ranges(graph.graph, 1, index) for index in range(count)]
        for start in range(0, 2 * count, 1_000):
            await session.say(watches=whole + single[start % count :][:1_000])
        worker = await wire.work(capacity=count)
        await worker.run(count)
        await session.read(lambda _: len(session.values) >= count)
        late = await wire.session()  # all has settled, and is asked for again and again
        for _ in range(2):
            await late.say(watches=whole)
        await late.read(lambda _: len(late.values) >= count)
        await wire.works()


async def test_as_many_ranges_and_ids_as_a_watch_may_name_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 5_000
    for module in (client_module, lookup_module):
        monkeypatch.setattr(module, "RANGES_LIMIT", count)
    async with serving.serving() as wire:
        session, never = await wire.session(), serving.mint()
        numbered = client_service_pb2.NodeSet(graph=never, wait_for_submit=True)
        numbered.ranges.extend(graph_pb2.Range(first=3 * index, count=2) for index in range(count))
        named = client_service_pb2.NodeSet(ids=[f"mine {number}" for number in range(count)], wait_for_submit=True)
        for nodes in (numbered, named):
            await session.say(watches=[nodes])
            await session.say(unwatches=[nodes])
        named.ids.append("one more")
        await session.say(watches=[named])
        await session.read(lambda message: message.refused)
        assert [one.refusal.code for one in session.refused] == ["TOO_MANY_IDS"]
        [stream] = wire.coordinator.home.clients._streams
        assert wire.coordinator.home.outbox.watchers.count(stream) <= 1  # of what was joined to one range
        await wire.works()


async def test_graphs_that_one_client_watches_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "WATCHED", 3)
    async with serving.serving() as wire:
        session = await wire.session()
        nodes = [client_service_pb2.NodeSet(ids=[f"mine {number}"], wait_for_submit=True) for number in range(4)]
        await session.say(watches=nodes)
        await session.read(lambda message: message.refused)
        [refusal] = session.refused
        assert (refusal.nodes, refusal.refusal.code) == (nodes[3], "TOO_MANY_IDS")
        await session.say(unwatches=nodes[:1])
        await session.say(watches=nodes[3:])
        await session.say(submits=[call(id="mine 3"), call(id="mine 0")])
        await session.read(lambda _: len(session.accepted) == 2)
        worker = await wire.work()
        await worker.run(2)
        await session.read(lambda message: message.results)
        assert {result.id for result in session.results} == {"mine 3"}
        assert len(session.refused) == 1


async def test_nothing_is_left_of_watches_of_what_never_came() -> None:
    async with serving.serving() as wire:
        session, never = await wire.session(), serving.mint()
        named = client_service_pb2.NodeSet(ids=["mine", text_id(never, 7, "")], wait_for_submit=True)
        numbered = ranges(never, 3)
        numbered.wait_for_submit = True
        await session.say(watches=[named, numbered])
        await session.say(unwatches=[named, numbered])
        await wire.works()
        [stream] = wire.coordinator.home.clients._streams
        assert wire.coordinator.home.outbox.watchers.count(stream) == 0
        assert wire.coordinator.home.outbox.watchers.of(never) is None


async def test_who_does_not_read_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "UNTOLD", -1)
    async with serving.serving() as wire:
        stream = wire.client.Session()
        await stream.write(ClientMessage(hello={"revision": 1}))
        session = serving.Session(stream)
        graph = call(task="not taken yet")
        await session.say(submits=[graph])
        await wire.works()
        assert wire.coordinator.engine.committed.graph(graph.graph) is None
        monkeypatch.undo()
        for one in wire.coordinator.home.clients._streams:
            one._taken.set()  # as if it had read
        await session.read(lambda message: message.accepted)
        assert session.accepted == [graph.graph]


async def test_a_storm_of_questions_holds_up_no_task() -> None:
    async with serving.serving() as wire:
        await wire.submit(call(task="nobody's"))
        asked = [
            asyncio.create_task(ask)
            for _ in range(50)
            for ask in (
                _asked(wire.control.ListQueues(control_service_pb2.ListQueuesRequest())),
                _asked(wire.control.ListWorkers(control_service_pb2.ListWorkersRequest())),
            )
        ]
        await wire.works()
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*asked)
        assert sum(len(answer.lanes) for answer in answers[::2]) >= 50


async def _asked(call_: Any) -> Any:
    return await call_


async def test_a_slow_reader_of_events_is_told_how_many_it_missed() -> None:
    async with serving.serving() as wire:
        feed = wire.coordinator.home.outbox.feed
        feed._length = 20 * (1 + 60_000 // feed_module.SAID)
        events: Any = event_service_pb2_grpc.EventServiceStub(wire.channel)
        reading = events.ReadEvents(event_service_pb2.ReadEventsRequest(follow=True))
        first = await reading.read()
        count, fields = 300, encoded({"text": "x" * 60_000})
        for _ in range(count):
            await events.PublishEvent(event_service_pb2.PublishEventRequest(type="large", fields=fields))
        assert len(feed._ring) <= 20  # by their bytes
        seen, missed = [event.offset for event in first.events], first.missed
        async with asyncio.timeout(serving.BOUND):
            while len(seen) + missed < count:
                message = await reading.read()
                seen += [event.offset for event in message.events]
                missed += message.missed
        assert len(seen) + missed == count
        assert missed
        assert seen == sorted(set(seen))
        reading.cancel()


async def test_connections_that_say_hello_and_rest_leave_nothing_behind() -> None:
    async with serving.serving() as wire:
        guests = await crowd(wire.coordinator.address, 100)
        streams = wire.coordinator.home.clients._streams
        assert len(streams) == 100
        await wire.works()
        for guest in guests:
            guest.abort()
        async with asyncio.timeout(serving.BOUND):
            while streams:
                await asyncio.sleep(0)
        await wire.works()


async def test_lookups_that_name_nothing_unsettled_look_at_nothing_that_runs() -> None:
    engine: Any = SimpleNamespace(committed=None)  # without a machine: looking at what runs would fail
    assert await Lookup(engine).results(client_service_pb2.NodeSet(), states_only=True) == []


async def test_who_asks_for_many_results_lets_others_go_on_meanwhile() -> None:
    async with serving.serving() as wire:
        chunk = calls(9_000)
        await wire.submit(chunk)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        going = asyncio.create_task(others())
        found = await wire.coordinator.home.clients._lookup.results(ranges(chunk.graph, 9_001), states_only=True)
        going.cancel()
        assert len(found) == 9_001
        assert turns >= 9_000 // lookup_module.PAGE - 2


async def test_results_that_no_message_can_hold_are_not_gathered_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving.serving() as wire:
        chunk = call()
        await wire.submit(chunk)
        await (await wire.work()).run(1, b"1" * 1_000_000)
        looked, whole = 0, convert.result

        def counted(*given: Any) -> Any:
            nonlocal looked
            looked += 1
            return whole(*given)

        monkeypatch.setattr(convert, "result", counted)
        nodes = client_service_pb2.NodeSet(ids=[text_id(chunk.graph, 0)] * 50)
        asked = wire.client.GetResults(client_service_pb2.GetResultsRequest(nodes=nodes), timeout=serving.BOUND)
        assert await serving.refused(asked) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
        assert looked <= 6


async def test_single_calls_of_one_connection_share_a_place() -> None:
    async with serving.serving() as wire:
        service = wire.coordinator.home.clients
        one = service._visitor("ipv4:1")
        assert service._visitor("ipv4:1") is one
        assert service._visitor("ipv4:2") is not one
        del one
        assert not service._visitors
