"""Replies of workers, as one mapping and as Celery's list. Plain data; it may not import grpc or protobuf."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpcflow.connection import Reply

__all__ = ["Replies", "ReplyList"]


class Replies(dict[str, Any]):
    """Replies of workers, ``{worker: value}``; workers that did not answer are named beside it.

    It is empty only where nobody answered; ``no_reply`` and ``disconnected`` tell whether anybody was there.
    A worker that answered with an error has ``{"error": text}`` for a value, as in Celery.

    Attributes:
        no_reply: Workers that are connected and were silent until the time was over.
        disconnected: Workers whose stream is broken, or broke meanwhile.
        errors: What went wrong at those that answered with an error, ``{worker: text}``.
    """

    def __init__(self, replies: "Iterable[Reply]" = ()) -> None:
        super().__init__()
        self.no_reply: tuple[str, ...] = ()
        self.disconnected: tuple[str, ...] = ()
        self.errors: dict[str, str] = {}
        for reply in replies:
            self._add(reply)

    def _add(self, reply: "Reply") -> None:
        """Sort one reply in."""
        if reply.status == "disconnected":
            self.disconnected += (reply.worker,)
        elif reply.status == "no_reply":
            self.no_reply += (reply.worker,)
        else:
            error = reply.error or _error_in(reply.reply)
            if error:
                self.errors[reply.worker] = error
            self[reply.worker] = {"error": reply.error} if reply.error else reply.reply


class ReplyList(list[dict[str, Any]]):
    """Replies in the shape of Celery's control commands: ``[{worker: value}, ...]``.

    Args:
        replies: The same as one mapping; its attributes are kept in ``replies``.
    """

    def __init__(self, replies: Replies) -> None:
        super().__init__({worker: value} for worker, value in replies.items())
        #: The same replies as one mapping, which also names the workers that did not answer.
        self.replies = replies


def _error_in(value: Any) -> str:
    """Return the text of a reply in the form ``{"error": text}``, or nothing."""
    if isinstance(value, dict) and value.keys() == {"error"}:
        return str(value["error"])
    return ""
