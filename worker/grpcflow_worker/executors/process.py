"""One child process as the prefork executor sees it: its sockets, and which attempts it has.

It knows what was sent and what came back, and nothing about where work comes from: `prefork` decides.
It may NOT run user code.
"""

import asyncio
import contextlib
import mmap
import os
import socket
import time
from typing import Any, Final

import msgspec

from grpcflow_worker.executor import Call, CallRun, Running
from grpcflow_worker.executors import frames
from grpcflow_worker.executors.forker import Forker, shared_page
from grpcflow_worker.executors.frames import (
    FINISH,
    MARK,
    SOFT_RAISED,
    SOFT_RAISED_AT,
    SOFT_WANTED,
    SOFT_WANTED_AT,
    Batch,
    FrameReader,
    Output,
    Preload,
    TakeBack,
)
from grpcflow_worker.executors.outflow import Outflow
from grpcflow_worker.executors.ring import LEAST, Ring, give_back, shared_bytes

#: Seconds without large payloads after which a child's rings give their memory back.
_IDLE: Final = 10.0

_decode_output = msgspec.msgpack.Decoder(Output).decode


class Sent:
    """A batch that was sent: its number, its run, and how many of it have not ended."""

    __slots__ = ("number", "open", "run", "soft_time_limit", "time_limit")

    def __init__(self, number: int, run: CallRun, call: Call) -> None:
        """Take the batch as it is sent, with its call as the child gets it."""
        self.time_limit = call.time_limit
        self.soft_time_limit = call.soft_time_limit
        self.number = number
        self.run = run
        self.open = len(run.payloads)


