"""What stands between the transport and every service: who may call, and how refusals travel.

One interceptor checks the role, one turns exceptions into statuses. Services raise `Refusal` and know
neither.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from grpcflow_coordinator.errors import Refusal

log = logging.getLogger(__name__)

#: Service -> roles that may call it. A role is what a peer proves to be.
ROLE_TABLE: Final[dict[str, frozenset[str]]] = {
    "grpcflow.v1.ClientService": frozenset({"client", "worker", "operator"}),
    "grpcflow.v1.WorkerService": frozenset({"worker"}),
    "grpcflow.v1.ControlService": frozenset({"client", "operator"}),
    "grpcflow.v1.GraphService": frozenset({"client", "worker", "operator"}),
    "grpcflow.v1.EventService": frozenset({"client", "worker", "operator"}),
    "grpcflow.v1.ScheduleService": frozenset({"client", "worker", "operator"}),
    "grpc.health.v1.Health": frozenset({"anyone"}),
    "grpc.reflection.v1alpha.ServerReflection": frozenset({"client", "operator"}),
}

#: The roles of a peer on loopback, and of everyone under --insecure.
ALL_ROLES: Final = frozenset({"anyone", "client", "worker", "operator"})

#: How a service's method tells whose roles it sees: from the call's metadata.
RolesOf = Callable[[Any], frozenset[str]]


def every_role(_details: Any) -> frozenset[str]:
    """Grant every role: what holds on loopback, where only this machine's users can connect."""
    return ALL_ROLES


class RoleInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls of methods that the caller has no role for.

    Args:
        roles_of: tells a caller's roles from the call's details.
    """

    def __init__(self, roles_of: RolesOf = every_role) -> None:
        self._roles_of = roles_of

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Let the call pass, or answer it with PERMISSION_DENIED."""
        service = handler_call_details.method.strip("/").rpartition("/")[0]
        allowed = ROLE_TABLE.get(service, frozenset({"operator"}))
        roles = self._roles_of(handler_call_details)
        handler = await continuation(handler_call_details)
        if handler is None or roles & allowed:
            return handler
        method = handler_call_details.method
        names = ", ".join(sorted(roles)) or "nobody"
        message = f"{method} is for {', '.join(sorted(allowed))}; this caller is {names}"

        async def refuse(_request: Any, context: Any) -> None:
            await abort(context, Refusal("ROLE_FORBIDDEN", message))

        async def refuse_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await refuse(request, context)
            yield  # never reached: it makes this the generator that a streaming method is

        return _with_behaviour(handler, refuse, refuse_stream)


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

        return _with_behaviour(handler, one, many, _tolerant(handler.request_deserializer))


class Malformed:
    """Stands for a message that could not be parsed."""


def _tolerant(deserializer: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parse(data: bytes) -> Any:
        try:
            return deserializer(data)
        except DecodeError:
            return Malformed()

    return parse


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


def _with_behaviour(handler: Any, one: Any, many: Any, deserializer: Any = None) -> Any:
    """Return the handler with another behaviour of the same shape."""
    parse = deserializer or handler.request_deserializer
    make: dict[tuple[bool, bool], Any] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    behaviour = many if handler.response_streaming else one
    return make[handler.request_streaming, handler.response_streaming](behaviour, parse, handler.response_serializer)


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
    """End a call with a refusal's status, its code and its cure."""
    number: int = refusal.status.value[0]
    info = error_details_pb2.ErrorInfo(reason=refusal.code, domain="grpcflow", metadata={"cure": refusal.message})
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(code=number, message=refusal.message, details=[detail])
    rich = rpc_status.to_status(status)
    await context.abort(rich.code, rich.details, rich.trailing_metadata)
