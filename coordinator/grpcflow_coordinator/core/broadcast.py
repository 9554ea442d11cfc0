"""Broadcast: a node of a broadcast queue runs once on each worker that serves the queue when it is released.

A graph runs in the node's place: one member for each worker, in a queue that only this worker serves, and a join. The
members have no payload and no inputs of their own: they borrow those of the node. What a worker has not run when its
session ends is revoked.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from grpcflow_coordinator.core import settling
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.model import (
    GRAPH_ID_BYTES,
    REPLACED_PLACE,
    Attachment,
    AttachmentKind,
    Graph,
    NodeState,
    Outcome,
    Progress,
    Run,
    Template,
    node_id,
)
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.core.states import Trigger, transition
from grpcflow_coordinator.core.turns import member_queue

#: The value of a broadcast that nobody hears.
_NOBODY = b"[]"


def spread(step: Step, graph: Graph, run: Run, index: int, count: int) -> None:
    """Let each of some nodes run on every worker that serves their queue and knows their task."""
    template = graph.templates[run.template]
    names = sorted(session.name for session in step.cluster.sessions.values() if _hears(session, template))
    for node in range(index, index + count):
        if names:
            _spread(step, graph, template, node, names)
        else:
            transition(NodeState.WAITING, Trigger.COLLECTED)
            settling.settle(step, graph, run, node, Outcome(NodeState.SUCCESS, step.now.wall_ms, _NOBODY))


def _hears(session: Session, template: Template) -> bool:
    connected = session.stream is not None and not session.draining
    return connected and template.queue in session.queues and template.task in session.facts.tasks


def _spread(step: Step, graph: Graph, template: Template, index: int, names: list[str]) -> None:
    node = node_id(graph.id, index)
    members = tuple(
        replace(template, queue=member_queue(template.queue, name), broadcast=False, countdown_ms=0, eta_ms=0)
        for name in names
    )
    attachment = Attachment(AttachmentKind.REPLACE, node, 0, len(names))
    made = Graph(_graph_id(step, node), len(names) + 1, members, step.now.wall_ms, attachment, len(names))
    runs = [(Run(place, 1, place, children=(len(names),), borrowed=node), [b""]) for place in range(len(names))]
    join = Run(len(names), 1, 0, members=((0, len(names)),))
    step.loaded.put_graph(made, [*runs, (join, [])])
    step.keep_graph(made)
    progress = step.loaded.progress(graph.id, index) or Progress()
    progress.place, progress.replaced_by = REPLACED_PLACE, node_id(made.id, len(names))
    step.loaded.put_progress(graph.id, index, progress)
    step.cluster.story.tell(step.now.wall_ms, "spread", graph.id, index, 1, ", ".join(names))
    for run, _ in runs:
        settling.release(step, made, run, run.first)


def _graph_id(step: Step, node: bytes) -> bytes:
    """Return an id that sorts by time and that nothing else has: made of the node and of what was queued so far."""
    made_of = node + step.cluster.lines.next_sequence.to_bytes(8, "big") + step.cluster.epoch.to_bytes(4, "big")
    chance = blake2b(made_of, digest_size=GRAPH_ID_BYTES - 6).digest()
    return timed_id(step.now.wall_ms, chance)


def timed_id(wall_ms: int, chance: bytes) -> bytes:
    """Return the first 12 bytes of a UUID of version 7 of this time, with 6 bytes in the place of chance."""
    marked = bytes((0x70 | chance[0] & 0x0F, chance[1], 0x80 | chance[2] & 0x3F, *chance[3:6]))
    return max(0, wall_ms).to_bytes(6, "big") + marked
