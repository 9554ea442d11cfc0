"""What stands between the transport and every service: how refusals travel. Who may call is `access`.

Services raise `Refusal` and know nothing of statuses.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from operator import methodcaller
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc.shortening import SMALL, shortened
from grpcflow_protos.v1 import client_service_pb2, graph_pb2, worker_service_pb2
from grpcflow_protos.wire_parts import LARGE, Apart, taken_apart

log = logging.getLogger(__name__)

#: Methods whose requests may hold large values, with the fields that lead to these: what comes of them may be `Apart`.
_LARGE_VALUES: Final[Mapping[str, Sequence[int]]] = MappingProxyType(
    {
        "/grpcflow.v1.ClientService/Session": (
            client_service_pb2.SessionRequest.SUBMITS_FIELD_NUMBER,
            graph_pb2.GraphChunk.RUNS_FIELD_NUMBER,
            graph_pb2.NodeRun.PAYLOADS_FIELD_NUMBER,
        ),
        "/grpcflow.v1.WorkerService/Work": (
            worker_service_pb2.WorkRequest.VALUES_FIELD_NUMBER,
            worker_service_pb2.ReportedValues.VALUES_FIELD_NUMBER,
        ),
    }
)


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Turns refusals into statuses with details, unparsable bytes into MALFORMED, and defects into INTERNAL."""

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Wrap the method's behaviour."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/grpcflow."):
            return handler
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        method = handler_call_details.method

        async def one(request: Any, context: Any) -> Any:
            try:
                return await behaviour(_checked(request, handler.request_streaming), context)
            except Exception as error:  # noqa: BLE001  # a defect is told as INTERNAL, and logged
                await _abort_for(context, error, method)

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for response in behaviour(_checked(request, handler.request_streaming), context):
                    yield response
            except Exception as error:  # noqa: BLE001  # a defect is told as INTERNAL, and logged
                await _abort_for(context, error, method)

        parse = _tolerant(handler.request_deserializer, _LARGE_VALUES.get(method, ()))
        return with_behaviour(handler, one, many, parse, _serialize)


class Malformed:
    """Stands for a message that could not be parsed."""


def _tolerant(deserializer: Callable[[bytes], Any], large: Sequence[int]) -> Callable[[bytes], Any]:
    def parse(data: bytes) -> Any:
        is_large = large and len(data) >= LARGE
        data, values = taken_apart(data, large) if is_large else (data, [])
        try:
            message = deserializer(data)
        except DecodeError:
            return Malformed()
        if values:
            return Apart(message, values)
        return message if len(data) <= SMALL else shortened(message)

    return parse


#: Also of a `Parted`, which is no message.
_serialize = methodcaller("SerializeToString")

_MALFORMED = "the message cannot be parsed: send what the .proto files of grpcflow.v1 describe"


def _checked(request: Any, streaming: bool) -> Any:
    if streaming:
        return _checked_stream(request)
    if isinstance(request, Malformed):
        raise Refusal("MALFORMED", _MALFORMED)
    return request


async def _checked_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, Malformed):
            raise Refusal("MALFORMED", _MALFORMED)
        yield request


def with_behaviour(handler: Any, one: Any, many: Any, deserializer: Any = None, serializer: Any = None) -> Any:
    """Return the handler with another behaviour of the same shape."""
    parse, write = deserializer or handler.request_deserializer, serializer or handler.response_serializer
    make: dict[tuple[bool, bool], Any] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    behaviour = many if handler.response_streaming else one
    return make[handler.request_streaming, handler.response_streaming](behaviour, parse, write)


async def _abort_for(context: Any, error: Exception, method: str) -> None:
    if isinstance(error, Refusal):
        await abort(context, error)
    if isinstance(error, grpc.aio.AbortError):
        raise error
    log.error("a defect in %s", method, exc_info=error)
    await context.abort(
        grpc.StatusCode.INTERNAL, f"a defect of the coordinator: {type(error).__name__}; its log has more"
    )


async def abort(context: Any, refusal: Refusal) -> None:
    """End a call with a refusal's status, its code, its cure, and when to come back where that is known."""
    number: int = refusal.status.value[0]
    info = error_details_pb2.ErrorInfo(reason=refusal.code, domain="grpcflow", metadata={"cure": refusal.message})
    details = [any_pb2.Any()]
    details[0].Pack(info)
    if refusal.retry_after is not None:
        hint = error_details_pb2.RetryInfo()
        hint.retry_delay.FromMilliseconds(int(refusal.retry_after * 1000))
        details.append(any_pb2.Any())
        details[1].Pack(hint)
    status = status_pb2.Status(code=number, message=refusal.message, details=details)
    rich = rpc_status.to_status(status)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)
