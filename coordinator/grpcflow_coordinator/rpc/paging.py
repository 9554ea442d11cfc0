"""How much one page of a list holds, and how much is looked at for it. Knows nothing of what is listed."""

from __future__ import annotations

from typing import Final

from grpcflow_coordinator.errors import Refusal

#: Entries of one page, unless the request says, and at most.
_DEFAULT: Final = 100
_LARGEST: Final = 1_000

#: Entries that one request looks at; those behind them are for the next page.
LOOKED_AT: Final = 5_000

#: Entries that are read before others have their turn.
AT_ONCE: Final = 200


def page_size(asked: int, what: str) -> int:
    """Return how many entries a page has.

    Args:
        asked: for how many the request asks; 0: it does not say.
        what: what is listed, in the plural, for the refusal.

    Raises:
        Refusal: BAD_ARGUMENTS: those are too many.
    """
    if asked > _LARGEST:
        raise Refusal("BAD_ARGUMENTS", f"a page of {asked} {what} was asked for; {_LARGEST} are allowed")
    return asked or _DEFAULT
