"""What must hold of the whole state after every step, written naively on purpose.

Everything is derived again from the records and compared with what the core keeps. Run after each step under
test; far too slow for production.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol, cast

from grpcflow_coordinator.core.cluster import Cluster
from grpcflow_coordinator.core.lines import Line
from grpcflow_coordinator.core.loaded import Loaded, Timer
from grpcflow_coordinator.core.model import (
    GRAPH_ID_BYTES,
    Entry,
    Graph,
    LineKey,
    NodeState,
    Run,
    Tally,
    TimerKind,
    node_id,
    split_node,
    text_id,
)
from grpcflow_coordinator.core.states import FAILED, TERMINAL
from grpcflow_coordinator.core.timers import is_of

_EVERYTHING = 1 << 30


class Browsable(Loaded, Protocol):
    """Records that can be read from end to end."""

    def all_graphs(self) -> list[bytes]:
        """Return the ids of all graphs."""
        ...

    def all_timers(self) -> Iterable[Timer]:
        """Return all timers."""
        ...


class _ReadOnce:
    """Records that nobody changes meanwhile: what most is asked for is read once, however often it is looked at."""

    def __init__(self, loaded: Browsable) -> None:
        self._loaded = loaded
        self.graph = functools.cache(loaded.graph)
        self.outcome = functools.cache(loaded.outcome)
        self.progress = functools.cache(loaded.progress)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loaded, name)


class Broken(AssertionError):
    """An invariant does not hold."""


def check(cluster: Cluster, loaded: Browsable) -> None:
    """Check everything.

    Raises:
        Broken: names the invariant and the node, with the node's story.
    """
    loaded = cast("Browsable", _ReadOnce(loaded))
    _check_sessions(cluster)
    _check_gates(cluster)
    entries = _entries(cluster, loaded)
    timers = list(loaded.all_timers())
    places = _places(cluster, loaded, entries, timers)
    pruned = {timer.node[:GRAPH_ID_BYTES] for timer in timers if timer.kind == TimerKind.PRUNE}
    in_work = _in_work(cluster)
    for graph_id in loaded.all_graphs():
        graph = loaded.graph(graph_id)
        if graph is not None:
            _check_graph(cluster, loaded, graph, places, in_work=graph_id in in_work, pruned=graph_id in pruned)
    _check_entries(cluster, loaded, entries)
    _check_reach(cluster, loaded, entries)


def _fail(cluster: Cluster, graph: bytes, index: int, what: str) -> None:
    story = "\n".join(cluster.story.of(graph, index)) or "no story"
    raise Broken(f"{what}: node {index} of graph {graph.hex()} ({text_id(graph, index)})\n{story}")


def _check_sessions(cluster: Cluster) -> None:
    """Attempts and sessions know each other; names and streams lead to the right session."""
    owned = Counter(token for session in cluster.sessions.values() for token in session.attempts)
    if set(owned) != set(cluster.attempts) or any(count > 1 for count in owned.values()):
        raise Broken("the sessions' attempts are not the cluster's attempts")
    for token, attempt in cluster.attempts.items():
        if attempt.token != token or token not in cluster.sessions[attempt.session].attempts:
            raise Broken(f"attempt {token} stands under another token or session")
    found = [cluster.known.get(node_id(one.graph, one.index)) is one for one in cluster.attempts.values()]
    if found != sorted(found, reverse=True):
        raise Broken("an attempt is not among those that are known by node, and a younger one is")
    nodes = Counter((attempt.graph, attempt.index) for attempt in cluster.attempts.values())
    for (graph, index), count in nodes.items():
        if count > 1:
            _fail(cluster, graph, index, "two attempts at once")
    for name, session_id in cluster.by_name.items():
        if cluster.sessions[session_id].name != name:
            raise Broken(f"the name {name!r} leads to the session of another name")
    for session in cluster.sessions.values():
        due = session.deadline if session.stream is None else session.last_heard + cluster.limits.silence
        if cluster.look_at > due:
            raise Broken(f"{session.name} is looked at too late: at {cluster.look_at}, not at {due}")
        if session.stream is not None and cluster.by_stream.get(id(session.stream)) != session.id:
            raise Broken(f"the stream of {session.name!r} does not lead to it")


def _check_gates(cluster: Cluster) -> None:
    """Every limit counts the attempts that passed it, and what waits for a key waits for somebody."""
    gates = cluster.gates
    counted: Counter[tuple[str, str]] = Counter()
    for attempt in cluster.attempts.values():
        keys = [("task", attempt.template.task), ("queue", attempt.template.queue)]
        counted.update((*keys, ("key", attempt.run.concurrency_key)))
    for gate in (*gates.tasks.values(), *gates.queues.values(), *gates.keys.values()):
        if gate.running != counted[gate.scope, gate.name]:
            raise Broken(f"{gate.scope} {gate.name!r} counts {gate.running}, not {counted[gate.scope, gate.name]}")
    for line in cluster.lines.by_key.values():
        if line.held:
            held_by = gates.keys.get(line.key.key)
            group = held_by.waiting.get(line.key.group) if held_by is not None else None
            if group is None or group.get(line.key) is not line:
                raise Broken(f"{line.key} waits for a key and nobody knows")
            if gates.room_of_key(line.key) > 0 and not gates.uncertain and not _is_minded(cluster, line):
                raise Broken(f"{line.key} waits for a key that has room")
    for session in cluster.sessions.values():
        batches = Counter(cluster.attempts[token].batch for token in session.attempts)
        batches.pop(0, 0)
        if dict(batches) != session.batches or session.sharing != sum(left - 1 for left in batches.values()):
            raise Broken(f"{session.name} counts the batches {session.batches}, and has {dict(batches)}")


def _is_minded(cluster: Cluster, held: Line) -> bool:
    """Return whether a line that waits for its key will go on: it is looked at, or another one goes before it."""
    same = (one for one in cluster.lines.by_key.values() if one.key.key == held.key.key and one.slot is not None)
    return held.key.key in cluster.lines.loose or held.key.group in (one.key.group for one in same)


def _entries(cluster: Cluster, loaded: Browsable) -> list[Entry]:
    """Return the queue entries that mean something."""
    found = (entry for line in loaded.lines() for entry in loaded.entries(line, -1, 1 << 62, _EVERYTHING))
    return [entry for entry in found if not cluster.lines.is_dead(entry)]


def _in_work(cluster: Cluster) -> set[bytes]:
    """Return the graphs that are being cancelled or retried: each is whole again once that is done."""
    found = set(cluster.cancelling)
    for job, _ in cluster.jobs.values():
        if job.kind == "retry":
            found.update((job.graph, *job.graphs, *job.ready))
    return found


def _places(
    cluster: Cluster, loaded: Browsable, entries: list[Entry], timers: list[Timer]
) -> Counter[tuple[bytes, int]]:
    """Count where each unsettled node stands: in entries, timers, or with a cursor that has not come to it."""
    places: Counter[tuple[bytes, int]] = Counter()
    for entry in entries:
        for index in range(entry.first, entry.first + entry.count):
            if _stands_in(loaded, entry, index):
                places[entry.graph, index] += 1
    for timer in timers:
        if timer.kind == TimerKind.READY:
            graph, first = split_node(timer.node)
            root = loaded.graph(graph)
            if root is not None and not is_of(timer, root):
                continue
            for index in range(first, first + timer.count):
                if graph not in cluster.lines.retried:
                    places[graph, index] += 1
                elif (progress := loaded.progress(graph, index)) is not None and progress.place == -1:
                    places[graph, index] = 1  # a timer from before the retry may name it as well
    return places


def _stands_in(loaded: Browsable, entry: Entry, index: int) -> bool:
    progress = loaded.progress(entry.graph, index)
    return progress is None or progress.place in (0, entry.sequence)


def _check_graph(
    cluster: Cluster,
    loaded: Browsable,
    graph: Graph,
    places: Counter[tuple[bytes, int]],
    *,
    in_work: bool,
    pruned: bool,
) -> None:
    tally = Tally(graph.node_count)
    cursor = loaded.release_cursor(graph.id)
    for run in loaded.runs(graph.id, 0, _EVERYTHING):
        for index in range(run.first, run.first + run.count):
            outcome = loaded.outcome(graph.id, index)
            if outcome is not None and outcome.state not in TERMINAL:
                _fail(cluster, graph.id, index, "settled in a state that is not terminal")
            if outcome is not None:
                tally.settled(outcome.state)
            elif not in_work:
                beyond_cursor = cursor is not None and index >= cursor
                _check_unsettled(cluster, loaded, graph, run, index, places[graph.id, index], beyond_cursor)
    counted = loaded.tally(graph.id) or Tally(graph.node_count)
    if graph.node_count > 1 and tally != counted:
        raise Broken(f"graph {graph.id.hex()} stands at {tally} and counts {counted}")
    if graph.id in cluster.live and cluster.live[graph.id] != counted:
        raise Broken(f"graph {graph.id.hex()} counts {cluster.live[graph.id]} in memory and {counted} on disk")
    if tally.unsettled == 0 and not pruned:
        raise Broken(f"graph {graph.id.hex()} has ended and nothing will prune it")


def _check_unsettled(
    cluster: Cluster, loaded: Browsable, graph: Graph, run: Run, index: int, places: int, beyond_cursor: bool
) -> None:
    """An unsettled node waits for something that will come, and stands in exactly one place."""
    progress = loaded.progress(graph.id, index)
    if progress is not None and progress.replaced_by:
        stand_in, place = split_node(progress.replaced_by)
        if places or loaded.graph(stand_in) is None or loaded.outcome(stand_in, place) is not None:
            _fail(cluster, graph.id, index, "it was replaced, and is queued as well or waits for what has ended")
        return
    if progress is not None and progress.follows:
        if places or node_id(graph.id, index) not in loaded.followers(progress.follows, _EVERYTHING):
            _fail(cluster, graph.id, index, "it follows another node, which does not know, or is queued as well")
        ended = loaded.outcome(*split_node(progress.follows)) is not None
        if ended and progress.follows not in cluster.followed:
            _fail(cluster, graph.id, index, "it follows a node that has ended, and did not settle with it")
        return
    waits = _waits(cluster, loaded, graph, run, index)
    if waits and places:
        _fail(cluster, graph.id, index, "it waits for parents and is queued as well")
    if not waits and not beyond_cursor and places != 1:
        _fail(cluster, graph.id, index, f"it waits for nothing and stands in {places} places")


def _waits(cluster: Cluster, loaded: Browsable, graph: Graph, run: Run, index: int) -> bool:
    """Return whether a parent is still to settle; check that the counts say the same."""
    parents = [edge.parent for edge in run.inputs]
    for first, count in run.members or ():
        parents += range(first, first + count)
    if not parents:
        if run.is_join:
            _fail(cluster, graph.id, index, "an empty join did not settle")
        return False
    outcomes = [loaded.outcome(graph.id, parent) for parent in parents]
    extras = loaded.extras(graph.id, index) if run.is_join else []
    outcomes += [loaded.outcome(*split_node(extra)) for extra in extras]
    missing = sum(outcome is None for outcome in outcomes)
    stored = loaded.waiting(graph.id, index)
    if run.is_errback:
        if stored == -1:
            return False
        if missing == 0:
            _fail(cluster, graph.id, index, "an errback waits though all its parents have settled")
        return True
    for outcome in outcomes:
        if outcome is not None and (outcome.state in FAILED or outcome.state is NodeState.IGNORED):
            _fail(cluster, graph.id, index, "a parent did not succeed and the child did not settle")
    if missing == 0 and run.is_join:
        _fail(cluster, graph.id, index, "a join waits though all its members have settled")
    if missing and (len(outcomes) if stored is None else stored) != missing:
        _fail(cluster, graph.id, index, f"{missing} parents are missing and {stored} are counted")
    return missing > 0


def _check_entries(cluster: Cluster, loaded: Browsable, entries: list[Entry]) -> None:
    """Queue entries on disk hold unsettled nodes; those in memory count them right."""
    by_key = {(entry.line, entry.sequence): entry for entry in entries}
    for line in cluster.lines.by_key.values():
        for kept in cluster.lines.in_memory(line):
            if kept.remaining > 0 and not cluster.lines.is_dead(kept) and (kept.line, kept.sequence) not in by_key:
                _fail(cluster, kept.graph, kept.first, "an entry in memory is not on disk")
    held = Counter(id(attempt.entry) for attempt in cluster.attempts.values() if attempt.entry is not None)
    for attempt in cluster.attempts.values():
        entry = attempt.entry
        if entry is None:
            if cluster.recovery is None:
                _fail(cluster, attempt.graph, attempt.index, "an attempt has no entry after recovery")
        elif held[id(entry)] > entry.remaining:
            _fail(cluster, attempt.graph, attempt.index, "an entry counts fewer nodes than are handed out of it")
    in_memory = _in_memory(cluster)
    for entry in entries:
        unsettled = [
            index
            for index in range(entry.first, entry.first + entry.count)
            if loaded.outcome(entry.graph, index) is None and _stands_in(loaded, entry, index)
        ]
        known = in_memory.get((entry.line, entry.sequence))
        if known is not None and not cluster.lines.gone and known.remaining != len(unsettled):
            _fail(
                cluster, entry.graph, entry.first, f"an entry counts {known.remaining} nodes and has {len(unsettled)}"
            )


def _in_memory(cluster: Cluster) -> dict[tuple[LineKey, int], Entry]:
    """Return the entries' objects in memory, by line and sequence; that of an attempt goes before that of its line."""
    found: dict[tuple[LineKey, int], Entry] = {}
    for attempt in cluster.attempts.values():
        if attempt.entry is not None:
            found.setdefault((attempt.entry.line, attempt.entry.sequence), attempt.entry)
    for key, line in cluster.lines.by_key.items():
        for one in cluster.lines.in_memory(line):
            found.setdefault((key, one.sequence), one)
    return found


