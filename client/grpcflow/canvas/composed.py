"""What checkers of types know of chains, groups and chords beyond a signature: what submitting one gives.

A task's signature gives an ``AsyncResult``; a group, and a chain or chord that ends in one, gives a ``GroupResult``.
No program imports this when it runs: there ``Signature`` stands for the class.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic

from grpcflow.canvas.signature import Signature
from grpcflow.type_parameters import Given_co, R_co

__all__ = ["Composed"]


# In the strict sense a group is no Signature, for what its delay() gives is no AsyncResult: hence the ignored
# overrides. It is taken for one all the same, since who composes canvases wants to take any of them.
class Composed(Signature[R_co], Generic[R_co, Given_co]):
    """A canvas whose value is an ``R_co``, and that gives a ``Given_co`` when it is submitted."""

    def delay(self, *args: Any, **kwargs: Any) -> Given_co:  # type: ignore[override]
        """Submit it with more arguments; as ``apply_async(args, kwargs)``."""
        raise NotImplementedError

    def apply_async(  # type: ignore[override]
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Given_co:
        """Submit it and return its result once it is durable; see ``Signature.apply_async``."""
        raise NotImplementedError

    async def adelay(self, *args: Any, **kwargs: Any) -> Given_co:  # type: ignore[override]
        """Submit it as ``delay`` does, on the running event loop."""
        raise NotImplementedError

    async def aapply_async(  # type: ignore[override]
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Given_co:
        """Submit it as ``apply_async`` does, on the running event loop."""
        raise NotImplementedError

    def apply(  # type: ignore[override]
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Given_co:
        """Run it in this process, and return its result, which is at its end; see ``Signature.apply``."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Given_co:
        """Submit it with ``args`` in front of its arguments."""
        raise NotImplementedError
