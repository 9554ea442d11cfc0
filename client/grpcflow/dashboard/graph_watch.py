"""One graph as a page shows it: in short and drawn, looked at again and again while it runs. Knows no HTTP.

The summary is asked for each time, the graph itself only where the summary has changed.
"""

import time
from typing import TYPE_CHECKING, Any, Final

from grpcflow import errors
from grpcflow.dashboard.drawing import BOXES, drawing
from grpcflow.dashboard.pages import plain
from grpcflow.graph.model import Summary
from grpcflow.graph.view import GraphView

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link

__all__ = ["GraphWatch"]

#: Seconds between two looks at a graph that runs and at one that has ended, which may be retried.
_RUNNING: Final = 1.0
_ENDED: Final = 4.0
#: How much longer than a look the pause after it is at least: a graph that takes long to read is read seldom.
_REST: Final = 4.0


class GraphWatch:
    """Looks at one graph.

    Args:
        link: Whose coordinator is asked.
        id: Id of any of its nodes, or its own.
    """

    def __init__(self, link: "Link", id: str) -> None:
        self._view = GraphView(link, id)
        self._shown: dict[str, Any] = {}
        self._seen: Summary | None = None
        self._took = 0.0

    @property
    def pause(self) -> float:
        """Seconds until it should be looked at again."""
        usual = _ENDED if self._seen is not None and self._seen.ended else _RUNNING
        return max(usual, _REST * self._took)

    def look(self) -> dict[str, Any]:
        """Return how it stands; where nothing has changed, the same as before. Blocks."""
        began = time.monotonic()
        try:
            summary = self._view.refresh().summary
            if summary != self._seen:
                picture = self._view.picture(BOXES)
                self._seen = picture.summary
                self._shown = {"drawing": drawing(picture), "graph": _told(picture.summary)}
            return {**self._shown, "fault": "", "gone": "", "asked": True}
        except errors.NotFound as error:
            return {"gone": str(error), "fault": "", "asked": True}
        except errors.GrpcflowError as error:
            return {**self._shown, "fault": str(error), "gone": "", "asked": bool(self._shown)}
        finally:
            self._took = time.monotonic() - began


def _told(summary: Summary) -> dict[str, Any]:
    return {**plain(summary), "counts": summary.tally.counts}
