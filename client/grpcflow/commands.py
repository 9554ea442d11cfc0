"""Remote control as calls: questions and commands to workers, revokes, and what the coordinator knows itself.

Knows the wire's messages and nothing of what the commands mean; ``grpcflow.control`` gives them their shape.
"""

import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import grpc

from grpcflow import errors
from grpcflow.calls import Calls
from grpcflow.targets import EVERYBODY, Targets
from grpcflow_protos.v1 import control_service_pb2, control_service_pb2_grpc, graph_pb2

__all__ = ["Commands", "Reply"]

#: Seconds that the coordinator has beyond the time that it waits for workers.
_SLACK: Final = 5.0

#: Values of stamps in one request, and the seconds it has: it goes through all that has not settled.
_STAMPS_PAGE: Final = 1_000
_STAMPS_TIME: Final = 60.0

_STATUSES: Final[Mapping[int, Literal["answered", "no_reply", "disconnected"]]] = {
    control_service_pb2.REPLY_STATUS_ANSWERED: "answered",
    control_service_pb2.REPLY_STATUS_NO_REPLY: "no_reply",
    control_service_pb2.REPLY_STATUS_DISCONNECTED: "disconnected",
}


@dataclasses.dataclass(slots=True)
class Reply:
    """What became of one target of a command.

    Attributes:
        worker: Name of the worker.
        status: ``answered``, ``no_reply`` (connected, and silent until the time was over) or ``disconnected``.
        reply: The answer, as plain data; None where there is none.
        error: What went wrong, for people; empty where nothing did.
    """

    worker: str
    status: Literal["answered", "no_reply", "disconnected"]
    reply: Any = None
    error: str = ""


class Heard:
    """Looks at answers as they come.

    Args:
        on_reply: Called with each; None: nobody looks.
        most: Answers after which no more are waited for; None: all are.
    """

    def __init__(self, on_reply: Callable[[Reply], None] | None, most: int | None) -> None:
        self._on_reply = on_reply
        self._most = most
        self._count = 0

    def of(self, stream: Any) -> Any:
        """Return the answers of a stream, on an event loop as what gives them one by one there."""
        if self._on_reply is None and self._most is None:
            return stream
        return self._awaited(stream) if hasattr(stream, "__aiter__") else self._each(stream)

    def _each(self, stream: Any) -> Iterator[Any]:
        for message in stream:
            for one in _apart(message):
                yield one
                if self._has_enough(stream, one):
                    return

    async def _awaited(self, stream: Any) -> AsyncIterator[Any]:
        async for message in stream:
            for one in _apart(message):
                yield one
                if self._has_enough(stream, one):
                    return

    def _has_enough(self, stream: Any, message: Any) -> bool:
        """Tell of an answer; where it is the last that is waited for, end the stream and return True."""
        reply = _reply(message)
        if self._on_reply is not None:
            self._on_reply(reply)
        self._count += reply.status == "answered"
        if self._count != self._most or reply.status != "answered":
            return False
        stream.cancel()
        return True


