"""Many submissions that leave together: ``with app.batch():`` collects them and waits once, at its end.

It keeps encoded graphs and who is to be told of them; how they are sent is the connection's affair. Importing it must
stay light: it may not import grpc, protobuf or the codec.
"""

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from grpcflow import ids
from grpcflow.blocking import run_here
from grpcflow.errors import GrpcflowError

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.submission import Submission

__all__ = ["Batch", "current", "is_open", "refuse_unsent"]

#: What is collected is sent, without waiting for the end, once it has so many bytes, or is so many graphs.
MOST_BYTES: Final = 8 * 1024 * 1024
MOST_GRAPHS: Final = 10_000

#: Seconds that a block which ends by an exception waits for what it had sent.
_PATIENCE: Final = 10.0

#: The batches that are open here, the outermost first.
_open: ContextVar[tuple["Batch", ...]] = ContextVar("grpcflow_batches", default=())


class Batch:
    """The submissions of one block; made by ``app.batch()``.

    Args:
        app: Whose submissions are collected.

    Attributes:
        results: Results of all that was collected, in that order; None of an empty chain is left out.
        acknowledged: How many submissions are durable.
        dropped: How many were not sent, since the block ended by an exception.
    """

    def __init__(self, app: "Grpcflow") -> None:
        self.results: list[Any] = []
        self.acknowledged = 0
        self.dropped = 0
        self._app = app
        self._on_loop = False
        #: Beginnings of the blocks that joined this one: how much was collected then.
        self._marks: list[int] = []
        self._collected: list[tuple[bytes, Sequence[bytes], Callable[[], None] | None]] = []
        self._unsent: set[bytes] = set()
        self._singles: list[bytes] = []
        self._count = 0
        self._size = 0
        self._posted: list[tuple[Submission, Callable[[], None] | None]] = []
        self._failed: list[Exception] = []

    # --- the block ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._begin(on_loop=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send what was collected and wait until it is durable; after an exception drop it.

        Raises:
            GrpcflowError: The coordinator refused a graph, or did not acknowledge it; a note says how many are durable.
        """
        run_here(self._end(error))

    async def __aenter__(self) -> Self:
        self._begin(on_loop=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do what ``__exit__`` does, on the running event loop."""
        await self._end(error)

    def _begin(self, *, on_loop: bool) -> None:
        if not self._marks:
            self._on_loop = on_loop
            _open.set((*_open.get(), self))
        self._marks.append(self._count)

    async def _end(self, error: BaseException | None) -> None:
        mark = self._marks.pop()
        if error is not None:
            self._drop(self._count - mark)
        if self._marks:
            return  # the block around this one sends
        _open.set(tuple(batch for batch in _open.get() if batch is not self))
        if error is None:
            self._post()
            await self._settle(None)
            self._complain()
            return
        try:
            await self._settle(_PATIENCE)
        except GrpcflowError as unanswered:
            error.add_note(f"app.batch(): what had been sent was not acknowledged: {unanswered}")
        if self._count or self.dropped:
            error.add_note(f"app.batch(): {self._account()}")

    # --- what is collected --------------------------------------------------------------------------------

    async def collect(
        self, graph: bytes, chunks: Sequence[Any], published: Callable[[], None] | None, *, on_loop: bool
    ) -> None:
        """Keep a graph until the block ends, or enough is collected.

        Args:
            graph: The 12 bytes of its id.
            chunks: Its pieces.
            published: Called once it is durable.
            on_loop: True: whoever submits it may wait on the event loop.

        Raises:
            PayloadTooLarge: A call is larger than a coordinator takes.
            GrpcflowError: What was sent before was refused, or not acknowledged.
        """
        from grpcflow.submission import encoded

        pieces = encoded(chunks)
        size = sum(map(len, pieces))
        due = self._collected and (self._size + size > MOST_BYTES or len(self._collected) >= MOST_GRAPHS)
        if due and on_loop == self._on_loop:
            await self._settle(None)  # one part is on its way at most, and one gathers
            self._complain()
            self._post()
        self._collected.append((graph, pieces, published))
        self._unsent.add(graph)
        if chunks[0].node_count == 1:
            self._singles.append(graph)
        self._count += 1
        self._size += size

    def is_unsent(self, graph: bytes) -> bool:
        """Return True where a graph was collected and not sent yet."""
        return graph in self._unsent

    # --- below --------------------------------------------------------------------------------------------

    def _post(self) -> None:
        """Send what was collected, and do not wait for it."""
        collected = self._collected
        if collected:
            self._collected, self._size = [], 0
            graphs, singles = [(graph, pieces) for graph, pieces, _ in collected], self._singles
            self._singles = []
            posted = self._app._exchange(self._on_loop).post(graphs, singles)
            self._posted += [(one, published) for one, (_, _, published) in zip(posted, collected, strict=True)]
            self._unsent.clear()

    async def _settle(self, timeout: float | None) -> None:
        """Wait until what was sent is answered, and tell who waits for that."""
        posted, self._posted = self._posted, []
        if not posted:
            return
        try:
            await self._app._exchange(self._on_loop).asettle([one for one, _ in posted], timeout=timeout)
        finally:
            durable = [published for one, published in posted if one.done and one.error is None]
            self.acknowledged += len(durable)
            self._failed += [one.error for one, _ in posted if one.error is not None]
        for published in durable:
            if published is not None:
                published()

    def _drop(self, count: int) -> None:
        """Let go of so many graphs that were collected last, where they are not sent yet."""
        kept = max(0, len(self._collected) - count)
        for graph, pieces, _ in self._collected[kept:]:
            self._unsent.discard(graph)
            self._size -= sum(map(len, pieces))
            self.dropped += 1
        self._count -= len(self._collected) - kept
        del self._collected[kept:]

    def _complain(self) -> None:
        """Raise the first of what went wrong."""
        if self._failed:
            first = self._failed[0]
            first.add_note(f"app.batch(): {self._account()}")
            self._failed = []
            raise first

    def _account(self) -> str:
        """Say how many submissions came to what."""
        others = self._count - self.acknowledged
        parts = [f"{self.acknowledged} submissions are durable"]
        if others:
            parts.append(f"{others} were sent and refused, or not acknowledged")
        return ", ".join([*parts, f"{self.dropped} were not sent"])


def current(app: "Grpcflow") -> Batch | None:
    """Return the batch that collects the submissions of an app here; None: they are sent at once."""
    for batch in reversed(_open.get()):
        if batch._app is app and batch._marks:
            return batch
    return None


def is_open() -> bool:
    """Return True inside of a block that collects submissions."""
    return bool(_open.get())


def refuse_unsent(nodes: Iterable[str]) -> None:
    """Refuse to wait for what an open batch has not sent.

    Args:
        nodes: Ids of nodes.

    Raises:
        RuntimeError: One of them would be waited for without end, or not be known.
    """
    open_here = _open.get()
    for node in nodes:
        parsed = ids.parse(node)
        if parsed is not None and any(batch.is_unsent(parsed[0]) for batch in open_here):
            raise RuntimeError(
                f"{node} was collected by app.batch(), which sends it when its block ends: wait for it behind that"
            )
