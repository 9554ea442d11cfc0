"""Calls about what the coordinator keeps: results, values in parts, tasks' own states, descriptions of groups.

Knows the wire's messages; what values mean is the codec's affair. Waiting is the session's, not this file's.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Final

from grpcflow import errors
from grpcflow.calls import ANSWER_TIME, Calls
from grpcflow.settled import Settled, settled_from
from grpcflow_protos.v1 import client_service_pb2, client_service_pb2_grpc, value_pb2

__all__ = ["IDS_PAGE", "Kept", "assemble"]

#: Most ids of one request.
IDS_PAGE: Final = 10_000
#: Nodes in one lookup that brings values.
VALUES_PAGE: Final = 1_000
#: Seconds that the coordinator has for the whole of a value that comes in parts.
_FETCH_TIME: Final = 120.0


class Kept:
    """Calls to the client service beside its stream.

    Args:
        calls: Makes them.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def alookup(
        self, ids: Sequence[str], *, states_only: bool = False, details: bool = False
    ) -> list[Settled | None]:
        """Tell how nodes stand now, without waiting.

        Args:
            ids: Ids as users know them, any number.
            states_only: True: no values.
            details: True: also how each was called.

        Returns:
            In order of the ids; None for a node that the coordinator does not know.

        Raises:
            InvalidRequest: An id is too long.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        found: list[Settled | None] = []
        page = IDS_PAGE if states_only and not details else VALUES_PAGE
        for start in range(0, len(ids), page):
            nodes = client_service_pb2.NodeSet(ids=ids[start : start + page])
            found += [settled for settled, _ in await self._results(nodes, states_only=states_only, details=details)]
        if not states_only:
            for text, settled in zip(ids, found, strict=True):
                if settled is not None and settled.value_apart:
                    await self._fetch_into(settled, text)
        return found

    async def afetch_value(self, id: str, *, timeout: float = _FETCH_TIME) -> value_pb2.Value:
        """Fetch the value of a settled node in parts, however large it is.

        Args:
            id: Its id as users know it.
            timeout: Seconds for the whole; default 120.

        Raises:
            NotFound: The coordinator does not know it, or no longer.
            InvalidRequest: It has not settled with a value (code ``NO_VALUE``).
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not send all in time.
        """
        request = client_service_pb2.FetchValueRequest(id=id)
        answers = await self._calls.request_all(
            lambda channel, left: client_service_pb2_grpc.ClientServiceStub(channel).FetchValue(request, timeout=left),
            timeout=timeout,
        )
        return assemble(part for answer in answers for part in answer.parts)

    async def aupdate_state(self, id: str, state: str, data: bytes = b"null", content_type: str = "") -> None:
        """Give a node that has not settled a state of the caller's own, durably.

        Args:
            id: Its id as users know it.
            state: The state; none of those that end a call.
            data: What is said with it, encoded.
            content_type: Content type of ``data``; empty means JSON.

        Raises:
            NotFound: The coordinator does not know it.
            InvalidRequest: It has settled (``SETTLED``), or the state cannot be given (``BAD_STATE``).
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        meta = value_pb2.Value(data=data, content_type=content_type)
        request = client_service_pb2.UpdateStateRequest(id=id, state=state, meta=meta)
        await self._calls.request(
            lambda channel, left: client_service_pb2_grpc.ClientServiceStub(channel).UpdateState(request, timeout=left)
        )

    async def aforget(self, ids: Sequence[str]) -> int:
        """Delete results: to whoever asks later their nodes are unknown.

        Args:
            ids: Ids as users know them, any number; unknown ones are passed over.

        Returns:
            How many results are forgotten, or will be once their nodes have settled.

        Raises:
            InvalidRequest: An id is too long.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        forgotten = 0
        for start in range(0, len(ids), IDS_PAGE):
            request = client_service_pb2.ForgetRequest(ids=ids[start : start + IDS_PAGE])
            forgotten += (await self._forget(request)).forgotten
        return forgotten

    async def _forget(self, request: client_service_pb2.ForgetRequest) -> client_service_pb2.ForgetResponse:
        return await self._calls.request(
            lambda channel, left: client_service_pb2_grpc.ClientServiceStub(channel).Forget(request, timeout=left)
        )

    async def asave_group(self, id: str, data: bytes) -> None:
        """Keep the description of a group for as long as results are kept; replaces the one that is there.

        Args:
            id: The group's id.
            data: The description.

        Raises:
            PayloadTooLarge, InvalidRequest, RequestFailed: It was refused; ``code`` tells why.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        request = client_service_pb2.SaveGroupRequest(id=id, data=data)
        await self._calls.request(
            lambda channel, left: client_service_pb2_grpc.ClientServiceStub(channel).SaveGroup(request, timeout=left)
        )

    async def arestore_group(self, id: str) -> bytes | None:
        """Return the description that ``save_group`` keeps; None where there is none.

        Args:
            id: The group's id.

        Raises:
            InvalidRequest: The id is too long.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        request = client_service_pb2.RestoreGroupRequest(id=id)
        try:
            answer = await self._calls.request(
                lambda channel, left: client_service_pb2_grpc.ClientServiceStub(channel).RestoreGroup(
                    request, timeout=left
                )
            )
        except errors.NotFound:
            return None
        return answer.data

    async def adelete_group(self, id: str) -> None:
        """Delete the description of a group; where there is none it does nothing.

        Args:
            id: The group's id.

        Raises:
            InvalidRequest: The id is too long.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        request = client_service_pb2.DeleteGroupRequest(id=id)
        await self._calls.request(
            lambda channel, left: client_service_pb2_grpc.ClientServiceStub(channel).DeleteGroup(request, timeout=left)
        )

    # --- below --------------------------------------------------------------------------------------------

    async def _results(
        self,
        nodes: client_service_pb2.NodeSet,
        *,
        states_only: bool = False,
        details: bool = False,
        deadline: float | None = None,
    ) -> list[tuple[Settled | None, bytes]]:
        """Ask for results, in halves where one message cannot hold them; each with its node's id."""
        request = client_service_pb2.GetResultsRequest(nodes=nodes, states_only=states_only, details=details)
        timeout = ANSWER_TIME if deadline is None else max(0.001, deadline - time.monotonic())
        try:
            answer = await self._calls.request(
                lambda channel, left: client_service_pb2_grpc.ClientServiceStub(channel).GetResults(
                    request, timeout=left
                ),
                timeout=timeout,
            )
        except errors.RequestFailed as error:
            # Without a code it is the transport's own limit that was hit.
            if len(nodes.ids) < 2 or error.code not in (errors.RequestFailed.default_code, "MESSAGE_TOO_LARGE"):
                raise
            middle = len(nodes.ids) // 2
            parts = [client_service_pb2.NodeSet(ids=half) for half in (nodes.ids[:middle], nodes.ids[middle:])]
            return [
                one
                for part in parts
                for one in await self._results(part, states_only=states_only, details=details, deadline=deadline)
            ]
        return [(settled_from(result) if result.known else None, result.node) for result in answer.results]

    async def _fetch_into(self, settled: Settled, text: str) -> None:
        """Fetch the value that did not fit into a result."""
        settled.take_value(await self.afetch_value(text))
        settled.value_apart = False


