"""The rpcs beside submitting and waiting: values in parts, states, forgetting, groups, stamps, waiting for a submit."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, calls, mint, ranges, refused, serving

from grpcflow_coordinator.core.model import text_id
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2 as pb
from grpcflow_protos.v1 import control_service_pb2, graph_pb2, value_pb2

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
LONG = "x" * 256
REPLACE, MEMBER = graph_pb2.ATTACHMENT_KIND_REPLACE, graph_pb2.ATTACHMENT_KIND_MEMBER


async def ask(wire: Wire, method: str, request: Any) -> Any:
    """Call a unary rpc of the client's service."""
    return await getattr(wire.client, method)(request, timeout=BOUND)


@pytest.mark.parametrize(
    ("method", "request_message", "status"),
    [
        ("UpdateState", pb.UpdateStateRequest(id=LONG, state="A"), (INVALID, "ID_TOO_LONG")),
        ("UpdateState", pb.UpdateStateRequest(id="a", state=LONG), (INVALID, "NAME_TOO_LONG")),
        ("UpdateState", pb.UpdateStateRequest(id="a", state="SUCCESS"), (INVALID, "BAD_STATE")),
        ("UpdateState", pb.UpdateStateRequest(id="a"), (INVALID, "BAD_STATE")),
        ("UpdateState", pb.UpdateStateRequest(id="nobody", state="A"), (NOT_FOUND, "UNKNOWN_NODE")),
        (
            "UpdateState",
            pb.UpdateStateRequest(id="a", state="A", meta=value_pb2.Value(data=b"1" * 10_001)),
            (INVALID, "PAYLOAD_TOO_LARGE"),
        ),
        (
            "UpdateState",
            pb.UpdateStateRequest(id="a", state="A", meta=value_pb2.Value(data=b"1", content_type="text/odd")),
            (INVALID, "UNKNOWN_CONTENT_TYPE"),
        ),
        ("Forget", pb.ForgetRequest(ids=[LONG]), (INVALID, "ID_TOO_LONG")),
        ("Forget", pb.ForgetRequest(ids=["a"] * 10_001), (INVALID, "TOO_MANY_IDS")),
        ("SaveGroup", pb.SaveGroupRequest(id=LONG), (INVALID, "ID_TOO_LONG")),
        ("SaveGroup", pb.SaveGroupRequest(id="g", data=b"1" * 10_001), (INVALID, "PAYLOAD_TOO_LARGE")),
        ("RestoreGroup", pb.RestoreGroupRequest(id="nobody"), (NOT_FOUND, "UNKNOWN_GROUP")),
        ("RestoreGroup", pb.RestoreGroupRequest(id=LONG), (INVALID, "ID_TOO_LONG")),
        ("DeleteGroup", pb.DeleteGroupRequest(id=LONG), (INVALID, "ID_TOO_LONG")),
    ],
)
async def test_what_is_refused(method: str, request_message: Any, status: tuple[grpc.StatusCode, str]) -> None:
    async with serving(payload_limit=10_000) as wire:
        assert await refused(ask(wire, method, request_message)) == status
        await wire.works()


@pytest.mark.parametrize(
    ("request_message", "code"),
    [
        (control_service_pb2.RevokeByStampRequest(), "BAD_ARGUMENTS"),
        (control_service_pb2.RevokeByStampRequest(stamps=[graph_pb2.Stamp(values=["a"])]), "NAME_TOO_LONG"),
        (control_service_pb2.RevokeByStampRequest(stamps=[graph_pb2.Stamp(name="a", values=[LONG])]), "NAME_TOO_LONG"),
        (
            control_service_pb2.RevokeByStampRequest(stamps=[graph_pb2.Stamp(name="a", values=["b"])], signal="NONE"),
            "UNKNOWN_SIGNAL",
        ),
    ],
)
async def test_stamps_that_are_refused(request_message: control_service_pb2.RevokeByStampRequest, code: str) -> None:
    async with serving() as wire:
        assert await refused(wire.control.RevokeByStamp(request_message, timeout=BOUND)) == (INVALID, code)


@pytest.mark.parametrize(
    ("attachment", "status"),
    [
        (graph_pb2.Attachment(kind=REPLACE, node=b"short"), (INVALID, "MALFORMED")),
        (graph_pb2.Attachment(node=b"n" * 16), (INVALID, "MALFORMED")),
        (graph_pb2.Attachment(kind=REPLACE, node=b"n" * 16, final=9), (INVALID, "DANGLING_EDGE")),
        (graph_pb2.Attachment(kind=REPLACE, node=b"n" * 16, token=7), (PRECONDITION, "STALE_ATTEMPT")),
        (graph_pb2.Attachment(kind=MEMBER, node=b"n" * 16, token=7), (PRECONDITION, "STALE_ATTEMPT")),
    ],
)
async def test_attachments_that_are_refused(
    attachment: graph_pb2.Attachment, status: tuple[grpc.StatusCode, str]
) -> None:
    async with serving() as wire:
        chunk = call()
        chunk.attachment.CopyFrom(attachment)
        assert await refused(wire.submit(chunk)) == status
        await wire.works()


async def test_a_group_of_a_wrong_length_is_refused() -> None:
    async with serving() as wire:
        chunk = call()
        chunk.runs[0].group = b"short"
        assert await refused(wire.submit(chunk)) == (INVALID, "MALFORMED")