class ChildProcess:
    """The supervisor's handle of one child.

    Args:
        number: the supervisor's own number of it; never used twice.
        forker: makes the process.
        place: its number among those that live at the same time, from 1.
        preload: sent first to a child that imports the app itself; None: it is a fork that has it.
    """

    def __init__(self, number: int, forker: Forker, place: int, preload: Preload | None) -> None:
        """Ask for the process. It is not there before `ready`."""
        self.number = number
        self.forker = forker
        self.place = place
        self.pid = 0
        self.ready = False
        #: Attempts it has, in the order in which they were sent.
        self.outstanding: dict[int, Sent] = {}
        #: Batches with attempts that have not ended.
        self.open: list[Sent] = []
        #: When an attempt of it ended last, or when it was last given work while it had none.
        self.progress_at = 0.0
        #: True while it is asked for work back.
        self.asked = False
        #: True: it gets no more work, since it is about to be killed.
        self.condemned = False
        #: True: it gets no more work, and ends when it has done what it has.
        self.retiring = False
        #: True: it has said its last, and takes nothing in any more.
        self.left = False
        #: How many attempts it was given, less those that came back.
        self.given = 0
        self._batches = 0
        self._reader = FrameReader()
        page = shared_page(shared_bytes())
        self._work, work = socket.socketpair()
        self._urgent, urgent = socket.socketpair()
        try:
            self._mark = mmap.mmap(page, 0)
            forker.fork(number, place, [work.fileno(), urgent.fileno(), page])
        finally:
            work.close()
            urgent.close()
            os.close(page)
        self._ring_used_at = 0.0
        self._giving_back: asyncio.TimerHandle | None = None
        self._down, self._up = Ring.down(self._mark), Ring.up(self._mark)
        self._work.setblocking(False)
        self._urgent.setblocking(False)
        # Where it is dead, its exit is told by the forkserver and settles what it had.
        self._out = Outflow(self._work)
        if preload is not None:
            self._out.write(frames.frame(preload))

    def fileno(self) -> int:
        """Descriptor on which its outputs come in."""
        return self._work.fileno()

    def send(self, run: CallRun, call: Call, encoded: bytes, *, careful: bool) -> None:
        """Give it a run, which leaves with `sent_all`.

        Args:
            run: the run.
            call: the run's call with the limits that hold.
            encoded: the same for the wire.
            careful: True: what ended before is to be reported before it begins.
        """
        self._batches += 1
        sent = Sent(self._batches, run, call)
        if not self.outstanding:
            self.progress_at = time.monotonic()
        count = len(run.payloads)
        self.given += count
        self.outstanding.update(dict.fromkeys(range(run.token, run.token + count), sent))
        self.open.append(sent)
        payloads, place = run.payloads, None
        # A run is cut behind a large payload, so that the last one is the only one.
        if len(payloads[-1]) >= LEAST:
            place = self._down.put(payloads[-1])
            if place is not None:
                payloads = [*payloads[:-1], b""]
                self._note_ring()
        batch = Batch(
            sent.number,
            careful,
            encoded,
            run.graph,
            run.first,
            run.token,
            payloads,
            run.inputs,
            run.id,
            run.retries,
            run.losses,
            run.content_type,
            run.group,
            run.group_index,
            run.in_chord,
            run.batch,
            run.after,
            place,
        )
        is_large = run.inputs or len(payloads[0]) > frames.LARGE
        self._out.keep(frames.large_frame(batch) if is_large else frames.frame(batch))

    def sent_all(self) -> None:
        """Write the runs that it was given."""
        self._out.write_kept()

    def finish(self) -> None:
        """Tell it to end when it has done what it has."""
        self._out.write(FINISH)

    def take_back(self, tokens: list[int]) -> None:
        """Ask for attempts back; it answers with an output that says `answered`."""
        wanted: dict[int, list[int]] = {}
        for token in tokens:
            wanted.setdefault(self.outstanding[token].number, []).append(token)
        self.asked = True
        # Where this fails it is dying or does not listen: its exit, or the kill that follows, settles everything.
        with contextlib.suppress(OSError):
            self._urgent.sendall(frames.frame(TakeBack(list(wanted.items()))))

    def receive(self) -> list[Output] | None:
        """Read what came in, perhaps only a part of an output; None where nothing did or it closed its side.

        That it closed its side is not its end: the forkserver tells of that.
        """
        try:
            bodies = self._reader.read(self._work)
        except BlockingIOError:
            return None
        except OSError:
            bodies = None
        if bodies is None:
            self.unwatch()
            return None
        return [self._output(body) for body in bodies]

    def _output(self, body: bytes | bytearray) -> Output:
        output = _decode_output(body)
        if output.place is not None:
            output.datas[-1] = self._up.take(output.place)
            self._note_ring()
        return output

    def _note_ring(self) -> None:
        """Note that memory of the rings is in use."""
        self._ring_used_at = time.monotonic()
        if self._giving_back is None:
            self._giving_back = asyncio.get_running_loop().call_later(_IDLE, self._give_back)

    def _give_back(self) -> None:
        """Give memory of the rings back once the child has nothing to do, and so nothing is on its way."""
        rest = self._ring_used_at + _IDLE - time.monotonic()
        if self.outstanding or rest > 0:
            self._giving_back = asyncio.get_running_loop().call_later(max(rest, _IDLE / 10), self._give_back)
        else:
            self._giving_back = None
            give_back(self._mark)

    def drop(self, token: int) -> Sent | None:
        """Note that an attempt is no longer here; returns its batch, None where it was not here."""
        sent = self.outstanding.pop(token, None)
        if sent is not None:
            sent.open -= 1
            if not sent.open:
                self.open.remove(sent)
        return sent

    def forget_all(self) -> None:
        """Note that no attempt is here any more."""
        self.outstanding.clear()
        self.open.clear()

    def started(self) -> tuple[float, int]:
        """Monotonic time and token of the attempt that it started last; token 0 for none."""
        at, token = MARK.unpack_from(self._mark)
        return at, token

    def want_soft(self, token: int) -> None:
        """Name the attempt that the next SIGUSR1 is for: by the time it arrives, another one may run."""
        SOFT_WANTED.pack_into(self._mark, SOFT_WANTED_AT, token)

    def soft_raised(self) -> int:
        """Token of the attempt that was told of its soft time limit last; 0 for none."""
        token: int = SOFT_RAISED.unpack_from(self._mark, SOFT_RAISED_AT)[0]
        return token

    def running(self) -> Running | None:
        """The attempt that it runs now, or None."""
        at, token = self.started()
        sent = self.outstanding.get(token)
        if sent is None:
            return None
        wall = time.time() - (time.monotonic() - at)
        return Running(token=token, run=sent.run, offset=token - sent.run.token, started_at=wall, pid=self.pid)

    def unwatch(self) -> None:
        """Stop listening to its sockets."""
        asyncio.get_running_loop().remove_reader(self._work.fileno())
        self._out.unwatch()

    def close(self) -> None:
        """Let its sockets and its memory go; a child that still lives ends by that."""
        if self._work.fileno() >= 0:
            self.unwatch()
        if self._giving_back is not None:
            self._giving_back.cancel()
        self._work.close()
        self._urgent.close()
        self._mark.close()

    def stats(self) -> dict[str, Any]:
        """Plain figures for people."""
        return {"pid": self.pid, "held": len(self.outstanding), "ready": self.ready, "place": self.place}
