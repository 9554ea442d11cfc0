"""Limits that hold for the whole cluster: how often, and how many at once, something is handed out.

A *gate* stands before all calls of a task, before all of a queue, or before all calls with one concurrency key. What is
in front of a shut gate is passed over, at no cost but the look at the gate; only a line whose own key is used up leaves
the hand-outs, until a call with that key ends. This file counts and says when; who is asked is decided in dispatch.py.

Rates are kept by the monotonic clock, so that a step of the wall clock changes none; on disk they stand as wall time,
so that a restart does not let through what had its turn already.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.presence import Limit, SessionFacts

if TYPE_CHECKING:
    from grpcflow_coordinator.core.cluster import Step
    from grpcflow_coordinator.core.events import LimitAsked
    from grpcflow_coordinator.core.lines import Line
    from grpcflow_coordinator.core.model import Attempt, LineKey

Scope: TypeAlias = Literal["task", "queue"]

#: A rate lets through at once what it would in this many milliseconds, at least one: nobody is woken more often.
BURST_MS = 50.0

#: Rates whose starts are further apart than this many milliseconds are written down at each start; of the others it is
#: written how far they may have come in this much more time.
STEP_MS = 100.0
AHEAD_MS = 1000.0

#: More than anybody wants at once.
PLENTY = 1 << 30


@dataclass(slots=True, eq=False)
class Gate:
    """One limit and how far it is used up."""

    limit: Limit
    scope: str = "key"
    name: str = ""
    #: How many attempts are out.
    running: int = 0
    #: Monotonic milliseconds at which everything let through so far would have had its turn.
    spent_until: float = 0.0
    #: Unix milliseconds of the same, as far as it is written.
    written: float = 0.0
    #: Lines of a key that wait for an attempt to end, in order; in groups of what differs in the fairness key only.
    waiting: dict[LineKey, OrderedDict[LineKey, Line]] = field(default_factory=dict)

    @property
    def interval(self) -> float:
        """Milliseconds between two starts; 0: no rate."""
        return self.limit.rate_period_ms / self.limit.rate_count if self.limit.rate_count else 0.0

    def room(self, now_ms: float) -> int:
        """Return how many may start now by the rate."""
        interval = self.interval
        if not interval:
            return PLENTY
        burst = max(1.0, BURST_MS / interval)
        return int(burst - max(0.0, self.spent_until - now_ms) / interval + 1e-9)

    def opens_at(self) -> float:
        """Return the monotonic milliseconds at which the rate lets the next one start."""
        interval = self.interval
        return self.spent_until - (max(1.0, BURST_MS / interval) - 1) * interval if interval else 0.0

    def change(self, limit: Limit, now_ms: float) -> None:
        """Put another limit in the place of this one; what was spent by a slower rate counts for one start at most."""
        self.limit = limit
        self.spent_until = min(self.spent_until, now_ms + self.interval)

    def spend(self, count: int, now_ms: float) -> None:
        """Take in that attempts were handed out."""
        self.running += count
        if self.limit.rate_count:
            self.spent_until = max(self.spent_until, now_ms) + count * self.interval


class Gates:
    """All limits of the cluster."""

    def __init__(self) -> None:
        self.tasks: dict[str, Gate] = {}
        self.queues: dict[str, Gate] = {}
        self.keys: dict[str, Gate] = {}
        #: What the workers' code says, and what was set beside it, by scope and name.
        self.of_code: dict[tuple[Scope, str], Limit] = {}
        self.was_set: dict[tuple[Scope, str], Limit] = {}
        #: Monotonic milliseconds at which a rate opens that something waits for; None: nothing does.
        self.wake_at: float | None = None
        #: Seconds by which a test has moved the time: what `wake_at` is ahead of the monotonic clock.
        self.moved = 0.0
        #: True while attempts may run that nobody has named since the start: nothing that is counted is handed out.
        self.uncertain = False

    def room(self, gate: Gate | None, now_ms: float) -> int:
        """Return how many may pass a gate now; asked again by `wake_at` where the rate lets none."""
        if gate is None:
            return PLENTY
        room = self._room(gate, now_ms)
        if room <= 0 and gate.limit.rate_count and gate.room(now_ms) <= 0:
            opens = gate.opens_at()
            self.wake_at = opens if self.wake_at is None else min(opens, self.wake_at)
        return room

    def _room(self, gate: Gate, now_ms: float) -> int:
        room = gate.room(now_ms)
        if gate.limit.concurrency:
            room = 0 if self.uncertain else min(room, gate.limit.concurrency - gate.running)
        return max(room, 0)

    def is_shut(self, line: Line, now_ms: float) -> bool:
        """Return whether a limit lets nothing of a line through now."""
        gates = (self.tasks.get(line.key.task), self.queues.get(line.key.queue))
        return line.held or any(gate is not None and not self._room(gate, now_ms) for gate in gates)

    def room_of_key(self, key: LineKey) -> int:
        """Return how many with the concurrency key of a line may be handed out now."""
        gate = self.keys.get(key.key)
        return 0 if self.uncertain else max(0, key.per_key - (gate.running if gate else 0))

    def hold(self, line: Line) -> None:
        """Let a line whose key is used up wait until a call with the key ends."""
        gate = self.keys.get(line.key.key)
        if gate is None:
            gate = self.keys[line.key.key] = Gate(Limit(), name=line.key.key)
        group = gate.waiting.setdefault(line.key.group, OrderedDict())
        group[line.key] = line
        if line.woken:
            group.move_to_end(line.key, last=False)  # another one was quicker: it stays the next
        line.held, line.woken = True, False

    def before(self, queue: str, task: str, key: str) -> tuple[Gate, ...]:
        """Return the gates that a call passes; the one of its key is made where it is new."""
        if not (key or self.tasks or self.queues):
            return ()
        found = [gate for gate in (self.tasks.get(task), self.queues.get(queue)) if gate is not None]
        if key:
            gate = self.keys.get(key)
            if gate is None:
                gate = self.keys[key] = Gate(Limit(), name=key)
            found.append(gate)
        return tuple(found)


def pass_gates(step: Step, gates: tuple[Gate, ...], count: int) -> None:
    """Count attempts that are handed out, and write down how far the rates are."""
    now_ms = step.now.pace_ms
    for gate in gates:
        gate.spend(count, now_ms)
        if gate.limit.rate_count:
            spent_wall = step.now.wall_ms + gate.spent_until - now_ms
            if spent_wall > gate.written:
                gate.written = spent_wall + (0 if gate.interval >= STEP_MS else AHEAD_MS)
                step.loaded.put_rate(gate.scope, gate.name, int(gate.written))


def leave(step: Step, attempt: Attempt) -> None:
    """Count an attempt that ended; lines that wait for its key are looked at before the next hand-outs."""
    for gate in attempt.gates:
        gate.running -= 1
        if gate.scope == "key":
            step.cluster.lines.loose[gate.name] = None
    attempt.gates = ()


def wake(step: Step) -> None:
    """Where a key has room, let the next line of each group that waits for it take part; forget keys nobody needs.

    One line and not all: thousands may share a key, and one of them can have it. Lines of a group have queue and task
    in common, so where the one that was woken cannot run, none of the others could. Where it turns out to be empty it
    rests, and its key is looked at again.
    """
    gates, lines = step.cluster.gates, step.cluster.lines
    loose, lines.loose = lines.loose, {}
    for name in loose:
        gate = gates.keys.get(name)
        if gate is None:
            continue
        for group in list(gate.waiting):
            while waiting := gate.waiting.get(group):
                if gates.room_of_key(next(iter(waiting))) <= 0:
                    break
                line = waiting.pop(next(iter(waiting)))
                if not waiting:
                    del gate.waiting[group]
                line.held, line.woken = False, True
                if lines.by_key.get(line.key) is line:
                    lines.activate(line)
                if line.slot is not None:
                    break
        if gate.running <= 0 and not gate.waiting:
            gates.keys.pop(name, None)


def begin(step: Step) -> None:
    """Take what is written of limits and rates, at the start."""
    gates = step.cluster.gates
    gates.was_set = dict(step.loaded.limits())
    gates.uncertain = True
    for scope, name in list(gates.was_set):
        _renew(step, scope, name)


def be_certain(step: Step) -> None:
    """All attempts that may run are known now."""
    gates = step.cluster.gates
    gates.uncertain = False
    step.cluster.lines.loose.update(dict.fromkeys(gates.keys))


def adopt(step: Step, attempt: Attempt) -> None:
    """Count an attempt from before the start that its worker still has."""
    attempt.gates = gates_of(step, attempt)
    for gate in attempt.gates:
        gate.running += 1


def gates_of(step: Step, attempt: Attempt) -> tuple[Gate, ...]:
    """Return the gates that an attempt passed."""
    template = attempt.template
    return step.cluster.gates.before(template.queue, template.task, attempt.run.concurrency_key)


def take_facts(step: Step, facts: SessionFacts) -> None:
    """Take what a worker's code says: of its tasks and of queues it holds for the cluster."""
    gates = step.cluster.gates
    said: dict[tuple[Scope, str], Limit] = {("task", task): Limit() for task in facts.tasks}
    said |= {("task", one.task): one.limit for one in facts.task_facts if one.task in facts.tasks}
    said |= {("queue", queue): limit for queue, limit in facts.queue_facts}
    for (scope, name), limit in said.items():
        if limit != gates.of_code.get((scope, name), Limit()):
            gates.of_code[scope, name] = limit
            if limit == Limit():
                del gates.of_code[scope, name]
            _renew(step, scope, name)


