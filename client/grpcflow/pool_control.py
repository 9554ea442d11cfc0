"""The pools of workers from Python: their sizes, autoscale, new processes for old ones; a part of ``app.control``.

Workers do all of it, each for itself. It may not import grpc or protobuf.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grpcflow.commanding import Commanding

if TYPE_CHECKING:
    from grpcflow.control import ReplyList

__all__ = ["PoolControl"]


class PoolControl(Commanding):
    """What ``app.control`` does to pools; ``destination``, ``timeout`` and errors are those of ``command``."""

    def pool_grow(self, n: int = 1, destination: Collection[str] | None = None, *, timeout: float = 1.0) -> "ReplyList":
        """Have workers run more tasks at once; one whose pool cannot grow, or that scales by itself, says so.

        Args:
            n: How many more.
            destination: As in ``inspect``.
            timeout: Seconds to wait for each worker.
        """
        return self._ask_pools("pool_grow", {"n": n}, destination, timeout)

    def pool_shrink(
        self, n: int = 1, destination: Collection[str] | None = None, *, timeout: float = 1.0
    ) -> "ReplyList":
        """Have workers run fewer tasks at once, at least one; what runs is left to end.

        Args:
            n: How many fewer.
            destination: As in ``inspect``.
            timeout: Seconds to wait for each worker.
        """
        return self._ask_pools("pool_shrink", {"n": n}, destination, timeout)

    def pool_restart(
        self,
        modules: Sequence[str] = (),
        reload: bool = False,
        destination: Collection[str] | None = None,
        *,
        timeout: float = 1.0,
    ) -> "ReplyList":
        """Have workers replace their child processes, each once what it runs has ended; prefork only.

        Args:
            modules: Further modules that the new ones import.
            reload: True: the app is imported anew for them. Where that fails, the old ones stay, and the log says why.
            destination: As in ``inspect``.
            timeout: Seconds to wait for each worker's answer, which comes before the restart.
        """
        return self._ask_pools("pool_restart", {"modules": list(modules), "reload": reload}, destination, timeout)

    def autoscale(
        self,
        max: int,  # noqa: A002 - Celery's names, which callers write
        min: int | None = None,  # noqa: A002
        destination: Collection[str] | None = None,
        *,
        timeout: float = 1.0,
    ) -> "ReplyList":
        """Change between which numbers of children workers scale; one that was started without autoscale says so.

        Args:
            max: The most children.
            min: The fewest; None: as before.
            destination: As in ``inspect``.
            timeout: Seconds to wait for each worker.
        """
        bounds = {"max": max} if min is None else {"max": max, "min": min}
        return self._ask_pools("autoscale", bounds, destination, timeout)

    def _ask_pools(
        self, name: str, arguments: Mapping[str, Any], destination: Collection[str] | None, timeout: float
    ) -> "ReplyList":
        from grpcflow.control import ReplyList

        return ReplyList(self.command(name, arguments, destination=destination, timeout=timeout))
