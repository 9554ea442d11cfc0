"""Scenarios: a script of what happens to a simulated cluster, and the trace of what the coordinator does about it.

A scenario is a text. Lines that begin with "> " are the script; the lines after each are the trace of what follows
from it: what the coordinator is told ("->"), and what it tells once that is durable ("<-", and how nodes settle).

The words of a script:

    worker W [CAPACITY]         start a worker and let it connect; W' is another one of the same name
    submit EXPRESSION           submit a canvas, written with the words of written.py
    read, run, report, turn W   let worker W take its messages, run what it holds, send its reports; turn: all three
    tell W                      let it send what it says while it runs
    look G I                    look at how far node I of graph G says it is
    run-one W                   let it run the first of what it holds
    cut, connect, kill W        break its stream, open a new one, kill its process
    drain, give-back, leave W   say that it drains, hand back what it has not started, say goodbye
    revoke ID                   revoke a node by the id that its submitter gave it
    revoke-stamp NAME VALUE     revoke all nodes that bear a stamp
    cancel G, retry G           cancel a graph; retry what did not succeed of it
    crash now|before|after      kill the coordinator; before or after its next commit
    advance SECONDS             turn the clock
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

from tests.support import written
from tests.support.canvases import app, build
from tests.support.functions import FUNCTIONS
from tests.support.simulated import SimulatedCluster, graph_id
from tests.support.simulated_worker import SimulatedWorker

from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_coordinator.core import effects as out
from grpcflow_coordinator.core import events as seen
from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.model import Attachment, Failure, Outcome, split_node
from grpcflow_coordinator.streams import WorkerStream


def play(text: str) -> str:
    """Runs the script of a scenario and returns the scenario with the trace as it is now."""
    lines: list[str] = []
    stage = Stage(lines)
    for line in text.splitlines():
        if line.startswith(("#", "> ")) or not line:
            lines.append(line)
        if line.startswith("> "):
            word, _, rest = line[2:].partition(" ")
            stage.do(word, rest)
    return "\n".join(lines) + "\n"


class Stage:
    """A cluster that writes down what happens to it.

    Args:
        lines: Where the trace goes.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.cluster = _TracedCluster(lines)

    def do(self, word: str, rest: str) -> None:
        """Does what one line of a script says."""
        cluster = self.cluster
        match word:
            case "worker":
                self._add_worker(*rest.split())
            case "submit":
                self._submit(rest)
            case "crash":
                if rest == "now":
                    cluster.crash()
                else:
                    cluster.crash_at_next_commit(rest)
            case "advance":
                cluster.advance(float(rest))
            case "look":
                self._look(*map(int, rest.split()))
            case "revoke":
                cluster.revoke(rest)
            case "revoke-stamp":
                name, _, value = rest.partition(" ")
                cluster.post(seen.StampRevokeAsked(self, ((name, value),), False, ""))
            case "cancel":
                cluster.post(seen.CancelAsked(self, graph_id(int(rest)), False, "SIGTERM"))
            case "retry":
                cluster.settled.clear()  # its nodes settle once more
                cluster.post(seen.RetryAsked(self, graph_id(int(rest))))
            case _:
                self._do_with(word, next(worker for worker in cluster.workers if worker.label == rest))

    def _look(self, number: int, index: int) -> None:
        graph = graph_id(number)
        progress = self.cluster.engine.committed.progress(graph, index)
        told = "nothing" if progress is None or not progress.custom_state else progress.custom_state
        meta = "" if progress is None else progress.meta.decode()
        self._lines.append(f"  {_node(graph, index)} says {told} {meta}".rstrip())

    def _add_worker(self, label: str, capacity: str = "4") -> None:
        self.cluster.add_worker(label.rstrip("'"), label=label, capacity=int(capacity))

    def _do_with(self, word: str, worker: SimulatedWorker) -> None:
        cluster = self.cluster
        match word:
            case "read" | "report" | "turn" | "cut" | "connect" | "kill":
                getattr(cluster, word)(worker)
            case "run":
                for token in list(worker.held):
                    cluster.run_one(worker, token)
            case "run-one":
                cluster.run_one(worker, next(iter(worker.held)))
            case "tell":
                told = worker.tell()
                if told is not None:
                    cluster.post(told)
            case "drain":
                worker.draining = True
                cluster.post(worker.speak(sequenced=True, drain=True))
            case "give-back":
                worker.give_back()
                cluster.report(worker)
            case "leave":
                cluster.post(worker.speak(sequenced=True, goodbye=True))
                cluster.kill(worker)
            case _:
                raise ValueError(f"no script has the word {word!r}")

    def _submit(self, expression: str) -> None:
        canvas = eval(expression, {"__builtins__": {}}, WORDS)
        lowered = lower(build(canvas), Calls(app))
        assert lowered is not None
        self.cluster.submit(to_chunks(lowered, self.cluster.mint()))


def _short(name: str) -> Any:
    return functools.partial(written.call, f"canvases.{name}")


#: What an expression of a script may use.
WORDS: dict[str, Any] = {
    **{name.removeprefix("canvases."): _short(name.removeprefix("canvases.")) for name in FUNCTIONS},
    **{
        name: getattr(written, name)
        for name in ("chain", "group", "chord", "chunks", "linked", "on_error", "having", "fixed")
    },
    "range": range,
}