async def test_a_state_is_shown_with_what_was_said_and_refused_at_the_end() -> None:
    async with serving() as wire:
        chunk = call(id="mine")
        await wire.submit(chunk)
        meta = value_pb2.Value(data=b'{"done": 1}')
        await ask(wire, "UpdateState", pb.UpdateStateRequest(id="mine", state="HALFWAY", meta=meta))
        nodes = pb.NodeSet(ids=["mine"])
        [result] = (await ask(wire, "GetResults", pb.GetResultsRequest(nodes=nodes, details=True))).results
        assert (result.custom_state, result.meta.data) == ("HALFWAY", b'{"done": 1}')
        assert (result.details.task, result.details.queue, result.details.payload) == ("t", "default", b"[[],{}]")
        worker = await wire.work()
        await worker.run(1)
        [result] = await wire.watch(nodes)
        assert not result.custom_state
        late = ask(wire, "UpdateState", pb.UpdateStateRequest(id="mine", state="HALFWAY"))
        assert await refused(late) == (PRECONDITION, "SETTLED")


async def test_progress_of_a_worker_is_shown_and_a_bad_one_ends_its_stream() -> None:
    async with serving() as wire:
        chunk = call(id="mine")
        await wire.submit(chunk)
        worker = await wire.work()
        [token] = await worker.have(1)
        told = {"state": "HALFWAY", "meta": {"data": b"1"}}
        await worker.report(reports=[{"token": token, "progressed": told}])
        [result] = (await ask(wire, "GetResults", pb.GetResultsRequest(nodes=pb.NodeSet(ids=["mine"])))).results
        assert (result.custom_state, result.state) == ("HALFWAY", value_pb2.STATE_RECEIVED)
        await worker.say(reports=[{"token": token, "progressed": {"state": "SUCCESS"}}])
        assert await worker.end() == (INVALID, "BAD_STATE")


async def test_what_is_forgotten_is_unknown() -> None:
    async with serving() as wire:
        await wire.submit(call(id="mine"))
        worker = await wire.work()
        await worker.run(1)
        await wire.watch(pb.NodeSet(ids=["mine"]))
        answer = await ask(wire, "Forget", pb.ForgetRequest(ids=["mine", "nobody"]))
        assert (answer.forgotten, list(answer.unknown)) == (1, ["nobody"])
        [result] = (await ask(wire, "GetResults", pb.GetResultsRequest(nodes=pb.NodeSet(ids=["mine"])))).results
        assert not result.known


async def test_a_group_is_saved_restored_and_deleted() -> None:
    async with serving() as wire:
        await ask(wire, "SaveGroup", pb.SaveGroupRequest(id="g", data=b"members"))
        assert (await ask(wire, "RestoreGroup", pb.RestoreGroupRequest(id="g"))).data == b"members"
        await ask(wire, "DeleteGroup", pb.DeleteGroupRequest(id="g"))
        assert await refused(ask(wire, "RestoreGroup", pb.RestoreGroupRequest(id="g"))) == (NOT_FOUND, "UNKNOWN_GROUP")


async def test_a_value_of_many_leaves_is_fetched_in_parts() -> None:
    count = limits.VALUE_LEAVES + 100
    async with serving() as wire:
        chunk = calls(count)
        join = text_id(chunk.graph, count)
        await wire.submit(chunk)
        no_value = [part async for part in _failing(wire, join)]
        assert no_value == [(PRECONDITION, "NO_VALUE")]
        worker = await wire.work(capacity=count)
        await worker.run(count)
        await wire.watch(ranges(chunk.graph, 1, count))
        [result] = (await ask(wire, "GetResults", pb.GetResultsRequest(nodes=pb.NodeSet(ids=[join])))).results
        assert result.value_apart
        pages = wire.client.FetchValue(pb.FetchValueRequest(id=join), timeout=BOUND)
        parts = [part async for page in pages for part in page.parts]
        assert [part.kind for part in (parts[0], parts[-1])] == [value_pb2.PART_KIND_OPEN, value_pb2.PART_KIND_CLOSE]
        assert [part.data for part in parts[1:-1]] == [b"1"] * count


async def _failing(wire: Wire, node: str) -> Any:
    try:
        async for _ in wire.client.FetchValue(pb.FetchValueRequest(id=node), timeout=BOUND):
            raise AssertionError("it has a value")
    except grpc.aio.AioRpcError as error:
        from tests.coordinator.support.serving import reason

        yield reason(error)


@pytest.mark.parametrize("own_id", ["mine", ""])
async def test_a_watch_may_come_before_the_submit(own_id: str) -> None:
    async with serving() as wire:
        chunk = call(id=own_id)
        text = own_id or text_id(chunk.graph, 0)
        session = await wire.session()
        await session.say(watches=[pb.NodeSet(ids=[text], wait_for_submit=True)])
        await wire.works()
        await wire.submit(chunk)
        worker = await wire.work()
        await worker.run(1)
        answer = await session.read(lambda message: message.results or message.successes)
        assert answer is not None
        assert not answer.refused


async def test_what_can_never_be_submitted_is_refused_at_once() -> None:
    async with serving() as wire:
        chunk = call()
        await wire.submit(chunk)
        session = await wire.session()
        await session.say(watches=[pb.NodeSet(ids=[text_id(chunk.graph, 5)], wait_for_submit=True)])
        answer = await session.read(lambda message: message.refused)
        assert answer is not None
        assert answer.refused[0].refusal.code == "UNKNOWN_NODE"
        assert mint() != chunk.graph
