"""Lines that attempts print and log, where they come into being. This file may NOT import protobuf or do I/O."""

from __future__ import annotations

from collections import deque
from typing import Final

from grpcflow_protos import limits

#: One line: Unix time in milliseconds, name of its level, name of its logger ("": it was printed), and its text.
LogLine = tuple[int, str, str, str]

#: What one attempt logged: its token, how many lines before these were dropped, and the lines.
Logged = tuple[int, int, list[LogLine]]

#: Bytes that may wait in a process that runs tasks.
GATHERED_BYTES: Final = limits.LOG_PIECE_BYTES

#: Bytes that a line costs beside its text.
_OVERHEAD: Final = 32


def size_of(line: LogLine) -> int:
    """Return how many bytes a line counts for."""
    text = line[3]
    return (len(text) if text.isascii() else len(text.encode())) + len(line[2]) + _OVERHEAD


class Gathered:
    """What the attempts of a process logged since somebody took it last."""

    __slots__ = ("_lines", "size")

    def __init__(self) -> None:
        self._lines: dict[int, tuple[list[int], deque[LogLine]]] = {}
        #: Bytes of it.
        self.size = 0

    def __bool__(self) -> bool:
        """True where there is something to take."""
        return bool(self._lines)

    def add(self, token: int, line: LogLine) -> None:
        """Take a line; where too much waits, the oldest lines of the same attempt go, and else this one."""
        dropped, lines = self._lines.setdefault(token, ([0], deque()))
        lines.append(line)
        self.size += size_of(line)
        while self.size > GATHERED_BYTES and lines:
            self.size -= size_of(lines.popleft())
            dropped[0] += 1

    def take(self) -> list[Logged]:
        """Return all of it, and begin anew."""
        taken = [(token, dropped[0], list(lines)) for token, (dropped, lines) in self._lines.items()]
        self._lines, self.size = {}, 0
        return taken
