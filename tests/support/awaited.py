"""For fakes of a connection that block: answers the coroutines of the real one by what the fake does for threads."""

from collections.abc import AsyncGenerator
from contextlib import closing
from typing import Any

_NAMES = {
    "asubmit": "submit",
    "await_settled": "wait",
    "await_range": "wait_range",
    "alookup": "lookup",
    "aforget": "forget",
    "arevoke": "revoke",
    "aread_items": "read_items",
    "aarrivals": "arrivals",
}


class AlsoAwaited:
    """Gives a fake the coroutines of the methods that it has."""

    def __getattr__(self, name: str) -> Any:
        if name not in _NAMES:
            raise AttributeError(name)
        here = getattr(self, _NAMES[name])

        async def call(*args: Any, **kwargs: Any) -> Any:
            return here(*args, **kwargs)

        async def each(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            with closing(here(*args, **kwargs)) as coming:
                for one in coming:
                    yield one

        return each if name in {"aarrivals", "aread_items"} else call
