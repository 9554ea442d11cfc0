"""Queues: lines of ready nodes, paged from disk through a window of their heads.

A queue consists of lanes (one for each task name, and fairness or concurrency key), a lane of lines (one for each
priority). This file knows paging; which line goes first stands in ordering.py, and who gets the work in dispatch.py.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping

from grpcflow_coordinator.core.loaded import Loaded
from grpcflow_coordinator.core.model import Entry, LineKey, QueueAndTask
from grpcflow_coordinator.core.ordering import NO_LIMIT, Level

#: Entries of a line that are kept in memory; and those that are read at first, for of a thousand lines each may give a
#: few.
WINDOW = 64
FIRST_PAGE = 8

#: Levels whose rounds are remembered while nothing waits there.
LEVELS_KEPT = 1000

#: How far the hand-out mark moves at once, in nodes.
MARK_BLOCK = 1000

#: Pages of nothing but settled nodes that one round of hand-outs reads at most: a step is short, whatever was
#: revoked or expired on disk.
SETTLED_PAGES = 8


class Line:
    """One line: its window, what was handed back, and how far it was read."""

    __slots__ = (
        "back",
        "below",
        "entries",
        "held",
        "key",
        "loaded_to",
        "mark",
        "more",
        "page",
        "queued",
        "slot",
        "window",
        "woken",
    )

    def __init__(self, key: LineKey) -> None:
        self.key = key
        #: No node with this sequence or a higher one was handed out before a commit that moved it.
        self.mark = 0
        #: The mark that recovery found: entries below it wait until recovery ends. 0: it ended.
        self.below = 0
        #: Entries in order, the first ones possibly taken in part.
        self.window: deque[Entry] = deque()
        #: Single nodes that came back: (sequence of the node, offset in its entry, the entry).
        self.back: list[tuple[int, int, Entry]] = []
        #: Entries up to this sequence were read from disk or never need to be.
        self.loaded_to = -1
        #: True where the disk may hold entries behind `loaded_to`.
        self.more = False
        #: How many entries the next page has.
        self.page = FIRST_PAGE
        #: Nodes that wait to be handed out, on disk and in memory.
        self.queued = 0
        #: Entries that stand on the disk, those whose nodes run included.
        self.entries = 0
        #: Sequence by which it stands in the order of its level; None: it takes no part in hand-outs.
        self.slot: int | None = None
        #: True: it waits for an attempt with its concurrency key to end.
        self.held = False
        #: True: it was let take part again, and nothing of it was handed out since.
        self.woken = False

    def low(self) -> int:
        """Return a sequence that the next node has at least; NO_LIMIT where there is none."""
        head = self.head()
        return min(head, self.loaded_to + 1) if self.more and not self.window else head

    def head(self) -> int:
        """Return the sequence of the next node, or NO_LIMIT where none is in memory."""
        head = NO_LIMIT
        if self.window:
            entry = self.window[0]
            head = entry.sequence + entry.taken
        if self.back and self.back[0][0] < head:
            head = self.back[0][0]
        return head

    def give_back(self, entry: Entry, offset: int, *, alone: bool) -> None:
        """Put a node that was taken in front again, in its old place."""
        if alone:
            entry.alone = (entry.alone or set()) | {offset}
        heapq.heappush(self.back, (entry.sequence + offset, offset, entry))
        self.queued += 1


class Lines:
    """All lines of the cluster."""

    def __init__(self) -> None:
        self.by_key: dict[LineKey, Line] = {}
        #: The same by queue and task: of keys there may be a hundred thousand, most of them of other calls.
        self._by_calls: dict[QueueAndTask, dict[LineKey, Line]] = {}
        #: Lines that may have something to hand out, by queue and priority.
        self.ready: dict[str, dict[int, Level]] = {}
        self.next_sequence = 1
        #: Nodes (graph, index) that settled or moved while an entry still names them.
        self.gone: set[tuple[bytes, int]] = set()
        #: Graphs that were retried: the sequence below which no entry means their nodes any more.
        self.retried: dict[bytes, int] = {}
        #: Concurrency keys of which an attempt ended, or a line went to rest: others may wait for them.
        self.loose: dict[str, None] = {}
        #: Levels that were used lately, by queue and priority.
        self._levels: dict[tuple[str, int], Level] = {}
        #: Monotonic milliseconds of this step.
        self.now_ms = 0.0
        #: How many pages of settled nodes this round may still read.
        self.patience = SETTLED_PAGES

    def line(self, key: LineKey) -> Line:
        """Return the line, made where it is new."""
        line = self.by_key.get(key)
        if line is None:
            line = self.by_key[key] = Line(key)
            self._by_calls.setdefault((key.queue, key.task), {})[key] = line
        return line

    def of(self, calls: QueueAndTask) -> Mapping[LineKey, Line]:
        """Return the lines of a queue and task."""
        return self._by_calls.get(calls, {})

    def activate(self, line: Line) -> None:
        """Let the line take part in hand-outs."""
        if line.held or line.low() == NO_LIMIT:
            return
        key = line.key
        levels = self.ready.get(key.queue)
        if levels is None:
            levels = self.ready[key.queue] = {}
        level = levels.get(key.priority)
        if level is None:
            level = levels[key.priority] = self._level(key.queue, key.priority)
        level.add(line, self.now_ms)

    def _level(self, queue: str, priority: int) -> Level:
        """Return the level of a queue and priority; one that was used before knows where its round is."""
        level = self._levels.get((queue, priority))
        if level is None:
            if len(self._levels) >= LEVELS_KEPT:
                del self._levels[next(iter(self._levels))]
            level = self._levels[queue, priority] = Level()
        return level

    def rest(self, line: Line) -> None:
        """Take a line out of the hand-outs."""
        if line.key.key:
            self.loose[line.key.key] = None
        levels = self.ready.get(line.key.queue, {})
        level = levels.get(line.key.priority)
        if level is not None:
            level.remove(line)
            if not level.flows:
                del levels[line.key.priority]
                if not levels:
                    del self.ready[line.key.queue]

    def drop(self, loaded: Loaded, entry: Entry) -> None:
        """Take an entry off the disk; the last one of a line that has a key of its own takes the line with it."""
        loaded.drop_entry(entry)
        if entry.dropped:
            return
        entry.dropped = True
        line = self.by_key.get(entry.line)
        if line is None:
            return
        line.entries -= 1
        if line.entries <= 0 and (line.key.fairness or line.key.key) and not loaded.entries(line.key, -1, NO_LIMIT, 1):
            self.rest(line)
            for left in line.window:  # nobody will pass over what is gone in them
                self.forget_gone(left.graph, left.first, left.count)
            del self.by_key[line.key]
            calls = line.key.queue, line.key.task
            del self._by_calls[calls][line.key]
            if not self._by_calls[calls]:
                del self._by_calls[calls]
            loaded.drop_line(line.key)

    def enqueue(self, loaded: Loaded, key: LineKey, graph: bytes, first: int, count: int) -> Entry:
        """Queue neighbouring nodes behind all others of their line, durably."""
        entry = Entry(key, self.next_sequence, graph, first, count, remaining=count)
        self.next_sequence += count
        loaded.put_entry(entry)
        line = self.line(key)
        if not line.more and len(line.window) < WINDOW:
            line.window.append(entry)
            line.loaded_to = entry.sequence
        else:
            line.more = True
        line.queued += count
        line.entries += 1
        if line.slot is None:
            self.activate(line)
        return entry

    def depart(self, loaded: Loaded, entry: Entry) -> None:
        """Say that one node of the entry settled or moved; the last one takes the entry off the disk."""
        entry.remaining -= 1
        if entry.remaining <= 0:
            self.drop(loaded, entry)

    def discard(self, loaded: Loaded, entry: Entry) -> None:
        """Take an entry out of its line that means no node any more, so that nobody counts it."""
        line = self.by_key.get(entry.line)
        if line is None or entry.sequence < line.below:
            return
        kept = next((one for one in line.window if one.sequence == entry.sequence), None)
        if kept is not None:
            line.window.remove(kept)
            line.queued -= kept.count - kept.taken
        elif line.more and entry.sequence > line.loaded_to:
            line.queued -= entry.count
        others = [back for back in line.back if back[2].sequence != entry.sequence]
        if len(others) < len(line.back):
            line.queued -= len(line.back) - len(others)
            line.back = others
            heapq.heapify(line.back)
        if not self.is_dead(entry):  # its nodes may be gone from a later entry
            self.forget_gone(entry.graph, entry.first, entry.count)
        if not (line.more or line.window or line.back):
            self.rest(line)
        self.drop(loaded, kept or entry)

    def take(self, loaded: Loaded, line: Line, want: int) -> tuple[Entry, int, int] | None:
        """Take up to `want` neighbouring nodes from the head of a line.

        Returns:
            (entry, offset of the first node, how many), or None where the line is empty or patience is at its end.
        """
        while True:
            self.look_ahead(loaded, line)
            if line.back and (not line.window or line.back[0][0] < line.window[0].sequence + line.window[0].taken):
                _, offset, entry = heapq.heappop(line.back)
                count = self._take_neighbours(line, entry, offset, want)
            elif line.window:
                entry = line.window[0]
                offset = entry.taken
                count = min(want, entry.count - offset)
                if self.gone or entry.gone or self.retried:
                    count = self._leading(entry, offset, count)
                entry.taken += max(count, 1)
                if entry.taken >= entry.count:
                    line.window.popleft()
            else:
                return None
            line.queued -= max(count, 1)
            if count and not self._is_gone(entry, offset):
                return entry, offset, count
            self._skip(loaded, entry, offset)

    def _take_neighbours(self, line: Line, entry: Entry, offset: int, want: int) -> int:
        """Take the nodes that came back behind one that was just taken, as far as they make one run with it."""
        count = 1
        if self._is_gone(entry, offset) or offset in (entry.alone or ()):
            return count
        while count < want and line.back and line.back[0][2] is entry and line.back[0][1] == offset + count:
            if offset + count in (entry.alone or ()) or self._is_gone(entry, offset + count):
                break
            heapq.heappop(line.back)
            count += 1
        return count

    def is_dead(self, entry: Entry) -> bool:
        """Return whether an entry is from before a retry of its graph."""
        return bool(self.retried) and entry.sequence < self.retried.get(entry.graph, 0)

    def _is_gone(self, entry: Entry, offset: int) -> bool:
        if self.is_dead(entry):
            return True
        if entry.gone is not None and offset in entry.gone:
            return True
        return bool(self.gone) and (entry.graph, entry.first + offset) in self.gone

    def _leading(self, entry: Entry, offset: int, count: int) -> int:
        """Return how many nodes from the offset on are still to be handed out."""
        for ahead in range(count):
            if self._is_gone(entry, offset + ahead):
                return ahead
        return count

    def _skip(self, loaded: Loaded, entry: Entry, offset: int) -> None:
        """Pass over a node that is gone; those marked on the entry itself were discounted when it was read."""
        if entry.gone is not None and offset in entry.gone:
            self.gone.discard((entry.graph, entry.first + offset))
            return
        if self.is_dead(entry):
            self.drop(loaded, entry)  # all its nodes had settled; those that are back stand in later entries
            return
        self.gone.discard((entry.graph, entry.first + offset))
        self.depart(loaded, entry)

    def look_ahead(self, loaded: Loaded, line: Line) -> bool:
        """See to it that the head of the line is in memory, where there is one; False where patience ended before."""
        while line.more and not line.window:
            if self.patience <= 0:
                return False
            self._refill(loaded, line)
            self.patience -= not line.window
        return True

    def _refill(self, loaded: Loaded, line: Line) -> None:
        """Read the next page of the line; entries read from disk may name nodes that settled meanwhile."""
        page = loaded.entries(line.key, line.loaded_to, NO_LIMIT, line.page)
        line.more = len(page) == line.page
        line.page = min(2 * line.page, WINDOW)
        for entry in page:
            line.loaded_to = entry.sequence
            if self.is_dead(entry):
                self.drop(loaded, entry)
                line.queued -= entry.count
                continue
            settled = loaded.settled_in(entry.graph, entry.first, entry.count)
            entry.gone = {index - entry.first for index in settled} or None
            entry.remaining = entry.count - len(settled)
            if entry.remaining == 0:
                self.drop(loaded, entry)
                line.queued -= entry.count
                self.forget_gone(entry.graph, entry.first, entry.count)
            else:
                line.window.append(entry)

    def forget_gone(self, graph: bytes, first: int, count: int) -> None:
        """Nothing names these nodes any more: they need not be passed over."""
        if self.gone:
            self.gone.difference_update((graph, index) for index in range(first, first + count))

    def in_memory(self, line: Line) -> Iterator[Entry]:
        """Return the entries of a line that are in memory, for checks and inspection."""
        yield from line.window
        yield from {id(entry): entry for _, _, entry in line.back}.values()