def assemble(parts: Iterable[value_pb2.ValuePart]) -> value_pb2.Value:
    """Return the value whose tree was written out in parts; any depth.

    Args:
        parts: The parts in order.

    Raises:
        RequestFailed: They are not one whole value.
    """
    found: list[value_pb2.Value] = []
    open_lists: list[list[value_pb2.Value]] = []
    for part in parts:
        if found and not open_lists:
            raise _broken("something follows its end")
        if part.kind == value_pb2.PART_KIND_OPEN:
            open_lists.append([])
            continue
        if part.kind == value_pb2.PART_KIND_DATA:
            value = value_pb2.Value(data=part.data, content_type=part.content_type)
        elif part.kind == value_pb2.PART_KIND_FAILED:
            value = value_pb2.Value(failed=part.failed)
        elif part.kind == value_pb2.PART_KIND_CLOSE and open_lists:
            value = _list_of(open_lists.pop())
        else:
            raise _broken(f"a part of kind {part.kind} stands where none may")
        (open_lists[-1] if open_lists else found).append(value)
    if not found or open_lists:
        raise _broken("its end is missing")
    return found[0]


def _list_of(values: list[value_pb2.Value]) -> value_pb2.Value:
    """Return a list as a value; one of JSON only is JSON again, so that no depth of messages is needed."""
    if all(value.WhichOneof("kind") in (None, "data") and not value.content_type for value in values):
        return value_pb2.Value(data=b"[" + b",".join(value.data or b"null" for value in values) + b"]")
    return value_pb2.Value(list=value_pb2.ValueList(values=values))


def _broken(why: str) -> errors.RequestFailed:
    message = f"the coordinator sent a value in parts that make no value: {why}; ask for it again"
    return errors.RequestFailed(message, code="BROKEN_VALUE")
