"""Plain calls that are submitted at the same time leave together, as one bundle of each queue.

Those that come while bundles of their queue wait for their answer gather, and leave with the next answer: so a
coordinator that has much to do is sent few large ones. A single call leaves as a graph of its own. Written once for
threads and for event loops, which say when "now" is; it may not know how anything is sent or waited for.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from grpcflow.bundles import Bundle
from grpcflow.submission import Submission

if TYPE_CHECKING:
    from grpcflow.lower.model import TemplateSpec

__all__ = ["UNDER_WAY", "Pool", "Pooled", "Waiting"]

#: Bundles of one queue that may wait for their answer before the next one leaves: one is made durable, one travels.
UNDER_WAY: Final = 2


class Waiting(Protocol):
    """Who waits for the end of a bundle."""

    def told(self, pooled: "Pooled", /) -> None:
        """Take in that it has ended, well or with its error."""
        ...


class Pooled(Submission):
    """A bundle on its way, and who waits for it.

    Args:
        queue: Name of the queue of its calls.
        deadline: Monotonic time to give up at.
    """

    __slots__ = ("bundle", "deadline", "then", "waiting")

    def __init__(self, queue: str, deadline: float) -> None:
        self.bundle, self.deadline = Bundle(queue), deadline
        super().__init__(self.bundle.graph, (), False)
        #: Those who wait for its end, and what is called once they were told.
        self.waiting: list[Waiting] = []
        self.then: list[Callable[[], None]] = []

    def finish(self, error: Exception | None = None) -> None:
        """End it, well or with an error, and wake all who wait for it. Only the first end counts."""
        if not self.done:
            self.error, self.done = error, True
            for one in self.waiting:
                one.told(self)
            self.waiting.clear()
            for call in self.then:
                call()


class Pool:
    """The bundles of one session that still gather.

    Args:
        send: Sends one.
        soon: Calls something as soon as what happens at this moment has happened; None: at once.
    """

    def __init__(
        self, send: Callable[[Pooled], None], soon: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        self._send, self._soon = send, soon
        self._gathering: dict[str, Pooled] = {}
        #: By queue: how many bundles wait for their answer.
        self._under_way: dict[str, int] = {}

    def add(self, template: "TemplateSpec", payload: bytes, deadline: float) -> tuple[Pooled, int]:
        """Let a call leave with the others of this moment; return its bundle, and the index of its node.

        Args:
            template: What it has in common with others.
            payload: Its encoded arguments.
            deadline: Monotonic time to give up at; of a bundle that of its first call counts.
        """
        pooled = self._gathering.get(template.queue)
        is_new = pooled is None
        if pooled is None:
            pooled = self._gathering[template.queue] = Pooled(template.queue, deadline)
        index = pooled.bundle.add(template, payload)
        if pooled.bundle.is_full:
            self._leave(pooled)
        elif is_new and self._under_way.get(template.queue, 0) < UNDER_WAY:
            self._leave_soon(pooled)
        return pooled, index

    def _leave_soon(self, pooled: Pooled) -> None:
        if self._soon is None:
            self._leave(pooled)
        else:
            self._soon(partial(self._leave, pooled))

    def _leave(self, pooled: Pooled) -> None:
        """Send a bundle, unless that was done before."""
        queue = pooled.bundle.queue
        if self._gathering.get(queue) is pooled:
            del self._gathering[queue]
            self._under_way[queue] = self._under_way.get(queue, 0) + 1
            pooled.then.append(partial(self._answered, queue))
            self._send(pooled)

    def _answered(self, queue: str) -> None:
        """A bundle has its answer: what gathered meanwhile may leave."""
        left = self._under_way.pop(queue) - 1
        if left:
            self._under_way[queue] = left
        if (waiting := self._gathering.get(queue)) is not None:
            self._leave_soon(waiting)
