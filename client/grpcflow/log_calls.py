"""The logs of tasks as a call: read what there is, and follow what comes.

Written once for threads and event loops, as coroutines; see ``blocking``.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from grpcflow.calls import Calls
from grpcflow.items import OpenReader, Reader
from grpcflow.log_model import LogLine
from grpcflow.session import Session

if TYPE_CHECKING:
    from grpcflow_protos.v1 import log_pb2

__all__ = ["LogCalls"]

_log: Final = logging.getLogger("grpcflow.connection")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _asked(request: "log_pb2.ReadLogsRequest", channel: Any) -> Any:
    from grpcflow_protos.v1 import client_service_pb2_grpc

    return client_service_pb2_grpc.ClientServiceStub(channel).ReadLogs(request)


class _Place:
    """How far the log of a task was read; pure."""

    def __init__(self, id: str, *, whole_graph: bool, follow: bool, tail: int) -> None:
        from grpcflow_protos.v1 import log_pb2

        self.request = log_pb2.ReadLogsRequest(id=id, whole_graph=whole_graph, follow=follow, tail=tail)

    def take(self, message: "log_pb2.ReadLogsResponse") -> Iterator[LogLine]:
        """Yield the lines of a message, each once."""
        asked = self.request
        for number, line in enumerate(message.lines, message.first):
            if not asked.whole_graph:
                asked.id, asked.token, asked.first, asked.tail = message.id or asked.id, message.token, number + 1, 0
            yield LogLine(
                id=message.id,
                task=message.task,
                attempt=message.token,
                number=number,
                time=_EPOCH + timedelta(milliseconds=line.time_ms),
                level=line.level,
                logger=line.logger,
                text=line.text,
            )


class LogCalls:
    """Calls about logs; a part of what is asked of a coordinator."""

    _session: Session
    _calls: Calls
    #: Asks for a stream of answers; set by the side that waits.
    _open_reader: Callable[[OpenReader], Reader]

    async def aread_logs(
        self, id: str, *, whole_graph: bool = False, follow: bool = False, tail: int = 0
    ) -> AsyncGenerator[LogLine, None]:
        """Yield what a task printed and logged, each line once; a lost coordinator is asked again for what follows.

        Args:
            id: The task's id as users know it.
            whole_graph: True: of every task of its graph, in their order, as far as it is there now.
            follow: True: go on as lines come, until the task has ended.
            tail: Only so many lines, the last that there are now; 0: all.

        Raises:
            NotFound: The coordinator does not know the task, or no longer.
            CoordinatorUnavailable: It could not be reached, by the retry policy, or the connection was closed.
        """
        place = _Place(id, whole_graph=whole_graph, follow=follow, tail=tail)
        failures, began = 0, time.monotonic()
        while True:
            reader = self._open_reader(partial(_asked, place.request))
            try:
                while (message := await reader.next(None)) is not None:
                    failures = 0
                    for line in place.take(message):
                        yield line
            finally:
                await reader.close()
            if reader.error is not None:
                raise reader.error
            if reader.complete:
                return
            failures += 1
            if not failures - 1:
                began = time.monotonic()
            if whole_graph or self._session.policy.is_over(failures, began):
                raise self._session.unavailable()
            if failures == 2:
                _log.warning("the log of %s is read on once the coordinator is back", id)
            await self._calls._pause(self._session.policy.delay(failures))
