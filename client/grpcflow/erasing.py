"""Erasing tasks, graphs and stamps: the call, what it gives, and ``app.control.erase``.

It may not import grpc or protobuf before something is erased.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from grpcflow.aio.connection import LoopConnection
    from grpcflow.calls import Calls
    from grpcflow.control import Connected

__all__ = ["EraseCalls", "EraseControl", "Erased"]

#: Seconds that a coordinator has for one try, and between two tries while something still runs.
_TIME: Final = 60.0
_PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased.

    Attributes:
        graphs: How many graphs; a call by itself is one.
        calls: How many calls that share a graph with others which have nothing to do with them.
        groups: How many saved groups.
        running: How many still run though they were told to stop. Where there are any, nothing was erased.
        unknown: Ids that the coordinator does not know.
        left: What may still hold copies, for people: backups, logs and the like.
    """

    graphs: int = 0
    calls: int = 0
    groups: int = 0
    running: int = 0
    unknown: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class EraseCalls:
    """The call to the control service that erases."""

    _calls: "Calls"

    async def aerase(self, ids: Sequence[str], stamps: Mapping[str, Sequence[str]], timeout: float) -> Erased:
        """Erase, and try again until nothing runs any more or the time is over.

        Args:
            ids: Ids of tasks, graphs and saved groups.
            stamps: For each name of a stamp its values.
            timeout: Seconds for what runs to stop.

        Raises:
            InvalidRequest: Nothing is named, or something is too long.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        from grpcflow_protos.v1 import control_service_pb2, control_service_pb2_grpc, graph_pb2

        wired = [graph_pb2.Stamp(name=name, values=values) for name, values in stamps.items()]
        request = control_service_pb2.EraseRequest(ids=ids, stamps=wired)
        until = time.monotonic() + timeout
        while True:
            answer: Any = await self._calls.request(
                lambda channel, left: control_service_pb2_grpc.ControlServiceStub(channel).Erase(request, timeout=left),
                timeout=_TIME,
            )
            if not answer.running or time.monotonic() >= until:
                lists = tuple(answer.unknown), tuple(answer.left)
                return Erased(answer.graphs, answer.nodes, answer.groups, answer.running, *lists)
            await self._calls.pause(_PAUSE)


class EraseControl:
    """``app.control.erase``."""

    _app: "Connected"

    def erase(
        self,
        ids: str | Iterable[str] = (),
        *,
        stamps: Mapping[str, str | Sequence[str]] | None = None,
        timeout: float = 10.0,
    ) -> Erased:
        """Delete everything that is kept of tasks, graphs and stamps; what has not ended is stopped first.

        A task of a canvas takes the whole of it along, since its value was handed on there. The role ``admin`` may.

        Args:
            ids: Ids of tasks, of graphs and of saved groups, one or several.
            stamps: For each name of a stamp one value or several: every graph that bears one of them.
            timeout: Seconds for what runs to stop. Default 10. Where something still runs then, nothing was erased.

        Raises:
            InvalidRequest: Nothing is named, or something is too long.
            CoordinatorUnavailable: The coordinator cannot be reached.
        """
        return self._app.connection.erase(*_named(ids, stamps), timeout)

    async def aerase(
        self,
        ids: str | Iterable[str] = (),
        *,
        stamps: Mapping[str, str | Sequence[str]] | None = None,
        timeout: float = 10.0,
    ) -> Erased:
        """Delete everything of tasks, graphs and stamps, on the running event loop; see ``erase``."""
        connection = cast("LoopConnection", cast("Any", self._app).loop_connection)
        return await connection.aerase(*_named(ids, stamps), timeout)


def _named(
    ids: str | Iterable[str], stamps: Mapping[str, str | Sequence[str]] | None
) -> tuple[list[str], dict[str, list[str]]]:
    """Return ids and stamps as lists."""
    named = [ids] if isinstance(ids, str) else list(ids)
    found = {name: [value] if isinstance(value, str) else list(value) for name, value in (stamps or {}).items()}
    return named, found
