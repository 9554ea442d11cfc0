"""What is watched all the time in a simulated world, from outside of the core.

Nothing is told that is not durable; a task that may run once begins once; no more run at once than a limit lets
through, and no sooner than a rate does. The core's own invariants are checked by the engine of `coordinator.py`.

May NOT change anything.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.simulation.disk import Breach
from tests.simulation.workload import LIMITED_AT_ONCE, PACED_MS, PER_KEY

from grpcflow.settled import Settled
from grpcflow.waiting import NodeWaiter, RangeWaiter
from grpcflow_coordinator.core.cluster import Cluster
from grpcflow_coordinator.core.effects import Accepted, Assign, Effects
from grpcflow_coordinator.core.model import NodeState
from grpcflow_worker.executor import CallRun
from grpcflow_worker.wire import node_of

if TYPE_CHECKING:
    from tests.simulation.worker import Worker
    from tests.simulation.world import World

#: Milliseconds by which a start may seem too early: times are rounded.
_ROUNDING: Final = 2.0


class Watching:
    """The watchman of one world.

    Args:
        world: The world.

    Attributes:
        begun: How often a task began, by life of its graph and node.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.begun: Counter[tuple[int, bytes]] = Counter()
        #: In which life of its graph each attempt was handed out.
        self._lives: dict[int, int] = {}
        self._tokens: set[int] = set()
        self._paced_at = -1e9
        self._paced_by = 0

    # What the coordinator lets out

    def released(self, cluster: Cluster, effects: Effects) -> None:
        """See what the coordinator passes on as durable.

        Raises:
            Breach: It is not durable, or too much is handed out.
        """
        ledger = self.world.disk.ledger
        told = [(graph, index) for graph, index, _ in effects.values]
        told += [(graph, index) for graph, index, _, _ in effects.settled]
        for graph, index in told:
            # A retry may have taken the end back in the very commit that had it.
            if not ledger.has_settled(graph, index) and graph not in self.world.retried:
                raise Breach(f"node {index} of graph {graph.hex()} was told to have settled before that was durable")
        for send in effects.sends:
            if isinstance(send, Accepted) and send.graph not in ledger.graphs:
                raise Breach(f"graph {send.graph.hex()} was accepted before it was durable")
            if isinstance(send, Assign):
                tokens = range(send.token, send.token + send.count)
                self._lives |= dict.fromkeys(tokens, ledger.lives[send.graph])
                self._handed_out(cluster, send)

    def _handed_out(self, cluster: Cluster, send: Assign) -> None:
        if send.template.acks_early:
            self._check_mark(send)
        task, key = send.template.task, send.run.concurrency_key
        if task == "limited":
            self._check_count(task, sum(one.template.task == task for one in cluster.attempts.values()))
        gate = cluster.gates.tasks.get(task)
        if gate is not None and gate.limit.concurrency:
            count = sum(one.template.task == task for one in cluster.attempts.values())
            if count > gate.limit.concurrency:
                raise Breach(f"{count} of {task} are out, {gate.limit.concurrency} may be")
        if key:
            count = sum(one.run.concurrency_key == key for one in cluster.attempts.values())
            if count > PER_KEY[key]:
                raise Breach(f"{count} calls with the key {key} are out, {PER_KEY[key]} may be")
        if task == "paced":
            self._check_pace(send.count)

    def _check_mark(self, send: Assign) -> None:
        """A hand-out that must not happen twice is durable before it is sent."""
        coordinator = self.world.coordinator
        for ahead in range(send.count):
            progress = coordinator.engine.committed.progress(send.graph, send.first + ahead)
            if progress is None or progress.handed != send.token + ahead:
                raise Breach(f"node {send.first + ahead} of {send.graph.hex()} was handed out before that was durable")

    @staticmethod
    def _check_count(task: str, count: int) -> None:
        if count > LIMITED_AT_ONCE:
            raise Breach(f"{count} of {task} are out, {LIMITED_AT_ONCE} may be")

    def _check_pace(self, count: int) -> None:
        """Starts come no faster than the rate.

        But what was handed out while the disk was full is sent later, and rates are written as wall time. What was
        committed aside leaves later than its step, which is what the rate is about.
        """
        now = (self.world.clockwork.now - self.world.coordinator.beside.behind) * 1000
        too_soon = now < self._paced_at + PACED_MS - _ROUNDING
        if (count > 1 or too_soon) and not self.world.pace_is_open:
            raise Breach(f"{count} paced calls were handed out {now - self._paced_at:.0f} ms after the last one")
        self._paced_at = now

    # What runs

    def begins(self, worker: Worker, run: CallRun, token: int) -> None:
        """See a task begin.

        Raises:
            Breach: It must not run (again), or not now.
        """
        node = node_of(run, token)
        life = self._lives[token], node
        self.begun[life] += 1
        self.world.log(f"{worker.name} begins {run.call.task} {node.hex()} as {token:x}")
        if token in self._tokens:
            raise Breach(f"attempt {token:x} of node {node.hex()} begins twice")
        self._tokens.add(token)
        graph = node[:12]
        if run.call.acks_early and self.begun[life] > 1 and graph not in self.world.retried:
            raise Breach(f"node {node.hex()} must not run twice, and begins again")
        plan = self.world.plan
        if graph in self.world.disk.ledger.pruned and not (plan.may_return and plan.loses_attempts):
            raise Breach(f"node {node.hex()} begins, and its graph was deleted")
        if run.call.task == "limited":
            self._check_running(worker, token, LIMITED_AT_ONCE)

    def _check_running(self, beginner: Worker, began: int, most: int) -> None:
        """Count the attempts of one task that run, and count for the coordinator.

        One that it has given up does not: its worker was away for longer than the grace, and may go on with what it
        has, or begin it, before it hears of that.

        Args:
            beginner: The worker of the one that begins, which has no place yet.
            began: Its token.
            most: How many may run.
        """
        coordinator = self.world.coordinator
        if not coordinator.is_alive:
            return
        cluster = coordinator.machine.cluster
        missing = cluster.recovery.missing if cluster.recovery is not None else set[bytes]()
        begun = beginner.session.run_of(began)
        assert begun is not None
        count = 0
        for worker in self.world.workers:
            secret = worker.session.identity.secret
            if secret not in cluster.sessions:
                continue
            for token in [*worker.running(), *([began] if worker is beginner else [])]:
                run = worker.session.run_of(token)
                is_alike = run is not None and run.call.task == begun.call.task
                count += is_alike and (token in cluster.attempts or secret in missing)
        if count > most:
            raise Breach(f"{count} of {begun.call.task} run at once, {most} may")

    # What clients are told

    def told(self, waiter: RangeWaiter | NodeWaiter) -> None:
        """See the results that a client waited for.

        Raises:
            Breach: They are not what is durable.
        """
        records, ledger = self.world.coordinator.engine.committed, self.world.disk.ledger
        if waiter.graph in ledger.pruned or ledger.lives[waiter.graph] > 1 or waiter.graph in self.world.forgotten:
            return
        if waiter.error is not None:
            raise Breach(f"a client waits for graph {waiter.graph.hex()} in vain: {waiter.error}")
        if isinstance(waiter, NodeWaiter):
            first, slots = waiter.index, [waiter.settled]
        else:
            first, slots = waiter.first, waiter.slots
        for ahead, slot in enumerate(slots, first):
            outcome = records.outcome(waiter.graph, ahead)
            if slot is None or waiter.graph in self.world.retried:
                continue
            if outcome is None:
                raise Breach(f"a client was told how node {ahead} of {waiter.graph.hex()} settled, and it has not")
            if slot.state != outcome.state.name:
                raise Breach(f"a client was told {slot.state} of node {ahead}, and it is {outcome.state.name}")
            if _is_plain(slot) and outcome.state is NodeState.SUCCESS and outcome.data and slot.data != outcome.data:
                raise Breach(f"a client was told another value of node {ahead} than the durable one")


def _is_plain(slot: Settled) -> bool:
    return slot.data is not None
