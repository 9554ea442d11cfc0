"""Retry: what did not succeed of an ended graph settles once more; what succeeded keeps its value.

First the nodes that are to settle again lose their outcomes, parents before children, and every child learns how
many of its parents it waits for once more; then those that wait for none are released. A node is taken

- where it failed itself, was revoked, ignored or rejected, though all that it waited for had succeeded;
- where a parent of it was taken: what it came to came from that one. An errback is taken for this reason only.

No queue entry from before the retry means the graph any more: `Lines.retried` says from which sequence on they do.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from grpcflow_coordinator.core import attaching, settling
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import RetryAsked
from grpcflow_coordinator.core.model import (
    REPLACED_PLACE,
    Graph,
    Job,
    NodeState,
    Outcome,
    Progress,
    Run,
    node_id,
    split_node,
)
from grpcflow_coordinator.core.states import Trigger, transition

#: Nodes that one step looks at, and nodes that it releases.
_BATCH = 200

#: Members of a group that are looked at to see whether it was needed.
_TELLING = 100


def begin(step: Step, event: RetryAsked) -> Job | Answer:
    """Begin with the graph that everything attached to it belongs to; answer at once where it cannot be."""
    graph, node = step.graph(event.graph), event.node
    while graph is not None and graph.attachment is not None:
        owner_id, place = split_node(graph.attachment.node)
        owner = step.graph(owner_id)
        if owner is None:
            break
        graph, node = owner, place
    if graph is None:
        return Answer(event.client, "UNKNOWN_GRAPH", "there is no such graph, or it has expired")
    under_way = any(job.kind == "retry" and graph.id in (job.graph, *job.graphs, *job.ready) for job in _jobs(step))
    alone = graph.is_bundle and node is not None
    if under_way or not (alone or settling.has_ended(step, graph)):
        message = "the graph has not ended: wait for its end, or cancel it, and retry it then"
        return Answer(event.client, "STILL_RUNNING", message)
    if step.loaded.stripped_to(graph.id) is not None:
        message = "the arguments of the graph's calls are no longer kept: submit it anew"
        return Answer(event.client, "ARGUMENTS_GONE", message)
    if alone and node is not None:
        return _retry_alone(step, event.client, graph, node)
    _take_up(step, graph.id)
    return Job(0, graph=graph.id, kind="retry")


def _retry_alone(step: Step, client: object, graph: Graph, index: int) -> Answer:
    """Let one of many independent calls settle once more, whatever the others do.

    No queue entry means a call any more that an attempt has settled: it says itself where it stands from now on. One
    that was ended while it was queued may still be named by an entry, until the others have ended, too.
    """
    run, outcome = step.loaded.run_of(graph.id, index), step.loaded.outcome(graph.id, index)
    if run is None or outcome is None:
        return Answer(
            client, "STILL_RUNNING", "the task has not ended: wait for its end, or cancel it, and retry it then"
        )
    if outcome.state is NodeState.SUCCESS:
        return Answer(client)
    if settling.has_ended(step, graph):
        _take_up(step, graph.id)
    elif not outcome.token:
        message = "it was ended before it ran, and calls that were sent with it have not ended: submit it anew"
        return Answer(client, "STILL_RUNNING", message)
    job = Job(0, kind="retry")
    _take(step, job, graph, run, index, outcome, waits_again=True)  # so it runs itself, also where it was replaced
    settling.forget_waiting(step, graph, index)
    progress = step.loaded.progress(graph.id, index) or Progress()
    progress.place = step.cluster.lines.next_sequence
    step.loaded.put_progress(graph.id, index, progress)
    settling.release(step, graph, run, index)
    return Answer(client, count=job.done, unknown=unknown_tasks(step, job.calls))


def _jobs(step: Step) -> Iterable[Job]:
    return (job for job, _ in step.cluster.jobs.values())


def _take_up(step: Step, graph: bytes) -> None:
    """Let no queue entry that is there now mean the graph any more."""
    lines = step.cluster.lines
    lines.retried[graph] = lines.next_sequence
    step.loaded.put_retried(graph, lines.next_sequence)
    step.loaded.put_cancelled(graph, None)


def advance(step: Step, job: Job) -> bool:
    """Go one bounded step on; True where all is released."""
    left = _BATCH
    while job.graph and left > 0:
        graph = step.graph(job.graph)
        if graph is None:
            _next_graph(job, keep=False)
        elif job.releasing:
            left -= _release(step, job, graph, left)
        else:
            left -= _reset(step, job, graph, left)
    return not job.graph


def _next_graph(job: Job, *, keep: bool) -> None:
    """Go on to the next graph; after the last one, release them all."""
    if keep and not job.releasing:
        job.ready = (*job.ready, job.graph)
    job.graph, job.graphs, job.node = (*job.graphs, b"")[0], job.graphs[1:], 0
    if not job.graph and not job.releasing:
        job.graph, job.graphs, job.releasing = (*job.ready, b"")[0], job.ready[1:], True


def _reset(step: Step, job: Job, graph: Graph, limit: int) -> int:
    """Look at up to `limit` nodes, and take the outcome from those that are to settle again."""
    page = step.loaded.outcomes(graph.id, job.node, graph.node_count - job.node, limit)
    run: Run | None = None
    for index, outcome in page:
        if run is None or index >= run.first + run.count:
            run = step.loaded.run_of(graph.id, index)
        if run is None:
            raise settling.Defect(f"node {index} of graph {graph.id.hex()} has no run")
        if graph.is_bundle and step.loaded.is_forgotten(graph.id, index):
            continue  # its owner knows it no longer, and its arguments may have been erased
        waits_again = (step.loaded.waiting(graph.id, index) or 0) > 0
        if waits_again or _failed_itself(step, graph, run, outcome):
            _take(step, job, graph, run, index, outcome, waits_again=waits_again)
    if len(page) < limit:
        _next_graph(job, keep=True)
    else:
        job.node = page[-1][0] + 1
    return max(len(page), 1)


def _failed_itself(step: Step, graph: Graph, run: Run, outcome: Outcome) -> bool:
    if outcome.state is NodeState.SUCCESS or run.is_errback:
        return False
    if run.is_join and outcome.state is NodeState.IGNORED:
        return False  # none of its members is taken: they were not needed
    # Of a group that is an errback and was not needed no member has a value, but for empty groups: a few tell of all.
    members = (index for first, count in run.members or () for index in range(first, first + count))
    waited_for = (*(edge.parent for edge in run.inputs), *islice(members, _TELLING))
    parents = (step.loaded.outcome(graph.id, parent) for parent in waited_for)
    return all(parent is not None and parent.state is NodeState.SUCCESS for parent in parents)


def _take(step: Step, job: Job, graph: Graph, run: Run, index: int, outcome: Outcome, *, waits_again: bool) -> None:
    """Let a node settle once more, and let its children wait for it."""
    step.loaded.drop_outcome(graph.id, index)
    step.loaded.drop_failed(graph.id, index)
    job.done += 1
    if graph.node_count > 1:
        settling.tally_of(step, graph).settled(outcome.state, -1)
    step.cluster.lines.gone.discard((graph.id, index))
    for child in run.children:
        _wait_for_one_more(step, graph, child)
    if run.is_join:
        _take_extras(step, job, graph, index)
    else:
        template = graph.templates[run.template]
        if (template.queue, template.task) not in job.calls:
            job.calls = (*job.calls, (template.queue, template.task))
        _drop_added(step, graph, index)
    before = step.loaded.progress(graph.id, index) or Progress()
    # No attempt of before is the node's any more, whoever comes back and names one.
    anew = Progress(ended_by=max(before.ended_by, outcome.token))
    spread = not run.is_join and graph.templates[run.template].broadcast  # it is spread anew, to those who are there
    if before.replaced_by and not waits_again and not spread and _retry_too(step, job, before.replaced_by):
        anew.place, anew.replaced_by = REPLACED_PLACE, before.replaced_by
        step.loaded.put_progress(graph.id, index, anew)
        return
    step.loaded.put_progress(graph.id, index, anew if anew.ended_by else None)
    if step.loaded.waiting(graph.id, index) is None:
        step.loaded.put_waiting(graph.id, index, 0)


def _wait_for_one_more(step: Step, graph: Graph, index: int) -> None:
    """Let a settled node that will be taken, too, wait for one parent more."""
    step.cluster.waiting.pop((graph.id, index), None)
    step.counted.discard((graph.id, index))
    stored = step.loaded.waiting(graph.id, index) or 0
    step.loaded.put_waiting(graph.id, index, max(stored, 0) + 1)  # -1: an errback that had been released


def _retry_too(step: Step, job: Job, node: bytes) -> bool:
    """Retry, after the present one, the graph of a node that is attached to it; False where that is not possible."""
    graph = step.graph(split_node(node)[0])
    if graph is None or not settling.has_ended(step, graph):
        return False
    if graph.id not in (*job.graphs, *job.ready):
        _take_up(step, graph.id)
        job.graphs = (*job.graphs, graph.id)
    return True


def _take_extras(step: Step, job: Job, graph: Graph, join: int) -> None:
    """Let a join wait for the added members that did not succeed."""
    for extra in step.loaded.extras(graph.id, join):
        outcome = step.loaded.outcome(*split_node(extra))
        if outcome is not None and outcome.state is NodeState.SUCCESS:
            continue
        if outcome is None or _retry_too(step, job, extra):
            _wait_for_one_more(step, graph, join)
        else:
            step.loaded.drop_extra(graph.id, join, extra)  # its graph runs on without it, or is gone


def _drop_added(step: Step, graph: Graph, index: int) -> None:
    """Take out of a join what the node had added to it: it will add it again."""
    found = attaching.join_of(step, graph.id, index)
    if found is None:
        return
    owner, _, join = found
    node = node_id(graph.id, index)
    for extra in step.loaded.extras(owner.id, join):
        added = step.graph(split_node(extra)[0])
        if added is not None and added.attachment is not None and added.attachment.node == node:
            step.loaded.drop_extra(owner.id, join, extra)


def _release(step: Step, job: Job, graph: Graph, limit: int) -> int:
    """Release up to `limit` nodes that wait for nothing."""
    page = step.loaded.waiting_in(graph.id, job.node, limit)
    ready = [index for index, count in page if count == 0]
    while ready:
        run = step.loaded.run_of(graph.id, ready[0])
        if run is None:
            raise settling.Defect(f"node {ready[0]} of graph {graph.id.hex()} has no run")
        neighbours = [index for ahead, index in enumerate(ready) if index == ready[0] + ahead < run.first + run.count]
        ready = ready[len(neighbours) :]
        for index in neighbours:
            settling.forget_waiting(step, graph, index)
        if run.is_join:
            collected = Outcome(transition(NodeState.WAITING, Trigger.COLLECTED), step.now.wall_ms)
            settling.settle(step, graph, run, neighbours[0], collected)
        else:
            settling.release(step, graph, run, neighbours[0], len(neighbours))
    if len(page) < limit:
        _hand_up_again(step, graph)
        _next_graph(job, keep=False)
    else:
        job.node = page[-1][0] + 1
    return max(len(page), 1)


def _hand_up_again(step: Step, graph: Graph) -> None:
    """Tell the node that waits for an attached graph how that ended, where its end was not taken."""
    if graph.attachment is not None:
        outcome = step.loaded.outcome(graph.id, graph.attachment.final)
        if outcome is not None:
            step.handed_up.append((graph, graph.attachment.final, outcome))


def unknown_tasks(step: Step, calls: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the tasks among (queue, task) that no connected worker of their queue knows."""
    live = [one for one in step.cluster.sessions.values() if one.stream is not None and not one.draining]
    known = {(queue, task) for one in live for queue in set(one.ring) for task in one.facts.tasks}
    return tuple(sorted({task for queue, task in calls if (queue, task) not in known}))