class _TracedCluster(SimulatedCluster):
    """A simulated cluster that writes down what it is told and what it tells."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        super().__init__(FUNCTIONS, Limits())

    def post(self, *events: seen.Event) -> None:
        for event in events:
            self._lines.extend(f"  {line}" for line in _told(event))
        super().post(*events)

    def deliver(self, effects: out.Effects) -> None:
        for graph, index, data in effects.values:
            self._lines.append(f"  {_node(graph, index)} SUCCESS {data.decode()}")
        for graph, index, _, outcome in effects.settled:
            self._lines.append(f"  {_node(graph, index)} {_ending(outcome)}")
        self._lines.extend(f"  {_sent(send)}" for send in effects.sends)
        super().deliver(effects)

    def crash(self) -> None:
        self._lines.append("  the coordinator crashes and starts again")
        super().crash()


def _number(graph: bytes) -> int:
    """Return the number in such an id."""
    return int.from_bytes(graph[9:], "big")


def _node(graph: bytes, index: int) -> str:
    return f"g{_number(graph)}/{index}"


def _attempt(token: int) -> str:
    return f"{token >> 40}.{token & (1 << 40) - 1}"


def _attempts(tokens: Any) -> str:
    return ", ".join(map(_attempt, tokens)) or "none"


def _name(stream: object) -> str:
    return stream.name if isinstance(stream, WorkerStream) else "client"


def _ending(outcome: Outcome) -> str:
    if outcome.source:
        return f"{outcome.state.name} with the value of {_node(*split_node(outcome.source))}"
    if outcome.failure is None:
        return outcome.state.name
    return f"{outcome.state.name} {_failure(outcome.failure)}"


def _failure(failure: Failure) -> str:
    reason = f" [{failure.reason}]" if failure.reason else ""
    origin = f" (from {failure.origin})" if failure.origin else ""
    return _TEXT_ID.sub(_named, f"{failure.type_name}: {failure.message}{reason}{origin}")


#: The text form of the ids of nodes, with the numbers of graph and node in it.
_TEXT_ID = re.compile(r"00000000-0000-7000-80([0-9a-f]{2})-([0-9a-f]{4})([0-9a-f]{8})")


def _named(found: re.Match[str]) -> str:
    return f"g{int(found[1] + found[2], 16)}/{int(found[3], 16)}"


def _told(event: seen.Event) -> Iterator[str]:
    """Yields what an event says; signs of life say nothing."""
    match event:
        case seen.WorkerArrived():
            held = _attempts(token for _, token in event.held)
            yield f"{_name(event.stream)} -> hello, holds {held}{', draining' if event.draining else ''}"
        case seen.StreamBroke():
            yield f"{_name(event.stream)} -> its stream breaks"
        case seen.ChunkArrived():
            yield f"client -> piece {event.sequence} of g{_number(event.graph)}{_attached(event.attachment)}"
        case seen.RevokeAsked():
            yield f"client -> revoke {', '.join(event.ids)}"
        case seen.StampRevokeAsked():
            yield f"client -> revoke what bears {', '.join(f'{name}={value}' for name, value in event.stamps)}"
        case seen.CancelAsked():
            yield f"client -> cancel g{_number(event.graph)}"
        case seen.RetryAsked():
            yield f"client -> retry g{_number(event.graph)}"
        case seen.WorkerSpoke():
            who = f"{_name(event.stream)} -> #{event.sequence}"
            for token, data in zip(event.tokens, event.values, strict=True):
                yield f"{who} {_attempt(token)} gave {data.decode()}"
            for report in event.reports:
                yield f"{who} {_reported(report)}"
            if event.drain or event.goodbye:
                yield f"{who} {'drains' if event.drain else 'says goodbye'}"


def _attached(attachment: Attachment | None) -> str:
    if attachment is None:
        return ""
    kind, node = attachment.kind.name.lower(), _node(*split_node(attachment.node))
    return f", {kind} of {node} by {_attempt(attachment.token)}, ends with node {attachment.final}"


def _reported(report: seen.Report) -> str:
    match report:
        case seen.Raised():
            return f"{_attempt(report.token)} raised {_failure(report.failure)}"
        case seen.Retried():
            return f"{_attempt(report.token)} wants to be retried in {report.countdown_ms} ms"
        case seen.Ended():
            return f"{_attempt(report.token)} ended: {report.how}"
        case seen.Progressed():
            return f"{_attempt(report.token)} is {report.state}: {report.meta.decode()}"
        case seen.Value():
            return f"{_attempt(report.token)} gave a value of {report.content_type}"


def _answer(answer: out.Answer) -> str:
    if answer.code:
        return f"{answer.code} {answer.message}"
    if answer.had_ended:
        return "it had ended"
    running = f", {answer.running} of them run" if answer.running else ""
    return f"done with {answer.count + answer.running} nodes{running}" if answer.count or running else "done"


def _sent(send: out.Send) -> str:
    match send:
        case out.Accepted():
            return f"client <- g{_number(send.graph)} is durable"
        case out.Refused():
            return f"client <- refused: {send.code} {send.message}"
        case out.RevokeDone():
            return f"client <- {send.revoked} revoked"
        case out.Answer():
            return f"client <- {_answer(send)}"
        case out.Welcome():
            how = "resumed" if send.resumed else "new"
            superseded = _attempts(send.superseded)
            return f"{_name(send.stream)} <- welcome in epoch {send.epoch}, {how}, superseded: {superseded}"
        case out.Assign():
            nodes = ", ".join(_node(send.graph, send.first + ahead) for ahead in range(send.count))
            past = f", retries {send.retries}, losses {send.losses}" if send.retries or send.losses else ""
            return f"{_name(send.stream)} <- run {nodes} {send.template.task} as {_attempt(send.token)} and on{past}"
        case out.Acknowledge():
            return f"{_name(send.stream)} <- #{send.sequence} is durable, superseded: {_attempts(send.superseded)}"
        case out.StopAttempt():
            return f"{_name(send.stream)} <- stop {_attempt(send.token)}"
        case out.Probe():
            return f"{_name(send.stream)} <- are you there?"
        case out.CloseStream():
            return f"{_name(send.stream)} <- closed: {send.code} {send.message}"
