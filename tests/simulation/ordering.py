"""What clients ask for beside submitting, in a simulated world: revokes, cancels, retries, pauses, limits, schedules.

May NOT judge; what it notes (which graphs were touched) is what judging needs to know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.planning import Order
from tests.simulation.workload import QUEUES

from grpcflow_coordinator.core.events import (
    CancelAsked,
    EraseAsked,
    Event,
    ForgetAsked,
    LimitAsked,
    MatchRevokeAsked,
    PauseAsked,
    PurgeAsked,
    RetryAsked,
    RevokeAsked,
    SchedulesPut,
)
from grpcflow_coordinator.core.model import Graph, Run, Template, text_id
from grpcflow_coordinator.core.planning import Plan as Scheduled
from grpcflow_coordinator.core.presence import Limit
from grpcflow_coordinator.core.ticks import Times
from grpcflow_protos.v1 import graph_pb2

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Milliseconds between two ticks of each schedule: seldom enough that a step of the clock lets few come at once.
EVERY_MS: Final = 2_500

_NO_ID: Final = bytes(6) + b"\x70\x00\x80\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class Nothing:
    """What is done with an answer that nobody needs."""

    def __call__(self, _answer: Any) -> None:
        """Do nothing."""


def give(world: World, order: Order | None) -> None:
    """Let a client ask for something.

    Args:
        world: The world it is in.
        order: What it asks for; None: everything that was held up is to go on again.
    """
    if order is None:
        _ask(world, 0, lambda client: PauseAsked(client, "default", False))
        _ask(world, 0, lambda client: LimitAsked(client, "task", "plain", None))
        return
    world.log(f"order: {order.kind} of job {order.job}")
    by = order.seed % len(world.clients)
    match order.kind:
        case "pause":
            paused = order.seed % 3 > 0
            _ask(world, by, lambda client: PauseAsked(client, "default", paused))
        case "limit":
            limit = Limit(concurrency=1 + order.seed % 2)
            _ask(world, by, lambda client: LimitAsked(client, "task", "plain", limit))
        case "purge":
            world.purged = True  # also what comes later: it may be asked for again
            queue = QUEUES[order.seed // 2 % 2]
            _ask(world, by, lambda client: PurgeAsked(client, queue))
        case "match":
            world.purged = True
            _ask(world, by, lambda client: MatchRevokeAsked(client, "pla*", "", order.seed % 2 == 0, "SIGTERM"))
        case "schedule":
            put_schedule(world, by, f"schedule {order.seed % 2}")
        case _:
            _of_graph(world, by, order)


def _ask(world: World, by: int, make: Callable[[object], Event]) -> None:
    world.clients[by].ask(make, Nothing())


def _of_graph(world: World, by: int, order: Order) -> None:
    """Ask for what changes how a graph ends."""
    made = world.submitted.get(order.job)
    if made is None:
        return
    graph = made.graph
    if order.kind == "erase":
        _ask(world, by, lambda client: EraseAsked(client, (graph,), ()))
        return
    made.touched = True
    if order.kind == "cancel":
        _ask(world, by, lambda client: CancelAsked(client, graph, order.seed % 2 == 0, "SIGTERM"))
    elif order.kind == "retry":
        world.retried.add(graph)
        world.disk.ledger.may_retry = True
        _ask(world, by, lambda client: RetryAsked(client, graph))
        return
    node = text_id(graph, order.seed % made.chunks[0].node_count)
    if order.kind == "forget":
        world.forgotten.add(graph)
        _ask(world, by, lambda client: ForgetAsked(client, (node,)))
    elif order.kind in ("revoke", "terminate"):
        _ask(world, by, lambda client: RevokeAsked(client, (node,), order.kind == "terminate", "SIGTERM"))


def put_schedule(world: World, by: int, name: str) -> None:
    """Put a schedule of which every tick counts, however late; what it submits is one call."""
    wire = graph_pb2.Template(task="plain").SerializeToString()
    graph = Graph(_NO_ID, 1, (Template("plain", "default", wire=wire),), 0)
    times = Times("interval", every_ms=EVERY_MS)
    plan = Scheduled(name, times, graph, ((Run(0, 1, 0), [b"[[0],{}]"]),), catch_up_all=True, wire=name.encode())
    world.schedules.add(name)
    _ask(world, by, lambda client: SchedulesPut(client, (plan,), ""))
