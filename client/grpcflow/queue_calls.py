"""Queues as calls: purge, pause and resume them, and revoke calls by what they call. Knows the wire's messages."""

from typing import Any, Final

from grpcflow.calls import Calls
from grpcflow_protos.v1 import control_service_pb2, control_service_pb2_grpc

__all__ = ["QueueCalls"]

#: Seconds that a coordinator has to go through all that waits.
_TIME: Final = 60.0


class QueueCalls:
    """Calls to the control service that are about queues.

    All raise InvalidRequest for a name that is empty or too long, and CoordinatorUnavailable or TimeoutError where the
    coordinator could not be reached or did not answer.
    """

    _calls: Calls

    async def _queue_call(self, method: str, request: Any) -> Any:
        return await self._calls.request(
            lambda channel, left: getattr(control_service_pb2_grpc.ControlServiceStub(channel), method)(
                request, timeout=left
            ),
            timeout=_TIME,
        )

    async def apurge_queue(self, queue: str) -> int:
        """Revoke what stands in a queue now; return how many calls that were."""
        answer = await self._queue_call("PurgeQueue", control_service_pb2.PurgeQueueRequest(queue=queue))
        revoked: int = answer.revoked
        return revoked

    async def apause_queue(self, queue: str) -> None:
        """Let nothing of a queue be handed out, durably."""
        await self._queue_call("PauseQueue", control_service_pb2.PauseQueueRequest(queue=queue))

    async def aresume_queue(self, queue: str) -> None:
        """End such a pause."""
        await self._queue_call("ResumeQueue", control_service_pb2.ResumeQueueRequest(queue=queue))

    async def arevoke_matching(self, task: str, queue: str, terminate: bool, signal: str) -> int:
        """Revoke every call that has not ended and matches; return how many are revoked, now or soon.

        Args:
            task: Pattern of task names; empty: any.
            queue: Name of the queue; empty: any.
            terminate: True: stop the ones that run.
            signal: Name of the signal for a child process.
        """
        request = control_service_pb2.RevokeMatchingRequest(task=task, queue=queue, terminate=terminate, signal=signal)
        answer = await self._queue_call("RevokeMatching", request)
        revoked: int = answer.revoked
        return revoked
