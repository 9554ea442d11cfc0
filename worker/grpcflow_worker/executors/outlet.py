"""What a child process has to tell, collected until it is worth a frame.

It knows the work socket and when it is written to is the child's decision. It may NOT run tasks.
"""

import socket
import threading

from grpcflow_worker.executor import Ended
from grpcflow_worker.executors import frames
from grpcflow_worker.executors.frames import Output, Said
from grpcflow_worker.executors.ring import LEAST, Ring
from grpcflow_worker.log_lines import Gathered, LogLine


class Outlet:
    """Results and progress on their way to the supervisor. The main thread adds results; all threads write out.

    Args:
        work: the work socket.
        ring: takes large values past the socket.
    """

    __slots__ = ("_lock", "_ring", "_work", "datas", "ended", "logs", "progress", "size", "times", "tokens")

    def __init__(self, work: socket.socket, ring: Ring) -> None:
        """Start with nothing."""
        self._work = work
        self._ring = ring
        self._lock = threading.Lock()
        self.tokens: list[int] = []
        self.datas: list[bytes] = []
        self.ended: list[Ended] = []
        self.times: list[tuple[str, int, float]] = []
        #: By token what an attempt said last; a later word replaces one that was not written out.
        self.progress: dict[int, Said] = {}
        self.logs = Gathered()
        self.size = 0

    def filled(self) -> bool:
        """True where something waits. `size` is only a hint: both threads change it."""
        return bool(self.datas or self.ended or self.times or self.progress or self.logs)

    def keep(self, token: int, state: str, data: bytes, content_type: str) -> None:
        """Take how far an attempt is. Called from any thread."""
        with self._lock:
            self.progress[token] = (token, state, data, content_type)

    def log(self, token: int, line: LogLine) -> None:
        """Take a line of an attempt. Called from any thread."""
        with self._lock:
            self.logs.add(token, line)

    def flush(self, output: Output | None = None) -> None:
        """Write out everything collected, and `output` in the same frame.

        The lists are cut at a length taken once: the other thread may append meanwhile, to `datas` after `tokens`.
        Progress and logs are taken after them: what an attempt said before its end is then in this frame or before.
        """
        with self._lock:
            output = output or Output()
            values, ended, times = len(self.datas), len(self.ended), len(self.times)
            output.tokens, output.datas = self.tokens[:values], self.datas[:values]
            output.ended, output.times = self.ended[:ended], self.times[:times]
            del self.tokens[:values], self.datas[:values], self.ended[:ended], self.times[:times]
            output.progress = list(self.progress.values())
            self.progress.clear()
            # A large value is written out by itself, or as the last of some.
            if values and len(output.datas[-1]) >= LEAST:
                output.place = self._ring.put(output.datas[-1])
                if output.place is not None:
                    self.size -= len(output.datas[-1])
                    output.datas[-1] = b""
            is_large, self.size = self.size + self.logs.size > frames.LARGE, 0
            if self.logs:
                output.logs = self.logs.take()
            self._work.sendall(frames.large_frame(output) if is_large else frames.frame(output))
