"""Schedules: graphs that are submitted when their time comes.

A tick is a time that a schedule names (see ticks.py). The graph that it submits, and that the tick has come, are
written in one step, and the graph's id is made of the schedule's name and the tick: whatever dies when, a tick fires
once. What decides is the wall clock of the coordinator; one that is put back lets no tick come twice.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from hashlib import blake2b

from grpcflow_coordinator.core import settling, submission
from grpcflow_coordinator.core.broadcast import timed_id
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import (
    ScheduleRunAsked,
    SchedulesPauseAsked,
    SchedulesPut,
    SchedulesRemoveAsked,
)
from grpcflow_coordinator.core.model import GRAPH_ID_BYTES, Graph, Run, node_id, text_id
from grpcflow_coordinator.core.planning import HISTORY, PastTick, Plan, Schedule, TickOutcome
from grpcflow_coordinator.core.ticks import BadTimes, fire_time, latest_tick, next_tick, ticks_between

#: Ticks that one step takes.
_BATCH = 100

#: Most ticks that were missed at once and are counted one by one.
_COUNTED = 10_000


def start(step: Step) -> None:
    """Take all schedules, at the start."""
    for plan, found in step.loaded.schedules():
        schedule = found or Schedule(plan, put_ms=step.now.wall_ms, last_ms=step.now.wall_ms)
        # A clock that was far ahead for a while does not silence it until then.
        schedule.last_ms = min(schedule.last_ms, step.now.wall_ms + plan.catch_up_ms)
        step.cluster.schedules[plan.name] = schedule
        if schedule.waiting_ms:
            step.cluster.queueing.add(plan.name)
        try:
            _set_alarm(step, schedule)
        except BadTimes:
            continue  # a newer database of time zones does not know its zone any more: it is listed without a next time


def _set_alarm(step: Step, schedule: Schedule) -> None:
    """Work out the next tick."""
    schedule.next_ms = None
    if schedule.paused:
        return
    plan = schedule.plan
    tick = schedule.next_ms = next_tick(plan.times, schedule.last_ms, schedule.put_ms)
    if tick is not None:
        heapq.heappush(step.cluster.alarms, (fire_time(plan.times, plan.name, tick), plan.name, tick))


def work(step: Step) -> None:
    """Let the ticks come whose time it is, and those that waited for the end of what came before."""
    cluster = step.cluster
    for name in list(cluster.queueing):
        schedule = cluster.schedules.get(name)
        if schedule is None or not schedule.waiting_ms:
            cluster.queueing.discard(name)
        elif not _runs(step, schedule):
            cluster.queueing.discard(name)
            tick, schedule.waiting_ms = schedule.waiting_ms, 0
            _fire(step, schedule, tick, tick)
            step.loaded.put_schedule(schedule)
    left = _BATCH
    while cluster.alarms and cluster.alarms[0][0] <= step.now.wall_ms and left > 0:
        _, name, tick = heapq.heappop(cluster.alarms)
        schedule = cluster.schedules.get(name)
        if schedule is not None and schedule.next_ms == tick:
            _come(step, schedule, tick)
            left -= 1
    step.effects.again |= left <= 0


def _come(step: Step, schedule: Schedule, tick: int) -> None:
    """A tick has come; of several that came at once the last one counts, unless all of them do."""
    plan, now = schedule.plan, step.now.wall_ms
    until = now - plan.catch_up_ms if plan.catch_up_all else now - plan.times.jitter_ms
    latest = latest_tick(plan.times, tick - 1, until, schedule.put_ms)
    if latest is not None and latest > tick:
        missed = ticks_between(plan.times, tick - 1, latest - 1, schedule.put_ms, _COUNTED)
        schedule.passed += len(missed)
        _note(schedule, missed[-1], TickOutcome.MISSED)
        tick = latest
    schedule.last_ms = tick
    if now - fire_time(plan.times, plan.name, tick) > plan.catch_up_ms:
        schedule.passed += 1
        _note(schedule, tick, TickOutcome.MISSED)
    elif plan.overlap == "allow" or not _runs(step, schedule):
        _fire(step, schedule, tick, tick)
    elif plan.overlap == "skip":
        schedule.passed += 1
        _note(schedule, tick, TickOutcome.SKIPPED)
    else:
        schedule.passed += bool(schedule.waiting_ms)
        schedule.waiting_ms = tick
        step.cluster.queueing.add(plan.name)
        _note(schedule, tick, TickOutcome.QUEUED)
    if plan.times.kind == "once" and not plan.owner and schedule.history[0].outcome is TickOutcome.FIRED:
        _remove(step, plan.name)
        return
    step.loaded.put_schedule(schedule)
    _set_alarm(step, schedule)


def _runs(step: Step, schedule: Schedule) -> bool:
    """Return whether what the schedule submitted last has not ended."""
    return _has_work(step, schedule.running)


def _has_work(step: Step, graph_id: bytes) -> bool:
    graph = step.graph(graph_id) if graph_id else None
    return graph is not None and not settling.has_ended(step, graph)


def _note(schedule: Schedule, tick: int, outcome: TickOutcome, node: bytes = b"") -> None:
    schedule.history = [PastTick(tick, outcome, node), *schedule.history][:HISTORY]


def _fire(step: Step, schedule: Schedule, tick: int, named: int) -> bytes:
    """Submit the schedule's graph; return the node whose value is the value of the whole."""
    plan = schedule.plan
    digest = blake2b(f"{named} {plan.name}".encode(errors="surrogatepass"), digest_size=6).digest()
    graph_id = timed_id(tick, digest)
    node = node_id(graph_id, plan.graph.outcome)
    if step.graph(graph_id) is None:
        graph = Graph(graph_id, plan.graph.node_count, plan.graph.templates, step.now.wall_ms)
        graph.outcome = plan.graph.outcome
        submission.put_whole(step, graph, [(_moved(run, graph_id), payloads) for run, payloads in plan.runs])
        schedule.fired += 1
    schedule.running = graph_id
    _note(schedule, tick, TickOutcome.FIRED, node)
    return node


