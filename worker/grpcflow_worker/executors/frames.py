"""What the supervisor and its child processes say to each other: length-prefixed MessagePack frames.

Each child has two sockets. On the *work* socket go batches down and outputs up. The *urgent* socket is read by a
thread of the child, so that a request to give work back is answered while user code runs. This file may NOT know
asyncio, processes or tasks: it turns structs into bytes and bytes into frames.
"""

import signal
import socket
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from grpcflow_worker.executor import CallRun, Ended
from grpcflow_worker.executors.ring import Place
from grpcflow_worker.log_lines import Logged

#: Length of the length prefix: 4 bytes, little endian.
PREFIX: Final = struct.Struct("<I")

#: One command to the forkserver: FORK, which child, its place, with file descriptors; KILL, which child, a signal
#: number; or HERALD with the socket of a new herald.
COMMAND: Final = struct.Struct("<III")
FORK: Final = 1
KILL: Final = 2
HERALD: Final = 3

#: Signals that the supervisor has sent to the app's receivers after the start.
LATE: Final = ("worker_ready", "worker_shutting_down", "worker_shutdown", "heartbeat_sent", "task_revoked")

#: The page a child shares with the supervisor: monotonic time (s) and token of the attempt it started last.
#: Native layout, so that each field is one aligned store and is never read half written.
MARK: Final = struct.Struct("@dQ")

#: Tells a child of a soft time limit.
SOFT_SIGNAL: Final = int(getattr(signal, "SIGUSR1", 0))

#: Has a child write the stacks of all its threads to the log.
STACKS_SIGNAL: Final = int(getattr(signal, "SIGUSR2", 0))

#: Behind the mark, tokens again: which attempt is to be told of its soft time limit (written by the supervisor), and
#: which one was told last (written by the child).
SOFT_WANTED: Final = struct.Struct("@Q")
SOFT_WANTED_AT: Final = MARK.size
SOFT_RAISED: Final = struct.Struct("@Q")
SOFT_RAISED_AT: Final = SOFT_WANTED_AT + SOFT_WANTED.size

#: A frame without content on the work socket: end when everything before it is done.
FINISH: Final = PREFIX.pack(0)

#: Bytes to ask a socket for at once.
CHUNK: Final = 256 * 1024

#: Payloads of more bytes travel in frames that are written without a copy.
LARGE: Final = 64 * 1024


class Batch(msgspec.Struct, array_like=True):
    """Attempts for a child; the fields of a `CallRun`, with its call as bytes so that it is decoded once.

    Attributes:
        number: counts the batches of this child, from 1.
        careful: True: write out what has been collected before it starts, since it may take long.
        call: an encoded `Call`.
        place: where in the ring the last of the payloads lies, which is b"" here; None: they are all here.
    """

    number: int
    careful: bool
    call: bytes
    graph: bytes
    first: int
    token: int
    payloads: list[bytes]
    inputs: tuple[bytes, ...]
    id: str
    retries: int
    losses: int
    content_type: str
    group: bytes = b""
    group_index: int = 0
    in_chord: bool = False
    batch: int = 0
    after: int = 0
    place: Place | None = None


class TakeBack(msgspec.Struct, array_like=True):
    """Asks a child for attempts back. Each is answered in `Output.returned` or `Output.kept`.

    Attributes:
        wanted: batch number and the tokens wanted of it.
    """

    wanted: list[tuple[int, list[int]]]


#: How far one attempt is: token, state, encoded value, content type.
Said = tuple[int, str, bytes, str]


