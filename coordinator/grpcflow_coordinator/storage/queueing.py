"""Records of the queues: lanes by number, their lines, entries and marks. A part of `Records`; decides nothing."""

from __future__ import annotations

from grpcflow_coordinator.core.model import Entry, LineKey
from grpcflow_coordinator.storage import formats, keys
from grpcflow_coordinator.storage.formats import Lane
from grpcflow_coordinator.storage.numbers import Numbers


class Queueing(Numbers):
    """Reads and writes of these nouns; mixed into `Records`."""

    _lanes: dict[Lane, int]
    #: The same by line, as far as it was asked for.
    _numbers: dict[LineKey, int]
    _free_lanes: list[int]
    _last_lane: int

    def _read_lanes(self) -> None:
        """Read which lanes there are."""
        self._lanes, self._numbers = {}, {}
        for key, data in self._all(keys.LANE):
            self._lanes[formats.read_lane(data)] = int.from_bytes(key[4:8], "big")
        self._free_lanes = []
        self._last_lane = max(self._lanes.values(), default=0)

    def _lane(self, line: LineKey) -> int:
        number = self._numbers.get(line)
        return self._find_lane(line) if number is None else number

    def _find_lane(self, line: LineKey) -> int:
        """Return the number of a line's lane, a new one where it is new."""
        names = formats.lane_of(line)
        lane = self._lanes.get(names)
        if lane is None:
            if self._free_lanes:
                lane = self._free_lanes.pop()
            else:
                lane = self._last_lane = self._last_lane + 1
            self._lanes[names] = lane
            self._overlay.put(keys.LANE + lane.to_bytes(4, "big"), formats.write_lane(names))
        self._numbers[line] = lane
        return lane

    def lines(self) -> list[LineKey]:
        """See `Loaded`."""
        names = {lane: found for found, lane in self._lanes.items()}
        found: set[tuple[int, int]] = set()
        for kind in (keys.ENTRY, keys.MARK):
            start = kind
            while page := self._overlay.keys(start, keys.after(kind), 1):
                lane, priority = keys.split_line(page[0])
                found.add((lane, priority))
                start = keys.after(keys.line(kind, lane, priority))
        return [formats.line_in(names[lane], priority) for lane, priority in sorted(found) if lane in names]

    def drop_line(self, line: LineKey) -> None:
        """See `Loaded`."""
        lane = self._lane(line)
        del self._numbers[line]
        self._overlay.delete(keys.line(keys.MARK, lane, line.priority))
        for kind in (keys.ENTRY, keys.MARK):
            prefix = kind + lane.to_bytes(4, "big")
            if self._overlay.keys(prefix, keys.after(prefix), 1):
                return
        self._overlay.delete(keys.LANE + lane.to_bytes(4, "big"))
        del self._lanes[formats.lane_of(line)]
        for other in [line._replace(priority=priority) for priority in range(10)]:
            self._numbers.pop(other, None)
        self._free_lanes.append(lane)

    def entries(self, line: LineKey, after: int, before: int, limit: int) -> list[Entry]:
        """See `Loaded`."""
        prefix = keys.line(keys.ENTRY, self._lane(line), line.priority)
        start = prefix + (after + 1).to_bytes(8, "big")
        found = self._overlay.scan(start, prefix + before.to_bytes(8, "big"), limit)
        entries = []
        for key, data in found:
            sequence, count = keys.split_entry(key)
            first = int.from_bytes(data[12:16], "big")
            entries.append(Entry(line, sequence, data[:12], first, count, remaining=count))
        return entries

    def line_count(self, line: LineKey) -> tuple[int, int, int]:
        """See `Loaded`."""
        prefix = keys.line(keys.ENTRY, self._lane(line), line.priority)
        start, end, total, behind, entries = prefix, keys.after(prefix), 0, 0, 0
        while page := self._overlay.keys(start, end, 10_000):
            for key in page:
                total += int.from_bytes(key[17:21], "big")
            sequence, count = keys.split_entry(page[-1])
            behind = sequence + count
            start = page[-1] + b"\x00"
            entries += len(page)
        return total, behind, entries

    def put_entry(self, entry: Entry) -> None:
        """See `Loaded`."""
        self._overlay.put(self._entry_key(entry), entry.graph + entry.first.to_bytes(4, "big"))

    def drop_entry(self, entry: Entry) -> None:
        """See `Loaded`."""
        self._overlay.delete(self._entry_key(entry))

    def _entry_key(self, entry: Entry) -> bytes:
        return keys.entry(self._lane(entry.line), entry.line.priority, entry.sequence, entry.count)

    def mark(self, line: LineKey) -> int:
        """See `Loaded`."""
        return self._number(keys.line(keys.MARK, self._lane(line), line.priority)) or 0

    def put_mark(self, line: LineKey, sequence: int) -> None:
        """See `Loaded`."""
        self._put_number(keys.line(keys.MARK, self._lane(line), line.priority), sequence)
