"""Cancel: everything of a graph that has not settled ends as revoked, and nothing follows from it.

A graph that is being cancelled is in `Cluster.cancelling`: from that step on, nothing spreads along its edges, no
errback of it runs, and what is ready of it is revoked instead of being handed out. So the order of its nodes does not
matter, and it can be ended in steps that are short.
"""

from __future__ import annotations

from grpcflow_coordinator.core import attempts, recovery, settling, timers
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import CancelAsked
from grpcflow_coordinator.core.model import Entry, Failure, Graph, Job, NodeState, Outcome, Run, node_id, split_node
from grpcflow_coordinator.core.running import Running, running_nodes
from grpcflow_coordinator.core.states import Trigger, transition

#: Nodes that are ended in one step at most; a settled one weighs a tenth.
_BATCH = 200


def begin(step: Step, event: CancelAsked) -> Job | Answer:
    """Mark a graph as cancelled; answer at once where there is nothing to do."""
    graph = step.graph(event.graph)
    if graph is None:
        return Answer(event.client, "UNKNOWN_GRAPH", "there is no such graph, or it has expired")
    if graph.is_bundle and event.node is not None:
        return _cancel_alone(step, event, graph, event.node)
    if settling.has_ended(step, graph):
        return Answer(event.client, had_ended=True)
    _mark(step, graph.id)
    return Job(0, (), event.terminate, event.signal, graph=graph.id, kind="cancel")


def _cancel_alone(step: Step, event: CancelAsked, graph: Graph, index: int) -> Job | Answer:
    """End one of many independent calls; what runs in its place is a graph of its own, and is cancelled as that."""
    run = step.loaded.run_of(graph.id, index)
    if run is None or step.loaded.outcome(graph.id, index) is not None:
        return Answer(event.client, had_ended=True)
    job = Job(0, (), event.terminate, event.signal, kind="cancel")
    _cancel(step, job, graph, run, index, running_nodes(step))
    if not job.graphs:
        return Answer(event.client, count=job.done, running=job.running)
    job.graph, job.graphs = job.graphs[0], job.graphs[1:]
    return job


def _mark(step: Step, graph: bytes) -> None:
    step.cluster.cancelling.add(graph)
    step.loaded.put_cancelled(graph, step.now.wall_ms)


def advance(step: Step, job: Job) -> bool:
    """Revoke a batch of nodes; True where that was all."""
    running = running_nodes(step)
    left = _BATCH * 10
    while job.graph:
        graph = step.graph(job.graph)
        if graph is None or job.node >= graph.node_count:
            step.cluster.cancelling.discard(job.graph)
            job.graph, job.graphs, job.node = (*job.graphs, b"")[0], job.graphs[1:], 0
            continue
        if left <= 0:
            return False
        run = step.loaded.run_of(graph.id, job.node)
        if run is None:
            raise settling.Defect(f"node {job.node} of graph {graph.id.hex()} has no run")
        end = min(run.first + run.count, job.node + left)
        settled = step.loaded.settled_in(graph.id, job.node, end - job.node)
        while job.node < end and left > 0:
            left -= 1
            if job.node not in settled:
                left -= 9
                _cancel(step, job, graph, run, job.node, running)
            job.node += 1
    return True


def _cancel(step: Step, job: Job, graph: Graph, run: Run, index: int, running: Running) -> None:
    """End one unsettled node, and what is attached to it."""
    node = node_id(graph.id, index)
    attempt = running.get(node)
    if attempt is not None or recovery.may_run(step, graph.id, index):
        progress = attempts.doom(step, graph.id, index, "REVOKED", job.signal if job.terminate else "")
        if attempt is not None:
            attempts.ask_to_stop(step, attempt, progress)
        job.running += 1
        return
    job.done += 1
    for extra in step.loaded.extras(graph.id, index) if run.is_join else ():
        _cancel_too(step, job, split_node(extra)[0])
    found = step.loaded.progress(graph.id, index)
    if found is not None and found.replaced_by:
        _cancel_too(step, job, split_node(found.replaced_by)[0])
        settling.settle(step, graph, run, index, _outcome(step, NodeState.WAITING))
    else:
        timers.revoke_unstarted(step, graph, run, index, Trigger.REVOKED)


def _cancel_too(step: Step, job: Job, graph_id: bytes) -> None:
    """Cancel, after the present one, a graph that is attached to it."""
    graph = step.graph(graph_id)
    if graph is not None and not settling.has_ended(step, graph) and graph_id not in step.cluster.cancelling:
        job.graphs = (*job.graphs, graph_id)
        _mark(step, graph_id)


def revoke_taken(step: Step, graph: Graph, entry: Entry, offset: int, count: int) -> None:
    """Revoke nodes that were just taken from the head of their line, of a graph that is being cancelled."""
    run = entry.run
    assert run is not None
    for index in range(entry.first + offset, entry.first + offset + count):
        step.cluster.lines.depart(step.loaded, entry)
        settling.settle(step, graph, run, index, _outcome(step, NodeState.QUEUED))
    for job, _ in step.cluster.jobs.values():
        if job.kind == "cancel" and graph.id in {job.graph, *job.graphs}:
            job.done += count
            step.loaded.put_job(job)


def _outcome(step: Step, state: NodeState) -> Outcome:
    failure = Failure("TaskRevokedError", "revoked", "REVOKED")
    return Outcome(transition(state, Trigger.REVOKED), step.now.wall_ms, failure=failure)
