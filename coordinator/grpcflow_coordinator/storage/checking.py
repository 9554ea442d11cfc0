"""Check a store: every index against the records it leads to, and the records against the indexes.

Reads one moment of a store that nobody need have stopped, decodes every record, and tells what does not agree. Most of
what the coordinator keeps twice it keeps for speed; here the second one is derived again, naively, as
`core/invariants.py` does it for small stores under test. This file writes nothing and mends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from grpcflow_coordinator.core.model import TimerKind, line_of, split_node, text_id
from grpcflow_coordinator.core.timers import is_of
from grpcflow_coordinator.storage import formats, keys, schedule_formats
from grpcflow_coordinator.storage.checking_graphs import check_graph
from grpcflow_coordinator.storage.checking_records import read_all
from grpcflow_coordinator.storage.contract import Store
from grpcflow_coordinator.storage.findings import NAMES, Finding, Indexes, Place, is_of_nodes, open_indexes, pairs
from grpcflow_coordinator.storage.formats import Lane
from grpcflow_coordinator.storage.records import TimerRecord

_GRAPH_AT: Final = len(keys.SPACE) + 1
_ID: Final = 12

#: Records whose key is the digest of what they say, with how to say it again.
_NAMED: Final[dict[bytes, Callable[[bytes], bytes]]] = {
    keys.PAUSED: lambda data: keys.digest(formats.read_name(data)),
    keys.LIMIT: lambda data: keys.digest(*formats.read_limit(data)[0]),
    keys.RETENTION: lambda data: keys.digest(*formats.read_retention(data)[0]),
    keys.PLAN: lambda data: keys.digest(schedule_formats.read_plan(data).name),
    keys.SAVED: lambda data: keys.digest(formats.read_saved(data)[0]),
}


def check(store: Store, now_ms: int) -> Iterator[Finding]:
    """Tell what does not agree in a store.

    Args:
        store: what is checked; nothing may write to it meanwhile (use a snapshot).
        now_ms: unix time; what is due by then may be half done.

    Yields:
        What was found. Where records cannot be read, only those are told: nothing can be said of the rest.
    """
    unreadable = False
    for finding in read_all(store):
        unreadable |= finding.broken
        yield finding
    if unreadable:
        return
    found = open_indexes(store, now_ms)
    yield from _lanes(found)
    yield from _timers(found)
    yield from _kept(found)
    yield from _owned(found)
    yield from _items(found)
    yield from _named(found)
    yield from _held(found)
    yield from _followers(found)
    if store.get(keys.EPOCH) is None and store.keys(keys.GRAPH, keys.after(keys.GRAPH), 1):
        yield Finding("epoch", "there are graphs, and no start was counted: attempts could get tokens that were used")
    for key, _ in pairs(store, keys.GRAPH):
        try:
            yield from check_graph(found, key[_GRAPH_AT:])
        except formats.DAMAGED as error:
            yield Finding("graph", f"the graph {key[_GRAPH_AT:].hex()} cannot be read through: {error!r}")


def _lanes(found: Indexes) -> Iterator[Finding]:
    """Queue entries and marks against lanes and graphs."""
    lanes: dict[int, Lane] = {}
    seen: dict[Lane, int] = {}
    for key, data in pairs(found.store, keys.LANE):
        number, lane = int.from_bytes(key[4:8], "big"), formats.read_lane(data)
        if lane in seen:
            yield Finding("lane", f"the lane {lane.queue}/{lane.task} has two numbers, {seen[lane]} and {number}")
        lanes[number], seen[lane] = lane, number
    for key, data in pairs(found.store, keys.MARK):
        number, priority = keys.split_line(key)
        if number not in lanes:
            yield Finding("hand-out mark", f"a mark for the lane {number}, which is not there")
        else:
            found.marks[formats.line_in(lanes[number], priority)] = formats.read_number(data)
    used: set[int] = set()
    line, behind = b"", 0
    for key, data in pairs(found.store, keys.ENTRY):
        number, priority = keys.split_line(key)
        used.add(number)
        sequence, count = keys.split_entry(key)
        if key[:9] == line and sequence < behind:
            yield Finding("queue entry", f"two entries of lane {number} overlap at sequence {sequence}")
        line, behind = key[:9], sequence + count
        if number not in lanes:
            yield Finding("lane", f"the lane {number} has entries in the queue's index and is not there")
        elif len(data) != 16 or len(key) != 21 or not count:
            yield Finding("queue entry", f"the entry {key.hex()} of lane {number} is no entry")
        else:
            yield from _entry(found, lanes[number], priority, sequence, count, data)
    for number in lanes.keys() - used:
        if lanes[number].fairness or lanes[number].key:
            yield Finding("lane", f"the lane {number} of a key has nothing queued", broken=False)


def _entry(found: Indexes, lane: Lane, priority: int, sequence: int, count: int, data: bytes) -> Iterator[Finding]:
    """One queue entry against its graph."""
    graph_id, first = split_node(data)
    if sequence < found.retried.get(graph_id, 0):
        return  # from before a retry: it means nothing, and goes when the line comes to it
    line = formats.line_in(lane, priority)
    graph = found.records.graph(graph_id)
    name = f"the entry {sequence} of {lane.queue}/{lane.task}"
    if graph is None:
        yield Finding("queue entry", f"{name} names a graph that is gone ({graph_id.hex()})", broken=False)
        return
    run = found.records.run_of(graph_id, first)
    if run is None or first + count > run.first + run.count or run.is_join:
        yield Finding(
            "queue entry", f"{name} names nodes {first} to {first + count - 1} of {graph_id.hex()}: no such run"
        )
    elif line_of(graph.templates[run.template], run) != line:
        yield Finding("queue entry", f"{name} names {text_id(graph_id, first)}, which belongs to another line")
    else:
        found.places.setdefault(graph_id, []).append(Place(first, count, sequence, line))
        has_settled = len(found.records.settled_in(graph_id, first, count)) == count
        if has_settled and found.records.stray(graph_id) <= sequence:
            told = f"{name} names settled nodes, and {graph_id.hex()} does not say so"
            yield Finding(NAMES[keys.STRAY], told, broken=False)  # earlier versions wrote none


def _timers(found: Indexes) -> Iterator[Finding]:
    """Timers against what they name."""
    for kind_of_key in (keys.TIMER, keys.PRUNE):
        for key, data in pairs(found.store, kind_of_key):
            due_ms, kind, node = keys.split_timer(key)
            count, made_ms = formats.read_timer(data)
            name = NAMES[kind_of_key]
            if kind not in set(TimerKind) or (kind >= TimerKind.PRUNE) != (kind_of_key == keys.PRUNE):
                yield Finding(name, f"a timer of the unknown kind {kind} ({key.hex()})")
            elif not is_of_nodes(kind):
                yield from _other_timer(found, kind, node)
            else:
                yield from _node_timer(found, TimerRecord(due_ms, TimerKind(kind), node, count, made_ms))


def _other_timer(found: Indexes, kind: int, digest: bytes) -> Iterator[Finding]:
    index = keys.SAVED if kind == TimerKind.SAVED else keys.UNIQUE
    if found.store.get(index + digest) is None:
        yield Finding("retention timer", f"a timer of a {NAMES[index]} that is gone ({digest.hex()})", broken=False)


def _node_timer(found: Indexes, timer: TimerRecord) -> Iterator[Finding]:
    graph_id, index = split_node(timer.node)
    graph, kind, due_ms, count = found.records.graph(graph_id), TimerKind(timer.kind), timer.due_ms, timer.count
    name = "retention timer" if kind >= TimerKind.PRUNE else "timer"
    what = f"a timer ({kind.name}, due {due_ms}) names {text_id(graph_id, index)}"
    if graph is None:
        if kind == TimerKind.PRUNE:
            found.pruned[graph_id] = due_ms  # its root went first, and what is left of it follows
        yield Finding(name, f"{what}, whose graph is gone", broken=False)
        return
    if not is_of(timer, graph):
        yield Finding(name, f"{what}, of a graph that is gone and had the id of one that is there", broken=False)
        return
    if index + count > graph.node_count or not count:
        yield Finding(name, f"{what} and {count} nodes: the graph has {graph.node_count}")
        return
    if kind == TimerKind.PRUNE:
        found.pruned[graph_id] = min(due_ms, found.pruned.get(graph_id, due_ms))
    elif kind in (TimerKind.READY, TimerKind.EXPIRE):
        settled = found.records.settled_in(graph_id, index, count)
        if len(settled) == count:
            yield Finding(name, f"{what}, of which all has settled", broken=False)
        into = found.places if kind == TimerKind.READY else found.expiries
        into.setdefault(graph_id, []).append(Place(index, count))


def _kept(found: Indexes) -> Iterator[Finding]:
    """The index of what is kept by count against what was set."""
    kinds = {"results": 0, "failures": 1, "arguments": 2}
    known: dict[bytes, tuple[str, str, str]] = {}
    for (scope, name), kept in found.records.retention():
        for kind in kinds:
            known[keys.digest(scope, name, kind)] = (scope, name, kind)
            if getattr(kept, kind).count:
                found.kept[scope, name, kind] = (set(), 0)
    for key, _ in pairs(found.store, keys.KEPT):
        digest, end_ms, graph_id = key[4:20], int.from_bytes(key[20:28], "big"), key[28:]
        where = known.get(digest)
        if where is None:
            yield Finding("kept graph", f"{graph_id.hex()} is counted for a retention that is not set")
            continue
        if where not in found.kept or not found.kept[where][1]:
            found.kept[where] = (set(), end_ms)
        found.kept[where][0].add(graph_id)


def _owned(found: Indexes) -> Iterator[Finding]:
    """Records that belong to a graph: it is there, and has such a node."""
    for kind in keys.OF_A_GRAPH:
        name, last = NAMES[kind], b""
        count = 0
        for key, _ in pairs(found.store, kind):
            graph_id = key[_GRAPH_AT : _GRAPH_AT + _ID]
            if graph_id != last:
                last, count = graph_id, _node_count(found, graph_id)
            if count < 0 and kind in (keys.RUN, keys.STAGED) and found.store.get(keys.STAGED + graph_id) is not None:
                continue  # it is being sent, or its client left: it goes at the next start
            if count < 0 and graph_id in found.pruned:
                continue
            if count < 0:
                yield Finding(name, f"the {name} {key[_GRAPH_AT:].hex()} belongs to a graph that is not there")
            elif kind == keys.STAGED:
                yield Finding(name, f"the graph {graph_id.hex()} is complete and counts as one that is being sent")
            elif len(key) >= _GRAPH_AT + _ID + 4 and keys.index_of(key[: _GRAPH_AT + _ID + 4]) >= count:
                yield Finding(
                    name, f"the {name} {key[_GRAPH_AT:].hex()} belongs to a node that its graph does not have"
                )
    for key, _ in pairs(found.store, keys.STAMP):
        graph = found.records.graph(key[20:])
        stamps = () if graph is None else (stamp for one in graph.templates for stamp in one.stamps)
        if key[4:20] not in {keys.digest(name, value) for name, values in stamps for value in values}:
            where = "a graph that is gone" if graph is None else "a graph that does not bear it"
            yield Finding("stamp", f"a stamp leads to {where} ({key[20:].hex()})", broken=graph is not None)


def _items(found: Indexes) -> Iterator[Finding]:
    """What a task emitted is numbered from 0 on without a gap: readers count on it."""
    node, expected = b"", 0
    for key, _ in pairs(found.store, keys.ITEM):
        if key[_GRAPH_AT:-4] != node:
            node, expected = key[_GRAPH_AT:-4], 0
        number = int.from_bytes(key[-4:], "big")
        if number != expected and _node_count(found, node[:_ID]) >= 0:
            yield Finding("item", f"of {text_id(*split_node(node))} item {number} follows, and {expected} is missing")
        expected = number + 1


def _node_count(found: Indexes, graph_id: bytes) -> int:
    graph = found.records.graph(graph_id)
    return -1 if graph is None else graph.node_count


def _named(found: Indexes) -> Iterator[Finding]:
    """Records that are found by a digest or an id stand where it leads; what they name is there."""
    for kind, digest in _NAMED.items():
        for key, data in pairs(found.store, kind):
            if digest(data) != key[4:]:
                yield Finding(NAMES[kind], f"the record {key.hex()} does not stand where its name leads")
    for key, _ in pairs(found.store, keys.SCHEDULE):
        if found.store.get(keys.PLAN + key[4:]) is None:
            yield Finding("schedule", f"the schedule {key[4:].hex()} has no plan")
    for key, data in pairs(found.store, keys.PLAN):
        if found.store.get(keys.SCHEDULE + key[4:]) is None:
            plan = schedule_formats.read_plan(data)
            yield Finding("plan", f"of the schedule {plan.name!r} it is not known how it stands")
    for key, data in pairs(found.store, keys.SAVED):
        own_id, _, expires_ms = formats.read_saved(data)
        if found.store.get(keys.timer(expires_ms, TimerKind.SAVED, key[4:])) is None:
            yield Finding("retention timer", f"nothing will delete the saved group {own_id!r}")


def _held(found: Indexes) -> Iterator[Finding]:
    """Users' own ids and unique keys lead to nodes that have them."""
    for key, data in pairs(found.store, keys.ALIAS):
        graph_id, index = split_node(data)
        run = found.records.run_of(graph_id, index)
        if run is None or run.own_id.encode("utf-8", "surrogatepass") != key[4:] or index != run.first:
            yield Finding("alias", f"the id {key[4:]!r} leads to {data.hex()}, which does not have it")
    for key, data in pairs(found.store, keys.UNIQUE):
        held = formats.read_held(data)
        run = found.records.run_of(*split_node(held.node))
        if run is None or not run.unique_key or keys.digest(run.unique_key) != key[4:]:
            yield Finding("unique key", f"the key {key[4:].hex()} is held by {held.node.hex()}, which does not have it")
        if found.store.get(keys.timer(held.until_ms, TimerKind.UNIQUE, key[4:])) is None:
            yield Finding("retention timer", f"nothing will free the unique key {key[4:].hex()} when its time is over")


def _followers(found: Indexes) -> Iterator[Finding]:
    """Who follows the holder of a unique key says so itself."""
    for key, _ in pairs(found.store, keys.FOLLOWER):
        holder, node = key[4:20], key[20:]
        progress = found.records.progress(*split_node(node))
        settled = found.records.outcome(*split_node(node)) is not None
        if (progress is None or progress.follows != holder) and not settled:
            yield Finding("follower", f"{node.hex()} is to settle as {holder.hex()} does, and does not know")