class Commands:
    """Calls to the control service.

    Args:
        calls: Makes them.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def arevoke(
        self,
        ids: Sequence[str],
        terminate: bool = False,
        signal: str = "SIGTERM",
    ) -> control_service_pb2.RevokeResponse:
        """Settle nodes as revoked wherever they are, durably.

        Args:
            ids: At most 10,000 ids as users know them.
            terminate: True: stop the ones that run.
            signal: Name of the signal for a child process.

        Returns:
            ``revoked``: how many are revoked, now or soon; ``unknown``: ids that the coordinator does not know.

        Raises:
            InvalidRequest: An id is too long, or there is no such signal.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        request = control_service_pb2.RevokeRequest(ids=ids, terminate=terminate, signal=signal)
        return await self._calls.request(
            lambda channel, left: control_service_pb2_grpc.ControlServiceStub(channel).Revoke(request, timeout=left)
        )

    async def arevoke_by_stamp(
        self, stamps: Mapping[str, Sequence[str]], terminate: bool = False, signal: str = "SIGTERM"
    ) -> int:
        """Settle all nodes that bear one value of one of the stamps as revoked, durably.

        Args:
            stamps: For each name the values, as text; any number.
            terminate: True: stop the ones that run.
            signal: Name of the signal for a child process.

        Returns:
            How many are revoked, now or soon.

        Raises:
            InvalidRequest: A name or a value is too long, or there is no such signal.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        pairs = [(name, value) for name, values in stamps.items() for value in values]
        revoked = 0
        for start in range(0, len(pairs), _STAMPS_PAGE):
            wired = [graph_pb2.Stamp(name=name, values=[value]) for name, value in pairs[start : start + _STAMPS_PAGE]]
            revoked += await self._revoke_stamped(
                control_service_pb2.RevokeByStampRequest(stamps=wired, terminate=terminate, signal=signal)
            )
        return revoked

    async def _revoke_stamped(self, request: control_service_pb2.RevokeByStampRequest) -> int:
        answer = await self._calls.request(
            lambda channel, left: control_service_pb2_grpc.ControlServiceStub(channel).RevokeByStamp(
                request, timeout=left
            ),
            timeout=_STAMPS_TIME,
        )
        return answer.revoked

    async def ainspect(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Collection[str] | None = None,
        timeout: float = 1.0,
        *,
        targets: Targets = EVERYBODY,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> list[Reply]:
        """Ask workers a question; returns as soon as all have answered.

        Args:
            command: Such as ``ping``, ``active``, ``stats``.
            arguments: Plain data; default none.
            destination: Names of workers; a part before ``@`` is enough where it is unique. None: all.
            timeout: Seconds to wait for each.
            targets: Whom else to leave out, and how much to tell.
            on_reply: Called with each reply as it comes.

        Raises:
            UnknownDestination: No such worker; ``known`` names those there are.
            InvalidRequest: No such command, or arguments that it does not take.
            CoordinatorUnavailable, TimeoutError: The coordinator could not be reached, or did not answer.
        """
        request = control_service_pb2.InspectRequest(**_request(command, arguments, destination, timeout, targets))
        heard = Heard(on_reply, targets.most)
        return await self._command(
            lambda channel, left: heard.of(
                control_service_pb2_grpc.ControlServiceStub(channel).Inspect(request, timeout=left)
            ),
            timeout,
            repeatable=True,
        )

    async def acontrol(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Collection[str] | None = None,
        timeout: float = 1.0,
        *,
        targets: Targets = EVERYBODY,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> list[Reply]:
        """Ask workers for a change; arguments, replies and errors are those of ``inspect``."""
        request = control_service_pb2.ControlRequest(**_request(command, arguments, destination, timeout, targets))
        heard = Heard(on_reply, targets.most)
        return await self._command(
            lambda channel, left: heard.of(
                control_service_pb2_grpc.ControlServiceStub(channel).Control(request, timeout=left)
            ),
            timeout,
            repeatable=False,
        )

    async def alist_commands(self) -> list[control_service_pb2.AvailableCommand]:
        """Return which commands there are: our own, then those of the apps of connected workers.

        Raises:
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        request = control_service_pb2.ListCommandsRequest()
        answer = await self._calls.request(
            lambda channel, left: control_service_pb2_grpc.ControlServiceStub(channel).ListCommands(
                request, timeout=left
            )
        )
        return list(answer.commands)

    async def alist_workers(self) -> list[control_service_pb2.WorkerInfo]:
        """Return the sessions that the coordinator knows, by name; asks no worker.

        Raises:
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        request = control_service_pb2.ListWorkersRequest()
        answer = await self._calls.request(
            lambda channel, left: control_service_pb2_grpc.ControlServiceStub(channel).ListWorkers(
                request, timeout=left
            )
        )
        return list(answer.workers)

    async def alist_queues(self) -> control_service_pb2.ListQueuesResponse:
        """Return the lanes that hold work (``lanes``) and how many nodes wait for their time (``scheduled``).

        Raises:
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        request = control_service_pb2.ListQueuesRequest()
        return await self._calls.request(
            lambda channel, left: control_service_pb2_grpc.ControlServiceStub(channel).ListQueues(request, timeout=left)
        )

    async def _command(
        self,
        call: Callable[
            [grpc.Channel, float],
            Iterable[control_service_pb2.InspectResponse | control_service_pb2.ControlResponse],
        ],
        timeout: float,
        *,
        repeatable: bool,
    ) -> list[Reply]:
        try:
            answers = await self._calls.request_all(call, timeout=timeout + _SLACK, repeatable=repeatable)
        except errors.UnknownDestination as error:
            error.known = tuple(worker.name for worker in await self.alist_workers())
            raise
        return [_reply(one) for answer in answers for one in _apart(answer)]


def _request(
    command: str,
    arguments: Mapping[str, Any] | None,
    destination: Collection[str] | None,
    timeout: float,
    targets: Targets,
) -> dict[str, Any]:
    """Return the fields of a question or a command."""
    try:
        written = json.dumps(dict(arguments or {})).encode()
    except (TypeError, ValueError) as error:
        message = f"the arguments of {command} must be plain data: {error}"
        raise errors.SerializationError(message, path="arguments") from error
    return {
        "command": command,
        "arguments": written,
        "destination": list(destination or ()),
        "timeout_ms": max(1, round(timeout * 1000)),
        "patterns": targets.patterns,
        "regex": targets.regex,
        "queues": targets.queues,
        "labels": targets.labels,
        "limit": targets.upcoming,
        "together": True,
    }


def _apart(message: Any) -> list[Any]:
    """Return the answers of a message one by one."""
    if not message.more:
        return [message]
    more = list(message.more)
    del message.more[:]
    return [message, *more]


def _reply(message: control_service_pb2.InspectResponse | control_service_pb2.ControlResponse) -> Reply:
    """Return one answer; bytes that are no JSON are an error of that worker's, not of the caller's."""
    status = _STATUSES.get(message.status, "no_reply")
    try:
        value = json.loads(message.reply) if message.reply else None
    except ValueError as error:
        return Reply(message.worker, status, None, f"its reply is not JSON: {error}")
    return Reply(message.worker, status, value, message.error)
