"""Retention: how long, and how many, of the graphs that ended are kept.

What was set for a task goes before what was set for its queue, that before what the call says of itself, and that
before the coordinator's own number. Everything counts from the end of the graph. A count is kept as an index by the
time of the end, from which the oldest go when there are too many; what is named there may be gone already.
"""

from __future__ import annotations

from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import RetentionAsked
from grpcflow_coordinator.core.loaded import Loaded
from grpcflow_coordinator.core.model import Graph, Keep, NodeState, Template, TimerKind, node_id
from grpcflow_coordinator.core.states import FAILED

#: Graphs over a count that one end sweeps away: more than one, so that a count that was lowered is soon met.
_SWEPT = 10


def on_ask(step: Step, event: RetentionAsked) -> None:
    """Say how long what ended is kept of a task or a queue; None: as everything else."""
    key = (event.scope, event.name)
    step.loaded.put_retention(event.scope, event.name, event.retention)
    if event.retention is None:
        step.cluster.retention.pop(key, None)
        for kind in _KINDS:
            step.loaded.drop_kept((*key, kind))
            step.cluster.kept.pop((*key, kind), None)
    else:
        step.cluster.retention[key] = event.retention
    step.effects.sends.append(Answer(event.client))


_KINDS = ("results", "failures", "arguments")


def on_end(step: Step, graph: Graph, *, failed: bool) -> None:
    """Set the timers of a graph of which every node has settled, and let what is too much go."""
    now = step.now.wall_ms
    retention = step.cluster.retention
    if not retention and graph.node_count == 1:
        template: Template | None = graph.templates[0] if graph.templates else None
    else:
        template = template_of_whole(step.loaded, graph)
    age = step.cluster.limits.result_expires_ms
    if template is not None:
        if graph.is_bundle:
            age = max(_age(one, failed=one_failed) or age for one in graph.templates for one_failed in {False, failed})
        else:
            age = _age(template, failed=failed) or age
        if retention:
            kind = "failures" if failed else "results"
            age = _keep(step, graph, template, kind) or age
            arguments = _keep(step, graph, template, "arguments")
            if 0 < arguments < age:
                step.set_timer(now + arguments, TimerKind.ARGUMENTS, node_id(graph.id, 0))
    step.set_timer(now + age, TimerKind.PRUNE, node_id(graph.id, 0))


def _age(template: Template, *, failed: bool) -> int:
    """Return how many milliseconds a template's calls ask to be kept; 0: they say nothing."""
    return (template.failure_expires_ms if failed else 0) or template.result_expires_ms


def template_of_whole(loaded: Loaded, graph: Graph) -> Template | None:
    """Return the template of the node whose value is the value of the whole; of a join: of its first member."""
    index = graph.outcome
    while (run := loaded.run_of(graph.id, index)) is not None:
        if not run.is_join:
            return graph.templates[run.template]
        if not run.members:
            break
        index = run.members[0][0]
    return graph.templates[0] if graph.templates else None


def _keep(step: Step, graph: Graph, template: Template, kind: str) -> int:
    """Count a graph where that is wanted; return how many milliseconds it is kept, 0: nothing was set."""
    age = 0
    for scope, name in (("queue", template.queue), ("task", template.task)):
        found = step.cluster.retention.get((scope, name))
        keep: Keep = getattr(found, kind) if found is not None else Keep()
        age = keep.age_ms or age
        if keep.count:
            _count(step, graph, (scope, name, kind), keep.count)
    return age


def _count(step: Step, graph: Graph, key: tuple[str, str, str], most: int) -> None:
    """Note the end of a graph; the oldest ones go where there are too many."""
    kept = step.cluster.kept
    if key not in kept:
        kept[key] = step.loaded.kept_count(key)
    step.loaded.put_kept(key, step.now.wall_ms, graph.id)
    kept[key] += 1
    if kept[key] <= most:
        return
    for end_ms, oldest in step.loaded.oldest_kept(key, min(_SWEPT, kept[key] - most)):
        step.loaded.drop_one_kept(key, end_ms, oldest)
        kept[key] -= 1
        found = step.graph(oldest)
        if found is None:
            continue
        outcome = step.loaded.outcome(oldest, found.outcome)
        if outcome is not None and outcome.settled_ms <= end_ms:  # else it was retried, and ended again later
            kind = TimerKind.ARGUMENTS if key[2] == "arguments" else TimerKind.PRUNE
            step.set_timer(step.now.wall_ms, kind, node_id(oldest, 0))


def has_failed(step: Step, graph: Graph, state: NodeState) -> bool:
    """Return whether something failed in a graph that has just ended with a node in this state."""
    tally = step.touched.get(graph.id) if graph.node_count > 1 else None
    if tally is None:
        return state in FAILED
    return bool(tally.failed or tally.revoked or tally.rejected)


def start(step: Step) -> None:
    """Take what was set, at the start."""
    step.cluster.retention = dict(step.loaded.retention())
