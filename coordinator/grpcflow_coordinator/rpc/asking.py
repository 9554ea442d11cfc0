"""How a service asks the core for a change and waits until it is durable. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import Event
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal


async def done(engine: Engine, event: Callable[[object], Event]) -> Answer:
    """Post an event and wait until it is done and durable.

    Args:
        engine: where to.
        event: makes the event from whom to answer.

    Raises:
        Refusal: it was not done.
    """
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    engine.post(event(future))
    answer = await future
    if answer.code:
        raise Refusal(answer.code, answer.message)
    return answer


def check_room(engine: Engine) -> None:
    """Refuse what writes while the disk is nearly full.

    Raises:
        Refusal: STORE_FULL.
    """
    if engine.full:
        raise Refusal("STORE_FULL", "the coordinator's disk is nearly full: make room, then try again")
