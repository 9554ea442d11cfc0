"""What happens, read along for one page: the newest events that fit a filter, and how many more there were. Knows no
HTTP.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from grpcflow import errors
from grpcflow.event_model import KINDS, Event, EventFilter

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link

__all__ = ["EventTail"]

#: Seconds back from which on a page begins, and events of one look that are told: nobody reads more.
_BACK: Final = 60
_MOST: Final = 200
#: Letters of a text of an event that are told.
_LONGEST: Final = 500


class EventTail:
    """Reads along.

    Args:
        link: Whose coordinator is asked.
        said: ``task`` and ``worker`` as patterns, ``queue``, ``kind``; what is empty is any.
        now: Unix time in seconds.
    """

    def __init__(self, link: "Link", said: Mapping[str, str], now: Callable[[], float] = time.time) -> None:
        self._link = link
        task, kind = said.get("task", ""), said.get("kind", "")
        self._filter: dict[str, Any] = {
            "task": task if not task or any(letter in task for letter in "*?") else f"*{task}*",
            "worker": said.get("worker", ""),
            "queue": said.get("queue", ""),
            "kinds": (kind,) if kind in KINDS else (),
        }
        self._since = max(1, round((now() - _BACK) * 1000))
        self._read: int | None = None

    def look(self) -> dict[str, Any]:
        """Return what has happened since the last look: ``events``, and ``skipped``, how many more there were.
        Blocks.
        """
        newest: deque[Event] = deque(maxlen=_MOST)
        skipped = 0
        try:
            since = self._since if self._read is None else None
            with closing(self._link.connection.read_events(EventFilter(self._read, since, **self._filter))) as pages:
                for page in pages:
                    if page is None:
                        break
                    skipped += max(0, len(newest) + len(page.events) - _MOST)
                    # Of a first look what is gone was never asked for.
                    skipped += page.missed if self._read is not None else 0
                    newest.extend(page.events)
                    self._read = page.next
        except errors.GrpcflowError as error:
            return {"events": [], "skipped": 0, "fault": str(error), "asked": True}
        return {"events": [_told(event) for event in newest], "skipped": skipped, "fault": "", "asked": True}


def _told(event: Event) -> dict[str, Any]:
    return {
        "offset": event.offset,
        "time": event.time.timestamp(),
        "type": event.type[:_LONGEST],
        "kind": event.kind,
        "id": event.id,
        "graph": event.graph.hex(),
        "count": event.count,
        "task": event.task,
        "queue": event.queue,
        "worker": event.worker,
        "detail": event.detail[:_LONGEST] or (str(dict(event.fields))[:_LONGEST] if event.fields else ""),
        "runtime": event.runtime,
    }
