"""The attempts of one executor that have no place yet, in order.

Pure bookkeeping on one thread or under its owner's lock: no I/O, no asyncio.
"""

from collections import deque
from collections.abc import Iterator

from grpcflow_worker.executor import CallRun


class _Piece:
    """What is left of a run: its attempts from `at` up to `stop`."""

    __slots__ = ("at", "run", "stop")

    def __init__(self, run: CallRun, at: int, stop: int) -> None:
        self.run = run
        self.at = at
        self.stop = stop


class Line:
    """A first-in first-out line of attempts, kept as runs."""

    __slots__ = ("_pieces", "count")

    def __init__(self) -> None:
        """Start empty."""
        self._pieces: deque[_Piece] = deque()
        self.count = 0

    def put(self, run: CallRun) -> None:
        """Add a run at the end."""
        if run.payloads:
            self._pieces.append(_Piece(run, 0, len(run.payloads)))
            self.count += len(run.payloads)

    def put_front(self, runs: list[CallRun]) -> None:
        """Put runs back where they came from: before all others, in the order given."""
        for run in reversed(runs):
            self._pieces.appendleft(_Piece(run, 0, len(run.payloads)))
            self.count += len(run.payloads)

    def task(self) -> str:
        """Name of the task that is first in line. The line must not be empty."""
        return self._pieces[0].run.call.task

    def take(self, calls: int, size: int) -> CallRun:
        """Take up to `calls` attempts of the first run, at least one, and not many more than `size` bytes of payload.

        The line must not be empty.
        """
        piece = self._pieces[0]
        stop = min(piece.stop, piece.at + calls)
        taken = piece.at
        room = size
        while taken < stop and (room > 0 or taken == piece.at):
            room -= len(piece.run.payloads[taken])
            taken += 1
        part = piece.run.part(piece.at, taken)
        self.count -= taken - piece.at
        piece.at = taken
        if taken == piece.stop:
            self._pieces.popleft()
        return part

    def remove(self, token: int) -> bool:
        """Take one attempt out, wherever it stands. False where it is not in the line."""
        for index, piece in enumerate(self._pieces):
            offset = token - piece.run.token
            if piece.at <= offset < piece.stop:
                del self._pieces[index]
                if offset + 1 < piece.stop:
                    self._pieces.insert(index, _Piece(piece.run, offset + 1, piece.stop))
                if piece.at < offset:
                    self._pieces.insert(index, _Piece(piece.run, piece.at, offset))
                self.count -= 1
                return True
        return False

    def remove_last(self, keep: int) -> list[int]:
        """Take attempts from the end until `keep` are left; returns their tokens, last first."""
        tokens: list[int] = []
        while self.count > keep:
            piece = self._pieces[-1]
            cut = min(self.count - keep, piece.stop - piece.at)
            base = piece.run.token + piece.stop
            tokens.extend(base - step for step in range(1, cut + 1))
            piece.stop -= cut
            self.count -= cut
            if piece.stop == piece.at:
                self._pieces.pop()
        return tokens

    def __iter__(self) -> Iterator[tuple[CallRun, int]]:
        """Each attempt in order, as its run and its offset there."""
        for piece in self._pieces:
            for offset in range(piece.at, piece.stop):
                yield piece.run, offset


def regroup(attempts: list[tuple[CallRun, int]]) -> list[CallRun]:
    """Make runs again of single attempts, given as run and offset; neighbours stay together."""
    runs: list[CallRun] = []
    index = 0
    while index < len(attempts):
        run, start = attempts[index]
        stop = start + 1
        index += 1
        while index < len(attempts) and attempts[index][0] is run and attempts[index][1] == stop:
            stop += 1
            index += 1
        runs.append(run.part(start, stop))
    return runs
