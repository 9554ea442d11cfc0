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
from grpcflow.bundles import Bundle
from grpcflow.errors import GrpcflowError
from grpcflow_protos.wire_parts import Piece, size_of

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.lower.model import TemplateSpec
    from grpcflow.submission import Submission

__all__ = ["Batch", "current", "is_open", "refuse_unsent"]

#: What is collected is sent, without waiting for the end, once it has so many bytes, or is so many submissions: it runs
#: while others are still being made.
MOST_BYTES: Final = 8 * 1024 * 1024
MOST_COLLECTED: Final = 1_000

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
        #: Beginnings of the blocks that joined this one: how many graphs were begun then.
        self._marks: list[int] = []
        self._collected: list[_Graph] = []
        #: Those of them that other calls of their queue may join.
        self._bundles: dict[str, Bundle] = {}
        self._unsent: set[bytes] = set()
        #: Graphs that were begun; submissions and bytes that are collected, and submissions in all.
        self._begun = self._waiting = self._size = self._count = 0
        self._posted: list[tuple[Submission, _Graph]] = []
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
        self._bundles.clear()  # so that what this block collects can be dropped by itself
        self._marks.append(self._begun)

    async def _end(self, error: BaseException | None) -> None:
        mark = self._marks.pop()
        if error is not None:
            self._drop(self._begun - mark)
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
        from grpcflow.submission import in_parts
        from grpcflow_protos.wire_parts import whole_of

        pieces = in_parts(chunks)
        size = sum(map(size_of, pieces))
        await self._make_room(size, on_loop=on_loop)
        self._bundles.clear()  # what comes later is behind this
        self._begin_graph(_Graph(graph, pieces, published, whole_of(chunks[0]).node_count == 1))
        self._note(size)

    async def collect_call(self, template: "TemplateSpec", payload: bytes, *, on_loop: bool) -> tuple[bytes, int]:
        """Keep a plain call likewise, with others of its queue in one graph; return that, and the index of its node.

        Args:
            template: How it runs.
            payload: Its encoded arguments.
            on_loop: As in ``collect``.

        Raises:
            GrpcflowError: What was sent before was refused, or not acknowledged.
        """
        if self.is_due:
            await self._make_room(len(payload), on_loop=on_loop)
        return self.keep_call(template, payload)

    @property
    def is_due(self) -> bool:
        """True where so much is collected that a part is to be sent before more comes."""
        return self._waiting >= MOST_COLLECTED or self._size > MOST_BYTES

    def keep_call(self, template: "TemplateSpec", payload: bytes) -> tuple[bytes, int]:
        """Keep a plain call as ``collect_call`` does, however much there is already."""
        bundle = self._bundles.get(template.queue)
        if bundle is None or bundle.is_full:
            bundle = self._bundles[template.queue] = Bundle(template.queue)
            self._begin_graph(_Graph(bundle.graph, bundle))
        self._note(len(payload))
        return bundle.graph, bundle.add(template, payload)

    async def _make_room(self, size: int, *, on_loop: bool) -> None:
        """Send what is collected, where so many bytes more are too much."""
        due = self._collected and (self._size + size > MOST_BYTES or self._waiting >= MOST_COLLECTED)
        if due and on_loop == self._on_loop:
            await self._settle(None)  # one part is on its way at most, and one gathers
            self._complain()
            self._post()

    def _begin_graph(self, graph: "_Graph") -> None:
        self._collected.append(graph)
        self._unsent.add(graph.id)
        self._begun += 1

    def _note(self, size: int) -> None:
        self._waiting += 1
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
            self._collected, self._size, self._waiting = [], 0, 0
            self._bundles.clear()
            graphs = [(one.id, one.pieces()) for one in collected]
            singles = [one.id for one in collected if one.is_single]
            bundles = {one.id: one.count for one in collected if one.count > 1}
            posted = self._app._exchange(self._on_loop).post(graphs, singles, bundles)
            self._posted += zip(posted, collected, strict=True)
            self._unsent.clear()

    async def _settle(self, timeout: float | None) -> None:
        """Wait until what was sent is answered, and tell who waits for that."""
        posted, self._posted = self._posted, []
        if not posted:
            return
        try:
            await self._app._exchange(self._on_loop).asettle([one for one, _ in posted], timeout=timeout)
        finally:
            durable = [graph for one, graph in posted if one.done and one.error is None]
            self.acknowledged += sum(graph.count for graph in durable)
            self._failed += [one.error for one, _ in posted if one.error is not None]
        for graph in durable:
            if graph.published is not None:
                graph.published()

    def _drop(self, graphs: int) -> None:
        """Let go of so many graphs that were begun last, where they are not sent yet."""
        kept = max(0, len(self._collected) - graphs)
        for graph in self._collected[kept:]:
            self._unsent.discard(graph.id)
            self._size -= graph.size
            self._waiting -= graph.count
            self._count -= graph.count
            self.dropped += graph.count
        self._bundles.clear()
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


class _Graph:
    """A graph that was collected: encoded, or a bundle that may still grow.

    Args:
        id: The 12 bytes of its id.
        what: Its encoded pieces, or the calls that it will have.
        published: Called once it is durable.
        is_single: True: it is one call.
    """

    __slots__ = ("_single", "_what", "id", "published")

    def __init__(
        self,
        id: bytes,
        what: "Sequence[Piece] | Bundle",
        published: Callable[[], None] | None = None,
        is_single: bool = False,
    ) -> None:
        self.id, self.published = id, published
        self._what, self._single = what, is_single

    def pieces(self) -> Sequence[Piece]:
        """Return it encoded."""
        return self._what.encoded() if isinstance(self._what, Bundle) else self._what

    @property
    def is_single(self) -> bool:
        """True where it is one call."""
        return self._single or (isinstance(self._what, Bundle) and self._what.count == 1)

    @property
    def count(self) -> int:
        """How many submissions it stands for."""
        return self._what.count if isinstance(self._what, Bundle) else 1

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self._what.size if isinstance(self._what, Bundle) else sum(map(size_of, self._what))


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