class Output(msgspec.Struct, array_like=True, omit_defaults=True):
    """What a child says: any of its fields may be set.

    Attributes:
        tokens: attempts that gave plain JSON values.
        datas: those values.
        ended: attempts that ended otherwise.
        times: for tasks that ended: name, how many, seconds they took together.
        started: attempts that began and whose call wants that told.
        progress: how far attempts are, each with token, state, encoded value and content type; said before any end.
        logs: what attempts printed and logged; said before any end.
        returned: attempts it was asked for and gives back.
        kept: attempts it was asked for and that had started.
        answered: True on the answer to a TakeBack.
        ready: True once: the child is there.
        error: once, and nothing after it: a traceback that says why the child cannot start.
        leaving: True once, as the last word: what it still has has not started and never will in this child.
        place: where in the ring the last of `datas` lies, which is b"" here; None: they are all here.
    """

    tokens: list[int] = []
    datas: list[bytes] = []
    ended: list[Ended] = []
    times: list[tuple[str, int, float]] = []
    started: list[int] = []
    progress: list[Said] = []
    returned: list[int] = []
    kept: list[int] = []
    answered: bool = False
    ready: bool = False
    error: str = ""
    leaving: bool = False
    logs: list[Logged] = []
    place: Place | None = None


class Preload(msgspec.Struct, array_like=True):
    """The first frame to the forkserver, and to a spawned child: what to import.

    Attributes:
        sys_path: where to find modules, as in the supervisor.
        app: name of the app as for `-A`.
        includes: further modules to import.
        hostname: name of the worker.
        payload_limit: largest value in bytes.
        concurrency: how many tasks run at once.
        log_level: name of the log level; "": leave the log as it is.
        log_file: path of the log, with ``%`` letters; "": standard error.
        log_color: True or False: its lines are coloured or not; None: as the app says, or where it is a terminal.
        max_memory: KiB that a child may take before it is replaced; 0: as the app says.
        place: number of the child among those that live at the same time, from 1; 0 for the forkserver.
        log_json: True: lines of the log are JSON objects.
    """

    sys_path: list[str]
    app: str | None
    includes: tuple[str, ...]
    hostname: str
    payload_limit: int
    concurrency: int = 1
    log_level: str = ""
    log_file: str = ""
    log_color: bool | None = None
    max_memory: int = 0
    place: int = 0
    log_json: bool = False


class Answer(msgspec.Struct, array_like=True, omit_defaults=True):
    """What the forkserver says: one of its parts is set.

    Attributes:
        error: the traceback of the app's import; nothing comes after it.
        loaded: True once, with tasks, conf, warnings and spawns.
        spawns: True: children are fresh interpreters, and each waits for a Preload first.
        tasks: registered names.
        conf: plain JSON settings of the app.
        warnings: what the user should know.
        listens: names of the late signals that the app has receivers for.
        child: number of the child that the rest is about.
        pid: its process id when it was made; 0 otherwise.
        exited: True: it is gone, and `status` is as waitpid gave it.
        status: raw wait status.
    """

    error: str = ""
    loaded: bool = False
    spawns: bool = False
    tasks: list[str] = []
    conf: dict[str, object] = {}
    warnings: list[str] = []
    listens: list[str] = []
    child: int = 0
    pid: int = 0
    exited: bool = False
    status: int = 0


class News(msgspec.Struct, array_like=True, omit_defaults=True):
    """One of the late signals, on its way to the app's receivers; see `Executor.emit`.

    Attributes:
        name: one of `LATE`.
        number: number of the operating system's signal that caused it; 0 for none.
        attempt: the attempt that was revoked, as a run of one.
        expired: True: it was not revoked by a user, but not started in time.
        asked: some: no signal, but a command of the app with these arguments, as JSON; `number` is the number under
            which its reply is told.
    """

    name: str
    number: int = 0
    attempt: CallRun | None = None
    expired: bool = False
    asked: bytes = b""


class Reply(msgspec.Struct, array_like=True):
    """What became of a command of the app.

    Attributes:
        number: of the command.
        reply: as JSON; b"" where something went wrong.
        error: what went wrong; "" where nothing did.
    """

    number: int
    reply: bytes
    error: str


_encoder = msgspec.msgpack.Encoder()


def frame(content: msgspec.Struct) -> bytes:
    """Return a struct as one frame, prefix included; `large_frame` is for those with much in them."""
    body = _encoder.encode(content)
    return PREFIX.pack(len(body)) + body


