"""What fuzzing has found, each with the smallest input that shows it. Every one of these was mended."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.coordinator.support.serving import call
from tests.fuzz.judging import Lines
from tests.fuzz.rpc_door import works
from tests.fuzz.world import Aborted, World

from grpcflow.cli import command_line
from grpcflow_coordinator.config import load
from grpcflow_coordinator.errors import ConfigurationError, Refusal
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.storage import formats, keys
from grpcflow_coordinator.storage.contract import StoreDamaged
from grpcflow_protos import limits
from grpcflow_protos.v1 import (
    client_service_pb2,
    control_service_pb2,
    graph_pb2,
    limit_pb2,
    schedule_service_pb2,
    worker_service_pb2,
)

#: The last index that a node id can hold; no graph has such a node.
LAST = 2**32 - 1

Watch: Any = client_service_pb2.WatchRequest
Session: Any = client_service_pb2.SessionRequest
Work: Any = worker_service_pb2.WorkRequest


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A coordinator that goes on working through all of this."""
    with Lines() as lines:
        made = World()
        await made.start()
        yield made
        await works(made, random.Random(1))
        lines.check()
        await made.stop()


async def said(world: World, method: str, *messages: Any) -> Any:
    """Calls a method with messages."""
    return await world.call(f"/grpcflow.v1.{method}", [message.SerializeToString() for message in messages])


async def test_a_worker_that_holds_a_node_that_no_graph_can_have_does_not_end_the_coordinator(world: World) -> None:
    chunk = call()
    await said(world, "ClientService/Submit", client_service_pb2.SubmitRequest(chunks=[chunk]))
    held = {"node": chunk.graph + LAST.to_bytes(4, "big"), "token": 1}
    hello = {"revision": 1, "name": "w", "session": b"s" * 16, "queues": ["q"], "tasks": ["t"], "held": [held]}
    answers = await said(world, "WorkerService/Work", Work(sequence=1, hello=hello))
    assert worker_service_pb2.WorkResponse.FromString(answers[0]).welcome.superseded == [1]


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize(
    ("first", "count"), [(LAST, 1), (LAST, 3), (2, LAST), (LAST, LAST), (0, LAST), (0, limits.NODE_LIMIT + 1)]
)
async def test_nodes_that_no_graph_can_have_are_refused_and_not_waited_for(
    world: World, first: int, count: int, progress: bool
) -> None:
    ranges = [{"first": first, "count": count}]
    nodes = {"graph": call().graph, "ranges": ranges, "wait_for_submit": True, "progress": progress}
    answers = await said(world, "ClientService/Session", Session(hello={"revision": 1}), Session(watches=[nodes]))
    told = [client_service_pb2.SessionResponse.FromString(answer) for answer in answers]
    assert [refused.refusal.code for message in told for refused in message.refused] == ["UNKNOWN_NODE"]


def test_the_key_of_a_node_that_no_graph_can_have_lies_behind_those_of_its_graph() -> None:
    graph = call().graph
    last = keys.node(keys.OUTCOME, graph, LAST)
    assert keys.node(keys.OUTCOME, graph, LAST + 1) > last
    assert keys.node(keys.OUTCOME, graph, 2 * LAST) < keys.node(keys.OUTCOME, keys.after(graph), 0)


async def test_two_graphs_in_one_submission_are_refused_before_one_of_them_is_taken(world: World) -> None:
    good, bad = call(), call(task="")
    for chunks in ([good, bad], [good, good]):
        before = world.store.digest
        refused = await said(world, "ClientService/Submit", client_service_pb2.SubmitRequest(chunks=chunks))
        assert isinstance(refused, Aborted)
        assert "more than one graph" in refused.message
        assert world.store.digest == before


