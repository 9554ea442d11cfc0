"""How graphs and nodes look to people: summaries, runs, nodes. Reads the records and what runs; changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from grpcflow_coordinator.core.model import (
    EdgeMode,
    Failure,
    Graph,
    NodeState,
    Outcome,
    Progress,
    Run,
    Tally,
    Template,
    node_id,
    split_node,
    text_id,
)
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.rpc.running import Running
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2, value_pb2
from grpcflow_protos.v1 import graph_service_pb2 as pb

#: Nodes of a run of many that are shown unless all are asked for: those that did not succeed.
SHOWN: Final = 10


class Gallery:
    """Looks at graphs.

    Args:
        engine: where they are.
        running: what runs; None: nothing is told that has to do with it.
    """

    def __init__(self, engine: Engine, running: Running | None = None) -> None:
        self._records = engine.committed
        self._sessions = engine.machine.cluster.sessions
        self._attempts = {} if running is None else running.by_node()
        self._running = Counter[bytes]() if running is None else running.by_graph()

    def summary(self, graph: Graph) -> pb.GraphSummary:
        """Return a graph in short."""
        records = self._records
        outcome = records.outcome(graph.id, graph.outcome)
        tally = self._tally(graph)
        message = pb.GraphSummary(
            graph=graph.id,
            id=self.text(graph.id, graph.outcome),
            tally=tally,
            created_at_ms=graph.created_ms,
            settled_at_ms=0 if outcome is None else outcome.settled_ms,
            task=graph.templates[0].task if graph.templates else "",
            templates=len(graph.templates),
            cancelled=records.is_cancelled(graph.id),
            ended=tally.unsettled == 0,
        )
        if outcome is not None:
            message.state = int(outcome.state)  # type: ignore[assignment]
        else:
            begun = tally.running or tally.unsettled < tally.nodes
            message.state = value_pb2.STATE_STARTED if begun else value_pb2.STATE_PENDING
        if graph.attachment is not None:
            message.attached_to = self.text(*split_node(graph.attachment.node))
        return message

    def summary_of_one(self, graph: Graph, run: pb.RunView, task: str) -> pb.GraphSummary:
        """Return one of many independent calls in short, by the view of its run of one."""
        outcome = self._records.outcome(graph.id, run.first)
        message = pb.GraphSummary(
            graph=graph.id,
            id=text_id(graph.id, run.first),
            tally=run.tally,
            created_at_ms=graph.created_ms,
            settled_at_ms=0 if outcome is None else outcome.settled_ms,
            task=task,
            templates=1,
            ended=outcome is not None,
            cancelled=outcome is not None and outcome.state is NodeState.REVOKED,
        )
        begun = value_pb2.STATE_STARTED if run.tally.running else value_pb2.STATE_PENDING
        message.state = begun if outcome is None else int(outcome.state)  # type: ignore[assignment]
        return message

    def text(self, graph: bytes, index: int) -> str:
        """Return a node's id as its user knows it."""
        run = self._records.run_of(graph, index)
        return text_id(graph, index, "" if run is None else run.own_id)

    def _tally(self, graph: Graph) -> pb.Tally:
        if graph.node_count == 1:
            outcome = self._records.outcome(graph.id, 0)
            tally = Tally(1)
            if outcome is not None:
                tally.settled(outcome.state)
        else:
            tally = self._records.tally(graph.id) or Tally(graph.node_count)
        return _tally(graph.node_count, tally, self._running[graph.id])

    def run(self, graph: Graph, run: Run, *, every_node: bool) -> pb.RunView:
        """Return a run and how its nodes stand."""
        settled = dict(self._records.outcomes(graph.id, run.first, run.count, run.count))
        tally = Tally(run.count)
        for outcome in settled.values():
            tally.settled(outcome.state)
        indexes = range(run.first, run.first + run.count)
        running = sum(node_id(graph.id, index) in self._attempts for index in indexes) if self._running[graph.id] else 0
        message = pb.RunView(
            first=run.first,
            count=run.count,
            template=run.template,
            join=run.is_join,
            tally=_tally(run.count, tally, running),
            id=run.own_id,
        )
        message.members.extend(graph_pb2.Range(first=first, count=count) for first, count in run.members or ())
        message.inputs.extend(
            graph_pb2.Edge(parent=edge.parent, mode=int(edge.mode), on_failure=int(edge.on_failure))  # type: ignore[arg-type]
            for edge in run.inputs
        )
        shown: Iterable[int] = indexes
        if not every_node and run.count > 1:
            shown = [index for index, outcome in settled.items() if outcome.state is not NodeState.SUCCESS][:SHOWN]
        message.nodes.extend(self.node(graph, run, index, settled.get(index)) for index in shown)
        return message

    def node(self, graph: Graph, run: Run, index: int, outcome: Outcome | None) -> pb.NodeView:
        """Return how one node stands; `outcome`: None where it has not settled."""
        progress = self._records.progress(graph.id, index)
        message = pb.NodeView(index=index)
        if progress is not None:
            message.retries, message.losses = progress.retries, progress.losses
            if progress.replaced_by:
                message.replaced_by = split_node(progress.replaced_by)[0]
        if outcome is not None:
            message.state, message.worker, message.settled_at_ms = (
                outcome.state.name,
                outcome.worker,
                outcome.settled_ms,
            )
            message.retries = outcome.retries
            if outcome.took_ms:
                message.started_at_ms = outcome.settled_ms - outcome.took_ms
            _say_failure(message, outcome.failure)
            return message
        self._unsettled(message, graph, run, index, progress)
        return message

    def _unsettled(self, message: pb.NodeView, graph: Graph, run: Run, index: int, progress: Progress | None) -> None:
        attempt = self._attempts.get(node_id(graph.id, index))
        message.state = "PENDING"
        if attempt is not None:
            message.state = "STARTED" if attempt.state is NodeState.STARTED else "RECEIVED"
            session = self._sessions.get(attempt.session)
            message.worker = "" if session is None else session.name
            message.started_at_ms = attempt.handed_ms
        elif progress is not None and progress.retrying:
            message.state, message.due_at_ms = "RETRY", progress.due_ms
            _say_failure(message, progress.failure)
        elif progress is None or not progress.replaced_by:
            message.waiting = self.waits(graph, run)
            message.due_at_ms = 0 if message.waiting or run.is_join else self.due_ms(graph, run)
        if progress is not None and progress.custom_state:
            message.state = progress.custom_state

    def waits(self, graph: Graph, run: Run) -> bool:
        """Return whether an unsettled node waits for others."""
        if run.is_errback:
            return self._records.waiting(graph.id, run.first) != -1
        parents = (edge.parent for edge in run.inputs if edge.mode < EdgeMode.ERROR)
        return run.is_join or any(self._records.outcome(graph.id, parent) is None for parent in parents)

    def due_ms(self, graph: Graph, run: Run) -> int:
        """Return when the nodes of a run that wait for no other may run; 0: at once."""
        template = graph.templates[run.template]
        if not template.countdown_ms:
            return template.eta_ms
        parents = [self._records.outcome(graph.id, edge.parent) for edge in run.inputs]
        released = max((parent.settled_ms for parent in parents if parent is not None), default=graph.created_ms)
        return max(template.eta_ms, released + template.countdown_ms)


def _tally(nodes: int, tally: Tally, running: int) -> pb.Tally:
    others = tally.failed + tally.revoked + tally.ignored + tally.rejected
    return pb.Tally(
        nodes=nodes,
        unsettled=tally.unsettled,
        running=min(running, tally.unsettled),
        succeeded=nodes - tally.unsettled - others,
        failed=tally.failed,
        revoked=tally.revoked,
        ignored=tally.ignored,
        rejected=tally.rejected,
    )


def told_failure(failure: Failure, template: Template | None) -> str:
    """Return a failure in one line, for events: of a call whose arguments are hidden without its message.

    Args:
        failure: the failure.
        template: of the call that failed; None: it is a join.
    """
    if template is None or not graph_pb2.Template.FromString(template.wire).sensitive:
        return shown_failure(failure)
    return f"{failure.type_name}: {limits.HIDDEN}" if failure.type_name else limits.HIDDEN


def shown_failure(failure: Failure) -> str:
    """Return a failure in one line."""
    return f"{failure.type_name}: {failure.message}" if failure.message else failure.type_name


def _say_failure(message: pb.NodeView, failure: Failure | None) -> None:
    if failure is not None:
        message.error, message.origin = shown_failure(failure), failure.origin
