"""Results: where a call stands, its value or its error, one by one or as a group.

Importing this is light: grpc, protobuf and the codec are imported when a value is asked for.
"""

from grpcflow.result.base import EXCEPTION_STATES, READY_STATES
from grpcflow.result.eager import EagerResult
from grpcflow.result.group import GroupResult
from grpcflow.result.result_set import ResultSet
from grpcflow.result.single import AsyncResult
from grpcflow.result.tree import result_from_tuple, result_of

__all__ = [
    "EXCEPTION_STATES",
    "READY_STATES",
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultSet",
    "result_from_tuple",
    "result_of",
]
