"""The door to the core: one event in, its effects out.

`Machine.step(event, loaded, now)` is deterministic: the same memory, the same records, the same event and
the same time give the same effects. It reads no clock and does no I/O of its own; what it reads comes
from `loaded`, what it changes is written there, and what is to be told stands in the effects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from grpcflow_coordinator.core import (
    attaching,
    attempts,
    dispatch,
    erasing,
    jobs,
    keeping,
    limits,
    recovery,
    retention,
    revoking,
    running,
    schedules,
    sessions,
    settling,
    submission,
    sweeping,
    timers,
    unique,
)
from grpcflow_coordinator.core.cluster import Cluster, Limits, Step
from grpcflow_coordinator.core.effects import Effects, Wake
from grpcflow_coordinator.core.events import (
    CancelAsked,
    ChunkArrived,
    ChunkRefused,
    ClientLeft,
    EraseAsked,
    Event,
    FailedPurgeAsked,
    ForgetAsked,
    GroupSaved,
    ItemsEmitted,
    LimitAsked,
    MatchRevokeAsked,
    PauseAsked,
    PurgeAsked,
    RetentionAsked,
    RetryAsked,
    RevokeAsked,
    ScheduleRunAsked,
    SchedulesPauseAsked,
    SchedulesPut,
    SchedulesRemoveAsked,
    StampRevokeAsked,
    StateUpdateAsked,
    StreamBroke,
    Tick,
    Undeliverable,
    WorkerArrived,
    WorkerSpoke,
)
from grpcflow_coordinator.core.loaded import Loaded
from grpcflow_coordinator.core.model import NodeState, Now, Outcome
from grpcflow_coordinator.core.states import Trigger

#: What takes each of the requests that are answered at once.
_KEEP: dict[type[Event], Callable[[Step, Any], None]] = {
    StateUpdateAsked: keeping.on_state,
    ForgetAsked: keeping.on_forget,
    GroupSaved: keeping.on_group,
    EraseAsked: erasing.on_erase,
    ItemsEmitted: keeping.on_items,
    PauseAsked: keeping.on_pause,
    LimitAsked: limits.on_ask,
    RetentionAsked: retention.on_ask,
    FailedPurgeAsked: keeping.on_failed_purge,
    SchedulesPut: schedules.on_put,
    SchedulesPauseAsked: schedules.on_pause,
    ScheduleRunAsked: schedules.on_run,
    SchedulesRemoveAsked: schedules.on_remove,
}


def _conclude(step: Step) -> None:
    """Tell whoever waits in other graphs for what settled, until nobody does; and write what was counted."""
    while step.handed_up or step.unlocked:
        attaching.hand_up(step)
        unique.hand_on(step)
    settling.flush(step)


class Machine:
    """The state machine of the whole cluster."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.cluster = Cluster(limits or Limits())

    def start(self, loaded: Loaded, now: Now) -> Effects:
        """Begin a new epoch on what the records hold; to be called once, before any step."""
        step = Step(self.cluster, loaded, now, Effects())
        recovery.start(step)
        schedules.start(step)
        jobs.resume(step)
        _conclude(step)
        return step.effects

    def step(self, event: Event, loaded: Loaded, now: Now) -> Effects:
        """Take one event.

        Args:
            event: what happened.
            loaded: the records, with the writes of all earlier steps in them.
            now: the time.

        Returns:
            What is to be sent once the writes in `loaded` are durable.
        """
        step = Step(self.cluster, loaded, now, Effects())
        self.cluster.lines.now_ms = now.pace_ms
        self._handle(step, event)
        _conclude(step)
        return step.effects

    def hear(self, stream: object, now: Now) -> bool:
        """Take a worker's sign of life without a step, since nothing follows from it; False where something would."""
        return sessions.hear(self.cluster, stream, now)

    def _handle(self, step: Step, event: Event) -> None:
        match event:
            case WorkerSpoke():
                sessions.on_spoke(step, event)
            case ChunkArrived():
                submission.on_chunk(step, event)
            case Tick():
                self._tick(step)
            case WorkerArrived():
                sessions.on_arrived(step, event)
            case StreamBroke():
                sessions.on_broke(step, event.stream)
            case ChunkRefused():
                submission.on_refused(step, event)
            case ClientLeft():
                submission.on_client_left(step, event.client)
            case RevokeAsked():
                revoking.on_revoke(step, event)
            case StampRevokeAsked() | CancelAsked() | RetryAsked() | MatchRevokeAsked() | PurgeAsked():
                jobs.on_ask(step, event)
            case Undeliverable():
                self._undeliverable(step, event)
            case _:
                _KEEP[type(event)](step, event)

    def _tick(self, step: Step) -> None:
        sessions.look_after(step)
        submission.unpark(step)
        submission.sweep(step)
        submission.release_ready(step)
        jobs.work(step)
        if self.cluster.followed:
            unique.work(step)
        if self.cluster.known:
            running.let_go(step)
        if self.cluster.alarms or self.cluster.queueing:
            schedules.work(step)
        timers.fire(step)
        sweeping.work(step)
        if not timers.are_due(step):
            dispatch.dispatch(step)

    def _undeliverable(self, step: Step, event: Undeliverable) -> None:
        attempt = self.cluster.attempts.get(event.token)
        if attempt is not None:
            outcome = Outcome(NodeState.FAILURE, step.now.wall_ms, failure=event.failure, token=event.token)
            attempts.finish(step, attempt, Trigger.RAISED, outcome)

    def wake(self) -> Wake:
        """Return when the next Tick is due at the latest, where nothing else happens."""
        cluster = self.cluster
        deadlines = [cluster.look_at] if cluster.look_at < math.inf else []
        if cluster.gates.wake_at is not None:
            deadlines.append(cluster.gates.wake_at / 1000 - cluster.gates.moved)
        timers_due = [due for due in (cluster.next_timer, cluster.next_prune) if due is not None]
        timers_due += [alarm for alarm, _, _ in cluster.alarms[:1]]
        return Wake(min(timers_due, default=None), min(deadlines, default=None))
