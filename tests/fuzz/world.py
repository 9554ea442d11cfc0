"""A coordinator over a store in memory, to which messages come as bytes and past the transport: thousands a second.

What stands between the transport and the services is all there: the parser that takes anything, the interceptor that
turns refusals into statuses, and the writing of the answers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any, Final

import grpc
from tests.fuzz.judging import Finding, check_refusal

from grpcflow_coordinator.config import Config
from grpcflow_coordinator.core import invariants
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.rpc.interceptors import StatusInterceptor
from grpcflow_coordinator.server import Coordinator
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_protos import limits

#: Real seconds that a call may take to end once it was cancelled.
BOUND: Final = 40.0

#: Turns of the loop after which what is under way is waited for no longer.
STILL: Final = 100_000

#: The time of the first moment, in milliseconds.
BEGAN_MS: Final = 1_767_225_600_000


class DigestedStore(MemoryStore):
    """A store that tells two contents apart by one number."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = 0

    def commit(self, batch: Batch) -> None:
        """Write a batch, and take what it changes into the digest."""
        gone = [(key, self._map.get(key)) for key in (*batch.puts, *batch.deletes)]
        super().commit(batch)
        for pair in gone:
            if pair[1] is not None:
                self.digest ^= hash(pair)
        for new in batch.puts.items():
            self.digest ^= hash(new)


class Aborted(grpc.aio.AbortError):
    """A call was ended with a status.

    Args:
        code: the gRPC status.
        message: what it says.
        trailers: the metadata at the end.
    """

    def __init__(self, code: Any, message: str, trailers: Any) -> None:
        super().__init__(f"{code} {message}")
        self.code, self.message, self.trailers = code, message, trailers


class Context:
    """What a service sees of its call."""

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        """End the call."""
        raise Aborted(code, details, trailing_metadata)

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what came with the call: nothing."""
        return ()

    def peer(self) -> str:
        """Return who calls."""
        return "ipv4:127.0.0.1:1"


class World:
    """The coordinator, its store and its time.

    Args:
        store: what it begins with; None: nothing.
    """

    def __init__(self, store: DigestedStore | None = None) -> None:
        self.store = store or DigestedStore()
        self.wall_ms, self.monotonic = BEGAN_MS, 1_000.0
        config = Config(data="unused", memory=True, listen="127.0.0.1:0")
        self.coordinator = Coordinator(config, self.store, now=lambda: Now(self.wall_ms, self.monotonic))
        self.engine = self.coordinator.engine
        self._handlers: dict[str, Any] = {}

    async def start(self) -> None:
        """Recover, and take the services' handlers."""
        self.engine.start()
        self.engine.attach(asyncio.get_running_loop())
        for method, handler in self.coordinator.home.handlers.items():
            self._handlers[method] = await self._wrapped(method, handler)

    async def _wrapped(self, method: str, handler: Any) -> Any:
        async def continuation(_details: Any) -> Any:
            return handler

        return await StatusInterceptor().intercept_service(continuation, SimpleNamespace(method=method))

    @property
    def methods(self) -> list[str]:
        """The names of all methods, as paths."""
        return sorted(self._handlers)

    def takes_many(self, method: str) -> bool:
        """Tell whether a method takes a stream of messages."""
        streaming: bool = self._handlers[method].request_streaming
        return streaming

    async def pass_time(self, milliseconds: int) -> None:
        """Move the clocks on, and wait until all that is due by then was done."""
        self.wall_ms += milliseconds
        self.monotonic += milliseconds / 1000
        await self.settle()

    async def settle(self) -> None:
        """Wait until the engine has nothing to do at this moment."""
        self.check()
        self.engine._schedule()
        for _ in range(STILL):
            if not self.engine._scheduled:
                return
            await asyncio.sleep(0)
            self.check()
        raise Finding("the engine does not come to rest")

    def check(self) -> None:
        """Raise a finding where the engine has failed."""
        if self.engine.failed is not None:
            raise Finding(f"the engine has failed: {self.engine.failed!r}") from self.engine.failed

    def check_state(self) -> None:
        """Raise a finding where an invariant of the core does not hold."""
        try:
            invariants.check(self.engine.machine.cluster, self.engine.records)
        except invariants.Broken as error:
            raise Finding(f"an invariant does not hold: {error}") from error

    async def call(self, method: str, messages: Iterable[bytes], turns: int = 200) -> list[bytes] | Aborted:
        """Call a method, and cancel it where it goes on.

        Args:
            method: its path.
            messages: what is sent, each made when its turn comes; one message where it takes no stream.
            turns: of the loop, after which it is cancelled.

        Returns:
            The answers, or the status with which it was refused.

        Raises:
            Finding: it ended in a way that no call may end in, or what was refused has changed the store.
        """
        conversation = _Conversation(self._handlers[method], messages)
        before = self.store.digest
        task = asyncio.create_task(conversation.run())
        for _ in range(turns):
            if task.done():
                break
            await asyncio.sleep(0)
        else:
            task.cancel()
            _, pending = await asyncio.wait([task], timeout=BOUND)
            if pending:
                raise Finding(f"{method} goes on though it was cancelled")
        await self.settle()
        if task.cancelled():
            return conversation.answers
        error = task.exception()
        if error is None:
            return conversation.answers
        if not isinstance(error, Aborted):
            raise Finding(f"{method} ended with {error!r}") from error
        check_refusal(error.code, error.message, error.trailers)
        # What a stream said before is done; a call is done or refused as a whole.
        if not self.takes_many(method) and self.store.digest != before:
            raise Finding(f"{method} was refused and has changed the store: {error.message}")
        return error

    async def stop(self) -> None:
        """End it, without closing its store."""
        self.engine.detach()
        await asyncio.sleep(0)


class _Conversation:
    """One call: what is sent, and what was answered."""

    def __init__(self, handler: Any, messages: Iterable[bytes]) -> None:
        self._handler, self._messages = handler, messages
        self.answers: list[bytes] = []

    async def run(self) -> None:
        handler, context = self._handler, Context()
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        request = (
            self._sent() if handler.request_streaming else handler.request_deserializer(next(iter(self._messages)))
        )
        if handler.response_streaming:
            async for answer in behaviour(request, context):
                self._take(answer)
        else:
            self._take(await behaviour(request, context))

    async def _sent(self) -> AsyncIterator[Any]:
        for message in self._messages:
            yield self._handler.request_deserializer(message)
            for _ in range(3):  # what was sent takes some turns to be acted on
                await asyncio.sleep(0)

    def _take(self, answer: Any) -> None:
        data = self._handler.response_serializer(answer)
        if len(data) > limits.MESSAGE_LIMIT:
            raise Finding(f"an answer has {len(data)} bytes, more than any peer takes")
        self.answers.append(data)


def sooner_or_later(rng: random.Random) -> int:
    """Returns milliseconds: mostly none or few, seldom so many that something ends."""
    return rng.choice((0, 0, 0, 1, 20, 1_000)) if rng.random() < 0.99 else rng.choice((11_000, 60_000, 90_000_000))
