"""For fakes of a connection that block: answers the coroutines of the real one by what the fake does for threads."""

from collections.abc import AsyncGenerator
from contextlib import closing
from typing import Any

from grpcflow import ids
from grpcflow.bundles import Bundle
from grpcflow.connection import Settled
from grpcflow.lower.chunks import to_chunks
from grpcflow.lower.model import TemplateSpec

_NAMES = {
    "asubmit": "submit",
    "asubmit_call": "submit_call",
    "await_node": "wait_node",
    "await_settled": "wait",
    "await_range": "wait_range",
    "alookup": "lookup",
    "aforget": "forget",
    "arevoke": "revoke",
    "aread_items": "read_items",
    "aarrivals": "arrivals",
}


class AlsoAwaited:
    """Gives a fake the coroutines of the methods that it has, and what single calls can be made of."""

    def submit_call(self, template: TemplateSpec, payload: bytes) -> tuple[bytes, int]:
        alone = Bundle(template.queue)
        alone.add(template, payload)
        self.submit(to_chunks(alone.lowered(), alone.graph))
        return alone.graph, 0

    def wait_node(self, graph: bytes, index: int, **how: Any) -> Settled:
        name = ids.node_id(graph, index)
        found: dict[str, Settled] = self.wait([name], **how)
        return found[name]

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
