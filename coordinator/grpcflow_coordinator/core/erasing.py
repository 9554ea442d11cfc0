"""Erase: what ended leaves no records. A graph goes as one whose time is over does; of independent calls one may go.

What runs or waits is refused: it would write again what was just erased.
"""

from __future__ import annotations

from grpcflow_coordinator.core import settling
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import EraseAsked
from grpcflow_coordinator.core.model import Outcome, TimerKind, node_id, split_node


def on_erase(step: Step, event: EraseAsked) -> None:
    """Have graphs deleted at once, each before those that are attached to it, and blank single nodes."""
    ended = all(_has_ended(step, graph) for graph in event.graphs)
    if not ended or not all(_settled(step, one) for one in event.nodes):
        told = "something of it has not ended: cancel it first, and come back when it has"
        step.effects.sends.append(Answer(event.client, "STILL_RUNNING", told))
        return
    for place, graph_id in enumerate(event.graphs):
        if step.graph(graph_id) is not None:
            step.set_timer(step.now.wall_ms + place, TimerKind.PRUNE, node_id(graph_id, 0))
    for node in event.nodes:
        _blank(step, node)
    step.effects.sends.append(Answer(event.client, count=len(event.graphs) + len(event.nodes)))


def _has_ended(step: Step, graph_id: bytes) -> bool:
    graph = step.graph(graph_id)
    return graph is None or settling.has_ended(step, graph)


def _settled(step: Step, node: bytes) -> bool:
    return step.loaded.outcome(*split_node(node)) is not None


def _blank(step: Step, node: bytes) -> None:
    """Leave of a node that it was there and how it ended, which the count of its graph needs."""
    graph_id, index = split_node(node)
    outcome = step.loaded.outcome(graph_id, index)
    assert outcome is not None
    step.loaded.put_outcome(graph_id, index, Outcome(outcome.state, outcome.settled_ms))
    step.loaded.put_progress(graph_id, index, None)
    step.loaded.drop_failed(graph_id, index)
    step.loaded.blank_call(graph_id, index)
    step.cluster.graphs.pop(graph_id, None)  # its templates have changed
    step.loaded.put_forgotten(graph_id, index)
