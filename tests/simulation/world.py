"""One simulated world: its processes, and what the plan lets happen to them, until all is well and over again.

May NOT judge: watching.py and judging.py do.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tests.simulation.client import Client, Waiting
from tests.simulation.clockwork import Clockwork, Process, instead_of_time
from tests.simulation.coordinator import GRACE, SILENCE, Coordinator
from tests.simulation.disk import Breach, Disk, Killed
from tests.simulation.network import Connection, Network
from tests.simulation.ordering import give
from tests.simulation.paging import little_at_once
from tests.simulation.planning import CLIENTS, LONG_MS, WORKERS, Fault, Job, Plan
from tests.simulation.watching import Watching
from tests.simulation.worker import Worker
from tests.simulation.workload import QUEUES, TASK_FACTS, TASKS, Submitted, perform, submission
from tests.support.acting import Actor, Attempt, Done
from tests.support.functions import FUNCTIONS

from grpcflow.waiting import NodeWaiter, RangeWaiter
from grpcflow_coordinator.storage.contract import StoreError
from grpcflow_worker.executor import CallRun
from grpcflow_worker.log_lines import LogLine

#: Simulated seconds after which a healed world must be at rest.
PATIENCE: Final = 400.0
#: Seconds between two looks whether it is.
_LOOK: Final = 0.25
#: Seconds after which it is said once more that everything is to go on.
_TOLD_AGAIN: Final = 60.0
#: How many lines an attempt logs.
LINES: Final = (0, 0, 1, 2, 12)
#: Most seconds that a connection is silent.
SILENT: Final = 25.0
#: Most turns of one world: more is a loop.
_TURNS: Final = 15_000
#: Retention times after which everything is gone: a task, what replaced it, what replaced that, ...
_ROUNDS: Final = 12
#: Lines that are kept of what happened.
_LINES: Final = 4_000


class World:
    """One world.

    Args:
        plan: What happens in it.
        traced: True: what happens is written down in `lines`.
    """

    def __init__(self, plan: Plan, *, traced: bool = False) -> None:
        self.plan = plan
        self.clockwork = Clockwork()
        #: Whose turns no death ends.
        self.fate = Process(self.clockwork, "fate")
        self.network = Network(self.clockwork, self.chance("network"))
        self.lines: deque[str] = deque(maxlen=_LINES)
        self._traced = traced
        self._luck = self.chance("luck")
        #: False: who starts before all is well does not serve all queues.
        self._serves_all = self.chance("queues").random() < 0.5
        self._is_piecemeal = self.chance("pieces").random() < 0.5
        self.wall_ahead = 0
        self.disk = Disk(self._hold_coordinator)
        self.disk.ledger.may_return = plan.may_return
        self.watching = Watching(self)
        self.calls: Counter[str] = Counter()
        self.actor = Actor(FUNCTIONS, self.calls, self._mint)
        self._ids = self._sessions = self._names = 0
        self.deaths = 0
        self.healed = False
        self.submitted: dict[int, Submitted] = {}
        #: What attempts logged that came to their end, by token.
        self.logged: dict[int, list[str]] = {}
        #: Graphs that somebody asked to be retried, and schedules that somebody put, or died over it.
        self.retried: set[bytes] = set()
        #: Graphs of which somebody asked for a result to be forgotten.
        self.forgotten: set[bytes] = set()
        self.schedules: set[str] = set()
        #: True where somebody asked for everything to be revoked that waits.
        self.purged = False
        self.workers: list[Worker] = []
        self.clients: list[Client] = []
        self.coordinator = self._new_coordinator()

    def chance(self, purpose: str) -> random.Random:
        """Return a generator for one purpose, which no other disturbs."""
        return random.Random(f"{self.plan.seed} {purpose}")

    def lines_of(self, token: int) -> list[LogLine]:
        """Draw what an attempt logs."""
        rng = self.chance(f"lines {token}")
        texts = [f"{token} {number} ".ljust(rng.choice((20, 500, 3_000)), "x") for number in range(rng.choice(LINES))]
        self.logged[token] = texts
        return [(0, "INFO", "t", text) for text in texts]

    def log(self, line: str) -> None:
        """Write down what happens."""
        if self._traced:
            self.lines.append(f"{self.clockwork.now:9.3f} {line}")

    @property
    def pace_is_open(self) -> bool:
        """True where it cannot be seen from outside when something was handed out, or a restart knows another time."""
        return any(fault.kind in ("clock step", "disk full") for fault in self.plan.faults)

    # ------------------------------------------------------------------------------------------ from begin to end

    def run(self) -> None:
        """Let it all happen, and heal; then let time pass until it is at rest.

        Raises:
            AssertionError: Something that was promised does not hold.
        """
        with instead_of_time(self.clockwork), little_at_once(self._is_piecemeal):
            self._begin()
            moments = [part.at for part in self.plan.parts] + [job.at + job.again for job in self.plan.jobs]
            self._run_until(max(moments, default=0.0) + 0.5)
            self._heal()
            self._wait_for(self.is_at_rest)

    def _wait_for(self, come: Callable[[], bool]) -> None:
        begin = told = self.clockwork.now
        while not come():
            if self.clockwork.now > begin + PATIENCE:
                raise Breach(f"it does not come to rest: {self._what_is_open()}")
            if self.clockwork.now > told + _TOLD_AGAIN:
                told = self.clockwork.now
                give(self, None)  # an older request may have come late
            self._run_until(self.clockwork.now + _LOOK)

    def _begin(self) -> None:
        self._start_coordinator()
        for _ in range(WORKERS):
            self._names += 1
            self.add_worker(f"w{self._names}")
        self.clients = [Client(self, f"client {number}") for number in range(CLIENTS)]
        for job in self.plan.jobs:
            self.clockwork.at(job.at, self.fate, self._submit, job)
            if job.again:
                self.clockwork.at(job.at + job.again, self.fate, self._submit_again, job)
        for order in self.plan.orders:
            self.clockwork.at(order.at, self.fate, give, self, order)
        for fault in self.plan.faults:
            self.clockwork.at(fault.at, self.fate, self._strike, fault)

    def _run_until(self, when: float) -> None:
        while self.clockwork.run_one(when):
            if self.clockwork.turns > _TURNS:
                raise Breach(f"{_TURNS} turns, and no end: {self._what_is_open()}")

    def is_at_rest(self) -> bool:
        """Return whether everything that was asked for is done."""
        engine = self.coordinator.engine
        if not self.coordinator.is_alive or engine.full or engine.is_committing:
            return False
        if any(client.sent or client.waiters or client.asking for client in self.clients):
            return False
        if any(worker.submitting or worker.client.sent or not worker.is_online for worker in self.workers):
            return False
        return not self.unsettled()

    def unsettled(self) -> list[bytes]:
        """Return the graphs that have not ended."""
        records, ledger = self.coordinator.engine.committed, self.disk.ledger
        found = ((graph, records.graph(graph)) for graph in sorted(ledger.graphs - ledger.pruned))
        return [graph for graph, root in found if root is not None and not records.has_ended(root)]

    def _what_is_open(self) -> str:
        graphs = [graph.hex() for graph in self.unsettled()]
        clients = [f"{one.name} {len(one.sent)} {len(one.waiters)} {len(one.asking)}" for one in self.clients]
        return f"graphs {graphs}, clients {clients}, {'' if self.coordinator.is_alive else 'no '}coordinator"

    def let_expire(self) -> list[bytes]:
        """End workers and clients, and let all results expire; return the keys of the records that are left."""
        with instead_of_time(self.clockwork), little_at_once(self._is_piecemeal):
            self._run_until(self.clockwork.now + 2.0)
            self._wait_for(self.is_at_rest)
            for worker in list(self.workers):
                self.kill_worker(worker, tells=True)
            for client in self.clients:
                client.is_alive = False
                if client.connection is not None:
                    client.connection.tear()
            self._run_until(self.clockwork.now + GRACE + SILENCE)
            left: list[bytes] = []
            for _ in range(_ROUNDS):  # what runs in the place of a task goes after the task
                self._run_until(self.clockwork.now + LONG_MS / 1000)
                left = self.disk.left()
                if not left:
                    break
            return left

    # ------------------------------------------------------------------------------------------ the coordinator

    def wall_ms(self) -> int:
        """Return by how many milliseconds the coordinator's wall clock is ahead of what passed."""
        return self.wall_ahead

    def _hold_coordinator(self, seconds: float) -> None:
        self.coordinator.hold(seconds)

    def _new_coordinator(self) -> Coordinator:
        return Coordinator(self.clockwork, self.disk, self.wall_ms, self.watching, self._coordinator_died, self.plan)

    def _start_coordinator(self) -> None:
        self.log("the coordinator starts")
        try:
            self.coordinator.start()
        except Killed as killed:
            self._coordinator_died(f"{killed} the commit of its start")
        except StoreError:
            self._coordinator_died("its disk failed")

    def _coordinator_died(self, why: str, *, tells: bool = True) -> None:
        """Take in that the coordinator has died, and start another one after a while."""
        old = self.coordinator
        self.log(f"the coordinator dies: {why}")
        self.deaths += 1
        old.is_alive = False
        for connection in old.connections:
            if tells:
                connection.tear()
            elif connection.is_open:
                connection.is_open = False  # its peers find out by the silence
        self.clockwork.at(self.clockwork.now + self._luck.choice([0.01, 0.2, 1.0, 4.0]), self.fate, self._restart)

    def _restart(self) -> None:
        self.coordinator = self._new_coordinator()
        self._start_coordinator()

    # ------------------------------------------------------------------------------------------ connections

    def connect(self, client: Client, take: Callable[[Any], None], lost: Callable[[], None]) -> Connection:
        """Connect a client."""
        connection = Connection(self.network, client, self.coordinator, take, lost)
        if self.coordinator.is_alive:
            self.coordinator.accept_client(connection)
        else:
            connection.tear()
        return connection

    def connect_worker(self, worker: Worker, take: Callable[[Any], None], lost: Callable[[], None]) -> Connection:
        """Connect a worker."""
        connection = Connection(self.network, worker, self.coordinator, take, lost)
        if self.coordinator.is_alive:
            self.coordinator.accept_worker(connection)
        else:
            connection.tear()
        return connection

    # ------------------------------------------------------------------------------------------ workers

    def add_worker(self, name: str) -> None:
        """Start a worker."""
        self._sessions += 1
        identity = {"tasks": (*FUNCTIONS, *TASKS), "task_facts": TASK_FACTS}
        secret = self._sessions.to_bytes(16, "big")
        self.log(f"worker {name} starts")
        queues = QUEUES if self.healed or self._serves_all else QUEUES[:1]
        self.workers.append(Worker(self, name, secret, identity, queues, self._luck.choice([1, 2, 3])))

    def worker_ended(self, worker: Worker) -> None:
        """A worker has said goodbye, or could not: its successor has started long before."""
        self.log(f"worker {worker.name} ends")
        self._remove(worker, tells=True)

    def worker_refused(self, worker: Worker) -> None:
        """A worker's name is taken: it ends, and another one comes with a name of its own."""
        self._remove(worker, tells=True)
        self._names += 1
        self.add_worker(f"w{self._names}")

    def kill_worker(self, worker: Worker, *, tells: bool) -> None:
        """Let a worker be gone with all it held."""
        self.log(f"worker {worker.name} is killed")
        self._remove(worker, tells=tells)

    def _remove(self, worker: Worker, *, tells: bool) -> None:
        worker.die()
        if worker in self.workers:
            self.workers.remove(worker)
        for connection in (worker.connection, worker.client.connection):
            if connection is not None:
                connection.tear(tells_far=tells)

    def duration(self, task: str, rng: random.Random) -> float:
        """Draw how long a task takes."""
        if task == "limited":
            return rng.choice([0.01, 0.3, 2.0])
        if task == "long" and not self.healed:
            return rng.choice([0.3, 2.0, 9.0])
        return rng.random() * rng.choice([0.002, 0.02, 0.02, 0.3])

    def run_task(self, worker: Worker, run: CallRun, attempt: Attempt) -> Done | None:
        """Run the body of a task; None: its process died under it."""
        if run.call.task in FUNCTIONS:
            return self.actor.run(attempt)
        return perform(run, attempt.token, attempt.node)

    def _mint(self) -> bytes:
        self._ids += 1
        return bytes(6) + b"\x70\x00\x80" + self._ids.to_bytes(3, "big")

    # ------------------------------------------------------------------------------------------ what clients do

    def _submit(self, job: Job) -> None:
        graph = bytes(6) + b"\x70\x00\x90" + job.number.to_bytes(3, "big")
        self.submitted[job.number] = made = submission(job.kind, job.seed, graph)
        made.client = job.client
        self.log(f"job {job.number} ({job.kind}) is submitted as {graph.hex()}")
        self._submit_by(self.clients[job.client], job)
        if job.twice:
            self._submit_by(self.clients[1 - job.client], job)

    def _submit_again(self, job: Job) -> None:
        client, graph = self.clients[job.client], self.submitted[job.number].graph
        if graph not in client.sent:
            self.log(f"job {job.number} is submitted again")
            self._submit_by(client, job)

    def _submit_by(self, client: Client, job: Job) -> None:
        client.submit(self.submitted[job.number].chunks, partial(self._answered, client, job))

    def _answered(self, client: Client, job: Job, error: Exception | None) -> None:
        made = self.submitted[job.number]
        self.log(f"job {job.number} is answered: {error or 'accepted'}")
        if error is not None:
            made.refused = getattr(error, "code", "") or repr(error)
            return
        if made.graph not in self.disk.ledger.graphs:
            raise Breach(f"a client was told that graph {made.graph.hex()} is durable, and it is not")
        made.accepted = True
        if job.watched:
            count = made.chunks[0].node_count
            if job.kind == "apart":
                self._watch_each(client, made.graph, count, 0)
            else:
                client.watch(RangeWaiter(made.graph, 0, count), self.watching.told)

    def _watch_each(self, client: Client, graph: bytes, count: int, index: int) -> None:
        """Let a client wait for one call after the other, as who has submitted many."""

        def told(waiter: Waiting) -> None:
            self.watching.told(waiter)
            if index + 1 < count:
                self._watch_each(client, graph, count, index + 1)

        client.watch(NodeWaiter(graph, index), told)

    def _new_client(self, number: int) -> None:
        """Start a client in the place of one that died; it submits again what that does not know to be durable."""
        old = self.clients[number]
        self.clients[number] = new = Client(self, f"{old.name}'")
        for job in self.plan.jobs:
            made = self.submitted.get(job.number)
            if made is not None and made.graph in old.sent and self._luck.random() < 0.5:
                self._submit_by(new, job)

    # ------------------------------------------------------------------------------------------ what goes wrong

    def _strike(self, fault: Fault) -> None:
        self.log(f"fault: {fault.kind} {fault.target} {fault.amount:.3f}")
        kind, amount = fault.kind, fault.amount
        if kind in ("crash", "power loss"):
            if self.coordinator.is_alive:
                self._coordinator_died(kind, tells=kind == "crash")
        elif kind in ("crash before commit", "crash after commit"):
            self.disk.dies = kind.split()[1]
        elif kind == "crash in recovery":
            if self.coordinator.is_alive:
                self._coordinator_died(kind)
            self.disk.dies = "after" if amount < 0.5 else "before"
        elif kind.startswith("disk"):
            self._spoil_disk(kind, amount)
        elif kind == "clock step":
            self.wall_ahead += round((amount - 0.4) * 40_000)
        elif kind == "slow network":
            self.network.slow_until = self.clockwork.now + 4 * amount
        elif kind.endswith("client"):
            self._harm_client(kind, fault.target, amount)
        elif self.workers:
            self._harm_worker(kind, self.workers[fault.target % len(self.workers)], amount)

    def _spoil_disk(self, kind: str, amount: float) -> None:
        if kind == "disk fails":
            self.disk.fails = True
            return
        self.disk.full = self.disk.full or kind == "disk full"
        self.disk.latency = amount * 0.5 if kind == "disk slow" else self.disk.latency
        self.clockwork.at(self.clockwork.now + amount * 3, self.fate, self._mend_disk)

    def _mend_disk(self) -> None:
        self.disk.full, self.disk.fails, self.disk.latency = False, False, 0.0

    def _harm_client(self, kind: str, number: int, amount: float) -> None:
        client = self.clients[number]
        if kind == "kill client":
            client.is_alive = False
            self.clockwork.at(self.clockwork.now + amount, self.fate, self._new_client, number)
        if client.connection is None:
            return
        if kind == "silent client":
            client.connection.silence(amount * SILENT)
        else:
            client.connection.tear()

    def _harm_worker(self, kind: str, worker: Worker, amount: float) -> None:
        if kind == "stop worker":
            for process in (worker, worker.client):
                process.hold(amount * 25)
        elif kind in ("kill worker", "lose worker"):
            self.kill_worker(worker, tells=kind == "kill worker")
            name = worker.name if amount < 0.7 else f"{worker.name}+"
            self.clockwork.at(self.clockwork.now + amount, self.fate, self.add_worker, name)
        elif kind == "kill child":
            worker.lose_child()
        elif kind == "drain worker":
            worker.drain()
            self.clockwork.at(self.clockwork.now + amount, self.fate, self.add_worker, worker.name)
        elif kind == "report twice":
            worker.twice = True
        elif kind == "resize worker":
            worker.resize(1 + round(amount * 3))
        elif kind == "other queues":
            worker.serve(QUEUES if len(worker.session.queues) < len(QUEUES) else QUEUES[round(amount) :][:1])
        elif worker.connection is not None and kind == "silent worker":
            worker.connection.silence(amount * SILENT)
        elif worker.connection is not None:
            worker.connection.tear()

    def _heal(self) -> None:
        """Let nothing go wrong any more."""
        self.log("all is well from now on")
        self.healed = True
        self._mend_disk()
        self.disk.dies = ""
        self.network.slow_until = 0.0
        processes: list[Worker | Client] = [*self.workers, *(worker.client for worker in self.workers), *self.clients]
        for process in processes:
            if process.connection is not None:
                process.connection.mend()
        for worker in self.workers:
            worker.serve(QUEUES)
        silences = [fault.at + fault.amount * SILENT for fault in self.plan.faults if fault.kind.startswith("silent")]
        self._run_until(max(silences, default=0.0))
        self._wait_for(lambda: not any(client.asking for client in self.clients))
        give(self, None)  # behind all that was asked for before, also on links that are given up by now
