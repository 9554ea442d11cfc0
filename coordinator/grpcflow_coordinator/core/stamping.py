"""Revoke by stamp: every node that bears a stamp ends as revoked, in steps that are short."""

from __future__ import annotations

from grpcflow_coordinator.core import revoking
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.model import Graph, Job, Run, node_id
from grpcflow_coordinator.core.running import Running, running_nodes

#: Runs of a graph that are read at once.
_PAGE = 64


def note(step: Step, graph: Graph) -> None:
    """Note what a graph that has just become real is stamped with."""
    stamps = {(name, value) for template in graph.templates for name, values in template.stamps for value in values}
    if stamps:
        step.loaded.put_stamps(graph.id, stamps)


def advance(step: Step, job: Job) -> bool:
    """Revoke up to a batch of nodes; True where that was all."""
    left = step.cluster.limits.batch
    running = running_nodes(step)
    while job.stamp < len(job.stamps):
        if left <= 0:
            return False
        stamp = job.stamps[job.stamp]
        graph = step.graph(job.graph) if job.graph else None
        if graph is None or job.node >= graph.node_count:
            left -= 1
            _next_graph(step, job, stamp)
            continue
        bearing = {number for number, one in enumerate(graph.templates) if bears(one.stamps, stamp)}
        runs = step.loaded.runs(graph.id, job.node, _PAGE)
        for run in runs:
            if left <= 0:
                break
            left -= run.count
            job.node = run.first + run.count
            if not run.is_join and run.template in bearing:
                job.done += _revoke_run(step, job, graph, run, running)
        if len(runs) < _PAGE and left > 0:
            job.node = graph.node_count
    return True


def bears(stamps: tuple[tuple[str, tuple[str, ...]], ...], stamp: tuple[str, str]) -> bool:
    """Return whether one of the stamps is the one wanted."""
    return any(name == stamp[0] and stamp[1] in values for name, values in stamps)


def _next_graph(step: Step, job: Job, stamp: tuple[str, str]) -> None:
    found = step.loaded.stamped_graphs(*stamp, after=job.graph, limit=1)
    if found:
        job.graph, job.node = found[0], 0
    else:
        job.stamp, job.graph, job.node = job.stamp + 1, b"", 0


def _revoke_run(step: Step, job: Job, graph: Graph, run: Run, running: Running) -> int:
    settled = step.loaded.settled_in(graph.id, run.first, run.count)
    stop_signal = job.signal if job.terminate else ""
    return sum(
        revoking.revoke_node(step, node_id(graph.id, index), stop_signal, running)
        for index in range(run.first, run.first + run.count)
        if index not in settled
    )
