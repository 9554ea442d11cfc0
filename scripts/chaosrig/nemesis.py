"""The nemesis: kills, stops, cuts off and restarts, one or two faults a round, all drawn from one generator.

It writes every fault to the history, with its time and the processes that it hit, and mends what it broke. May NOT
judge anything.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from chaosrig.cluster import ChaosCluster, Member
from chaosrig.history import Hit, Journal

_pause: Final = threading.Event().wait

#: Longest pause between two rounds, in seconds.
_BETWEEN: Final = 0.4


class Nemesis:
    """What hurts a cluster.

    Args:
        cluster: what is hurt.
        rng: where every choice comes from.
        journal: where faults are written.
    """

    def __init__(self, cluster: ChaosCluster, rng: random.Random, journal: Journal) -> None:
        self.cluster = cluster
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self._journal = journal
        #: How likely each fault is: kills most of all, and what takes long seldom.
        self._faults: dict[Callable[[], None], int] = {
            self._kill_coordinator: 4,
            self._kill_worker: 5,
            self._kill_child: 9,
            self._kill_client: 4,
            self._kill_both: 2,
            self._kill_children: 3,
            self._stop_coordinator: 1,
            self._stop_worker: 2,
            self._stop_child: 1,
            self._stop_client: 1,
            self._cut_worker: 2,
            self._cut_client: 1,
            self._part_worker: 2,
            self._half_part_worker: 1,
            self._part_client: 1,
            self._leave_worker: 1,
            self._leave_coordinator: 1,
        }

    @property
    def kills(self) -> int:
        """How many processes were killed with -9 so far."""
        return sum(count for what, count in self.counts.items() if what.startswith("kill"))

    def round(self) -> None:
        """Do one thing to the cluster, after a moment, and mend it."""
        _pause(self.rng.uniform(0.0, _BETWEEN))
        (fault,) = self.rng.choices(list(self._faults), list(self._faults.values()))
        fault()

    def _hit(self, began: float, kind: str, role: str, name: str, *pids: int) -> None:
        self.counts[f"{kind} {role}"] += 1
        self._journal.write(Hit(began, time.monotonic(), kind, role, name, pids))

    def _worker(self) -> Member:
        return self.cluster.members[self.rng.choice(sorted(self.cluster.members))]

    def _client(self) -> Member:
        return self.cluster.clients[self.rng.choice(sorted(self.cluster.clients))]

    # --- kills ---

    def _kill_coordinator(self) -> None:
        began = time.monotonic()
        assert self.cluster.coordinator is not None
        pid = self.cluster.coordinator.pid
        self.cluster.coordinator.kill()
        _pause(self.rng.choice((0.0, 0.0, 0.3, 2.5)))
        self.cluster.serve()
        self._hit(began, "kill", "coordinator", "coordinator", pid)

    def _kill_worker(self) -> None:
        worker, began = self._worker(), time.monotonic()
        worker.process.kill()
        _pause(self.rng.choice((0.0, 0.3)))
        self.cluster.man(worker.name)
        self._hit(began, "kill", "worker", worker.name, worker.pid)

    def _kill_both(self) -> None:
        worker, began = self._worker(), time.monotonic()
        worker.process.kill()
        self._kill_coordinator()
        self.cluster.man(worker.name)
        self._hit(began, "kill", "worker", worker.name, worker.pid)

    def _kill_child(self) -> None:
        self._kill_child_of(self._worker())

    def _kill_children(self) -> None:
        """Kill one child of each worker at once."""
        for name in sorted(self.cluster.members):
            self._kill_child_of(self.cluster.members[name])

    def _kill_child_of(self, worker: Member) -> None:
        began, children = time.monotonic(), worker.process.children()
        if children:
            pid = self.rng.choice(children).pid  # perhaps that of the process which forks the others
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self._hit(began, "kill", "child", worker.name, pid)
                self.cluster.shot[worker.name] = time.monotonic()

    def _kill_client(self) -> None:
        client, began = self._client(), time.monotonic()
        client.process.kill()
        self._hit(began, "kill", "client", client.name, client.pid)
        self.cluster.enlist(client.name, self.rng.choice(("threads", "asyncio")))

    # --- stops ---

    def _stopped(self, seconds: float, *pids: int) -> None:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                _pause(seconds)

    def _stop_coordinator(self) -> None:
        began = time.monotonic()
        assert self.cluster.coordinator is not None
        self._stopped(self.rng.choice((0.3, 1.0, 3.0)), self.cluster.coordinator.pid)
        self._hit(began, "stop", "coordinator", "coordinator", self.cluster.coordinator.pid)

    def _stop_worker(self) -> None:
        """Stop a worker for less or more than it is missed, with its children or without."""
        worker, began = self._worker(), time.monotonic()
        children = [child.pid for child in worker.process.children()] if self.rng.random() < 0.5 else []
        self._stopped(self.rng.choice((0.3, 1.5, 4.5)), worker.pid, *children)
        self._hit(began, "stop", "worker", worker.name, worker.pid, *children)

    def _stop_child(self) -> None:
        worker, began = self._worker(), time.monotonic()
        children = worker.process.children()
        if children:
            pid = self.rng.choice(children).pid
            self._stopped(self.rng.choice((0.3, 1.0)), pid)
            self._hit(began, "stop", "child", worker.name, pid)

    def _stop_client(self) -> None:
        client, began = self._client(), time.monotonic()
        self._stopped(self.rng.choice((0.3, 1.0, 3.0)), client.pid)
        self._hit(began, "stop", "client", client.name, client.pid)

    # --- links ---

    def _cut_worker(self) -> None:
        worker, began = self._worker(), time.monotonic()
        self.rng.choice((worker.proxy.cut, worker.proxy.close_near, worker.proxy.close_far))()
        self._hit(began, "cut", "worker", worker.name, worker.pid)

    def _cut_client(self) -> None:
        client, began = self._client(), time.monotonic()
        self.rng.choice((client.proxy.cut, client.proxy.close_near, client.proxy.close_far))()
        self._hit(began, "cut", "client", client.name, client.pid)

    def _parted(self, member: Member, seconds: float) -> None:
        member.proxy.part()
        _pause(seconds)
        member.proxy.heal()

    def _part_worker(self) -> None:
        worker, began = self._worker(), time.monotonic()
        self._parted(worker, self.rng.choice((0.5, 1.5, 4.5)))
        self._hit(began, "part", "worker", worker.name, worker.pid)

    def _half_part_worker(self) -> None:
        """Lose what goes one way, on the connections there are."""
        worker, began = self._worker(), time.monotonic()
        upwards = self.rng.random() < 0.5
        worker.proxy.swallow(up=upwards, down=not upwards)
        _pause(self.rng.choice((0.5, 4.0)))
        worker.proxy.heal()
        self._hit(began, "part", "worker", worker.name, worker.pid)

    def _part_client(self) -> None:
        client, began = self._client(), time.monotonic()
        self._parted(client, self.rng.choice((0.5, 2.0)))
        self._hit(began, "part", "client", client.name, client.pid)

    # --- leaving in peace, which is no excuse for anything ---

    def _leave_worker(self) -> None:
        worker, began = self._worker(), time.monotonic()
        worker.process.terminate()
        self.cluster.man(worker.name)
        self._hit(began, "leave", "worker", worker.name)

    def _leave_coordinator(self) -> None:
        began = time.monotonic()
        assert self.cluster.coordinator is not None
        self.cluster.coordinator.terminate()
        self.cluster.serve()
        self._hit(began, "leave", "coordinator", "coordinator")
