"""A child process of the prefork executor: takes batches, runs them in order, says how they ended.

The main thread runs user code. One thread beside it sleeps on the *urgent* socket: it answers requests to give work
back while user code runs, writes out results that wait behind a slow task, and ends the process when the socket does,
so that no child outlives its supervisor. This file may NOT import gRPC: a task that needs a client opens its own.
"""

import contextlib
import gc
import mmap
import os
import random
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from grpcflow.state import running_task
from grpcflow_protos.freed_memory import keep_freed_memory
from grpcflow_worker import hooks
from grpcflow_worker.executor import Call, CallRun
from grpcflow_worker.executors import frames, loading, parent
from grpcflow_worker.executors.frames import MARK, Batch, FrameReader, Output, Preload, TakeBack
from grpcflow_worker.executors.outlet import Outlet
from grpcflow_worker.executors.reporter import LOG_PAUSE, Pacer, Reporter
from grpcflow_worker.executors.ring import Ring
from grpcflow_worker.executors.soft import SoftLimit
from grpcflow_worker.executors.upkeep import Title, growth
from grpcflow_worker.invoke import Invoke
from grpcflow_worker.log_lines import LogLine

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

#: Results are written out once the oldest is this old, in seconds, or once there are this many bytes of them.
FLUSH_SECONDS: Final = 0.002
FLUSH_BYTES: Final = 64 * 1024

_decode_batch: Final = msgspec.msgpack.Decoder(Batch).decode
_decode_call: Final = msgspec.msgpack.Decoder(Call).decode
_decode_take_back: Final = msgspec.msgpack.Decoder(TakeBack).decode


class _Current:
    """The batch that runs, and what is asked back of those that have not been read yet.

    Claiming an attempt is one atomic operation on `pending`: the main thread pops from the left to start one, the
    urgent thread removes one to give it back, so exactly one of them gets it.
    """

    __slots__ = ("_asked", "_lock", "number", "pending", "token")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[int, set[int]] = {}
        self.number = 0
        self.token = 0
        self.pending: deque[int] = deque()

    def begin(self, batch: Batch) -> None:
        """Make a batch the current one, without what was asked back before it was read."""
        with self._lock:
            asked = self._asked.pop(batch.number, ())
            self.number, self.token = batch.number, batch.token
            offsets = range(len(batch.payloads))
            self.pending = deque(offset for offset in offsets if batch.token + offset not in asked)

    def take_back(self, wanted: list[tuple[int, list[int]]]) -> tuple[list[int], list[int]]:
        """Take attempts out; returns those that will not start, and those that have."""
        returned: list[int] = []
        kept: list[int] = []
        with self._lock:
            for number, tokens in wanted:
                if number > self.number:
                    self._asked.setdefault(number, set()).update(tokens)
                    returned += tokens
                    continue
                for token in tokens:
                    (returned if number == self.number and self._remove(token) else kept).append(token)
        return returned, kept

    def _remove(self, token: int) -> bool:
        try:
            self.pending.remove(token - self.token)
        except (ValueError, IndexError):
            return False  # started; IndexError: started while it was looked for, so ask the deque once more
        return True


