"""Carries a session over gRPC: connects, reads, writes, beats, and comes back when the stream breaks.

All decisions about work are the session's. This file knows addresses, deadlines and statuses; it may NOT look into
attempts, run tasks or answer commands. Time and randomness are injected, so that a test need not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Final, Protocol

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from grpcflow.channels import PLAIN, Door
from grpcflow_protos import limits
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.wire_parts import Apart, opened, with_parts
from grpcflow_worker.load import LoadTeller
from grpcflow_worker.session import Effects, Phase, Session
from grpcflow_worker.wire import ProtocolError, read_response

#: Seconds before the first new try after a broken stream; doubled with each try.
FIRST_BACKOFF: Final = 0.1

#: Longest pause between two tries in seconds. Short, because work stands still until the workers are back: the first
#: hand-out leaves within a second after a coordinator serves again. A refused connection costs next to nothing.
LONGEST_BACKOFF: Final = 0.5

#: Seconds between two lines of the log while no coordinator answers.
REPEAT_LOG: Final = 30.0

#: Seconds that the coordinator has to end the stream after our goodbye.
GOODBYE_WAIT: Final = 2.0

#: Statuses after which trying again would give the same answer.
_FINAL: Final = frozenset(
    {
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

_METHOD: Final = "/grpcflow.v1.WorkerService/Work"

CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", limits.MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", limits.MESSAGE_LIMIT),
    # Measuring the line would cost two messages more for each one that comes; we say what may be on its way instead.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", limits.WINDOW),
    # Each try is a new channel; a shared subchannel would add its own backoff, of up to two minutes, to ours.
    ("grpc.use_local_subchannel_pool", 1),
)

_log = logging.getLogger("grpcflow.worker")


class Call(Protocol):
    """What the driver needs of one open stream; grpc.aio's calls are such."""

    async def write(self, request: pb.WorkRequest) -> None:
        """Send one message; returns when the transport took it."""

    async def done_writing(self) -> None:
        """Send nothing more."""

    async def read(self) -> object:
        """The next message, or ``grpc.aio.EOF``."""


#: Opens a stream to one address; leaving the context ends it.
Connect = Callable[[str], contextlib.AbstractAsyncContextManager[Call]]


