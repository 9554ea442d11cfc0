"""The part of ClientService that is not about submitting and waiting: values in parts, states, forgetting, groups.

Decode, post an event, wait, encode. No decision about tasks is made here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpcflow_coordinator import values
from grpcflow_coordinator.core.events import ForgetAsked, GroupSaved, StateUpdateAsked
from grpcflow_coordinator.core.model import NodeState, split_node
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc.asking import check_room, done
from grpcflow_coordinator.rpc.lookup import IDS_LIMIT, Lookup
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2 as pb


class Upkeep:
    """Rpcs of ClientService; mixed into it."""

    _engine: Engine
    _lookup: Lookup
    _payload_limit: int

    async def FetchValue(self, request: pb.FetchValueRequest, context: Any) -> AsyncIterator[pb.FetchValueResponse]:
        """Give the value of one settled node in parts."""
        node = self._lookup.node(request.id)
        if node is None:
            raise Refusal("UNKNOWN_NODE", f"there is no task {request.id!r}, or its result has expired")
        graph, index = split_node(node)
        outcome = self._engine.committed.outcome(graph, index)
        if outcome is None or outcome.state is not NodeState.SUCCESS:
            raise Refusal("NO_VALUE", f"the task {request.id!r} has not ended with a value: ask for its state")
        for page in values.paged(values.parts(self._engine.committed, graph, index), limits.BATCH_BYTES):
            yield pb.FetchValueResponse(parts=page)
            await asyncio.sleep(0)  # let others go on between the pages

    async def UpdateState(self, request: pb.UpdateStateRequest, context: Any) -> pb.UpdateStateResponse:
        """Give a node a state of the caller's own."""
        convert.check_name(request.id, "an id", code="ID_TOO_LONG")
        state = convert.check_state(request.state)
        meta = convert.checked_meta(request.meta, self._payload_limit)
        meta_type = convert.check_content_type(request.meta.content_type)
        await done(self._engine, lambda answer: StateUpdateAsked(answer, request.id, state, meta, meta_type))
        return pb.UpdateStateResponse()

    async def Forget(self, request: pb.ForgetRequest, context: Any) -> pb.ForgetResponse:
        """Delete results."""
        if len(request.ids) > IDS_LIMIT:
            raise Refusal("TOO_MANY_IDS", f"{len(request.ids)} ids are named; {IDS_LIMIT} are allowed at once")
        for text in request.ids:
            convert.check_name(text, "an id", code="ID_TOO_LONG")
        answer = await done(self._engine, lambda answer: ForgetAsked(answer, tuple(request.ids)))
        return pb.ForgetResponse(forgotten=answer.count, unknown=answer.unknown)

    async def SaveGroup(self, request: pb.SaveGroupRequest, context: Any) -> pb.SaveGroupResponse:
        """Keep the description of a group."""
        convert.check_name(request.id, "an id", code="ID_TOO_LONG")
        if len(request.data) > self._payload_limit:
            size = f"the description of the group has {len(request.data)} bytes; {self._payload_limit} are allowed"
            raise Refusal("PAYLOAD_TOO_LARGE", f"{size}: save smaller groups")
        check_room(self._engine)
        await done(self._engine, lambda answer: GroupSaved(answer, request.id, request.data))
        return pb.SaveGroupResponse()

    async def RestoreGroup(self, request: pb.RestoreGroupRequest, context: Any) -> pb.RestoreGroupResponse:
        """Give the description of a group."""
        convert.check_name(request.id, "an id", code="ID_TOO_LONG")
        data = self._engine.committed.saved_group(request.id)
        if data is None:
            raise Refusal("UNKNOWN_GROUP", f"no group {request.id!r} was saved, or it has expired")
        return pb.RestoreGroupResponse(data=data)

    async def DeleteGroup(self, request: pb.DeleteGroupRequest, context: Any) -> pb.DeleteGroupResponse:
        """Delete the description of a group."""
        convert.check_name(request.id, "an id", code="ID_TOO_LONG")
        await done(self._engine, lambda answer: GroupSaved(answer, request.id, None))
        return pb.DeleteGroupResponse()
