"""What must hold of a simulated world that has come to rest, and of what is left when all results have expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.coordinator import LOG_LIMIT
from tests.simulation.disk import Breach
from tests.simulation.ordering import EVERY_MS, give
from tests.simulation.workload import MOST_LOST, Drawn, Submitted
from tests.support.acting import plain
from tests.support.reference import ChordFailed, Error, Raised, canonical

from grpcflow_coordinator.core import invariants
from grpcflow_coordinator.core.events import SchedulesRemoveAsked
from grpcflow_coordinator.core.model import Failure, NodeState, Outcome
from grpcflow_coordinator.values import Room, read_value
from grpcflow_protos.v1 import log_pb2

if TYPE_CHECKING:
    from tests.simulation.world import World

#: How a node of each kind may end where nobody ended it.
_ENDS: Final[dict[str, frozenset[NodeState]]] = {
    **dict.fromkeys(
        ("plain", "apart", "limited", "paced", "batched", "keyed", "unique", "delayed", "retrying", "owned"),
        frozenset({NodeState.SUCCESS}),
    ),
    # A worker that went has not run its share.
    "spread": frozenset({NodeState.SUCCESS, NodeState.FAILURE, NodeState.REVOKED}),
    "once": frozenset({NodeState.SUCCESS, NodeState.FAILURE}),
    "expiring": frozenset({NodeState.SUCCESS, NodeState.REVOKED}),
    "dying": frozenset({NodeState.FAILURE}),
    "staged": frozenset({NodeState.SUCCESS, NodeState.FAILURE, NodeState.IGNORED}),
}

#: Why the coordinator may refuse what the clients submit.
_REFUSALS: Final = {"owned": "ID_TAKEN"}


def judge(world: World) -> None:
    """Judge a world at rest, then let everything expire and judge what is left.

    Raises:
        Breach: Something that was promised does not hold.
    """
    invariants.check(world.coordinator.machine.cluster, world.coordinator.engine.records)
    for made in world.submitted.values():
        made.touched = made.touched or world.purged
        _judge_graph(world, made)
    _judge_calls(world)
    _judge_ticks(world)
    give(world, None)
    _forget_schedules(world)
    left = world.let_expire()
    if left:
        raise Breach(f"these records are left when all results have expired: {left}")
    _judge_memory(world)


def _judge_graph(world: World, made: Submitted) -> None:
    is_real = made.graph in world.disk.ledger.graphs
    if made.accepted and not is_real:
        raise Breach(f"graph {made.graph.hex()} was accepted, and is not there")
    if made.refused and made.refused != _REFUSALS.get(made.kind):
        raise Breach(f"graph {made.graph.hex()} ({made.kind}) was refused: {made.refused}")
    if not is_real:
        return
    records = world.coordinator.engine.committed
    for index in range(made.chunks[0].node_count):
        outcome = records.outcome(made.graph, index) or world.disk.ledger.outcome(made.graph, index)
        if outcome is None:
            raise Breach(f"node {index} of graph {made.graph.hex()} ({made.kind}) never settled")
        if not made.touched:
            _judge_node(world, made, index, outcome)
    if made.canvas is not None and not made.touched:
        _judge_canvas(world, made, made.canvas)


def _judge_node(world: World, made: Submitted, index: int, outcome: Outcome) -> None:
    node = made.graph + index.to_bytes(4, "big")
    begun = world.watching.begun[world.disk.ledger.lives[made.graph], node]
    where = f"node {index} of graph {made.graph.hex()} ({made.kind})"
    allowed = _ENDS.get(made.kind)
    if allowed is not None and outcome.state not in allowed:
        raise Breach(f"{where} ended as {outcome.state.name} {outcome.failure}")
    if made.kind == "once" and outcome.state is NodeState.FAILURE and not world.plan.gives_up:
        raise Breach(f"{where} was given up, and no attempt was lost: {outcome.failure}")
    if made.kind == "dying" and begun > MOST_LOST + world.deaths:
        raise Breach(f"{where} killed {begun} processes, {MOST_LOST} may be")
    # One that may run once, or was lost too often, ends where it is lost: its worker may go on without knowing.
    given_up = outcome.failure is not None and outcome.failure.reason == "WORKER_LOST"
    _judge_log(world, made.graph, index, outcome.token, given_up=given_up)
    if outcome.state is NodeState.SUCCESS and not begun and made.kind not in ("canvas", "unique", "spread", "staged"):
        raise Breach(f"{where} succeeded and never ran")
    once = made.kind in ("plain", "apart", "limited", "paced", "batched", "keyed", "delayed", "owned")
    if once and begun > 1 and not world.plan.loses_attempts:
        raise Breach(f"{where} ran {begun} times, and no attempt was lost")


def _judge_log(world: World, graph: bytes, index: int, token: int, *, given_up: bool) -> None:
    """What an attempt logged before its end is there: all of it, or the last of it where it is more than is kept.

    One that was lost and not to run again ended when it was given up: what was not delivered by then, or what a stopped
    worker says when it goes on, is none of it. What is there must be its own all the same.
    """
    said, records = world.logged.get(token), world.coordinator.engine.committed
    if said is None or records.graph(graph) is None or any(one.kind == "disk full" for one in world.plan.faults):
        return
    pieces = records.logs(graph, index, token, 0, 1_000)
    kept = [line.text for piece in pieces for line in log_pb2.LoggedLines.FromString(piece.data).lines]
    where = f"the log of attempt {token:x} of node {index} of graph {graph.hex()}"
    if kept != said[len(said) - len(kept) :]:
        raise Breach(f"{where} is not what it said: {[text[:20] for text in kept]}")
    size = sum(map(len, said))
    if len(kept) < len(said) and size < LOG_LIMIT // 2 and not given_up:
        raise Breach(f"{where} has {len(kept)} of {len(said)} lines, and {size} bytes is not much")


def _judge_canvas(world: World, made: Submitted, drawn: Drawn) -> None:
    """Compare a canvas with what the reference evaluator allows."""
    records, node = world.coordinator.engine.committed, drawn.lowered.outcome.node
    outcome, wanted, ledger = records.outcome(made.graph, node), drawn.wanted, world.disk.ledger
    where = f"canvas {made.graph.hex()} {drawn.described}"
    has_expired = outcome is None
    if outcome is None:
        if made.graph not in ledger.pruned and made.graph not in world.forgotten:
            raise Breach(f"{where} was not deleted, and what it came to is gone")
        outcome = ledger.outcome(made.graph, node)
        assert outcome is not None, "that it settled was seen before"
    if outcome.state is NodeState.SUCCESS:
        if has_expired:
            if wanted.value is None:
                raise Breach(f"{where} succeeded, and should give {wanted.errors}")
            return  # its value has gone with its members
        value: Any = plain(read_value(records, made.graph, node, Room(1 << 40, 1 << 40)))
        if canonical(value) != wanted.value:
            raise Breach(f"{where} gave {canonical(value)}, and should {wanted.value or wanted.errors}")
    elif outcome.state is NodeState.IGNORED:
        if not wanted.ignored:
            raise Breach(f"{where} was ignored, and should give {wanted.value or wanted.errors}")
    elif outcome.failure is None or _error_of(outcome.failure) not in wanted.errors:
        raise Breach(f"{where} failed with {outcome.failure}, and should give {wanted.value or wanted.errors}")


def _error_of(failure: Failure) -> Error:
    """Return a failure as the reference evaluator would name it."""
    if failure.reason == "CHORD":
        assert failure.cause is not None
        return ChordFailed(_error_of(failure.cause))
    return Raised(failure.type_name, failure.message)


def _judge_calls(world: World) -> None:
    """Every call of the canvases ran, and none more often than it had to."""
    canvases = [made for made in world.submitted.values() if made.canvas is not None]
    real = [made for made in canvases if made.graph in world.disk.ledger.graphs]
    if any(made.touched for made in canvases):
        return
    wanted: Counter[str] = Counter()
    for made in real:
        assert made.canvas is not None
        for _ in range(world.disk.ledger.lives[made.graph]):
            wanted.update(made.canvas.wanted.runs)
    missing, more = wanted - world.calls, world.calls - wanted
    if missing:
        raise Breach(f"these calls did not run, or not so often: {dict(missing)}")
    if more and (not world.plan.loses_attempts or set(more) - set(wanted)):
        raise Breach(f"these calls ran, or ran too often: {dict(more)}")


def _judge_ticks(world: World) -> None:
    """Each tick of each schedule submitted one graph, whose id is made of its time; so do no other graphs here."""
    now = world.coordinator.now().wall_ms
    ticks: Counter[int] = Counter()
    for name in world.schedules:
        schedule = world.coordinator.machine.cluster.schedules.get(name)
        if schedule is None:
            if not any(fault.kind == "kill client" for fault in world.plan.faults):
                raise Breach(f"the schedule {name} was put, and is not there")
            continue
        if schedule.last_ms + EVERY_MS < now - 1_000:
            raise Breach(f"the last tick of {name} was {now - schedule.last_ms} ms ago")
        ticks.update(range(schedule.put_ms + EVERY_MS, schedule.last_ms + 1, EVERY_MS))
    made = Counter(int.from_bytes(graph[:6], "big") for graph in world.disk.ledger.graphs)
    for tick, count in ticks.items():
        # The shares of a broadcast are named by the time, too, and may have that of a tick.
        if made[tick] != count and not (_spreads(world) and made[tick] > count):
            raise Breach(f"{made[tick]} graphs were made for {count} ticks at {tick}")
    if made.total() - made[0] != ticks.total() and not _spreads(world):
        raise Breach(f"{made.total() - made[0]} graphs were made for {ticks.total()} ticks of schedules")


def _spreads(world: World) -> bool:
    return any(job.kind == "spread" for job in world.plan.jobs)


def _forget_schedules(world: World) -> None:
    names = tuple(sorted(world.schedules & world.coordinator.machine.cluster.schedules.keys()))
    if names:
        world.clients[0].ask(lambda client: SchedulesRemoveAsked(client, names), lambda _answer: None)


def _judge_memory(world: World) -> None:
    """Nothing stays in memory of what is over."""
    cluster = world.coordinator.machine.cluster
    kept: dict[str, Sized] = {
        "attempts": cluster.attempts,
        "sessions": cluster.sessions,
        "names": cluster.by_name,
        "streams": cluster.by_stream,
        "live graphs": cluster.live,
        "staging": cluster.staging,
        "jobs": cluster.jobs,
        "parked": cluster.parked,
        "abandoned": cluster.abandoned,
        "cancelling": cluster.cancelling,
        "followed": cluster.followed,
        "nodes gone": cluster.lines.gone,
        "keys": cluster.gates.keys,
        "graphs": cluster.graphs,
        "refused": cluster.refused,
        "probing": cluster.probing,
        "retried": cluster.lines.retried,
        "paused": cluster.paused,
        "schedules": cluster.schedules,
        "entries in memory": [
            entry for line in cluster.lines.by_key.values() for entry in cluster.lines.in_memory(line)
        ],
    }
    left = {name: len(found) for name, found in kept.items() if found}
    if left:
        raise Breach(f"this is left in memory when all is over: {left}")
