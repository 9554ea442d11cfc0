"""Sessions: workers that come, speak, fall silent, return, and leave."""

from __future__ import annotations

import math
from dataclasses import replace

from grpcflow_coordinator.core import attempts, jobs, keeping, limits, recovery
from grpcflow_coordinator.core.cluster import Cluster, Probing, Step
from grpcflow_coordinator.core.effects import Acknowledge, CloseStream, Probe, Welcome
from grpcflow_coordinator.core.events import Progressed, WorkerArrived, WorkerSpoke
from grpcflow_coordinator.core.model import TOKEN_NUMBER_BITS, Attempt, Now, split_node
from grpcflow_coordinator.core.presence import Session, SessionFacts
from grpcflow_coordinator.core.turns import member_queue


def on_arrived(step: Step, event: WorkerArrived) -> None:
    """A worker said hello: it is new, it is back, or it wants a name that is taken."""
    cluster = step.cluster
    known = cluster.sessions.get(event.facts.id)
    if known is not None and known.name != event.facts.name:
        message = f"the session belongs to the worker {known.name!r}: draw another one for another name"
        step.effects.sends.append(CloseStream(event.stream, "MALFORMED", message))
        return
    if known is not None:
        _resume(step, known, event)
        return
    holder = cluster.sessions.get(cluster.by_name.get(event.facts.name, b""))
    if holder is None or holder.draining or recovery.may_return(step, holder):
        _admit(step, event)
    elif holder.stream is None:
        end(step, holder, "a new worker took its name")
        _admit(step, event)
    else:
        _probe(step, holder, event)


def _probe(step: Step, holder: Session, event: WorkerArrived) -> None:
    """Ask the holder of a name whether it lives; its answer or its silence decides about the newcomer."""
    waiting = step.cluster.probing.get(event.facts.name)
    if waiting is not None and waiting.newcomer.facts.id == event.facts.id:
        _replace_stream(step, waiting.newcomer.stream)
        waiting.newcomer = event
        return
    if waiting is not None:
        _refuse_name(step, event.stream, event.facts.name)
        return
    step.cluster.probing[event.facts.name] = Probing(event, holder.id, step.now.monotonic)
    step.cluster.look_at = 0.0
    step.effects.sends.append(Probe(holder.stream))


def _refuse_name(step: Step, stream: object, name: str) -> None:
    message = f"a live worker has the name {name!r}: start this one with another name (-n)"
    step.effects.sends.append(CloseStream(stream, "NAME_TAKEN", message))


def _admit(step: Step, event: WorkerArrived) -> None:
    """Make a session of a newcomer."""
    cluster = step.cluster
    facts = event.facts
    session = Session(facts, facts.queues, event.capacity, event.stream, step.now.monotonic, draining=event.draining)
    _take_facts(step, session, facts)
    cluster.sessions[facts.id] = session
    cluster.look_at = 0.0
    cluster.by_name[facts.name] = facts.id
    cluster.by_stream[id(event.stream)] = facts.id
    step.loaded.put_session(facts)
    step.effects.presence.append(("online", facts.name, ""))
    superseded = _compare_held(step, session, event)
    step.effects.sends.append(Welcome(event.stream, cluster.epoch, False, superseded))


def _resume(step: Step, session: Session, event: WorkerArrived) -> None:
    """A known session is back: its new stream replaces the old one at once."""
    cluster = step.cluster
    if session.stream is not None:
        cluster.by_stream.pop(id(session.stream), None)
        _replace_stream(step, session.stream)
    session.stream = event.stream
    step.effects.presence.append(("back", session.name, ""))
    session.last_heard = step.now.monotonic
    cluster.look_at = 0.0
    session.capacity = event.capacity
    _answer_probe(step, session)
    session.draining = session.draining or event.draining
    if not session.draining:
        cluster.by_name[session.name] = session.id  # after a start a draining one may have had it
    _take_facts(step, session, event.facts)
    if session.facts != event.facts:
        step.loaded.put_session(event.facts)
    session.facts = event.facts
    cluster.by_stream[id(event.stream)] = session.id
    superseded = _compare_held(step, session, event)
    step.effects.sends.append(Welcome(event.stream, cluster.epoch, True, superseded))
    recovery.came_back(step, session)


def _take_facts(step: Step, session: Session, facts: SessionFacts) -> None:
    session.serve(facts.queues, facts.weights)
    session.batching = {one.task: one for one in facts.task_facts if one.batch_size}
    limits.take_facts(step, facts)


def _replace_stream(step: Step, stream: object) -> None:
    step.effects.sends.append(CloseStream(stream, "REPLACED", "a newer stream of this worker took over"))