def put(step: Step, scope: Scope, name: str, limit: Limit | None) -> None:
    """Set a limit beside what the code says, or take it away."""
    gates = step.cluster.gates
    step.loaded.put_limit(scope, name, limit)
    if limit is None:
        gates.was_set.pop((scope, name), None)
    else:
        gates.was_set[scope, name] = limit
    _renew(step, scope, name)


def on_ask(step: Step, event: LimitAsked) -> None:
    """Put a limit on a task or a queue, or take it away."""
    put(step, event.scope, event.name, event.limit)
    step.effects.sends.append(Answer(event.client))


def in_force(gates: Gates, scope: Scope, name: str) -> Limit:
    """Return the limit that holds; an empty one: none."""
    found = gates.was_set.get((scope, name))
    return gates.of_code.get((scope, name), Limit()) if found is None else found


def _renew(step: Step, scope: Scope, name: str) -> None:
    """Put up, change or take away the gate of a name."""
    gates = step.cluster.gates
    standing = gates.tasks if scope == "task" else gates.queues
    limit = in_force(gates, scope, name)
    if limit == Limit():
        standing.pop(name, None)
    elif name in standing:
        standing[name].change(limit, step.now.pace_ms)
        return
    else:
        gate = standing[name] = Gate(limit, scope, name)
        _start_rate(step, gate)
    for attempt in step.cluster.attempts.values():
        if (attempt.template.task if scope == "task" else attempt.template.queue) == name:
            attempt.gates = gates_of(step, attempt)
            if name in standing:
                standing[name].running += 1


def _start_rate(step: Step, gate: Gate) -> None:
    """Go on from where a rate was when it was written down; never more than one start behind that."""
    gate.written = step.loaded.rate(gate.scope, gate.name) or 0
    if gate.limit.rate_count:
        behind = min(gate.written - step.now.wall_ms, max(gate.interval, AHEAD_MS))
        gate.spent_until = step.now.pace_ms + max(0.0, behind)
