"""Queues and their lanes as lines of the screen: joined, ordered, bounded. Pure; knows the wire's answer."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from grpcflow.cli.top.model import QueueLine
from grpcflow.cli.top.text import clean

if TYPE_CHECKING:
    from grpcflow_protos.v1.control_service_pb2 import LaneInfo, ListQueuesResponse

__all__ = ["queue_lines"]

#: Lanes of a queue that have lines of their own.
_LANES: Final = 4


def queue_lines(
    answer: "ListQueuesResponse", served: Collection[str], rates: Mapping[str, tuple[float, float]]
) -> list[QueueLine]:
    """Return a line for each queue, and below those with several lanes one for the longest of them.

    What is blocked or paused comes first, then where most waits. Sizes are compared by doublings only, so that the
    lines do not change places with each call.

    Args:
        answer: What waits.
        served: Queues that workers serve; they have a line though nothing waits.
        rates: Of each queue how many calls came in and how many ended a second.
    """
    lanes: dict[str, list[LaneInfo]] = {queue: [] for queue in (*served, *answer.paused)}
    for lane in answer.lanes:
        lanes.setdefault(lane.queue, []).append(lane)
    paused = frozenset(answer.paused)
    found = [(_queue(name, own, name in paused, rates), own) for name, own in lanes.items()]
    found.sort(key=lambda pair: _place(pair[0]))
    return [line for queue, own in found for line in (queue, *_lanes(own))]


def _place(line: QueueLine) -> tuple[bool, int, str]:
    return (not (line.why or line.paused), -line.waiting.bit_length(), line.queue)


def _queue(name: str, lanes: "Sequence[LaneInfo]", paused: bool, rates: Mapping[str, tuple[float, float]]) -> QueueLine:
    submitted, ended = rates.get(clean(name), (0.0, 0.0))
    oldest = max((lane.oldest_ms for lane in lanes), default=0)
    return QueueLine(
        queue=clean(name),
        task=clean(lanes[0].task) if len(lanes) == 1 else "",
        lanes=len(lanes),
        waiting=sum(lane.waiting for lane in lanes),
        oldest=oldest / 1000 if oldest else None,
        submitted=submitted,
        ended=ended,
        paused=paused,
        why="" if paused else _why(lanes),
    )


def _why(lanes: "Sequence[LaneInfo]") -> str:
    """Return why a queue stands still: that of all its lanes, or of how many of them."""
    blocked = [lane for lane in lanes if lane.blocked]
    if not blocked:
        return ""
    longest = max(blocked, key=lambda lane: lane.waiting)
    some = "" if len(blocked) == len(lanes) else f"{len(blocked)} of {len(lanes)} lanes: "
    return clean(f"{some}{longest.blocked}")


def _lanes(lanes: "Sequence[LaneInfo]") -> list[QueueLine]:
    """Return lines for the longest lanes of a queue that has several."""
    if len(lanes) < 2:
        return []
    ordered = sorted(lanes, key=lambda lane: (-lane.waiting.bit_length(), lane.task, -lane.priority))
    return [
        QueueLine(
            queue=clean(lane.queue),
            task=clean(lane.task),
            priority=lane.priority,
            is_lane=True,
            waiting=lane.waiting,
            oldest=lane.oldest_ms / 1000 if lane.oldest_ms else None,
            why=clean(lane.blocked),
        )
        for lane in ordered[:_LANES]
    ]
