"""What is kept of nodes and groups beside running them: states of their own, items, logs, saved groups."""

from __future__ import annotations

from collections.abc import Sequence

from grpcflow_coordinator.core import attaching, attempts, recovery, revoking
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import (
    FailedPurgeAsked,
    ForgetAsked,
    GroupSaved,
    ItemsEmitted,
    Logged,
    PauseAsked,
    StateUpdateAsked,
)
from grpcflow_coordinator.core.model import TimerKind, node_id, split_node
from grpcflow_coordinator.core.presence import Session

#: Items of one node's stream.
ITEMS_LIMIT = 1_000_000

#: Attempts of one node whose logs are kept, the newest ones.
LOGGED_ATTEMPTS = 10


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


def on_items(step: Step, event: ItemsEmitted) -> None:
    """Append items to the stream of a running node; those whose numbers it holds already were emitted before."""
    graph, index = split_node(event.node)
    attempt = step.cluster.attempts.get(event.token)
    if attempt is None or (attempt.graph, attempt.index) != (graph, index):
        if recovery.may_run(step, graph, index):
            answer = Answer(event.client, "RECOVERING", "the attempt's worker is on its way back: send the same again")
        else:
            answer = Answer(event.client, "STALE_ATTEMPT", "the attempt is no longer the task's: emit no more")
        step.effects.sends.append(answer)
        return
    count = step.loaded.item_count(graph, index)
    if event.first > count:
        message = f"item {event.first} was sent and {count} was expected: send the items in order"
        step.effects.sends.append(Answer(event.client, "ITEMS_OUT_OF_ORDER", message))
    elif event.first + len(event.items) > ITEMS_LIMIT:
        message = f"a task emits {ITEMS_LIMIT:,} items at most: put more into each"
        step.effects.sends.append(Answer(event.client, "TOO_MANY_ITEMS", message))
    else:
        for number, (data, content_type) in enumerate(event.items[count - event.first :], count):
            step.loaded.put_item(graph, index, number, data, content_type)
        step.effects.emitted.append((graph, index))
        step.effects.sends.append(Answer(event.client, count=max(count, event.first + len(event.items))))


def take_logs(step: Step, session: Session, logs: Sequence[Logged]) -> None:
    """Keep what running attempts logged. What came before is passed over: a worker sends the same pieces again."""
    most = step.cluster.limits.log_limit
    for said in logs:
        if not most or said.token not in session.attempts:
            continue  # nobody wants it, or the attempt is over: a log is no report, and nobody waits for an answer
        attempt = step.cluster.attempts[said.token]
        graph, index, token = attempt.graph, attempt.index, attempt.token
        end = step.loaded.log_end(graph, index, token)
        if said.first < end:
            continue
        if not end and len(logged := step.loaded.logged_attempts(graph, index)) >= LOGGED_ATTEMPTS:
            step.loaded.drop_log(graph, index, logged[0])
        step.loaded.append_log(graph, index, token, said.first, said.lines, said.data, most)
        step.effects.emitted.append((graph, index))


def on_group(step: Step, event: GroupSaved) -> None:
    """Keep, or delete, the description of a group."""
    if event.data is None:
        step.loaded.drop_saved(event.id)
    else:
        expires = step.now.wall_ms + step.cluster.limits.result_expires_ms
        step.set_timer(expires, TimerKind.SAVED, step.loaded.put_saved(event.id, event.data, expires))
    step.effects.sends.append(Answer(event.client))


def on_failed_purge(step: Step, event: FailedPurgeAsked) -> None:
    """Take nodes off the list of those that failed for good."""
    purged = 0
    for text in event.ids:
        node = revoking.find_node(step, text)
        if node is not None and step.loaded.has_failed(*split_node(node)):
            step.loaded.drop_failed(*split_node(node))
            purged += 1
    step.effects.sends.append(Answer(event.client, count=purged))


def on_pause(step: Step, event: PauseAsked) -> None:
    """Let nothing of a queue be handed out any more, or again."""
    step.loaded.put_paused(event.queue, paused=event.paused)
    (step.cluster.paused.add if event.paused else step.cluster.paused.discard)(event.queue)
    step.effects.sends.append(Answer(event.client))
