"""Random order and random faults on a simulated cluster, all drawn from one generator.

May NOT judge anything: it torments the cluster until a graph is over, and the tests look at what came of it.
"""

import random

from tests.support.simulated import SimulatedCluster
from tests.support.simulated_worker import SimulatedWorker


class Chaos:
    """Random order and random faults, drawn from one generator.

    Args:
        cluster: What it torments.
        rng: Where every choice comes from.
        faults: How likely a fault is at each turn, 0 to 1; 0: random order only.
    """

    def __init__(self, cluster: SimulatedCluster, rng: random.Random, faults: float) -> None:
        self.cluster = cluster
        self.rng = rng
        self.faults = faults
        self._names = 0

    def run(self, graph: bytes, turns: int = 20_000) -> None:
        """Runs until a graph is over; faults cease after a while, so that it ends."""
        for turn in range(turns):
            if self.cluster.is_over(graph):
                return
            if turn < 400 and self.rng.random() < self.faults:
                self._fault()
            self._heal()
            if not self._act():
                self.cluster.advance_to_next_timer()
        raise AssertionError(f"the graph is not over after {turns} turns")

    def _act(self) -> bool:
        """Lets one worker do one thing; False where none has anything to do."""
        workers = list(self.cluster.workers)
        self.rng.shuffle(workers)
        for worker in workers:
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
        answer = worker.read()
        if answer is not None:
            self.cluster.post(answer)

    def _run(self, worker: SimulatedWorker) -> None:
        worker.run(self.rng.choice(list(worker.held)))

    def _report(self, worker: SimulatedWorker) -> None:
        unsent = worker.unsent()
        self.rng.shuffle(unsent)
        spoke = worker.report(unsent[: self.rng.randint(1, len(unsent))])
        again = [spoke] if self.faults and self.rng.random() < 0.1 else []
        self.cluster.post(spoke, *again)

    def _fault(self) -> None:
        cluster = self.cluster
        worker = self.rng.choice(cluster.workers) if cluster.workers else None
        match self.rng.randrange(6):
            case 0 if worker is not None:
                cluster.kill(worker)
            case 1 if worker is not None:
                cluster.cut(worker)
            case 2 if worker is not None:
                cluster.connect(worker)
            case 3 if worker is not None:
                self._leave(worker)
            case 4:
                cluster.crash_at_next_commit(self.rng.choice(["before", "after"]))
            case _:
                cluster.advance(self.rng.choice([0.1, 4.0, 11.0]))

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
        cluster = self.cluster
        for worker in cluster.workers:
            if worker.stream is None and self.rng.random() < 0.3:
                cluster.connect(worker)
        if len(cluster.workers) < 2 and self.rng.random() < 0.3:
            self._names += 1
            cluster.add_worker(self.rng.choice([f"new{self._names}", "w1"]))