def _check_reach(cluster: Cluster, loaded: Browsable, entries: list[Entry]) -> None:
    """What is queued and nobody runs will be handed out: its line is active and will come to it."""
    running = {(attempt.graph, attempt.index) for attempt in cluster.attempts.values()}
    waiting: Counter[LineKey] = Counter()
    for entry in entries:
        line = cluster.lines.by_key.get(entry.line)
        for index in range(entry.first, entry.first + entry.count):
            if (entry.graph, index) in running or not _stands_in(loaded, entry, index):
                continue
            if loaded.outcome(entry.graph, index) is not None:
                continue
            if line is None or not _will_come(line, entry, index - entry.first):
                _fail(cluster, entry.graph, index, "it is queued and its line will not come to it")
            elif entry.sequence >= line.below:
                waiting[entry.line] += 1
    for key, count in waiting.items():
        line = cluster.lines.by_key[key]
        if line.slot is None and not line.held:
            raise Broken(f"{count} nodes wait in {key} and the line rests")
        if line.slot is not None and not _is_listed(cluster, line):
            raise Broken(f"{count} nodes wait in {key} and its task does not stand in front of them")
        if line.queued < count:
            raise Broken(f"{count} nodes wait in {key} and {line.queued} are counted")


def _is_listed(cluster: Cluster, line: Line) -> bool:
    """Return whether the task of a line stands among those of its level no further behind than the line does."""
    level = cluster.lines.ready[line.key.queue][line.key.priority]
    listed = level.orders[line.key.task].listed
    if listed is None or line.slot is None or listed > line.slot:
        return False
    return any(low == listed and task == line.key.task for low, _, task in level.tasks)


def _will_come(line: Line, entry: Entry, offset: int) -> bool:
    """Return whether a line still has a node before it."""
    if entry.sequence < line.below or (line.more and entry.sequence > line.loaded_to):
        return True
    if any(sequence == entry.sequence + offset for sequence, _, _ in line.back):
        return True
    return any(kept.sequence == entry.sequence and kept.taken <= offset for kept in line.window)
