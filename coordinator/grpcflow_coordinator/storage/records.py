"""The records: verbs on our nouns, over the ordered key-value contract. The core's `Loaded` port.

Where a noun lies is in keys.py, how it is written in formats.py. This file decides nothing about tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grpcflow_coordinator.core.model import (
    Graph,
    Outcome,
    Progress,
    Run,
    Tally,
    Template,
    TimerKind,
    node_id,
    split_node,
)
from grpcflow_coordinator.core.presence import SessionFacts
from grpcflow_coordinator.storage import formats, keys
from grpcflow_coordinator.storage.keeping import Keeping, stamps_of
from grpcflow_coordinator.storage.large_runs import LargeRuns
from grpcflow_coordinator.storage.overlay import Overlay
from grpcflow_coordinator.storage.queueing import Queueing
from grpcflow_coordinator.storage.task_logs import TaskLogs

#: Runs of a graph, most of whose arguments are large, that are read one by one beside those that memory holds.
READ_SINGLY = 16

#: A graph that came in one piece of at most this many bytes and runs is one record.
SMALL_GRAPH_BYTES = 64 * 1024
SMALL_GRAPH_RUNS = 256

#: Small graphs whose runs are kept decoded, without their payloads.
SMALL_GRAPHS_KEPT = 4096

#: Lists of payloads that are kept decoded: a run is handed out in slices.
PAYLOADS_KEPT = 16


@dataclass(slots=True, frozen=True)
class TimerRecord:
    """One entry of the timer index."""

    due_ms: int
    kind: int
    node: bytes
    count: int
    made_ms: int = 0


class Records(Keeping, Queueing, TaskLogs):
    """Reads and writes of nouns through an overlay.

    Args:
        overlay: what they go through.
        large: runs that were written lately, where another one writes them; None: its own.
    """

    def __init__(self, overlay: Overlay, large: LargeRuns | None = None) -> None:
        self._overlay = overlay
        self.large = LargeRuns() if large is None else large
        self._small: dict[bytes, list[Run] | None] = {}
        self._payloads: dict[tuple[bytes, int], list[bytes]] = {}
        self._read_lanes()

    # Graphs

    def graph(self, graph: bytes) -> Graph | None:
        """See `Loaded`."""
        data = self._overlay.get(keys.GRAPH + graph)
        if data is None:
            return None
        root, inline = formats.read_graph(graph, data)
        self._keep_small(graph, None if inline is None else [run for run, _ in inline])
        return root

    def _keep_small(self, graph: bytes, runs: list[Run] | None) -> None:
        if len(self._small) >= SMALL_GRAPHS_KEPT:
            del self._small[next(iter(self._small))]
        self._small[graph] = runs

    def put_graph(self, graph: Graph, runs: Sequence[tuple[Run, list[bytes]]]) -> None:
        """See `Loaded`."""
        if len(runs) <= SMALL_GRAPH_RUNS and _size(runs) <= SMALL_GRAPH_BYTES:
            inline = [(formats.run_head(run), payloads) for run, payloads in runs]
            self._overlay.put(keys.GRAPH + graph.id, formats.write_graph(graph, inline))
            self._keep_small(graph.id, [run for run, _ in runs])
        else:
            self._put_runs(graph.id, runs)
            self._overlay.put(keys.GRAPH + graph.id, formats.write_graph(graph, None))
            self._keep_small(graph.id, None)

    def _put_runs(self, graph: bytes, runs: Sequence[tuple[Run, list[bytes]]]) -> None:
        for run, payloads in runs:
            record = formats.write_run(run, payloads)
            self._overlay.put(keys.node(keys.RUN, graph, run.first), record)
            self.large.keep(graph, run, payloads, len(record))

    def stage_runs(self, graph: bytes, runs: Sequence[tuple[Run, list[bytes]]]) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.STAGED + graph, formats.write_number(0))
        self._put_runs(graph, runs)

    def put_root(self, graph: Graph) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.STAGED + graph.id)
        self._overlay.put(keys.GRAPH + graph.id, formats.write_graph(graph, None))
        self._keep_small(graph.id, None)

    def drop_staged(self, graph: bytes, limit: int) -> int:
        """See `Loaded`."""
        self.large.forget(graph)
        found = self._overlay.keys(keys.RUN + graph, keys.after(keys.RUN + graph), limit)
        for key in found:
            self._overlay.delete(key)
        if len(found) < limit:
            self._overlay.delete(keys.STAGED + graph)
        return len(found)

    def staged_graphs(self) -> list[bytes]:
        """See `Loaded`."""
        return [key[len(keys.STAGED) :] for key, _ in self._all(keys.STAGED)]

    def _small_runs(self, graph: bytes) -> list[Run] | None:
        """Return the runs of a graph that is one record; None for another."""
        if graph not in self._small:
            data = self._overlay.get(keys.GRAPH + graph)
            if data is None:
                return None
            inline = formats.read_inline(data)
            self._keep_small(graph, None if inline is None else [formats.read_run_head(head) for head, _ in inline])
        return self._small[graph]

    def run_of(self, graph: bytes, index: int) -> Run | None:
        """See `Loaded`."""
        small = self._small_runs(graph)
        if small is not None:
            return next((run for run in small if run.first <= index < run.first + run.count), None)
        run = self.large.run(graph, index)
        if run is None:
            data = self._run_record(graph, index)
            run = None if data is None else formats.read_run(data)
        return run if run is not None and index < run.first + run.count else None

    def _run_record(self, graph: bytes, index: int) -> bytes | None:
        start = keys.node(keys.RUN, graph, 0)
        end = keys.node(keys.RUN, graph, index + 1)
        found = self._overlay.scan(start, end, 1, reverse=True)
        return found[0][1] if found else None

    def runs(self, graph: bytes, start: int, limit: int) -> list[Run]:
        """See `Loaded`."""
        small = self._small_runs(graph)
        if small is not None:
            return [run for run in small if run.first >= start][:limit]
        first, end = keys.node(keys.RUN, graph, start), keys.after(keys.RUN + graph)
        if self.large.has(graph):
            found = self._overlay.keys(first, end, limit)
            known = [self.large.run(graph, keys.index_of(key)) for key in found]
            if known.count(None) <= READ_SINGLY:  # a group's join, say: a scan would copy all arguments beside it
                return [run or self._run_at(key) for run, key in zip(known, found, strict=True)]
        return [formats.read_run(data) for _, data in self._overlay.scan(first, end, limit)]

    def _run_at(self, key: bytes) -> Run:
        data = self._overlay.get(key)
        assert data is not None  # the key was listed in this very step
        return formats.read_run(data)

    def payloads(self, graph: bytes, run: Run) -> list[bytes]:
        """Return the encoded arguments of a run's nodes; empty for a join."""
        kept = self._payloads.get((graph, run.first))
        if kept is None:
            kept = self._read_payloads(graph, run)
            if run.count > 1:
                if len(self._payloads) >= PAYLOADS_KEPT:
                    del self._payloads[next(iter(self._payloads))]
                self._payloads[graph, run.first] = kept
        return kept

    def _read_payloads(self, graph: bytes, run: Run) -> list[bytes]:
        if run.borrowed:
            owner, index = split_node(run.borrowed)
            lender = self.run_of(owner, index)
            found = [] if lender is None else self.payloads(owner, lender)
            return found[index - lender.first : index - lender.first + 1] if lender is not None else []
        large = self.large.take_payloads(graph, run.first)
        if large is not None:
            return large
        if self._small_runs(graph) is None:  # known without a look at the root, which may hold a thousand templates
            data = self._run_record(graph, run.first)
            return [] if data is None else formats.read_payloads(data)
        root = self._overlay.get(keys.GRAPH + graph)
        inline = None if root is None else formats.read_inline(root)
        return next((payloads for head, payloads in inline or () if head[0] == run.first), [])

    def stripped_to(self, graph: bytes) -> int | None:
        """See `Loaded`."""
        return self._number(keys.STRIPPED + graph)

    def strip(self, graph: bytes, limit: int) -> int:
        """See `Loaded`."""
        self._payloads = {key: kept for key, kept in self._payloads.items() if key[0] != graph}
        self.large.forget(graph)
        data = self._overlay.get(keys.GRAPH + graph)
        if data is None:
            return 0
        root, inline = formats.read_graph(graph, data)
        if inline is not None:
            heads: list[tuple[tuple[object, ...], list[bytes]]] = [(formats.run_head(run), []) for run, _ in inline]
            self._overlay.put(keys.GRAPH + graph, formats.write_graph(root, heads))
            self._put_number(keys.STRIPPED + graph, root.node_count)
            return 0
        start = keys.node(keys.RUN, graph, self.stripped_to(graph) or 0)
        found = self._overlay.scan(start, keys.after(keys.RUN + graph), limit)
        for key, record in found:
            self._overlay.put(key, formats.write_run(formats.read_run(record), []))
        last = formats.read_run(found[-1][1]) if found else None
        self._put_number(keys.STRIPPED + graph, root.node_count if last is None else last.first + last.count)
        return len(found)

    def blank_call(self, graph: bytes, index: int) -> None:
        """See `Loaded`."""
        run, data = self.run_of(graph, index), self._overlay.get(keys.GRAPH + graph)
        if run is None or data is None:
            return
        payloads = self._read_payloads(graph, run)
        if payloads:
            payloads[index - run.first] = b""
        root, inline = formats.read_graph(graph, data)
        if run.count == 1:
            run = self._blank_run(root, run)
        self.let_go(graph)
        if inline is not None:
            runs = [(run, payloads) if one.first == run.first else (one, old) for one, old in inline]
            heads = [(formats.run_head(one), kept) for one, kept in runs]
            self._overlay.put(keys.GRAPH + graph, formats.write_graph(root, heads))
        else:
            self._put_runs(graph, [(run, payloads)])
            self._overlay.put(keys.GRAPH + graph, formats.write_graph(root, None))
        self.drop_items(graph, index)
        self.drop_log(graph, index)

    def _blank_run(self, root: Graph, run: Run) -> Run:
        """Return a run of one without its keys, and without its template's headers and stamps.

        It gets a bare template; the one that it had is made bare, too, where no other run of the graph has it.
        """
        had = root.templates[run.template]
        bare = Template(had.task, had.queue, apart=had.apart)
        stamps = stamps_of(root.templates)
        others = (one for one in self.runs(root.id, 0, root.node_count) if one.first != run.first)
        shared = any(one.template == run.template for one in others)
        place = len(root.templates) if shared else run.template
        root.templates = (*root.templates[:place], bare, *root.templates[place + 1 :])
        for stamp in stamps - stamps_of(root.templates):
            self._overlay.delete(keys.STAMP + keys.digest(*stamp) + root.id)
        return replace(run, template=place, own_id="", fairness_key="", concurrency_key="", unique_key="")

    def let_go(self, graph: bytes) -> None:
        """Keep nothing of a graph in memory: what is in the records has changed."""
        self._small.pop(graph, None)
        self._payloads = {key: kept for key, kept in self._payloads.items() if key[0] != graph}
        self.large.forget(graph)

    def release_cursor(self, graph: bytes) -> int | None:
        """See `Loaded`."""
        return self._number(keys.CURSOR + graph)

    def put_release_cursor(self, graph: bytes, index: int | None) -> None:
        """See `Loaded`."""
        self._put_number(keys.CURSOR + graph, index)

    def releasing_graphs(self, limit: int) -> list[bytes]:
        """See `Loaded`."""
        found = self._overlay.keys(keys.CURSOR, keys.after(keys.CURSOR), limit)
        return [key[len(keys.CURSOR) :] for key in found]

    def tally(self, graph: bytes) -> Tally | None:
        """See `Loaded`."""
        data = self._overlay.get(keys.LIVE + graph)
        return None if data is None else formats.read_tally(data)

    def put_tally(self, graph: bytes, tally: Tally) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.LIVE + graph, formats.write_tally(tally))

    def has_ended(self, graph: Graph) -> bool:
        """Return whether every node of a graph has settled."""
        if graph.node_count == 1:
            return self._overlay.get(keys.node(keys.OUTCOME, graph.id, 0)) is not None
        tally = self.tally(graph.id)
        return tally is not None and tally.unsettled == 0

    def drop_graph(self, graph: bytes, limit: int) -> int:
        """See `Loaded`. The root goes first: what is left of a graph is nobody's to read, or to take for unfinished."""
        root = self.graph(graph)
        if root is not None:
            for run in self._small_runs(graph) or ():
                self._drop_names(graph, run)
            for stamp in stamps_of(root.templates):
                self._overlay.delete(keys.STAMP + keys.digest(*stamp) + graph)
            self._overlay.delete(keys.GRAPH + graph)
            self._small.pop(graph, None)
        for kind in keys.OF_A_GRAPH:
            if kind == keys.RUN:
                limit -= self._drop_runs(graph, limit)
            else:
                found = self._overlay.keys(kind + graph, keys.after(kind + graph), limit)
                for key in found:
                    self._overlay.delete(key)
                limit -= len(found)
            if limit <= 0:
                return 0
        return limit

    def _drop_runs(self, graph: bytes, limit: int) -> int:
        """Delete run records of a graph with the ids of their users; return how many."""
        self.large.forget(graph)
        found = self._overlay.scan(keys.RUN + graph, keys.after(keys.RUN + graph), limit)
        for key, data in found:
            self._drop_names(graph, formats.read_run(data))
            self._overlay.delete(key)
        return len(found)

    def _drop_names(self, graph: bytes, run: Run) -> None:
        """Forget the id and the unique key of a run, where they are still its own."""
        held = self.held(run.unique_key) if run.unique_key else None
        if held is not None and held.node == node_id(graph, run.first):
            self.drop_held(run.unique_key)
        if run.own_id and self.alias(run.own_id) == node_id(graph, run.first):
            self._overlay.delete(_alias_key(run.own_id))

    # Nodes

    def outcome(self, graph: bytes, index: int) -> Outcome | None:
        """See `Loaded`."""
        data = self._overlay.get(keys.node(keys.OUTCOME, graph, index))
        return None if data is None else formats.read_outcome(data)

    def outcomes(self, graph: bytes, first: int, count: int, limit: int) -> list[tuple[int, Outcome]]:
        """Return how up to `limit` nodes of a range settled, in order, with their indexes."""
        start, end = keys.node(keys.OUTCOME, graph, first), keys.node(keys.OUTCOME, graph, first + count)
        found = self._overlay.scan(start, end, limit)
        return [(keys.index_of(key), formats.read_outcome(data)) for key, data in found]

    def settled_in(self, graph: bytes, first: int, count: int) -> set[int]:
        """See `Loaded`."""
        start, end = keys.node(keys.OUTCOME, graph, first), keys.node(keys.OUTCOME, graph, first + count)
        return {keys.index_of(key) for key in self._overlay.keys(start, end, count)}

    def put_outcome(self, graph: bytes, index: int, outcome: Outcome) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.node(keys.OUTCOME, graph, index), formats.write_outcome(outcome))

    def drop_outcome(self, graph: bytes, index: int) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.node(keys.OUTCOME, graph, index))

    def waiting_in(self, graph: bytes, first: int, limit: int) -> list[tuple[int, int]]:
        """See `Loaded`."""
        start, end = keys.node(keys.WAITING, graph, first), keys.after(keys.WAITING + graph)
        return [(keys.index_of(key), formats.read_number(data)) for key, data in self._overlay.scan(start, end, limit)]

    def waiting(self, graph: bytes, index: int) -> int | None:
        """See `Loaded`."""
        return self._number(keys.node(keys.WAITING, graph, index))

    def put_waiting(self, graph: bytes, index: int, count: int | None) -> None:
        """See `Loaded`."""
        self._put_number(keys.node(keys.WAITING, graph, index), count)

    def progress(self, graph: bytes, index: int) -> Progress | None:
        """See `Loaded`."""
        data = self._overlay.get(keys.node(keys.PROGRESS, graph, index))
        return None if data is None else formats.read_progress(data)

    def told_progress(self, graph: bytes, first: int, count: int, limit: int) -> list[tuple[int, Progress]]:
        """Return up to `limit` nodes of a range that gave themselves a state, in order, with what they went through."""
        start, end = keys.node(keys.PROGRESS, graph, first), keys.node(keys.PROGRESS, graph, first + count)
        found = (
            (keys.index_of(key), formats.read_progress(data)) for key, data in self._overlay.scan(start, end, limit)
        )
        return [(index, progress) for index, progress in found if progress.custom_state]

    def graphs_after(self, after: bytes, limit: int) -> list[bytes]:
        """See `Loaded`."""
        start = keys.GRAPH + after + b"\0" if after else keys.GRAPH
        return [key[len(keys.GRAPH) :] for key in self._overlay.keys(start, keys.after(keys.GRAPH), limit)]

    def newest_graphs(self, before: bytes, limit: int) -> list[bytes]:
        """Return the ids of up to `limit` graphs below `before`, newest first; empty: the newest."""
        end = keys.GRAPH + before if before else keys.after(keys.GRAPH)
        return [key[len(keys.GRAPH) :] for key, _ in self._overlay.scan(keys.GRAPH, end, limit, reverse=True)]

    def put_progress(self, graph: bytes, index: int, progress: Progress | None) -> None:
        """See `Loaded`."""
        key = keys.node(keys.PROGRESS, graph, index)
        if progress is None:
            self._overlay.delete(key)
        else:
            self._overlay.put(key, formats.write_progress(progress))

    def alias(self, own_id: str) -> bytes | None:
        """See `Loaded`."""
        return self._overlay.get(_alias_key(own_id))

    def put_alias(self, own_id: str, node: bytes) -> None:
        """See `Loaded`."""
        self._overlay.put(_alias_key(own_id), node)

    # Timers

    def timers(self, until_ms: int, limit: int) -> list[TimerRecord]:
        """See `Loaded`."""
        return self._timers(keys.TIMER, keys.TIMER + (until_ms + 1).to_bytes(8, "big"), limit)

    def timers_behind(self, after: tuple[int, int, bytes] | None, limit: int) -> list[TimerRecord]:
        """Return the timers of nodes behind one (due, kind, node), in order, whenever they are due; None: the first."""
        start = keys.TIMER if after is None else keys.timer(*after) + b"\x00"
        return self._timers(start, keys.after(keys.TIMER), limit)

    def prunes(self, until_ms: int, limit: int) -> list[TimerRecord]:
        """See `Loaded`."""
        return self._timers(keys.PRUNE, keys.PRUNE + (until_ms + 1).to_bytes(8, "big"), limit)

    def _timers(self, start: bytes, end: bytes, limit: int) -> list[TimerRecord]:
        found = self._overlay.scan(start, end, limit)
        return [TimerRecord(*keys.split_timer(key), *formats.read_timer(data)) for key, data in found]

    def next_timer(self) -> int | None:
        """See `Loaded`."""
        return self._first_due(keys.TIMER)

    def next_prune(self) -> int | None:
        """See `Loaded`."""
        return self._first_due(keys.PRUNE)

    def _first_due(self, index: bytes) -> int | None:
        found = self._overlay.keys(index, keys.after(index), 1)
        return keys.split_timer(found[0])[0] if found else None

    def scheduled_count(self, limit: int = 100_000) -> int:
        """Return how many nodes wait for their time, at most about `limit`."""
        found = self._overlay.scan(keys.TIMER, keys.after(keys.TIMER), limit)
        return sum(formats.read_number(data) for key, data in found if keys.split_timer(key)[1] == TimerKind.READY)

    def put_timer(self, due_ms: int, kind: int, node: bytes, count: int, made_ms: int = 0) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.timer(due_ms, kind, node), formats.write_timer(count, made_ms))

    def drop_timer(self, due_ms: int, kind: int, node: bytes) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.timer(due_ms, kind, node))

    # Sessions

    def sessions(self) -> list[SessionFacts]:
        """See `Loaded`."""
        return [formats.read_session(key[len(keys.SESSION) :], data) for key, data in self._all(keys.SESSION)]

    def put_session(self, facts: SessionFacts) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.SESSION + facts.id, formats.write_session(facts))

    def drop_session(self, session: bytes) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.SESSION + session)

    def epoch(self) -> int:
        """See `Loaded`."""
        return self._number(keys.EPOCH) or 0

    def put_epoch(self, epoch: int) -> None:
        """See `Loaded`."""
        self._put_number(keys.EPOCH, epoch)

    # Parts

    def all_graphs(self) -> list[bytes]:
        """Return the ids of all graphs: for checks of small stores."""
        return [key[len(keys.GRAPH) :] for key, _ in self._all(keys.GRAPH)]

    def all_timers(self) -> list[TimerRecord]:
        """Return all timers: for checks of small stores."""
        found = self._all(keys.TIMER) + self._all(keys.PRUNE)
        return [TimerRecord(*keys.split_timer(key), *formats.read_timer(data)) for key, data in found]


def _size(runs: Sequence[tuple[Run, list[bytes]]]) -> int:
    return sum(sum(map(len, payloads)) for _, payloads in runs)


def _alias_key(own_id: str) -> bytes:
    return keys.ALIAS + own_id.encode("utf-8", "surrogatepass")
