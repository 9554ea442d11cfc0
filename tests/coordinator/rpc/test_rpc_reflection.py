"""A client that knows nothing of ours but an address drives the cluster: it learns every request by reflection."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tests.coordinator.rpc.test_rpc_control import answer_all
from tests.coordinator.support.serving import BOUND, call, serving

OURS = "grpcflow.v1."


class Stranger:
    """A generic client: the descriptors that it uses came over the wire, into a pool that holds nothing else."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        database: Any = ProtoReflectionDescriptorDatabase
        self.database = database(self.channel)
        self.pool: Any = DescriptorPool(self.database)

    def methods(self) -> dict[str, MethodDescriptor]:
        """Returns each method that the server has, by `Service.Method`."""
        return {
            f"{name.rpartition('.')[2]}.{method.name}": method
            for name in self.database.get_services()
            for method in self.pool.FindServiceByName(name).methods
        }

    def call(self, name: str, **given: Any) -> Any:
        """Calls a method; returns its answer, or the list of those that stream."""
        method = self.methods()[name]
        path = f"/{method.containing_service.full_name}/{method.name}"
        kind = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        answer_class: Any = GetMessageClass(method.output_type)
        request: Any = GetMessageClass(method.input_type)(**given)
        ask: Any = kind(path, type(request).SerializeToString, answer_class.FromString)
        answer = ask(request, timeout=BOUND)
        return list(answer) if method.server_streaming else answer

    def number(self, enum: str, value: str) -> int:
        """Returns the number of a named value."""
        found: int = self.pool.FindEnumTypeByName(OURS + enum).values_by_name[value].number
        return found


@pytest.fixture
def strangers() -> Iterator[list[Stranger]]:
    """Those who came, whose channels are closed behind them."""
    came: list[Stranger] = []
    yield came
    for one in came:
        one.channel.close()


def drive(client: Stranger) -> dict[str, Any]:
    """Discover, ask a worker, pause a queue, revoke by id, read what happened."""
    replies = client.call("ControlService.Inspect", command="ping", timeout_ms=5_000)
    answered = client.number("ReplyStatus", "REPLY_STATUS_ANSWERED")
    client.call("ControlService.PauseQueue", queue="default")
    lanes = client.call("ControlService.ListQueues")
    revoked = client.call("ControlService.Revoke", ids=["mine", "nobody"])
    kinds = [client.number("EventKind", f"EVENT_KIND_TASK_{name}") for name in ("SENT", "REVOKED")]
    events = [each for batch in client.call("EventService.ReadEvents", kinds=kinds) for each in batch.events]
    return {
        "replies": {one.worker: json.loads(one.reply) for one in replies if one.status == answered},
        "paused": list(lanes.paused),
        "revoked": (revoked.revoked, list(revoked.unknown)),
        "events": [(kinds.index(each.kind), each.task, each.queue) for each in events],
    }


async def test_a_generic_client_drives_the_cluster_by_reflection_alone(strangers: list[Stranger]) -> None:
    async with serving() as wire:
        workers = [await wire.work(name=name) for name in ("w1@h", "w2@h")]
        answering = [asyncio.create_task(answer_all(worker)) for worker in workers]
        await wire.submit(call(id="mine", task="nobody"))
        strangers.append(Stranger(wire.coordinator.address))
        async with asyncio.timeout(BOUND):
            told = await asyncio.to_thread(drive, strangers[0])
        assert told == {
            "replies": {"w1@h": {"ok": "pong"}, "w2@h": {"ok": "pong"}},
            "paused": ["default"],
            "revoked": (1, ["nobody"]),
            "events": [(0, "nobody", "default"), (1, "nobody", "default")],
        }
        for task in answering:
            task.cancel()


async def test_every_method_has_a_request_of_its_own_and_is_told_by_reflection(strangers: list[Stranger]) -> None:
    async with serving() as wire:
        strangers.append(Stranger(wire.coordinator.address))
        methods = await asyncio.to_thread(strangers[0].methods)
    own = {name: method for name, method in methods.items() if method.containing_service.full_name.startswith(OURS)}
    services = {name.partition(".")[0] for name in own}
    assert services == {f"{name}Service" for name in ("Client", "Control", "Event", "Graph", "Schedule", "Worker")}
    requests = [method.input_type.full_name for method in own.values()]
    shared = {name for name in requests if requests.count(name) > 1}
    assert shared <= {f"{OURS}GraphChunk"}, "two methods take the same message, so neither can grow by itself"
