"""Every rpc with no, a wrong, an expired, a lesser and a right token, in the own and in a foreign namespace; queues and
limits; tokens that change.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tests.coordinator.security.token_files import bearing, give, take_away
from tests.coordinator.support.serving import BOUND, Wire, call, hello, reason, refused, serving

import grpcflow_protos.v1 as protos
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.engine import system_now
from grpcflow_coordinator.rpc.roles import ROLES, Rule, rule_of
from grpcflow_coordinator.security.token_file import Role, RoleLimits, read_file, write_file
from grpcflow_coordinator.security.tokens import Identity
from grpcflow_protos.v1 import (
    client_service_pb2,
    control_service_pb2,
    event_service_pb2,
    graph_pb2,
    graph_service_pb2,
    schedule_service_pb2,
    worker_service_pb2,
)

FILES = (
    client_service_pb2,
    worker_service_pb2,
    control_service_pb2,
    event_service_pb2,
    graph_service_pb2,
    schedule_service_pb2,
    health_pb2,
    reflection_pb2,
)
METHODS: tuple[MethodDescriptor, ...] = tuple(
    method for file in FILES for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
)
DENIED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
REFUSED = DENIED | {grpc.StatusCode.NOT_FOUND}

#: Long enough for any refusal; streams that are served wait for news.
SERVED = 0.3


def path_of(method: MethodDescriptor) -> str:
    assert method.containing_service is not None
    return f"/{method.containing_service.full_name}/{method.name}"


def lesser(rule: Rule) -> frozenset[Role]:
    """Return all roles that do not suffice."""
    return frozenset(
        role for role in Role if not any(Identity(roles=frozenset({role})).may(needed) for needed in rule.roles)
    )


async def outcome(wire: Wire, method: MethodDescriptor, metadata: Any, wait: float = BOUND) -> tuple[Any, str]:
    """Make a call with an empty request; return its status and code, and None for one that is served.

    Where a refusal overtakes what is still being sent, gRPC's own client says INTERNAL instead, now and then.
    """
    found: tuple[Any, str] = (grpc.StatusCode.INTERNAL, "")
    for _ in range(4):
        found = await outcome_once(wire, method, metadata, wait)
        if found[0] is not grpc.StatusCode.INTERNAL:
            break
    return found


async def outcome_once(wire: Wire, method: MethodDescriptor, metadata: Any, wait: float) -> tuple[Any, str]:
    request = message_factory.GetMessageClass(method.input_type)()
    shape = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    make = getattr(wire.channel, shape)(path_of(method), request_serializer=lambda one: one.SerializeToString())
    one = iter([request]) if method.client_streaming else request
    made = make(one, metadata=metadata)
    try:
        async with asyncio.timeout(wait):
            if method.server_streaming:
                await made.read()
                return (await made.code() if made.done() else None), ""
            await made
    except TimeoutError:
        return None, ""
    except grpc.aio.AioRpcError as error:
        return reason(error) if error.code() in REFUSED else (error.code(), "")
    finally:
        made.cancel()
    return None, ""


def test_the_table_has_each_rpc_of_each_service_and_no_other() -> None:
    assert {path_of(method) for method in METHODS} == {f"/{name}/{one}" for name, row in ROLES.items() for one in row}
    assert rule_of("/grpcflow.v1.ClientService/NewOne").roles == (Role.ADMIN,)
    services = {file.DESCRIPTOR.name for file in FILES if file.DESCRIPTOR.services_by_name}
    folder = Path(str(protos.__file__)).parent
    ours = {f"grpcflow/v1/{one.name.removesuffix('_pb2.py')}.proto" for one in folder.glob("*_service_pb2.py")}
    assert ours <= services, "a service has no row here"


async def test_every_rpc_with_every_kind_of_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    past = datetime.now(UTC) - timedelta(seconds=1)
    full = give(path, Role)
    expired = give(path, Role, until=past)
    wrong = full[:-1] + ("A" if full[-1] != "A" else "B")
    less = {rule: give(path, sorted(lesser(rule))) for row in ROLES.values() for rule in row.values() if rule.roles}
    least = {role: give(path, [role]) for role in Role}
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED

    async def check(wire: Wire, method: MethodDescriptor) -> None:
        rule, name = rule_of(path_of(method)), path_of(method)
        if not rule.roles:
            for metadata in ((), bearing(wrong), bearing(expired)):
                assert (await outcome(wire, method, metadata, SERVED))[0] not in DENIED, name
            return
        assert await outcome(wire, method, ()) == (unauthenticated, "TOKEN_MISSING"), name
        assert await outcome(wire, method, bearing(wrong)) == (unauthenticated, "TOKEN_WRONG"), name
        assert await outcome(wire, method, bearing(expired)) == (unauthenticated, "TOKEN_EXPIRED"), name
        forbidden = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_FORBIDDEN")
        assert await outcome(wire, method, bearing(less[rule])) == forbidden, name
        for right in (full, *(least[role] for role in rule.roles)):
            assert (await outcome(wire, method, bearing(right), SERVED))[0] not in DENIED, name

    async with serving(tokens=str(path)) as wire:
        await asyncio.gather(*(check(wire, method) for method in METHODS))


async def test_every_rpc_with_every_kind_of_token_in_the_own_and_in_a_foreign_namespace(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    past = datetime.now(UTC) - timedelta(seconds=1)
    mine, theirs, chief = (give(path, Role, namespace=name) for name in ("mine", "theirs", ""))
    expired = give(path, Role, namespace="mine", until=past)
    wrong = mine[:-1] + ("A" if mine[-1] != "A" else "B")
    below = [role for role in Role if role is not Role.ADMIN]
    unchief = give(path, below)
    less = {
        rule: give(path, sorted(lesser(rule)), namespace="mine")
        for row in ROLES.values()
        for rule in row.values()
        if rule.roles
    }
    unauthenticated, denied = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED

    async def check(wire: Wire, method: MethodDescriptor) -> None:
        rule, name = rule_of(path_of(method)), path_of(method)
        if not rule.roles:
            for namespace in ("mine", "nowhere"):
                assert (await outcome(wire, method, bearing("", namespace), SERVED))[0] not in DENIED, name
            return
        refusals = [
            ("", "mine", unauthenticated, "TOKEN_MISSING"),
            (wrong, "mine", unauthenticated, "TOKEN_WRONG"),
            (expired, "mine", unauthenticated, "TOKEN_EXPIRED"),
            (less[rule], "mine", denied, "ROLE_FORBIDDEN"),
            (less[rule], "theirs", denied, "ROLE_FORBIDDEN"),
            (mine, "theirs", denied, "NAMESPACE_FORBIDDEN"),
            (theirs, "mine", denied, "NAMESPACE_FORBIDDEN"),
            (mine, "nowhere", denied, "NAMESPACE_FORBIDDEN"),
            (chief, "nowhere", grpc.StatusCode.NOT_FOUND, "UNKNOWN_NAMESPACE"),
        ]
        if Role.ADMIN not in rule.roles:
            refusals.append((unchief, "mine", denied, "NAMESPACE_FORBIDDEN"))
        for token, namespace, status, code in refusals:
            found = await outcome(wire, method, bearing(token, namespace))
            assert found == (status, code), f"{name} of {token[:12]} in {namespace}"
        for token, namespace in ((mine, ""), (mine, "mine"), (chief, "mine")):
            assert (await outcome(wire, method, bearing(token, namespace), SERVED))[0] not in DENIED, name

    async with serving(tokens=str(path)) as wire:
        await asyncio.gather(*(check(wire, method) for method in METHODS))


@pytest.mark.parametrize(
    "shown",
    ["gft", "gft__", "Bearer", "Bearer ", "Bearer gft_x_y", "Basic gft", "Bearer " + "a" * 4000],
)
async def test_what_is_no_token_is_a_wrong_one(tmp_path: Path, shown: str) -> None:
    path = tmp_path / "tokens.json"
    give(path, Role)
    async with serving(tokens=str(path)) as wire:
        request = control_service_pb2.ListQueuesRequest()
        shown_so = wire.control.ListQueues(request, metadata=(("authorization", shown),))
        assert await refused(shown_so) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_WRONG")


async def test_the_secret_of_one_token_and_the_id_of_another_are_none(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    one, other = (give(path, Role).split("_", 2) for _ in range(2))
    async with serving(tokens=str(path)) as wire:
        mixed = bearing(f"gft_{one[1]}_{other[2]}")
        asked = wire.control.ListQueues(control_service_pb2.ListQueuesRequest(), metadata=mixed)
        assert await refused(asked) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_WRONG")


# --- queues and limits ---------------------------------------------------------------------------------------------


def piece(queue: str, payload: bytes = b"[[],{}]") -> graph_pb2.GraphChunk:
    chunk = call(payload)
    chunk.templates[0].queue = queue
    return chunk


async def test_the_queues_of_a_token_hold_for_what_it_submits_and_serves(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = bearing(give(path, Role, queues=["web.*", "mail"]))
    forbidden = (grpc.StatusCode.PERMISSION_DENIED, "QUEUE_FORBIDDEN")
    async with serving(tokens=str(path)) as wire:
        for queue in ("web.fast", "mail"):
            await wire.client.Submit(client_service_pb2.SubmitRequest(chunks=[piece(queue)]), metadata=token)
        for queue in ("", "default", "mail2", "web"):
            request = client_service_pb2.SubmitRequest(chunks=[piece(queue)])
            assert await refused(wire.client.Submit(request, metadata=token)) == forbidden
        assert await first_of(wire.workers.Work, hello(queues=["mail", "default"]), token) == forbidden
        assert await first_of(wire.workers.Work, hello(name="b@h", queues=["mail"]), token) is None
        put = schedule_service_pb2.PutSchedulesRequest(
            schedules=[schedule_service_pb2.Schedule(name="s", graph=piece("other"))]
        )
        put.schedules[0].interval.every.seconds = 1
        method: Any = wire.channel.unary_unary(
            "/grpcflow.v1.ScheduleService/PutSchedules",
            request_serializer=schedule_service_pb2.PutSchedulesRequest.SerializeToString,
        )
        assert await refused(method(put, metadata=token)) == forbidden


async def test_a_worker_may_not_take_up_a_queue_that_is_not_its_own(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = bearing(give(path, [Role.WORK], queues=["mail"]))
    async with serving(tokens=str(path)) as wire:
        made = wire.workers.Work(metadata=token)
        await made.write(hello(queues=["mail"]))
        await made.read()
        await made.write(worker_service_pb2.WorkRequest(sequence=2, subscription_changed=True, queues=["mail", "x"]))
        assert await refused(drained(made)) == (grpc.StatusCode.PERMISSION_DENIED, "QUEUE_FORBIDDEN")


async def test_on_a_session_each_submission_is_looked_at_and_the_stream_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = bearing(give(path, [Role.SUBMIT], queues=["mail"]))
    looking = bearing(give(path, [Role.INSPECT]))
    async with serving(tokens=str(path)) as wire:
        good, bad = piece("mail"), piece("other")
        assert await answers(wire, token, bad, good) == ({good.graph}, {(bad.graph, "QUEUE_FORBIDDEN")})
        assert await answers(wire, looking, good) == (set(), {(good.graph, "ROLE_FORBIDDEN")})


async def test_a_session_of_a_worker_reads_no_results(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = bearing(give(path, [Role.WORK]))
    async with serving(tokens=str(path)) as wire:
        made = wire.client.Session(metadata=token)
        await made.write(client_service_pb2.SessionRequest(hello=client_service_pb2.ClientHello(revision=1)))
        await made.read()
        nodes = client_service_pb2.NodeSet(ids=["mine"], wait_for_submit=True)
        await made.write(client_service_pb2.SessionRequest(watches=[nodes]))
        async with asyncio.timeout(BOUND):
            answer = await made.read()
        assert [one.refusal.code for one in answer.refused] == ["ROLE_FORBIDDEN"]
        made.cancel()


async def test_limits_of_roles_hold_and_the_widest_of_somebodys_roles_counts(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    small, wide = bearing(give(path, [Role.SUBMIT])), bearing(give(path, [Role.SUBMIT, Role.ADMIN]))
    content = read_file(path)
    limits = {Role.SUBMIT: RoleLimits(payload=20, nodes=1)}
    write_file(path, type(content)(tokens=content.tokens, limits=limits))
    large = piece("q", b'[["' + b"x" * 30 + b'"],{}]')
    two = call()
    two.node_count = 2
    two.runs[0].count = 2
    two.runs[0].payloads.append(b"[[],{}]")
    async with serving(tokens=str(path)) as wire:
        for chunk, code in ((large, "PAYLOAD_TOO_LARGE"), (two, "NODE_LIMIT")):
            request = client_service_pb2.SubmitRequest(chunks=[chunk])
            assert (await refused(wire.client.Submit(request, metadata=small)))[1] == code
            await wire.client.Submit(request, metadata=wide)
        await wire.client.Submit(client_service_pb2.SubmitRequest(chunks=[piece("q")]), metadata=small)


# --- tokens that change --------------------------------------------------------------------------------------------


async def test_a_new_token_holds_and_a_revoked_one_ends_its_streams_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    old, other = give(path, [Role.WORK]), give(path, [Role.WORK])
    async with serving(tokens=str(path)) as wire:
        going, staying = wire.workers.Work(metadata=bearing(old)), wire.workers.Work(metadata=bearing(other))
        for stream, name in ((going, "a@h"), (staying, "b@h")):
            await stream.write(hello(name=name))
            await stream.read()
        new = give(path, [Role.WORK])
        take_away(path, old)
        assert await refused(drained(going)) == (grpc.StatusCode.UNAVAILABLE, "TOKEN_ENDED")
        assert await first_of(wire.workers.Work, hello(), bearing(old)) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "TOKEN_WRONG",
        )
        assert await first_of(wire.workers.Work, hello(name="c@h"), bearing(new)) is None
        await staying.write(worker_service_pb2.WorkRequest(sequence=2, goodbye=True))
        async with asyncio.timeout(BOUND):
            await drained(staying)  # ends well


async def test_a_stream_ends_when_its_token_expires(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = give(path, [Role.WORK], until=datetime.now(UTC) + timedelta(hours=1))
    later = 0

    def now() -> Now:
        real = system_now()
        return real._replace(wall_ms=real.wall_ms + later)

    async with serving(tokens=str(path), now=now) as wire:
        stream = wire.workers.Work(metadata=bearing(token))
        await stream.write(hello())
        await stream.read()
        later = 3_600_001
        assert await refused(drained(stream)) == (grpc.StatusCode.UNAVAILABLE, "TOKEN_ENDED")


async def drained(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def first_of(method: Any, message: Any, metadata: Any) -> tuple[grpc.StatusCode, str] | None:
    """Return how a stream is refused whose first message is this; None where it is not."""
    async with asyncio.timeout(BOUND):
        while True:
            stream = method(metadata=metadata)
            try:
                await stream.write(message)
                assert await stream.read() is not grpc.aio.EOF
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, AssertionError):
                try:
                    await drained(stream)
                except grpc.aio.AioRpcError as error:
                    if not is_cut_short(error):
                        return reason(error)
                else:
                    raise
            else:
                return None
            finally:
                stream.cancel()


def is_cut_short(error: grpc.aio.AioRpcError) -> bool:
    """Return whether grpc's own client lost the answer, as it does where it is refused while it begins to write."""
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == "Internal error from Core"


async def answers(wire: Wire, token: Any, *chunks: graph_pb2.GraphChunk) -> tuple[set[bytes], set[tuple[bytes, str]]]:
    """Submit on a session and return what was accepted and what was refused, with the codes."""
    stream = wire.client.Session(metadata=token)
    await stream.write(client_service_pb2.SessionRequest(hello=client_service_pb2.ClientHello(revision=1)))
    await stream.write(client_service_pb2.SessionRequest(submits=chunks))
    accepted: set[bytes] = set()
    turned: set[tuple[bytes, str]] = set()
    async with asyncio.timeout(BOUND):
        while len(accepted) + len(turned) < len(chunks):
            answer = await stream.read()
            accepted.update(answer.accepted)
            turned.update((one.graph, one.refusal.code) for one in answer.refused)
    stream.cancel()
    return accepted, turned


@pytest.fixture(autouse=True)
def _quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grpcflow_coordinator.security.guard.LOOK", 0.05)
