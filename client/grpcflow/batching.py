"""One call of a batch, as the function of a batch task gets it, and what it may return.

Pure; it may import nothing of grpcflow at run time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpcflow.context import Context

__all__ = ["BatchCall", "each_end"]


@dataclass(frozen=True, slots=True)
class BatchCall:
    """One of the calls that the function of a batch task gets at once.

    Attributes:
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        id: Its id.
        request: Its request; see ``Context``.
    """

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    id: str
    request: "Context"


def each_end(returned: Any, count: int) -> list[Any]:
    """Return how each call of a batch ended, in order: a value, or an exception where it failed.

    Args:
        returned: What the function returned: a list with a value or an exception for each call, or None.
        count: How many calls it was given.

    Raises:
        TypeError: It returned something else.
    """
    if returned is None:
        return [None] * count
    if not isinstance(returned, (list, tuple)) or len(returned) != count:
        what = f"{len(returned)} values" if isinstance(returned, (list, tuple)) else f"a {type(returned).__name__}"
        raise TypeError(
            f"the function of a batch task returned {what} for {count} calls: return None, or a list with a value or "
            "an exception for each of them, in order"
        )
    return list(returned)
