"""Revoke: settle nodes as revoked wherever they are. A persisted change; it needs no worker."""

from __future__ import annotations

from grpcflow_coordinator.core import attaching, attempts, recovery, timers
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import RevokeDone
from grpcflow_coordinator.core.events import RevokeAsked
from grpcflow_coordinator.core.model import Attempt, split_node
from grpcflow_coordinator.core.running import Running, running_nodes
from grpcflow_coordinator.core.states import Trigger


def on_revoke(step: Step, event: RevokeAsked) -> None:
    """Revoke each named node; running ones are stopped where that was asked, and left alone where not."""
    running = running_nodes(step)
    revoked = 0
    unknown = []
    for own_id in event.ids:
        node = find_node(step, own_id)
        if node is None:
            unknown.append(own_id)
        else:
            revoked += revoke_node(step, node, event.signal if event.terminate else "", running)
    step.effects.sends.append(RevokeDone(event.client, revoked, tuple(unknown)))


def find_node(step: Step, text: str) -> bytes | None:
    """Return the node that an id stands for: a user's own id, or the text form of a node id."""
    node = step.loaded.alias(text)
    if node is not None:
        return node
    digits = text.replace("-", "")
    if len(digits) != 32 or len(text) != 36:
        return None
    try:
        node = bytes.fromhex(digits)
    except ValueError:
        return None
    graph_id, index = split_node(node)
    graph = step.graph(graph_id)
    return node if graph is not None and index < graph.node_count else None


def revoke_node(step: Step, node: bytes, stop_signal: str, running: Running) -> int:
    """Revoke one node, or what runs in its place; return how many that were.

    Args:
        step: the step it happens in.
        node: its 16 bytes.
        stop_signal: signal to stop it with where it runs; empty: only where it has not started.
        running: what runs.
    """
    node = attaching.stand_in(step, node)
    attempt = running.get(node)
    if attempt is not None:
        return _revoke_running(step, attempt, stop_signal)
    return _revoke_idle(step, node, stop_signal)


def _revoke_running(step: Step, attempt: Attempt, stop_signal: str) -> int:
    """Ask the worker to stop an attempt; one that has not started there is stopped without a signal."""
    progress = attempts.doom(step, attempt.graph, attempt.index, "REVOKED", stop_signal)
    attempts.ask_to_stop(step, attempt, progress)
    return 1


def _revoke_idle(step: Step, node: bytes, stop_signal: str) -> int:
    graph_id, index = split_node(node)
    graph = step.graph(graph_id)
    run = step.loaded.run_of(graph_id, index)
    if graph is None or run is None or step.loaded.outcome(graph_id, index) is not None:
        return 0
    if recovery.may_run(step, graph_id, index):
        attempts.doom(step, graph_id, index, "REVOKED", stop_signal)
    else:
        timers.revoke_unstarted(step, graph, run, index, Trigger.REVOKED)
    return 1