async def test_ranges_beyond_number_and_nodes_beyond_number_are_refused(world: World) -> None:
    chunk = call()
    await said(world, "ClientService/Submit", client_service_pb2.SubmitRequest(chunks=[chunk]))
    for ranges in ([graph_pb2.Range()] * 100_001, [graph_pb2.Range(count=1)] * 100_001):
        refused = await said(world, "ClientService/Watch", Watch(nodes={"graph": chunk.graph, "ranges": ranges}))
        assert isinstance(refused, Aborted)
        assert "ranges or ids are named; 100000 are allowed" in refused.message


HELLO: Any = {"revision": 1, "name": "w", "session": b"s" * 16, "queues": ["q"], "tasks": ["t"], "capacity": 5}


@pytest.mark.parametrize(
    "many",
    [
        {"tasks": ["t"] * 20_001},
        {"queues": ["q"] * 20_001},
        {"task_facts": [limit_pb2.TaskFacts(task="t")] * 20_001},
        {"queue_facts": [limit_pb2.QueueFacts(queue="q")] * 20_001},
        {"held": [worker_service_pb2.Held(node=bytes(16))] * 100_001},
    ],
    ids=lambda many: next(iter(many)),
)
async def test_what_a_worker_names_of_itself_has_a_bound(world: World, many: Any) -> None:
    refused = await said(world, "WorkerService/Work", Work(sequence=1, hello=HELLO | many))
    assert isinstance(refused, Aborted)
    assert "are allowed" in refused.message


async def test_replies_beyond_number_end_a_worker_s_stream(world: World) -> None:
    replies = [worker_service_pb2.ControlReply(id=1)] * 100_001
    refused = await said(world, "WorkerService/Work", Work(sequence=1, hello=HELLO), Work(replies=replies))
    assert isinstance(refused, Aborted)
    assert "replies come in one message" in refused.message


async def test_empty_ranges_and_names_beyond_number_are_refused(world: World) -> None:
    nodes = client_service_pb2.NodeSet(graph=call().graph, ranges=[graph_pb2.Range()] * 10_001)
    stamps, names = [graph_pb2.Stamp(name="s", values=["v"] * 1_001)], [graph_pb2.Stamp(name="s")] * 1_001
    for method, request in (
        ("ClientService/GetResults", client_service_pb2.GetResultsRequest(nodes=nodes)),
        ("ControlService/Inspect", control_service_pb2.InspectRequest(command="ping", queues=["q"] * 10_001)),
        ("ControlService/Inspect", control_service_pb2.InspectRequest(command="ping", labels=["l"] * 10_001)),
        ("ControlService/RevokeByStamp", control_service_pb2.RevokeByStampRequest(stamps=stamps)),
        ("ControlService/Erase", control_service_pb2.EraseRequest(ids=["x"], stamps=stamps)),
        (
            "ControlService/Erase",
            control_service_pb2.EraseRequest(ids=["x"], stamps=names),
        ),
    ):
        refused = await said(world, method, request)
        assert isinstance(refused, Aborted), method
        assert "are allowed" in refused.message or "are named" in refused.message


async def test_joins_that_collect_the_same_many_nodes_are_checked_by_ranges(world: World) -> None:
    joins, runs, most = 300, 20, 10_000
    chunk = call()
    children = range(runs * most, runs * most + joins)
    del chunk.runs[:]
    for number in range(runs):
        chunk.runs.add(first=number * most, count=most, payloads=[b""] * most, children=children)
    for join in children:
        chunk.runs.add(first=join, count=1, join={"members": [{"first": 0, "count": runs * most}]})
    chunk.node_count = runs * most + joins
    began = time.process_time()
    convert.chunk(None, chunk, limits.PAYLOAD_LIMIT, 10 * chunk.node_count)  # 60 million members
    assert time.process_time() - began < 2
    chunk.runs[-1].join.members.add(first=runs * most - 1, count=1)
    with pytest.raises(Refusal, match="collects a node twice"):
        convert.chunk(None, chunk, limits.PAYLOAD_LIMIT, 10 * chunk.node_count)


