"""From gRPC statuses and refusals to grpcflow's own errors: the one place that knows which is which.

May import grpc; is imported by the connection only, at first use.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import grpc

from grpcflow import errors

if TYPE_CHECKING:
    from grpcflow_protos.v1 import client_service_pb2

__all__ = [
    "details_of",
    "error_for",
    "error_of_call",
    "error_of_refusal",
    "is_passing",
    "reason_of_call",
    "retry_after",
    "status_of",
]

_BY_CODE: Final[Mapping[str, type[errors.RequestFailed]]] = {
    "BAD_STATE": errors.InvalidRequest,
    "ID_TAKEN": errors.AlreadyExists,
    "MESSAGE_TOO_LARGE": errors.PayloadTooLarge,
    "NO_VALUE": errors.InvalidRequest,
    "PAYLOAD_TOO_LARGE": errors.PayloadTooLarge,
    "SETTLED": errors.InvalidRequest,
    "STALE_ATTEMPT": errors.StaleAttempt,
    "STILL_RUNNING": errors.StillRunning,
    "TOO_LARGE": errors.PayloadTooLarge,
    "UNKNOWN_DESTINATION": errors.UnknownDestination,
    "UNKNOWN_GRAPH": errors.NotFound,
    "UNKNOWN_GROUP": errors.NotFound,
    "UNKNOWN_NAMESPACE": errors.RequestFailed,  # and nobody may take it for a task that is not there
    "UNKNOWN_NODE": errors.NotFound,
}
_BY_STATUS: Final[Mapping[int, type[errors.GrpcflowError]]] = {
    grpc.StatusCode.ALREADY_EXISTS.value[0]: errors.AlreadyExists,
    grpc.StatusCode.DEADLINE_EXCEEDED.value[0]: errors.TimeoutError,
    grpc.StatusCode.INVALID_ARGUMENT.value[0]: errors.InvalidRequest,
    grpc.StatusCode.NOT_FOUND.value[0]: errors.NotFound,
    grpc.StatusCode.OUT_OF_RANGE.value[0]: errors.InvalidRequest,
    grpc.StatusCode.UNAVAILABLE.value[0]: errors.CoordinatorUnavailable,
}
#: Statuses that may be gone at the next try; all others would come again.
_PASSING: Final = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)
_DETAILS_KEY: Final = "grpc-status-details-bin"


def error_for(status: int, code: str, message: str, cure: str = "") -> errors.GrpcflowError:
    """Return the error that stands for a status.

    Args:
        status: Number of the gRPC status.
        code: The stable code, such as ``GRAPH_CYCLE``; empty where there is none.
        message: What is wrong, for people.
        cure: What to do, where it is known apart.
    """
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, errors.RequestFailed)
    return kind(message or code or f"the coordinator answered with gRPC status {status}", code=code, cure=cure)


def error_of_refusal(refusal: "client_service_pb2.Refusal") -> errors.GrpcflowError:
    """Return the error for a refusal that came on a stream."""
    return error_for(refusal.status, refusal.code, refusal.message)


def is_passing(error: grpc.RpcError) -> bool:
    """Return whether trying again may help, where what was asked may be asked twice."""
    return status_of(error) in _PASSING


def status_of(error: grpc.RpcError) -> grpc.StatusCode:
    """Return the status that a call ended with."""
    status = _ask(error, "code")
    return status if isinstance(status, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def details_of(error: grpc.RpcError) -> str:
    """Return what a failed call says for people."""
    return str(_ask(error, "details") or "")


def reason_of_call(error: grpc.RpcError) -> tuple[str, str]:
    """Return the stable code and the cure that a failed call carries; empty texts where there are none."""
    from google.rpc import error_details_pb2

    for detail in _details(error):
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason, info.metadata.get("cure", "")
    return "", ""


def retry_after(error: grpc.RpcError) -> float | None:
    """Return after how many seconds the coordinator asks to try again; None where it does not say.

    Who is asked to has not been served: nothing of what was asked was done.
    """
    if status_of(error) is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    from google.rpc import error_details_pb2

    for detail in _details(error):
        hint = error_details_pb2.RetryInfo()
        if detail.Unpack(hint):
            return float(hint.retry_delay.ToMilliseconds()) / 1000
    return None


def _details(error: grpc.RpcError) -> Sequence[Any]:
    """Return the details of the status that a failed call ended with."""
    from google.rpc import status_pb2

    for key, value in _ask(error, "trailing_metadata") or ():
        if key == _DETAILS_KEY:
            return tuple(status_pb2.Status.FromString(value).details)
    return ()


def error_of_call(error: grpc.RpcError) -> errors.GrpcflowError:
    """Return the error for a call that failed."""
    code, cure = reason_of_call(error)
    return error_for(status_of(error).value[0], code, details_of(error), cure)


def _ask(error: grpc.RpcError, method: str) -> Any:
    """Call a method of the failed call; the errors that grpc raises are calls too, which their type does not say."""
    found = getattr(error, method, None)
    return found() if callable(found) else None
