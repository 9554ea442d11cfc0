"""What the parts of ``app.control`` need of the whole. Does nothing itself."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpcflow.replies import Replies

__all__ = ["Commanding"]


class Commanding:
    """Something that sends commands to workers."""

    if TYPE_CHECKING:

        def command(
            self,
            name: str,
            arguments: Mapping[str, Any] | None = None,
            *,
            destination: Collection[str] | None = None,
            timeout: float | None = None,
        ) -> Replies:
            """Send a command; see ``Control``."""
            ...
