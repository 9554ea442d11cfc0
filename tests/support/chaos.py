"""Random order and random faults on a simulated cluster, all drawn from one generator.

May NOT judge anything: it torments the cluster until a graph is over, and the tests look at what came of it.
"""

import random

from tests.support.simulated import SimulatedCluster
from tests.support.simulated_worker import SimulatedWorker

#: So many turns take a second at least.
_TURNS_PER_SECOND = 64


class Chaos:
    """Random order and random faults, drawn from one generator.

    Args:
        cluster: What it torments.
        rng: Where every choice comes from.
        faults: How likely a fault is at each turn, 0 to 1; 0: random order only.
        deadly: False: every worker lives and is back within its grace; only streams and the coordinator break.
    """

    def __init__(self, cluster: SimulatedCluster, rng: random.Random, faults: float, *, deadly: bool = True) -> None:
        self.cluster = cluster
        self.rng = rng
        self.faults = faults
        self.deadly = deadly
        self._names = 0
        #: Without faults: whole rounds of a worker at once, in half of all runs.
        self.hasty = not faults and rng.random() < 0.5

    def run(self, graph: bytes, turns: int = 20_000) -> None:
        """Runs until a graph is over; faults cease after a while, so that nothing is mended by one more of them."""
        faulty_turns = self.rng.randint(5, 150)
        for turn in range(turns):
            if turn < faulty_turns and self.rng.random() < self.faults:
                self._fault()
            if turn % _TURNS_PER_SECOND == 0 and self.faults:
                self.cluster.advance(1.0)  # also where somebody always has something to do, time goes on
            self._heal()
            if not self._act():
                if self.cluster.is_over(graph):
                    return
                if not self.deadly:
                    self._reconnect(1.0)
                self.cluster.advance_to_next_timer()
        raise AssertionError(f"the graph is not over after {turns} turns")

    def _act(self) -> bool:
        """Lets one worker do one thing; False where none has anything to do."""
        workers = list(self.cluster.workers)
        self.rng.shuffle(workers)
        for worker in workers:
            if self.hasty and self.cluster.turn(worker):
                return True
            actions = []
            if worker.inbox:
                actions.append(self._read)
            if worker.held:
                actions.append(self._run)
            if worker.unsent() and worker.stream is not None and worker.welcomed:
                actions.append(self._report)
            if actions:
                self.rng.choice(actions)(worker)
                return True
        return False

    def _read(self, worker: SimulatedWorker) -> None:
        self.cluster.read_one(worker)

    def _run(self, worker: SimulatedWorker) -> None:
        self.cluster.run_one(worker, self.rng.choice(list(worker.held)))

    def _report(self, worker: SimulatedWorker) -> None:
        unsent = worker.unsent()
        self.rng.shuffle(unsent)
        spoke = worker.report(unsent[: self.rng.randint(1, len(unsent))])
        again = [spoke] if self.faults and self.rng.random() < 0.1 else []
        self.cluster.post(spoke, *again)

    def _fault(self) -> None:
        cluster = self.cluster
        faults = [self._cut, self._connect, self._crash]
        if self.deadly:
            faults += [cluster.kill, self._leave, self._wait]
        if cluster.workers:
            self.rng.choice(faults)(self.rng.choice(cluster.workers))

    def _cut(self, worker: SimulatedWorker) -> None:
        self.cluster.cut(worker)

    def _connect(self, worker: SimulatedWorker) -> None:
        self.cluster.connect(worker)

    def _crash(self, _worker: SimulatedWorker) -> None:
        self.cluster.crash_at_next_commit(self.rng.choice(["before", "after"]))

    def _wait(self, _worker: SimulatedWorker) -> None:
        self.cluster.advance(self.rng.choice([0.1, 4.0, 11.0]))

    def _leave(self, worker: SimulatedWorker) -> None:
        """Lets a worker drain and go; where its stream breaks meanwhile, it dies instead."""
        if worker.stream is not None and worker.welcomed:
            worker.draining = True
            self.cluster.post(worker.speak(sequenced=True, drain=True))
            worker.give_back()
            self.cluster.report(worker)
        if worker.stream is not None and worker.welcomed:
            self.cluster.post(worker.speak(sequenced=True, goodbye=True))
        self.cluster.kill(worker)

    def _heal(self) -> None:
        """Brings workers back after a while, and new ones for those that died."""
        self._reconnect(0.3)
        if len(self.cluster.workers) < 2 and self.rng.random() < 0.3:
            self._names += 1
            self.cluster.add_worker(self.rng.choice([f"new{self._names}", "w1"]))

    def _reconnect(self, chance: float) -> None:
        for worker in self.cluster.workers:
            if worker.stream is None and self.rng.random() < chance:
                self.cluster.connect(worker)
