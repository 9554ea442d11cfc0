"""Why a node is where it is, as a code for programs and a sentence for people. Reads only."""

from __future__ import annotations

from itertools import islice
from typing import Final

from grpcflow_coordinator.core.model import (
    Attempt,
    Edge,
    EdgeMode,
    Graph,
    NodeState,
    Outcome,
    Progress,
    Run,
    split_node,
)
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.rpc import limit_views
from grpcflow_coordinator.rpc.views import Gallery, shown_failure
from grpcflow_protos.v1 import graph_service_pb2 as pb
from grpcflow_protos.v1 import value_pb2

#: Nodes that are named of those that one waits for.
NAMED: Final = 10

_MS: Final = 1000
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


class Explainer:
    """Explains nodes.

    Args:
        engine: where they are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._records = engine.committed
        self._cluster = engine.machine.cluster
        self._gallery = Gallery(engine)
        self._now_ms = engine.now().wall_ms

    def explain(self, graph_id: bytes, index: int) -> pb.ExplainResponse:
        """Return why a node is where it is; the node is there."""
        graph, run = self._records.graph(graph_id), self._records.run_of(graph_id, index)
        assert graph is not None
        assert run is not None
        answer = pb.ExplainResponse(state=value_pb2.STATE_PENDING)
        if not run.is_join:
            template = graph.templates[run.template]
            answer.task, answer.queue = template.task, template.queue
        outcome = self._records.outcome(graph_id, index)
        if outcome is not None:
            self._settled(answer, graph, run, outcome)
        else:
            self._unsettled(answer, graph, run, index)
        return answer

    # What has settled

    def _settled(self, answer: pb.ExplainResponse, graph: Graph, run: Run, outcome: Outcome) -> None:
        answer.state = int(outcome.state)  # type: ignore[assignment]
        answer.worker = outcome.worker
        when = f"{span(self._now_ms - outcome.settled_ms)} ago"
        by = f" on {outcome.worker}" if outcome.worker else ""
        took = f", {span(outcome.took_ms)} after it was handed out" if outcome.took_ms else ""
        failure = outcome.failure
        if outcome.state is NodeState.SUCCESS:
            what = "Collected all its members" if run.is_join else f"Succeeded{by}"
            _say(answer, "SUCCEEDED", f"{what} {when}{took}.")
        elif outcome.state is NodeState.FAILURE:
            why = "" if failure is None else shown_failure(failure)
            if failure is not None and failure.origin:
                _say(answer, "FAILED_BEFORE", f"Never ran: {failure.origin} did not succeed before it ({why}), {when}.")
                answer.waits_for.append(failure.origin)
            else:
                _say(answer, "FAILED", f"Failed{by} {when}{took}: {why}.")
        elif outcome.state is NodeState.REVOKED:
            self._revoked(answer, graph, outcome, when)
        elif outcome.state is NodeState.REJECTED:
            _say(answer, "REJECTED", f"Rejected by its own task{by} {when}{took}.")
        elif run.is_errback and not outcome.token:
            _say(answer, "SPARED", f"Was not needed, {when}: what it waits for failing did not fail.")
        else:
            what = f"Its task asked to be ignored{by}" if outcome.token else "Never ran: a step before it was ignored,"
            _say(answer, "IGNORED", f"{what} {when}{took}.")

    def _revoked(self, answer: pb.ExplainResponse, graph: Graph, outcome: Outcome, when: str) -> None:
        ran = "while it ran" if outcome.token else "before it ran"
        if outcome.failure is not None and outcome.failure.reason == "EXPIRED":
            _say(answer, "EXPIRED", f"Expired {ran}, {when}.")
        elif self._records.is_cancelled(graph.id):
            _say(answer, "REVOKED", f"Its graph was cancelled {ran}, {when}.")
        else:
            _say(answer, "REVOKED", f"Was revoked {ran}, {when}.")

    # What has not

    def _unsettled(self, answer: pb.ExplainResponse, graph: Graph, run: Run, index: int) -> None:
        progress = self._records.progress(graph.id, index)
        if progress is not None and progress.replaced_by:
            self._replaced(answer, progress)
            return
        if progress is not None and progress.follows:
            holder = self._gallery.text(*split_node(progress.follows))
            _say(answer, "FOLLOWS", f"Settles as {holder} does, which has the same unique key.")
            answer.waits_for.append(holder)
            return
        attempt = self._attempt(graph.id, index)
        if attempt is not None:
            self._running(answer, attempt, progress)
        elif progress is not None and progress.retrying:
            self._retrying(answer, progress)
        elif self._gallery.waits(graph, run):
            self._waiting(answer, graph, run, index)
        else:
            due = self._gallery.due_ms(graph, run)
            if due > self._now_ms:
                answer.due_at_ms = due
                _say(answer, "SCHEDULED", f"Waits for its time, in {span(due - self._now_ms)}.")
            else:
                self._queued(answer, graph, run)

    def _attempt(self, graph: bytes, index: int) -> Attempt | None:
        attempts = self._cluster.attempts.values()
        return next((one for one in attempts if (one.graph, one.index) == (graph, index)), None)

    def _replaced(self, answer: pb.ExplainResponse, progress: Progress) -> None:
        graph, index = split_node(progress.replaced_by)
        other = self._gallery.text(graph, index)
        inner = self.explain(graph, index) if self._records.graph(graph) is not None else None
        _say(answer, "REPLACED", f"Its task replaced itself: {other} runs in its place.")
        answer.waits_for.append(other)
        if inner is not None:
            answer.state, answer.worker = inner.state, inner.worker
            answer.sentence += f" Of that one: {inner.sentence[0].lower()}{inner.sentence[1:]}"

    def _running(self, answer: pb.ExplainResponse, attempt: Attempt, progress: Progress | None) -> None:
        session = self._cluster.sessions.get(attempt.session)
        answer.worker = "" if session is None else session.name
        started = attempt.state is NodeState.STARTED
        answer.state = value_pb2.STATE_STARTED if started else value_pb2.STATE_RECEIVED
        since = f" since {span(self._now_ms - attempt.handed_ms)}" if attempt.handed_ms else ""
        told = f"; it says {progress.custom_state}" if progress is not None and progress.custom_state else ""
        doomed = ", and was revoked meanwhile" if progress is not None and progress.doom else ""
        broken = ""
        if session is not None and session.stream is None:
            broken = "; that worker's stream is broken, and it has its grace to come back"
        what = "Runs on" if started else "Is with"
        _say(answer, "RUNNING" if started else "HANDED_OUT", f"{what} {answer.worker}{since}{told}{doomed}{broken}.")

    def _retrying(self, answer: pb.ExplainResponse, progress: Progress) -> None:
        answer.state, answer.due_at_ms = value_pb2.STATE_RETRY, progress.due_ms
        why = "" if progress.failure is None else f" after {shown_failure(progress.failure)}"
        when = f" in {span(progress.due_ms - self._now_ms)}" if progress.due_ms else ""
        _say(answer, "RETRYING", f"Is run again{when}{why}; that is retry {progress.retries}.")

    def _waiting(self, answer: pb.ExplainResponse, graph: Graph, run: Run, index: int) -> None:
        missing = self._missing(graph, run)
        names = [self._gallery.text(graph.id, parent) for parent in islice(missing, NAMED)]
        if run.is_join:
            stored = self._records.waiting(graph.id, index)
            total = run.parents() + len(self._records.extras(graph.id, index))
            answer.waiting_count = total if stored is None else max(stored, 0)
            code, what = "WAITING_FOR_MEMBERS", f"Waits for {answer.waiting_count} of its {total} members"
        elif run.is_errback:
            answer.waiting_count = len(names)
            code, what = "WAITING_FOR_ERROR", "Runs only where one of these fails, and none has ended"
        else:
            answer.waiting_count = len(names)
            code, what = "WAITING_FOR_PARENTS", "Waits for what comes before it"
        answer.waits_for.extend(names)
        more = answer.waiting_count - len(names)
        _say(answer, code, f"{what}: {', '.join(names)}{f' and {more} more' if more > 0 else ''}.")

    def _missing(self, graph: Graph, run: Run) -> list[int]:
        """Return the first of the nodes that one waits for."""
        found: list[int] = [edge.parent for edge in run.inputs if self._counts(graph, run, edge)]
        for first, count in run.members or ():
            at = first
            while at < first + count and len(found) < NAMED:
                page = min(first + count - at, 500)
                settled = self._records.settled_in(graph.id, at, page)
                found += [member for member in range(at, at + page) if member not in settled]
                at += page
        return found[:NAMED]

    def _counts(self, graph: Graph, run: Run, edge: Edge) -> bool:
        wanted = run.is_errback or edge.mode < EdgeMode.ERROR
        return wanted and self._records.outcome(graph.id, edge.parent) is None

    def _queued(self, answer: pb.ExplainResponse, graph: Graph, run: Run) -> None:
        template = graph.templates[run.template]
        task, queue = template.task, template.queue
        lines = list(self._cluster.lines.of((queue, task)).values())
        answer.ahead = max(0, sum(line.queued for line in lines if line.key.priority >= template.priority) - 1)
        live = [one for one in self._cluster.sessions.values() if one.stream is not None and not one.draining]
        serving = [one for one in live if queue in one.ring]
        able = [one for one in serving if task in one.facts.tasks]
        if queue in self._cluster.paused:
            _say(answer, "PAUSED", f"Waits in queue {queue!r}, which is paused.")
        elif self._cluster.recovery is not None and any(line.below for line in lines):
            text = "Waits for workers to come back after the coordinator's restart: one of them may be running it."
            _say(answer, "RECOVERING", text)
        elif not serving:
            _say(answer, "NO_WORKER", f"Waits in queue {queue!r}, which no connected worker serves.")
        elif not able:
            names = _names(serving)
            _say(
                answer,
                "UNKNOWN_TASK",
                f"Waits in queue {queue!r}: its workers ({names}) do not know the task {task!r}.",
            )
        elif shut := self._shut(run, queue, task):
            _say(answer, "LIMITED", f"Waits in queue {queue!r}: {shut}.")
        elif all(one.free <= 0 for one in able):
            behind = f", behind up to {answer.ahead} others" if answer.ahead else ""
            text = f"Waits in queue {queue!r}{behind}: all that can run it ({_names(able)}) have as much as they take."
            _say(answer, "WORKERS_FULL", text)
        else:
            _say(answer, "NEXT", f"Is about to be handed out from queue {queue!r}.")

    def _shut(self, run: Run, queue: str, task: str) -> str:
        """Say which limit holds a queued node back; empty: none."""
        gates = self._cluster.gates
        gate = gates.keys.get(run.concurrency_key) if run.concurrency_key else None
        if gate is not None and gate.waiting:
            return f"{gate.running} with its concurrency key {run.concurrency_key!r} run, and no more may"
        return limit_views.why_shut(self._cluster, queue, task)


def _names(sessions: list[Session]) -> str:
    names = sorted(one.name for one in sessions)
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def _say(answer: pb.ExplainResponse, code: str, sentence: str) -> None:
    answer.code, answer.sentence = code, sentence


def span(milliseconds: int) -> str:
    """Return a length of time for people, in its largest fitting unit."""
    seconds = max(0, milliseconds) / _MS
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for size, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
