"""Revoke by what is called, and purge: every call that matches ends as revoked, in steps that are short."""

from __future__ import annotations

from fnmatch import fnmatchcase

from grpcflow_coordinator.core import revoking, settling
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.events import MatchRevokeAsked
from grpcflow_coordinator.core.model import Entry, Graph, Job, LineKey, Run, node_id
from grpcflow_coordinator.core.running import Running, running_nodes

#: Nodes that one step revokes; a graph that is only looked at weighs a tenth.
_BATCH = 200

#: Entries of a queue that are read at once.
_PAGE = 64


def begin_match(event: MatchRevokeAsked) -> Job:
    """Begin to revoke what matches."""
    stop = (event.terminate, event.signal)
    return Job(0, (), *stop, kind="match", calls=((event.queue, event.task),))


def advance_match(step: Step, job: Job) -> bool:
    """Revoke a batch of nodes; True where that was all."""
    left = _BATCH * 10
    running = running_nodes(step)
    while left > 0:
        graph = step.graph(job.graph) if job.graph else None
        if graph is None or job.node >= graph.node_count or settling.has_ended(step, graph):
            left -= 1
            found = step.loaded.graphs_after(job.graph, 1)
            if not found:
                return True
            job.graph, job.node = found[0], 0
            continue
        left -= _revoke_runs(step, job, graph, running, left)
    return False


def _revoke_runs(step: Step, job: Job, graph: Graph, running: Running, limit: int) -> int:
    """Revoke what matches of the next runs of a graph; return what it weighs."""
    wanted = {number for number, one in enumerate(graph.templates) if _matches(job, one.queue, one.task)}
    if not wanted:
        job.node = graph.node_count
        return 1
    run = step.loaded.run_of(graph.id, job.node)
    if run is None:
        raise settling.Defect(f"node {job.node} of graph {graph.id.hex()} has no run")
    end = run.first + run.count
    if run.is_join or run.template not in wanted:
        job.node = end
        return 1
    end = min(end, job.node + max(1, limit // 10))
    weight = 10 * (end - job.node)
    _revoke(step, job, graph, run, end, running)
    return weight


def _matches(job: Job, queue: str, task: str) -> bool:
    [(wanted_queue, pattern)] = job.calls
    return wanted_queue in {"", queue} and (not pattern or fnmatchcase(task, pattern))


def _revoke(step: Step, job: Job, graph: Graph, run: Run, end: int, running: Running) -> None:
    settled = step.loaded.settled_in(graph.id, job.node, end - job.node)
    for index in range(job.node, end):
        if index not in settled:
            stop_signal = job.signal if job.terminate else ""
            job.done += revoking.revoke_node(step, node_id(graph.id, index), stop_signal, running)
    job.node = end


def begin_purge(step: Step, queue: str) -> Job:
    """Begin to revoke what stands in a queue now."""
    lanes = {(key.queue, key.task) for key in step.cluster.lines.by_key if key.queue == queue}
    return Job(0, kind="purge", calls=tuple(sorted(lanes)), sequence=-1, until=step.cluster.lines.next_sequence)


def advance_purge(step: Step, job: Job) -> bool:
    """Revoke a batch of what stands in the queue; True where that was all."""
    running = running_nodes(step)
    left = _BATCH
    lines = _lines_of(step, job)
    while lines and left > 0:
        line = lines[-1]
        page = step.loaded.entries(line, job.sequence, job.until, _PAGE) if line in step.cluster.lines.by_key else []
        for entry in page:
            if left <= 0:
                return False
            left -= max(1, _purge(step, job, entry, running))
            job.sequence = entry.sequence
        if len(page) < _PAGE:
            lines.pop()
            job.sequence = -1
            left -= 1
        if not lines:
            job.calls = job.calls[1:]
            step.cluster.purging.pop(job.number)
            lines = _lines_of(step, job)
    return not job.calls


def _lines_of(step: Step, job: Job) -> list[LineKey]:
    """Return the lines of a purge's next lane that are still to be gone through, the next one last.

    They are known in memory only: after a restart the lane is gone through again, which changes nothing.
    """
    while job.calls and job.number not in step.cluster.purging:
        queue, task = job.calls[0]
        found = sorted(step.cluster.lines.of((queue, task)))
        if found:
            step.cluster.purging[job.number] = found
            job.sequence = -1
        else:
            job.calls = job.calls[1:]
    return step.cluster.purging.get(job.number, [])


def _purge(step: Step, job: Job, entry: Entry, running: Running) -> int:
    """Revoke the nodes of an entry that wait there; return how many."""
    if step.cluster.lines.is_dead(entry) or step.graph(entry.graph) is None:
        return 0
    settled = step.loaded.settled_in(entry.graph, entry.first, entry.count)
    before = job.done
    for index in range(entry.first, entry.first + entry.count):
        node = node_id(entry.graph, index)
        progress = step.loaded.progress(entry.graph, index)
        elsewhere = progress is not None and progress.place not in {0, entry.sequence}
        if index not in settled and node not in running and not elsewhere:
            job.done += revoking.revoke_node(step, node, "", running)
    if len(step.loaded.settled_in(entry.graph, entry.first, entry.count)) == entry.count:
        step.cluster.lines.discard(step.loaded, entry)
    return job.done - before
