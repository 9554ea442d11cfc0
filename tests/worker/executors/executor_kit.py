"""A listener that records, a gate that tasks wait at, and a short way to put calls to an executor under test."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.batches import Batching
from grpcflow_worker.executor import Call, CallRun, Ended, Executor, ExecutorSettings, Registered
from grpcflow_worker.executors import create
from grpcflow_worker.log_lines import Logged, LogLine

APPS = Path(__file__).parent / "apps"
GRAPH = bytes(range(12))


class Recorder:
    """A listener that keeps everything, and a way to wait for it."""

    def __init__(self) -> None:
        self.data: dict[int, bytes] = {}
        self.ends: dict[int, Ended] = {}
        self.begun: list[int] = []
        self.reasons: list[str] = []
        #: Token, state, data and content type, in the order in which they came.
        self.progress: list[tuple[int, str, bytes, str]] = []
        #: Tokens that ended more than once; the `start` fixture fails the test for them. (An assert in a callback
        #: of the loop would only be logged.)
        self.twice: list[int] = []
        #: Tokens whose progress came after their end; the fixture fails the test for them too.
        self.late: list[int] = []
        #: By token what attempts printed and logged, and how many lines were dropped.
        self.lines: dict[int, list[LogLine]] = {}
        self.dropped = 0
        self._changed = asyncio.Event()

    def values(self, tokens: Sequence[int], datas: Sequence[bytes]) -> None:
        for token, data in zip(tokens, datas, strict=True):
            self._note(token)
            self.data[token] = data
        self._changed.set()

    def _note(self, token: int) -> None:
        if token in self.data or token in self.ends:
            self.twice.append(token)

    def ended(self, ends: Sequence[Ended]) -> None:
        for end in ends:
            self._note(end.token)
            self.ends[end.token] = end
        self._changed.set()

    def started(self, tokens: Sequence[int]) -> None:
        self.begun += tokens
        self._changed.set()

    def progressed(self, token: int, state: str, data: bytes, content_type: str) -> None:
        if token in self.data or token in self.ends:
            self.late.append(token)
        self.progress.append((token, state, data, content_type))
        self._changed.set()

    def logged(self, said: Sequence[Logged]) -> None:
        for token, dropped, lines in said:
            if token in self.data or token in self.ends:
                self.late.append(token)
            self.dropped += dropped
            self.lines.setdefault(token, []).extend(lines)
        self._changed.set()

    def broken(self, reason: str) -> None:
        self.reasons.append(reason)
        self._changed.set()

    async def until(self, condition: Callable[[], object], seconds: float = 40) -> None:
        """Waits until the condition holds; it is looked at after every report."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def all_of(self, tokens: Sequence[int]) -> None:
        """Waits until all of these have ended."""
        await self.until(lambda: all(token in self.data or token in self.ends for token in tokens))

    def value(self, token: int) -> Any:
        assert token in self.data, self.ends.get(token)
        return json.loads(self.data[token])


class Running:
    """A started executor with its recorder, and a short way to put calls."""

    def __init__(self, executor: Executor, recorder: Recorder, registered: Registered, app: str) -> None:
        #: Module of the app, before the names of its tasks.
        self.app = app
        self.executor = executor
        self.heard = recorder
        self.registered = registered
        self.closed = False
        self._tokens = itertools.count(1 << 40)

    def put(self, name: str, *args: Any, inputs: Sequence[bytes] = (), app: str | None = None, **options: Any) -> int:
        """Puts one call; returns its token. Options are those of Call and CallRun."""
        return self.put_many(name, [list(args)], inputs=inputs, app=app, **options)[0]

    def put_many(
        self,
        name: str,
        calls: Sequence[Sequence[Any]],
        *,
        inputs: Sequence[bytes] = (),
        app: str | None = None,
        **options: Any,
    ) -> list[int]:
        """Puts calls as one run; returns their tokens."""
        first = options.pop("first", None)
        of_run = {key: options.pop(key) for key in ("id", "retries", "losses") if key in options}
        tokens = [next(self._tokens) for _ in calls]
        payloads = [json.dumps([list(args), {}]).encode() for args in calls]
        call = Call(f"{app or self.app}.{name}", **options)
        run = CallRun(
            call, GRAPH, tokens[0] & 0xFFFF if first is None else first, tokens[0], payloads, tuple(inputs), **of_run
        )
        self.executor.put(run)
        return tokens

    async def get(self, name: str, *args: Any, **options: Any) -> Any:
        """Runs one call and returns its value."""
        token = self.put(name, *args, **options)
        await self.heard.all_of([token])
        return self.heard.value(token)

    async def end(self, name: str, *args: Any, **options: Any) -> Ended:
        """Runs one call and returns how it ended."""
        token = self.put(name, *args, **options)
        await self.heard.all_of([token])
        assert token in self.heard.ends, self.heard.data.get(token)
        return self.heard.ends[token]

    async def close(self, *, drain: bool = True, deadline: float = 40) -> None:
        self.closed = True
        await self.executor.close(drain=drain, deadline=deadline)


async def start_one(kind: str, *, batching: bool = False, **settings: Any) -> Running:
    """Starts an executor of a kind; with `batching` one that takes batches apart, as a worker has it."""
    values: dict[str, Any] = {"app": "executor_sample", "hostname": "w@test", "start_timeout": 30.0, **settings}
    executor: Executor = create(kind, ExecutorSettings(**values))
    if batching:
        executor = Batching(executor)
    recorder = Recorder()
    return Running(executor, recorder, await executor.start(recorder), values["app"])


async def finish(running: Running) -> None:
    """Closes an executor where the test has not, and checks what must hold for all."""
    if not running.closed:
        await running.close(drain=False, deadline=0)
    assert not running.heard.twice, "attempts that ended twice"
    assert not running.heard.late, "attempts whose progress came after their end"


async def eventually(condition: Callable[[], object], seconds: float = 40) -> None:
    """Waits for what no report tells of; looks again and again."""
    pause = asyncio.Event()  # never set: a wait on it is a pause
    async with asyncio.timeout(seconds):
        while not condition():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pause.wait(), 0.005)


def failure_of(end: Ended) -> value_pb2.Failure:
    assert end.failure, end
    return value_pb2.Failure.FromString(end.failure)


class Gate:
    """A port that tasks connect to and wait at until the test lets them go."""

    def __init__(self) -> None:
        self.port = 0
        self._arrived: asyncio.Queue[tuple[str, asyncio.StreamWriter]] = asyncio.Queue()
        self._waiting: dict[str, asyncio.StreamWriter] = {}

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        self._waiting[name] = writer
        self._arrived.put_nowait((name, writer))

    async def arrival(self) -> str:
        """Waits for the next task; returns the name it gave (its process id by default)."""
        async with asyncio.timeout(40):
            return (await self._arrived.get())[0]

    async def close(self) -> None:
        """Lets all go that still wait."""
        for writer in self._waiting.values():
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def open(self, name: str, word: str = "go") -> None:
        """Lets the task of this name go on."""
        self._waiting[name].write(word.encode())


@contextlib.asynccontextmanager
async def open_gate() -> AsyncIterator[Gate]:
    """A gate that listens on a port of its own."""
    made = Gate()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await made.close()


Start = Callable[..., Awaitable[Running]]