@dataclass(frozen=True, slots=True)
class Timing:
    """The clock the driver lives by: monotonic seconds, a pause, and a random number from 0 to 1."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


class Silence(Exception):
    """The coordinator said nothing for longer than agreed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The coordinator does not want this session; trying again would not help.

    Attributes:
        reason: stable code, for example NAME_TAKEN.
        message: for people, with what to do about it.
    """

    reason: str
    message: str


@contextlib.asynccontextmanager
async def connect(address: str, door: Door = PLAIN) -> AsyncIterator[Call]:
    """Open a work stream to ``HOST:PORT`` over a channel of its own."""
    channel: grpc.aio.Channel = door.open_on_loop(address, CHANNEL_OPTIONS)
    try:
        # Not by the generated stub: what is sent may have parts.
        work = channel.stream_stream(_METHOD, methodcaller("SerializeToString"), read_response)
        call = work()
        try:
            yield call
        finally:
            call.cancel()
    finally:
        await channel.close(None)


class StreamDriver:
    """Keeps one session connected until it said goodbye or is refused.

    Args:
        session: what to carry.
        addresses: ``HOST:PORT`` of each coordinator; tried in turn.
        deliver: takes what a message asked for; called on the event loop, must not block or raise.
        beaten: called after each heartbeat that the silence asked for.
        load: says when to tell how busy the worker is; None: it is never told.
        connect: opens a stream; replaced in tests.
        timing: the clock; replaced in tests.
    """

    def __init__(
        self,
        session: Session,
        addresses: Sequence[str],
        deliver: Callable[[Effects], None],
        *,
        beaten: Callable[[], None] = lambda: None,
        load: LoadTeller | None = None,
        connect: Connect = connect,
        timing: Timing | None = None,
    ) -> None:
        self._session = session
        self._addresses = tuple(addresses)
        self._deliver = deliver
        self._beaten = beaten
        self._load = load
        self._connect = connect
        self._timing = timing or Timing()
        self._something = asyncio.Event()
        self._tries = 0
        self._turn = 0
        self._heard_at = self._said_at = self._timing.now()
        self._lost_at = self._heard_at
        self._logged_at: float | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the coordinator that is connected, or is tried next."""
        return self._addresses[self._turn % len(self._addresses)]

    def wake(self) -> None:
        """The session has something to say."""
        self._something.set()

    async def run(self) -> Refused | None:
        """Carry the session; returns None after its goodbye, or why it is refused. Runs until then or cancelled."""
        while True:
            address = self.address
            try:
                await self._serve(address)
                failure: Exception = Silence("it ended the stream")
            except (grpc.RpcError, Silence, ProtocolError, OSError) as error:
                failure = error
            if self._session.phase is Phase.OVER:
                # All was acknowledged before the goodbye, so nothing depends on whether that arrived.
                return None
            if isinstance(failure, grpc.aio.AioRpcError) and failure.code() in _FINAL:
                return _refusal(failure, address)
            self._log_loss(address, failure)
            self._session.disconnected()
            if self._session.draining and self._session.settled:
                return None
            await self._pause()

    async def _pause(self) -> None:
        """Wait before the next try: longer each time, and never in step with other workers."""
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._tries, 10))
        self._tries += 1
        self._turn += 1
        await self._timing.sleep(longest * (0.5 + self._timing.chance() / 2))

    async def _serve(self, address: str) -> None:
        """Hold one stream until it ends; raises what ended it."""
        async with self._connect(address) as call:
            self._heard_at = self._timing.now()
            opening = asyncio.ensure_future(self._greet(call, address))
            await self._first_to_end(opening, asyncio.ensure_future(self._watch_silence()))
            await self._first_to_end(
                asyncio.ensure_future(self._read(call)),
                asyncio.ensure_future(self._write(call)),
                asyncio.ensure_future(self._watch_silence()),
                asyncio.ensure_future(self._beat()),
            )

    @staticmethod
    async def _first_to_end(*tasks: asyncio.Future[None]) -> None:
        """Wait until one ends, end the others, and raise what it raised."""
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        errors = [error for error in outcomes if isinstance(error, Exception)]
        # A status says more than the failed write that it caused.
        errors.sort(key=lambda error: not (isinstance(error, grpc.aio.AioRpcError) and error.code() in _FINAL))
        if errors:
            raise errors[0]

    async def _greet(self, call: Call, address: str) -> None:
        try:
            await call.write(self._session.hello())
        except (grpc.RpcError, asyncio.InvalidStateError):
            # The stream ended under the hello; reading tells why.
            _log.debug("the hello to %s could not be written", address)
        if not await self._read_one(call):
            raise Silence("it ended the stream without a welcome")
        now = self._timing.now()
        self._said_at = now
        if self._logged_at is not None or self._tries:
            _log.info("connected to %s again after %.1f s", address, now - self._lost_at)
        else:
            _log.info("connected to %s", address)
        self._tries, self._logged_at = 0, None
        if self._load is not None:
            self._load.forget()

    async def _read(self, call: Call) -> None:
        while await self._read_one(call):
            pass

    async def _read_one(self, call: Call) -> bool:
        message = await call.read()
        if not isinstance(message, (pb.WorkResponse, Apart)):
            return False
        now = self._timing.now()
        self._heard_at = now
        if now - self._said_at >= self._session.heartbeat / 2 and not opened(message)[0].ListFields():
            # Signs of life of many workers come together where each answers one: cheaper for the coordinator.
            self._say_something()
        self._deliver(self._session.received(message, now))
        # Almost every message changes what can be said: an answer, an acknowledgement that completes a drain.
        self._something.set()
        return True

    async def _write(self, call: Call) -> None:
        try:
            await self._write_all(call)
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            # The stream ended; reading tells with which status, and this bounds how long that may take.
            await self._timing.sleep(GOODBYE_WAIT)
            raise Silence(f"it could not be written to: {_describe(error)}") from error
        # The reader sees the end of the stream that follows a goodbye.
        await self._timing.sleep(GOODBYE_WAIT)

    async def _write_all(self, call: Call) -> None:
        while True:
            self._something.clear()
            parts: list[bytes] = []
            while (message := self._session.next_message(parts)) is not None:
                self._add_load(message, soon=True)
                await call.write(with_parts(message, parts))
                parts = []
                self._said_at = self._timing.now()
            if self._session.phase is Phase.OVER:
                await call.done_writing()
                return
            alone = pb.WorkRequest()  # without a number: nobody is to acknowledge it
            if self._add_load(alone):
                await call.write(alone)
            await self._something.wait()

    def _add_load(self, message: pb.WorkRequest, *, soon: bool = False) -> bool:
        """Say with a message how busy the worker is, where that is due; False where it is not."""
        load = self._load.take(soon=soon) if self._load is not None and not message.goodbye else None
        if load is not None:
            message.load.CopyFrom(load)
        return load is not None

    async def _beat(self) -> None:
        while True:
            rest = self._said_at + self._session.heartbeat - self._timing.now()
            if rest <= 0:
                self._say_something()
                rest = self._session.heartbeat
            await self._timing.sleep(self._until_load(rest))

    def _say_something(self) -> None:
        self._session.beat()
        self._beaten()
        self._something.set()

    def _until_load(self, rest: float) -> float:
        """Have the load told where it is due, and return for how long nothing is; at most `rest` seconds."""
        load = self._load
        if load is None or load.rest() + load.margin >= rest:
            return rest  # the next sign of life takes it along
        if load.rest() <= 0:
            self._something.set()
            return min(rest, load.interval)
        return load.rest()

    async def _watch_silence(self) -> None:
        while (rest := self._heard_at + self._session.silence - self._timing.now()) > 0:
            await self._timing.sleep(rest)
        raise Silence(f"it said nothing for {self._session.silence:g} s")

    def _log_loss(self, address: str, failure: Exception) -> None:
        now = self._timing.now()
        text = _describe(failure)
        session = self._session
        if session.phase is Phase.ONLINE:
            self._lost_at = self._logged_at = now
            _log.warning(
                "lost the coordinator at %s: %s; %d attempts run on, %d reports are kept; trying again",
                address,
                text,
                session.open,
                session.unacknowledged,
            )
        elif self._logged_at is None or now - self._logged_at >= REPEAT_LOG:
            self._logged_at = now
            where = ", ".join(self._addresses)
            _log.warning("waiting for a coordinator at %s for %.0f s: %s", where, now - self._lost_at, text)


def _describe(failure: Exception) -> str:
    if isinstance(failure, grpc.aio.AioRpcError):
        return f"{failure.code().name}: {failure.details()}"
    return str(failure) or type(failure).__name__


def _refusal(error: grpc.aio.AioRpcError, address: str) -> Refused:
    """What a final status says, with the code and the cure of its details where it has them."""
    reason, cure = error.code().name, ""
    for detail in _details(error):
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            reason, cure = info.reason or reason, info.metadata.get("cure", "")
    text = f"the coordinator at {address} refuses this worker ({reason}): {error.details()}"
    return Refused(reason, f"{text}; {cure}" if cure and cure not in text else text)


def _details(error: grpc.aio.AioRpcError) -> Iterable[any_pb2.Any]:
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                _log.debug("the details of a status cannot be read")
    return ()