async def test_a_refusal_that_echoes_long_names_fits_the_trailers(world: World) -> None:
    for name in ("n" * 5_000, "é" * 2_500, "\u202e💣" * 1_000):
        inspect = control_service_pb2.InspectRequest(command="ping", queues=[name, "q"])
        refused = await said(world, "ControlService/Inspect", inspect)
        assert isinstance(refused, Aborted)
        assert len(refused.message.encode()) < 1_100
        assert " ... " in refused.message


@pytest.mark.parametrize("name", ["settings.toml", "nul\0byte"])
def test_settings_that_are_no_text_are_refused_with_the_name_of_their_file(tmp_path: Path, name: str) -> None:
    if "\0" not in name:
        (tmp_path / name).write_bytes(b'listen = "\xff"')
    with pytest.raises(ConfigurationError, match="the settings file"):
        load({}, tmp_path / name, {})


@pytest.mark.parametrize(
    "words", [["inspect", "ping", "-t"], ["call", "t", "-t"], ["call", "t", "--countdown"], ["result", "x", "-t"]]
)
def test_a_time_that_is_no_number_is_a_wrong_option(words: list[str]) -> None:
    shown = CliRunner().invoke(command_line, [*words, "nan"])
    assert (shown.exit_code, shown.exception.__class__) == (2, SystemExit)
    assert "'nan' is not a number" in shown.output


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_record_of_lists_in_lists_is_damage(depth: int) -> None:
    for reader in (formats.read_number, formats.read_tally):
        with pytest.raises((*formats.DAMAGED, StoreDamaged)):
            reader(b"\x92\x01" + b"\x91" * depth)


async def test_a_place_in_a_group_that_no_worker_can_be_told_is_refused_and_not_handed_out(world: World) -> None:
    chunk = call()
    payloads = [b"[[],{}]"] * 2
    chunk.node_count, chunk.runs[0].count = 2, 2
    chunk.runs[0].ClearField("payloads")
    chunk.runs[0].payloads.extend(payloads)
    chunk.runs[0].group, chunk.runs[0].group_index = chunk.graph + bytes(4), LAST
    submit = client_service_pb2.SubmitRequest(chunks=[chunk])
    refused = await said(world, "ClientService/Submit", submit)
    assert isinstance(refused, Aborted)
    submit.chunks[0].runs[0].group_index = LAST - 1
    assert not isinstance(await said(world, "ClientService/Submit", submit), Aborted)
    hello = {"revision": 1, "name": "w", "session": b"s" * 16, "queues": ["default"], "tasks": ["t"], "capacity": 5}
    answers = await said(world, "WorkerService/Work", Work(sequence=1, hello=hello))
    runs = [run for data in answers for run in worker_service_pb2.WorkResponse.FromString(data).runs]
    assert sorted({run.group_index for run in runs}) == [LAST - 1, LAST]


@pytest.mark.parametrize("nanos", [-1, 10**9, 2**31 - 1])
async def test_a_time_that_other_clients_could_not_read_is_refused(world: World, nanos: int) -> None:
    once = {"seconds": 2_000_000_000, "nanos": nanos}
    schedule: Any = schedule_service_pb2.Schedule
    put = schedule_service_pb2.PutSchedulesRequest(schedules=[schedule(name="poison", once=once, graph=call())])
    chunk = call()
    chunk.templates[0].eta.FromSeconds(2_000_000_000)
    chunk.templates[0].eta.nanos = nanos
    for method, request in (
        ("ScheduleService/PutSchedules", put),
        ("ClientService/Submit", client_service_pb2.SubmitRequest(chunks=[chunk])),
    ):
        refused = await said(world, method, request)
        assert isinstance(refused, Aborted), method
        assert "nanoseconds" in refused.message
    put.schedules[0].once.nanos = 5
    assert not isinstance(await said(world, "ScheduleService/PutSchedules", put), Aborted)
