"""Records of what attempts printed and logged, in the pieces in which it came.

A part of `Records`; decides nothing about tasks, and does not look into the lines.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from grpcflow_coordinator.storage import formats, keys
from grpcflow_coordinator.storage.numbers import Numbers

#: Bytes of a node's key, and of one of its attempts.
_NODE: Final = len(keys.LOG) + 16
_ATTEMPT: Final = _NODE + 8

#: Pieces that are looked at together where room is made.
_TOGETHER: Final = 8


class LogPiece(NamedTuple):
    """Neighbouring lines of one attempt."""

    #: The 16 bytes of the node.
    node: bytes
    #: Token of the attempt.
    token: int
    #: Number of the first line.
    first: int
    #: Number behind the last line.
    end: int
    #: The lines as the wire has them, a `grpcflow.v1.LoggedLines`.
    data: bytes


class TaskLogs(Numbers):
    """Reads and writes of logs; mixed into `Records`."""

    def log_end(self, graph: bytes, index: int, token: int) -> int:
        """See `Loaded`."""
        attempt = _attempt_key(graph, index, token)
        last = self._overlay.scan(attempt, keys.after(attempt), 1, reverse=True)
        return formats.read_log(last[0][1])[0] if last else 0

    def append_log(self, graph: bytes, index: int, token: int, first: int, count: int, data: bytes, most: int) -> None:
        """See `Loaded`."""
        attempt = _attempt_key(graph, index, token)
        last = self._overlay.scan(attempt, keys.after(attempt), 1, reverse=True)
        total = (formats.read_log(last[0][1])[1] if last else 0) + len(data)
        if total > most:
            self._make_room(attempt, total - most)
        self._overlay.put(attempt + first.to_bytes(8, "big"), formats.write_log(first + count, total, data))

    def _make_room(self, attempt: bytes, up_to: int) -> None:
        """Delete the pieces of an attempt that begin before that byte of all that it ever said."""
        while oldest := self._overlay.scan(attempt, keys.after(attempt), _TOGETHER):
            for key, record in oldest:
                _, total, data = formats.read_log(record)
                if total - len(data) >= up_to:
                    return
                self._overlay.delete(key)

    def logged_attempts(self, graph: bytes, index: int) -> list[int]:
        """See `Loaded`."""
        node = keys.node(keys.LOG, graph, index)
        start, found = node, list[int]()
        while page := self._overlay.keys(start, keys.after(node), 1):
            found.append(int.from_bytes(page[0][_NODE:_ATTEMPT], "big"))
            start = keys.after(page[0][:_ATTEMPT])
        return found

    def drop_log(self, graph: bytes, index: int, token: int | None = None) -> None:
        """See `Loaded`."""
        prefix = keys.node(keys.LOG, graph, index) if token is None else _attempt_key(graph, index, token)
        for key in self._overlay.keys(prefix, keys.after(prefix), 1 << 30):
            self._overlay.delete(key)

    def logs(self, graph: bytes, index: int, token: int, first: int, limit: int) -> list[LogPiece]:
        """Return pieces of the logs of a node in order: attempt by attempt, and in it line by line.

        Args:
            graph: the 12 bytes of the graph.
            index: the node.
            token: attempts before this one are passed over.
            first: of the attempt with that token, pieces that end before this line are passed over.
            limit: most pieces.
        """
        node, start = keys.node(keys.LOG, graph, index), _attempt_key(graph, index, token)
        ahead = self._overlay.scan(start, start + first.to_bytes(8, "big") + b"\x00", 1, reverse=True)
        found = self._overlay.scan(ahead[0][0] if ahead else start, keys.after(node), limit + 1)
        pieces = [_piece(key, data) for key, data in found]
        return [one for one in pieces if one.token != token or one.end > first][:limit]

    def graph_logs(self, graph: bytes, behind: LogPiece | None, limit: int) -> list[LogPiece]:
        """Return pieces of the logs of a graph in order, node by node, from behind one on; None: from the first on."""
        start = keys.LOG + graph
        if behind is not None:
            start = keys.LOG + behind.node + behind.token.to_bytes(8, "big") + behind.first.to_bytes(8, "big") + b"\x00"
        return [_piece(key, data) for key, data in self._overlay.scan(start, keys.after(keys.LOG + graph), limit)]


def _attempt_key(graph: bytes, index: int, token: int) -> bytes:
    return keys.node(keys.LOG, graph, index) + token.to_bytes(8, "big")


def _piece(key: bytes, record: bytes) -> LogPiece:
    end, _, data = formats.read_log(record)
    token, first = (int.from_bytes(part, "big") for part in (key[_NODE:_ATTEMPT], key[_ATTEMPT:]))
    return LogPiece(key[len(keys.LOG) : _NODE], token, first, end, data)