def _moved(run: Run, graph_id: bytes) -> Run:
    """Return a run of what a schedule submits as a run of this graph."""
    return replace(run, group=graph_id + run.group[GRAPH_ID_BYTES:]) if run.group else run


def on_put(step: Step, event: SchedulesPut) -> None:
    """Add and change schedules; those of the owner that are not named any more are removed."""
    schedules = step.cluster.schedules
    for plan in event.plans:
        problem = submission.problem_of(step, plan.graph, plan.runs)
        if problem is not None:
            step.effects.sends.append(Answer(event.client, problem[0], f"{plan.name}: {problem[1]}"))
            return
    added: list[str] = []
    changed: list[str] = []
    removed: list[str] = []
    for plan in event.plans:
        found = schedules.get(plan.name)
        if found is not None and found.plan.wire == plan.wire:
            continue
        (added if found is None else changed).append(plan.name)
        _put(step, plan, found)
    if event.owner:
        named = {plan.name for plan in event.plans}
        removed = [name for name, one in schedules.items() if one.plan.owner == event.owner and name not in named]
        for name in removed:
            _remove(step, name)
    step.effects.sends.append(Answer(event.client, names=(tuple(added), tuple(changed), tuple(removed))))


def _put(step: Step, plan: Plan, found: Schedule | None) -> None:
    now = step.now.wall_ms
    if found is None:
        found = Schedule(plan, put_ms=now, last_ms=now)
        if plan.times.kind == "once":
            # One that code declares stays known when it has fired, so that it does not fire again at the next put.
            found.last_ms = 0  # one that is late by no more than it may be still fires
    elif found.plan.times != plan.times:
        found.put_ms = found.last_ms = now
    found.plan = plan
    step.cluster.schedules[plan.name] = found
    step.loaded.put_plan(plan)
    step.loaded.put_schedule(found)
    _set_alarm(step, found)


def _remove(step: Step, name: str) -> None:
    del step.cluster.schedules[name]
    step.cluster.queueing.discard(name)
    step.loaded.drop_schedule(name)


def _unknown(step: Step, client: object, names: tuple[str, ...]) -> bool:
    """Answer, where there is no schedule of one of the names."""
    for name in names:
        if name not in step.cluster.schedules:
            message = f"there is no schedule {name!r}: see `grpcflow schedule list`"
            step.effects.sends.append(Answer(client, "UNKNOWN_SCHEDULE", message))
            return True
    return False


def on_pause(step: Step, event: SchedulesPauseAsked) -> None:
    """Let no tick of some schedules come any more, or again; none of the time between is made up for."""
    if _unknown(step, event.client, event.names):
        return
    for name in event.names:
        schedule = step.cluster.schedules[name]
        if schedule.paused and not event.paused:
            schedule.last_ms = max(schedule.last_ms, step.now.wall_ms)
        schedule.paused = event.paused
        schedule.waiting_ms = 0
        step.loaded.put_schedule(schedule)
        _set_alarm(step, schedule)
    step.effects.sends.append(Answer(event.client))


def on_run(step: Step, event: ScheduleRunAsked) -> None:
    """Submit a schedule's graph now, beside its ticks."""
    if _unknown(step, event.client, (event.name,)):
        return
    schedule = step.cluster.schedules[event.name]
    running = schedule.running
    # A number that no tick has, so that a tick of this very moment is another one.
    node = _fire(step, schedule, step.now.wall_ms, -step.now.wall_ms - schedule.fired)
    schedule.running = running if _has_work(step, running) else schedule.running
    step.loaded.put_schedule(schedule)
    graph_id, index = node[:GRAPH_ID_BYTES], schedule.plan.graph.outcome
    step.effects.sends.append(Answer(event.client, names=((text_id(graph_id, index),),)))


def on_remove(step: Step, event: SchedulesRemoveAsked) -> None:
    """Forget schedules; what they submitted goes on."""
    if _unknown(step, event.client, event.names):
        return
    for name in dict.fromkeys(event.names):
        _remove(step, name)
    step.effects.sends.append(Answer(event.client))