class Child:
    """The work of one child process.

    Args:
        work: batches come in and outputs go out.
        urgent: requests to give work back; its end is the end of this process.
        mark: shared memory: a page in which the attempt that was started last is marked, and the rings behind it.
        app: the imported app, whose tasks are run.
        preload: what the supervisor said of the worker.
    """

    def __init__(
        self, work: socket.socket, urgent: socket.socket, mark: mmap.mmap, app: "Grpcflow", preload: Preload
    ) -> None:
        """Take the parts; nothing runs yet."""
        self._work = work
        self._urgent = urgent
        self._mark = mark
        self._ring = Ring.down(mark)
        self._outbox = Outlet(work, Ring.up(mark))
        self._reporter = Reporter(self._outbox.keep, self._outbox.flush)
        self._log_pacer = Pacer(self._outbox.flush, LOG_PAUSE)
        self._invoker = loading.invoker(app, preload, self._reporter, self._log)
        self._soft = SoftLimit(mark)
        self._current = _Current()
        self._reader = FrameReader()
        self._frames: deque[bytes | bytearray] = deque()
        self._flush_at = 0.0
        self._call_bytes = b""
        self._call: Call | None = None
        self._strayed = False
        self._place = preload.place
        self._title = Title(preload.hostname, preload.place)
        self._growth = growth(preload.max_memory or app.conf.get("worker_max_memory_per_child") or 0)
        #: True once it has grown too large: nothing starts here any more.
        self._leaving = False

    def run(self) -> None:
        """Say that it is ready and work until told to finish or until the supervisor is gone."""
        os.register_at_fork(after_in_child=self._stray)
        self._soft.install()
        hooks.process_begins(self._place)
        threading.Thread(target=self._listen, name="grpcflow-urgent", daemon=True).start()
        self._outbox.flush(Output(ready=True))
        with running_task():
            while not self._leaving and (batch := self._next()) is not None:
                self._run_batch(batch)
        self._title.show("ends")
        with contextlib.suppress(OSError):  # the supervisor is gone, and nobody is left to tell
            self._outbox.flush(Output(leaving=True))
        hooks.process_ends()

    def _stray(self) -> None:
        """Mark a process that user code forked: it must never go on as if it were this child."""
        self._strayed = self._reporter.strayed = True

    def _log(self, token: int, line: LogLine) -> None:
        """Take a line that an attempt logged; those of a process that it forked go to the log alone."""
        if not self._strayed:
            self._outbox.log(token, line)
            self._log_pacer.soon()

    def _next(self) -> Batch | None:
        """The next batch, written out before it waits for one; None when it is time to end."""
        while not self._frames:
            bodies = self._receive()
            if bodies is None:
                return None
            self._frames.extend(bodies)
        # Decoded here, so that nobody holds on to the body: it may be large.
        body = self._frames.popleft()
        if not body:
            return None
        batch = _decode_batch(body)
        if batch.place is not None:
            batch.payloads[-1] = self._ring.take(batch.place)
        return batch

    def _receive(self) -> list[bytes | bytearray] | None:
        """Read what is there; where nothing is, write out first and then wait."""
        if self._outbox.filled():
            try:
                return self._reader.read(self._work, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._outbox.flush()
        self._title.show("")
        return self._reader.read(self._work)

    def _run_batch(self, batch: Batch) -> None:
        outbox = self._outbox
        if batch.careful and outbox.filled():
            outbox.flush()
        call = self._call_of(batch.call)
        self._current.begin(batch)
        invoke = self._invoker.bind(
            CallRun(
                call=call,
                graph=batch.graph,
                first=batch.first,
                token=batch.token,
                payloads=batch.payloads,
                inputs=batch.inputs,
                id=batch.id,
                retries=batch.retries,
                losses=batch.losses,
                content_type=batch.content_type,
                group=batch.group,
                group_index=batch.group_index,
                in_chord=batch.in_chord,
                batch=batch.batch,
                after=batch.after,
            )
        )
        self._title.show(call.task)
        if call.soft_time_limit is not None:
            invoke = self._soft.guard(invoke, batch.token, call.soft_time_limit)
        started = time.monotonic()
        if not outbox.filled():
            self._flush_at = started + FLUSH_SECONDS
        done = self._run_calls(invoke, batch.token, call, started)
        if done:
            outbox.times.append((call.task, done, time.monotonic() - started))

    def _run_calls(self, invoke: Invoke, base: int, call: Call, now: float) -> int:
        """Run what is pending of the current batch; returns how many ran. The hot loop of a child."""
        outbox, mark, monotonic, pack_into = self._outbox, self._mark, time.monotonic, MARK.pack_into
        pending, count, growth = self._current.pending, 0, self._growth
        while True:
            try:
                offset = pending.popleft()
            except IndexError:
                return count
            token = base + offset
            pack_into(mark, 0, now, token)
            if call.track_started:
                outbox.flush(Output(started=[token]))
            result = invoke(offset)
            if self._strayed:
                os._exit(0)  # a copy that user code forked came back here
            if isinstance(result, bytes):
                outbox.tokens.append(token)
                outbox.datas.append(result)
                outbox.size += len(result) + 10
            else:
                outbox.ended.append(result)
                outbox.size += len(result.data) + len(result.failure) + 100
            count += 1
            if growth is not None and growth():
                self._leaving = True
                return count
            now = monotonic()
            if now > self._flush_at or outbox.size > FLUSH_BYTES:
                outbox.flush()
                self._flush_at = now + FLUSH_SECONDS

    def _call_of(self, encoded: bytes) -> Call:
        """Decode a call, or remember the last one: neighbours mostly share theirs."""
        if self._call is None or encoded != self._call_bytes:
            self._call, self._call_bytes = _decode_call(encoded), encoded
        return self._call

    def _listen(self) -> None:
        """Answer the urgent socket until it ends, and end the process with it. Runs in a thread of its own."""
        reader = FrameReader()
        try:
            while data := self._urgent.recv(frames.CHUNK):
                for body in reader.feed(data):
                    returned, kept = self._current.take_back(_decode_take_back(body).wanted)
                    self._outbox.flush(Output(returned=returned, kept=kept, answered=True))
        except OSError:
            pass  # a reset is an end like any other
        os._exit(0)


def enter(work: socket.socket, urgent: socket.socket, mark_file: int) -> mmap.mmap:
    """Make this process a child: own session, signals as new, own random numbers; returns the shared memory.

    Args:
        work: the work socket.
        urgent: the urgent socket.
        mark_file: descriptor of the shared memory; closed here.
    """
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent.die_with_parent()
    random.seed()
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    work.setblocking(True)
    urgent.setblocking(True)
    mark = mmap.mmap(mark_file, 0)
    os.close(mark_file)
    return mark


def leave(code: int) -> None:
    """End this process at once, with what was printed so far written out."""
    for stream in (sys.stdout, sys.stderr):
        # Closed or replaced by user code: then nothing is left to save.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def main(arguments: list[str]) -> None:
    """A spawned child: imports the app itself. Arguments: descriptors of work, urgent and mark."""
    work, urgent = (socket.socket(fileno=int(number)) for number in arguments[:2])
    os.set_inheritable(work.fileno(), False)
    os.set_inheritable(urgent.fileno(), False)
    preload = frames.read_preload(work)
    if preload is None:
        return  # the supervisor went away
    keep_freed_memory()
    mark = enter(work, urgent, int(arguments[2]))
    try:
        child = Child(work, urgent, mark, loading.load(preload, first=False).app, preload)
    except BaseException:  # noqa: BLE001 - whatever user code raises at import is told to the supervisor
        work.sendall(frames.frame(Output(error=traceback.format_exc())))
        leave(1)
        return
    gc.freeze()
    child.run()
    leave(0)


if __name__ == "__main__":
    main(sys.argv[1:])
