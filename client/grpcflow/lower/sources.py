"""What a part of a canvas waits for, and what is still to be walked once that is known.

Plain data; knows nothing of what a canvas means. Pure; may not import grpc or protobuf.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from grpcflow.lower.model import Mode, OnFailure, Outcome
from grpcflow.lower.steps import NOTHING, Canvas, Given

__all__ = ["Known", "Link", "Source", "Sources", "without_values"]

#: How a parent enters a call that takes nothing from it.
_UNTAKEN: Final[Mapping[Mode, Mode]] = {Mode.VALUE: Mode.AFTER, Mode.ERROR: Mode.ERROR_AFTER}


@dataclass(frozen=True, slots=True)
class Source:
    """A node whose end a part of the canvas waits for.

    Attributes:
        node: Its index.
        on_failure: What its failure does.
        mode: How its value enters, where what follows takes it.
    """

    node: int
    on_failure: OnFailure = OnFailure.PASS
    mode: Mode = Mode.VALUE

    def entering(self, takes: bool) -> Mode:
        """Return how it enters a call that takes its value or does not."""
        return self.mode if takes else _UNTAKEN.get(self.mode, self.mode)


Sources = tuple[Source, ...]


class Known(Outcome):
    """The end of nothing but empty groups in an errback: a list that is known before anything runs.

    It has no node. A join cannot wait for a failure, and one that waits for nothing would let what follows it run
    though nothing failed; so what follows is given the list, and waits for what this would wait for.

    Args:
        parts: What the list is made of.
        sources: What it waits for, which enters no call.
    """

    __slots__ = ("parts", "sources", "value")

    def __init__(self, parts: "list[Known]", sources: Sources) -> None:
        super().__init__(-1)
        self.parts = parts
        self.sources = sources
        self.value: list[Any] = [part.value for part in parts]


@dataclass(frozen=True, slots=True)
class Link:
    """A callback that is still to be walked.

    Attributes:
        signature: What is to run.
        sources: What it waits for.
        given: What it is given.
        parent: The outcome that it follows; None: of the beginning of the canvas.
    """

    signature: Canvas
    sources: Sources
    given: Given = NOTHING
    parent: Outcome | None = None


def without_values(sources: Sources) -> Sources:
    """Return sources that are waited for and that enter the call with nothing, neither value nor failure."""
    return tuple(replace(source, mode=source.entering(takes=False)) for source in sources)
