"""Fetches inputs that are too large for an assignment, before their attempt goes to the executor.

Meanwhile the attempt is held like any other that waits: named in a hello, stopped, taken back. A few fetches run at
once, none of them before the work stream, which goes on as ever. This file may NOT run tasks or look into values.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, Protocol

import grpc
import grpc.aio
import msgspec

from grpcflow.channels import PLAIN, Door
from grpcflow_protos.v1 import value_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.v1 import worker_service_pb2_grpc as pb_grpc
from grpcflow_worker.executor import CallRun, Ended, Waiting
from grpcflow_worker.inputs import Assembly, BrokenParts, TooLarge
from grpcflow_worker.session import Phase, Session
from grpcflow_worker.stream import CHANNEL_OPTIONS, StreamDriver, Timing
from grpcflow_worker.wire import id_of

#: Most fetches at a time.
AT_ONCE: Final = 4

#: Seconds before a fetch that failed is tried again: the first pause, doubled with each try up to the longest.
FIRST_BACKOFF: Final = 0.1
LONGEST_BACKOFF: Final = 2.0

_STALE: Final = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)

#: What a second try cannot change.
_FINAL: Final = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
)

_log = logging.getLogger("grpcflow.worker")

#: Asks one address for the inputs of one attempt.
Fetch = Callable[[str, pb.InputsRequest], AsyncGenerator[pb.InputsResponse, None]]


async def fetch_inputs(
    address: str, request: pb.InputsRequest, door: Door = PLAIN
) -> AsyncGenerator[pb.InputsResponse, None]:
    """Ask ``HOST:PORT`` for inputs, over a channel of its own so that large ones hold up nothing else."""
    channel: grpc.aio.Channel = door.open_on_loop(address, CHANNEL_OPTIONS)
    try:
        async for response in pb_grpc.WorkerServiceStub(channel).Inputs(request):
            yield response
    finally:
        await channel.close(None)


class Fetched(Protocol):
    """Who takes the attempts."""

    def fetched(self, run: CallRun) -> None:
        """The inputs are there: the run may start."""

    def ended(self, ends: Sequence[Ended]) -> None:
        """The inputs cannot be had, and so the attempts failed."""


class Fetcher:
    """The attempts of one session whose inputs are on their way.

    Args:
        session: whose attempts they are.
        driver: knows which coordinator to ask.
        taker: takes them when the inputs are there.
        fetch: asks for inputs; replaced in tests.
        timing: the clock; replaced in tests.
    """

    def __init__(self, session: Session, driver: StreamDriver, taker: Fetched, *, fetch: Fetch, timing: Timing) -> None:
        self._session = session
        self._driver = driver
        self._taker = taker
        self._fetch = fetch
        self._timing = timing
        self._places = asyncio.Semaphore(AT_ONCE)
        self._runs: dict[int, tuple[CallRun, asyncio.Task[None]]] = {}

    def add(self, run: CallRun) -> None:
        """Fetch the inputs of a run of one attempt, then hand it on."""
        task = asyncio.get_running_loop().create_task(self._bring(run))
        self._runs[run.token] = run, task
        task.add_done_callback(lambda _: self._check(run, task))

    def remove(self, token: int) -> bool:
        """Give an attempt up, unreported; False where it is not here."""
        known = self._runs.pop(token, None)
        if known is not None:
            known[1].cancel()
        return known is not None

    def clear(self) -> list[int]:
        """Give all attempts up, unreported; returns their tokens."""
        tokens = list(self._runs)
        for token in tokens:
            self.remove(token)
        return tokens

    def waiting(self) -> list[Waiting]:
        """The attempts whose inputs are on their way, in order."""
        return [Waiting(token, run, 0) for token, (run, _) in self._runs.items()]

    async def close(self) -> None:
        """End all fetches."""
        tasks = [task for _, task in self._runs.values()]
        self.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _check(self, run: CallRun, task: asyncio.Task[None]) -> None:
        """Report an attempt whose fetch broke by an error of ours: it must not be held for ever."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("fetching the inputs of %s broke", id_of(run, run.token), exc_info=error)
            self._end(run, "ExecutorError", "grpcflow_worker.executor", repr(error), "INPUTS_BROKEN")

    async def _bring(self, run: CallRun) -> None:
        """Try until the inputs are there, or cannot be had, or nobody wants them any more."""
        tries = 0
        while True:
            if self._session.phase is Phase.ONLINE:
                async with self._places:
                    settled = await self._try(run)
                if settled:
                    return
            longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(tries, 10))
            tries += 1
            await self._timing.sleep(longest * (0.5 + self._timing.chance() / 2))

    async def _try(self, run: CallRun) -> bool:
        """Fetch once; False where it is to be tried again."""
        stream = self._session.streams
        try:
            values = await self._read(run)
        except grpc.RpcError as error:
            return self._refused(run, error, stream)
        except (TimeoutError, OSError) as error:
            _log.debug("the inputs of %s did not come: %r", id_of(run, run.token), error)
            return False
        except TooLarge as error:
            message = f"{error}; have the tasks before it return references to their data"
            self._end(run, "PayloadTooLarge", "grpcflow.errors", message, "INPUTS_TOO_LARGE")
        except BrokenParts as error:
            self._end(run, "RequestFailed", "grpcflow.errors", str(error), "INPUTS_BROKEN")
        else:
            if self._runs.pop(run.token, None) is not None:
                self._taker.fetched(msgspec.structs.replace(run, inputs=values, inputs_apart=False))
        return True

    async def _read(self, run: CallRun) -> tuple[bytes, ...]:
        request = pb.InputsRequest(session=self._session.identity.secret, token=run.token)
        assembly = Assembly()
        async with contextlib.aclosing(self._fetch(self._driver.address, request)) as pieces:
            while True:
                async with asyncio.timeout(self._session.silence):
                    piece = await anext(pieces, None)
                if piece is None:
                    return assembly.values()
                assembly.add(piece.parts)

    def _refused(self, run: CallRun, error: grpc.RpcError, stream: int) -> bool:
        """Act on a status; False where it is to be tried again."""
        code = error.code() if isinstance(error, grpc.aio.AioRpcError) else None
        if code in _STALE:
            # A coordinator that started anew knows nothing of us before our hello: only what it says on the
            # stream that the question came from counts.
            if self._session.phase is not Phase.ONLINE or self._session.streams != stream:
                return False
            if self._runs.pop(run.token, None) is not None:
                self._session.let_go(run.token)
                self._driver.wake()
            return True
        if code in _FINAL:
            message = f"the coordinator does not give the inputs: {error}"
            self._end(run, "RequestFailed", "grpcflow.errors", message, "INPUTS_REFUSED")
            return True
        _log.debug("the inputs of %s did not come: %s", id_of(run, run.token), error)
        return False

    def _end(self, run: CallRun, type_name: str, module: str, message: str, reason: str) -> None:
        if self._runs.pop(run.token, None) is not None:
            failure = value_pb2.Failure(type_name=type_name, module=module, message=message, reason=reason)
            self._taker.ended([Ended(run.token, "failure", failure=failure.SerializeToString())])