def _compare_held(step: Step, session: Session, event: WorkerArrived) -> tuple[int, ...]:
    """Match what the worker holds with what it was given.

    Attempts it does not name never reached it and are handed out again. Those it names and we know go
    on. Those it names and we do not are from before a restart, and go on where their node is not settled
    and nobody else runs it; or they have settled already; or they are superseded.
    """
    named = {token for _, token in event.held}
    for token in sorted(session.attempts - named):
        attempts.hand_back(step, step.cluster.attempts[token])
    superseded = []
    session.settled.clear()
    for node, token in event.held:
        graph_id, index = split_node(node)
        if token not in session.attempts:
            if _was_taken(step, graph_id, index, token):
                session.settled.add(token)
                continue
            if token in step.cluster.attempts or not _readopt(step, session, graph_id, index, token):
                superseded.append(token)
                continue
        attempt = step.cluster.attempts[token]
        progress = step.loaded.progress(attempt.graph, attempt.index)
        if progress is not None and progress.doom:
            attempts.ask_to_stop(step, attempt, progress)
    return tuple(superseded)


def _was_taken(step: Step, graph: bytes, index: int, token: int) -> bool:
    """Return whether the report of an attempt was taken, and only its acknowledgement got lost."""
    outcome = step.loaded.outcome(graph, index)
    if outcome is not None:
        return outcome.token == token
    progress = step.loaded.progress(graph, index)
    return progress is not None and progress.ended_by == token


def _readopt(step: Step, session: Session, graph_id: bytes, index: int, token: int) -> bool:
    """Take over an attempt of an earlier epoch that its worker still holds; False where that is over."""
    recovering = step.cluster.recovery
    graph = step.graph(graph_id)
    run = step.loaded.run_of(graph_id, index)
    if recovering is None or session.id not in recovering.missing or graph is None or run is None:
        return False
    known = token >> TOKEN_NUMBER_BITS < step.cluster.epoch and recovery.may_run(step, graph_id, index)
    if not known or step.loaded.outcome(graph_id, index) is not None:
        return False
    earlier = recovering.resumed.get((graph_id, index))
    if earlier is not None and earlier.token > token:
        return False
    if earlier is not None:
        attempts.drop(step, earlier)
    progress = step.loaded.progress(graph_id, index)
    if progress is not None and progress.ended_by > token:
        return False
    retries = progress.retries if progress else 0
    attempt = Attempt(token, graph_id, index, run, graph.templates[run.template], session.id, None, retries)
    step.cluster.attempts[token] = attempt
    session.attempts.add(token)
    limits.adopt(step, attempt)
    recovering.resumed[graph_id, index] = attempt
    return True


def hear(cluster: Cluster, stream: object, now: Now) -> bool:
    """A worker gave a sign of life and said nothing else; False where somebody waits for just that."""
    session = cluster.sessions.get(cluster.by_stream.get(id(stream), b""))
    if session is None or session.name in cluster.probing:
        return False
    session.last_heard = now.monotonic
    return True


def on_spoke(step: Step, event: WorkerSpoke) -> None:
    """A worker sent reports, a change, or a sign of life."""
    cluster = step.cluster
    session = cluster.sessions.get(cluster.by_stream.get(id(event.stream), b""))
    if session is None:
        return  # the stream was replaced or closed meanwhile; its successor sends it all again
    session.last_heard = step.now.monotonic
    _answer_probe(step, session)
    superseded: list[int] = []
    if event.logs:
        keeping.take_logs(step, session, event.logs)
    if not _take_reports(step, session, event, superseded):
        return
    if event.capacity is not None:
        session.capacity = event.capacity
    if event.queues is not None:
        for queue in set(session.queues) - set(event.queues):
            if member_queue(queue, session.name) in cluster.lines.ready:
                jobs.purge(step, member_queue(queue, session.name))
        session.serve(event.queues, event.weights)
        session.facts = replace(session.facts, queues=event.queues, weights=event.weights)
        step.loaded.put_session(session.facts)
    if event.concurrency:
        session.facts = replace(session.facts, concurrency=event.concurrency)
        step.loaded.put_session(session.facts)
    if event.drain:
        session.draining = True
    if event.sequence:
        pressing = bool(session.attempts or superseded or session.draining or event.goodbye)
        step.effects.sends.append(Acknowledge(event.stream, event.sequence, tuple(superseded), pressing))
    if event.goodbye:
        _leave(step, session)


def _take_reports(step: Step, session: Session, event: WorkerSpoke, superseded: list[int]) -> bool:
    """Act on all reports of a message; False where one was not the sender's, which costs it the session."""
    all_attempts, mine = step.cluster.attempts, session.attempts
    tokens, values = [], []
    for token, data in zip(event.tokens, event.values, strict=True):
        if token in mine:
            tokens.append(token)
            values.append(data)
        elif not _is_stale(step, session, token, superseded):
            return False
    if len(set(tokens)) != len(tokens):  # of several reports of one attempt the first counts
        firsts = dict(zip(reversed(tokens), reversed(values), strict=True))
        tokens, values = list(firsts), list(firsts.values())
    attempts.take_values(step, session, tokens, values)
    for report in event.reports:
        if report.token in mine:
            attempts.take_report(step, session, all_attempts[report.token], report)
        elif isinstance(report, Progressed) and report.token not in all_attempts:
            continue  # it ended meanwhile, and how far it was is of no use to anyone
        elif not _is_stale(step, session, report.token, superseded):
            return False
    return True