def large_frame(content: msgspec.Struct) -> bytearray:
    """The same for one that may have hundreds of megabytes: slower for small ones, and nothing is copied."""
    buffer = bytearray(PREFIX.size)
    _encoder.encode_into(content, buffer, PREFIX.size)
    PREFIX.pack_into(buffer, 0, len(buffer) - PREFIX.size)
    return buffer


def encode_members(runs: Sequence[CallRun]) -> bytes:
    """The payload of a batch: its members."""
    return _encoder.encode(runs)


def encode_ends(ends: Sequence[Ended]) -> bytes:
    """How the members of a batch ended."""
    return _encoder.encode(ends)


decode_members: Final = msgspec.msgpack.Decoder(list[CallRun]).decode
decode_ends: Final = msgspec.msgpack.Decoder(list[Ended]).decode


def read_preload(connection: socket.socket) -> Preload | None:
    """Read the first frame of a blocking socket, and not a byte more; None where the other side went away."""
    data = b""
    wanted = PREFIX.size
    while len(data) < wanted:
        more = connection.recv(wanted - len(data))
        if not more:
            return None
        data += more
        if len(data) == PREFIX.size:
            wanted += PREFIX.unpack(data)[0]
    return msgspec.msgpack.decode(data[PREFIX.size :], type=Preload)


def describe_status(status: int) -> str:
    """Say in words how a process ended, from its raw wait status: "signal 9" or "exit code 3"."""
    return f"signal {status & 0x7F}" if status & 0x7F else f"exit code {(status >> 8) & 0xFF}"


class FrameReader:
    """Cuts a stream of bytes into frames."""

    __slots__ = ("_buffer", "_filled", "_large")

    def __init__(self) -> None:
        """Start with nothing."""
        self._buffer = bytearray()
        #: The body of a large frame that has begun, and how much of it has come.
        self._large: bytearray | None = None
        self._filled = 0

    def read(self, connection: socket.socket, flags: int = 0) -> list[bytes | bytearray] | None:
        """Receive once and return the bodies of all frames that are now whole, in order; None: the other side closed.

        A large frame comes straight into its place: on the way through a buffer it would be copied three times.

        Raises:
            BlockingIOError: nothing is there, and the socket or `flags` say not to wait.
            OSError: the socket is broken.
        """
        if self._large is None:
            data = connection.recv(CHUNK, flags)
            return self.feed(data) if data else None
        with memoryview(self._large) as view:
            count = connection.recv_into(view[self._filled :], 0, flags)
        self._filled += count
        if self._filled < len(self._large):
            return [] if count else None
        whole, self._large = self._large, None
        return [whole]

    def feed(self, data: bytes) -> list[bytes | bytearray]:
        """Add what came in and return the bodies of all frames that are now whole, in order."""
        if self._large is not None:
            return self._fed_large(data)
        buffer = self._buffer
        if buffer:
            buffer += data
            source: bytes | bytearray = buffer
        else:
            source = data
        bodies: list[bytes | bytearray] = []
        at, end = 0, len(source)
        while end - at >= PREFIX.size:
            size = int(PREFIX.unpack_from(source, at)[0])
            stop = at + PREFIX.size + size
            with memoryview(source) as view:  # a slice of the buffer itself would be copied twice
                if stop > end:
                    if size > CHUNK:
                        self._begin_large(size, view[at + PREFIX.size :])
                        at = end
                    break
                bodies.append(bytes(view[at + PREFIX.size : stop]))
            at = stop
        if source is buffer:
            del buffer[:at]
        elif at < end:
            buffer += data[at:]
        return bodies

    def _begin_large(self, size: int, begun: memoryview) -> None:
        self._large, self._filled = bytearray(size), len(begun)
        self._large[: len(begun)] = begun

    def _fed_large(self, data: bytes) -> list[bytes | bytearray]:
        """Add to a large frame, and what is behind it to the buffer."""
        assert self._large is not None
        whole, filled = self._large, self._filled
        taken = min(len(data), len(whole) - filled)
        whole[filled : filled + taken] = data[:taken]
        self._filled += taken
        if self._filled < len(whole):
            return []
        self._large = None
        return [whole, *self.feed(data[taken:])]
