"""What clients say of nodes and groups beside running them: a state of their own, forget it, keep this group."""

from __future__ import annotations

from grpcflow_coordinator.core import attaching, attempts, revoking
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import ForgetAsked, GroupSaved, StateUpdateAsked
from grpcflow_coordinator.core.model import TimerKind, node_id, split_node


def on_state(step: Step, event: StateUpdateAsked) -> None:
    """Give a node that has not settled a state of the caller's own."""
    node = revoking.find_node(step, event.id)
    if node is None:
        step.effects.sends.append(Answer(event.client, "UNKNOWN_NODE", f"there is no task {event.id!r}"))
        return
    node = attaching.stand_in(step, node)
    graph, index = split_node(node)
    if step.loaded.outcome(graph, index) is not None:
        message = f"the task {event.id!r} has ended: its state cannot be changed"
        step.effects.sends.append(Answer(event.client, "SETTLED", message))
        return
    attempts.put_state(step, graph, index, event.state, event.meta, event.meta_type)
    step.effects.sends.append(Answer(event.client))


def on_forget(step: Step, event: ForgetAsked) -> None:
    """Hide results; a graph of one node that has ended goes at once."""
    unknown = []
    for text in event.ids:
        node = revoking.find_node(step, text)
        if node is None:
            unknown.append(text)
            continue
        graph_id, index = split_node(node)
        step.loaded.put_forgotten(graph_id, index)
        graph = step.graph(graph_id)
        if graph is not None and graph.node_count == 1 and step.loaded.outcome(graph_id, index) is not None:
            step.set_timer(step.now.wall_ms, TimerKind.PRUNE, node_id(graph_id, 0))
    count = len(event.ids) - len(unknown)
    step.effects.sends.append(Answer(event.client, count=count, unknown=tuple(unknown)))


def on_group(step: Step, event: GroupSaved) -> None:
    """Keep, or delete, the description of a group."""
    if event.data is None:
        step.loaded.drop_saved(event.id)
    else:
        expires = step.now.wall_ms + step.cluster.limits.result_expires_ms
        step.set_timer(expires, TimerKind.SAVED, step.loaded.put_saved(event.id, event.data, expires))
    step.effects.sends.append(Answer(event.client))