def _is_stale(step: Step, session: Session, token: int, superseded: list[int]) -> bool:
    """Deal with a report that is not current; False where it belongs to another session."""
    if token in step.cluster.attempts:
        message = f"attempt {token} belongs to another session: report only what this stream was given"
        step.effects.sends.append(CloseStream(session.stream, "NOT_YOURS", message))
        break_stream(step, session)
        return False
    if token in session.settled:
        session.settled.discard(token)
    else:
        superseded.append(token)
    return True


def _answer_probe(step: Step, session: Session) -> None:
    """The holder of a wanted name lives: the newcomer is refused."""
    probing = step.cluster.probing.get(session.name)
    if probing is not None and probing.holder == session.id:
        del step.cluster.probing[session.name]
        _refuse_name(step, probing.newcomer.stream, session.name)


def on_broke(step: Step, stream: object) -> None:
    """A stream ended without a goodbye."""
    cluster = step.cluster
    session = cluster.sessions.get(cluster.by_stream.get(id(stream), b""))
    if session is not None and session.stream is stream:
        break_stream(step, session)
    for name, probing in list(cluster.probing.items()):
        if probing.newcomer.stream is stream:
            del cluster.probing[name]


def break_stream(step: Step, session: Session) -> None:
    """Start a session's grace; a newcomer that waited for its name need not wait any longer."""
    step.cluster.by_stream.pop(id(session.stream), None)
    session.stream = None
    step.effects.presence.append(("broken", session.name, ""))
    session.deadline = step.now.monotonic + step.cluster.limits.grace
    step.cluster.look_at = 0.0
    probing = step.cluster.probing.pop(session.name, None)
    if probing is not None:
        end(step, session, "a new worker took its name")
        _admit(step, probing.newcomer)


def _leave(step: Step, session: Session) -> None:
    """A worker said goodbye: what it still has goes back uncounted."""
    for token in sorted(session.attempts):
        attempts.hand_back(step, step.cluster.attempts[token])
    _forget(step, session, "it said goodbye")


def end(step: Step, session: Session, why: str) -> None:
    """Give a session up: its attempts are lost."""
    for token in sorted(session.attempts):
        attempts.lose(step, step.cluster.attempts[token], f"{session.name}: {why}")
    _forget(step, session, why)


def _forget(step: Step, session: Session, why: str) -> None:
    cluster = step.cluster
    step.effects.presence.append(("offline", session.name, why))
    del cluster.sessions[session.id]
    if cluster.by_name.get(session.name) == session.id:
        del cluster.by_name[session.name]
    if session.stream is not None:
        cluster.by_stream.pop(id(session.stream), None)
    step.loaded.drop_session(session.id)
    for queue in session.queues:
        share = member_queue(queue, session.name)
        if share in cluster.lines.ready:
            jobs.purge(step, share)  # what it has not run of its shares of broadcasts
    recovery.is_gone(step, session)


def look_after(step: Step) -> None:
    """End what was silent for too long, and the grace of those that did not return; note when to look again."""
    now, limits = step.now.monotonic, step.cluster.limits
    if now < step.cluster.look_at:
        return
    for session in list(step.cluster.sessions.values()):
        if session.stream is None:
            if now >= session.deadline:
                end(step, session, "its stream broke and it did not come back")
        elif now - session.last_heard >= limits.silence:
            message = f"nothing heard for {limits.silence:g} s"
            step.effects.sends.append(CloseStream(session.stream, "SILENT", message))
            break_stream(step, session)
    for probing in list(step.cluster.probing.values()):
        holder = step.cluster.sessions.get(probing.holder)
        if holder is not None and holder.stream is not None and now - probing.asked_at >= limits.probe:
            step.effects.sends.append(CloseStream(holder.stream, "SILENT", "it did not answer a probe"))
            break_stream(step, holder)
    step.cluster.look_at = _next_look(step.cluster)


def _next_look(cluster: Cluster) -> float:
    """Return the monotonic time at which the first session may have been silent, or away, for too long."""
    deadlines = [
        session.deadline if session.stream is None else session.last_heard + cluster.limits.silence
        for session in cluster.sessions.values()
    ]
    deadlines += [probing.asked_at + cluster.limits.probe for probing in cluster.probing.values()]
    return min(deadlines, default=math.inf)
