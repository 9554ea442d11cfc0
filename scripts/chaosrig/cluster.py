"""The cluster of the rig: coordinator, workers and clients as real processes, each of the latter behind a proxy.

Starts and ends processes, and nothing else: what is hurt when is for the nemesis.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.harness import Cluster, Process
from tests.cluster.proxy import Proxy

from grpcflow import Grpcflow

_SCRIPTS: Final = Path(__file__).parents[1]

#: Seconds of silence and of grace: short, so that a fault shows soon. Many deliveries, since here everybody is unlucky.
_SILENCE: Final = 2.0
_GRACE: Final = 1.5
_OPTIONS: Final = ("--heartbeat", "0.5", "--max-deliveries", "1000")

#: How a worker ends that can have no children, and seconds after the loss of one in which it may.
_NO_CHILDREN: Final = (1, 70)
_SHOT: Final = 60.0

#: Seconds after a fault in which it may still lose an attempt: silence, grace, and as much for a busy machine.
SLACK: Final = 8.0


@dataclass(slots=True)
class Member:
    """A worker or a client: its name, its link, and the process that it is now."""

    name: str
    proxy: Proxy
    process: Process

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid


class ChaosCluster(Cluster):
    """A cluster whose tasks and clients write a history.

    Args:
        folder: where its data, logs and history are.
        seed: where all choices of its clients come from.
        patience: by how much silence and grace are longer than the rig has them: where others use the machine too, a
            worker may have no processor for as long, which is no fault that anybody wrote down.
    """

    def __init__(self, folder: Path, seed: int, patience: float = 1.0) -> None:
        super().__init__(folder)
        #: Seconds after a fault in which it may still lose an attempt.
        self.slack = SLACK * patience
        self._patience = patience
        self.history = folder / "history"
        self.history.mkdir()
        self.app = Grpcflow("chaos", coordinator=self.address, set_as_current=False)
        self.members: dict[str, Member] = {}
        self.clients: dict[str, Member] = {}
        #: Workers, and when a child of theirs was killed last since they were started.
        self.shot: dict[str, float] = {}
        self._seed = seed
        self._incarnations = 0
        #: What the clients that run now are called in the history.
        self._called: dict[str, str] = {}

    def environment(self, address: str | None = None) -> dict[str, str]:
        """Return the environment of all processes; adds where the rig and the history are."""
        inherited = super().environment(address)
        paths = os.pathsep.join([str(_SCRIPTS), inherited["PYTHONPATH"]])
        return {**inherited, "PYTHONPATH": paths, "CHAOS_HISTORY": str(self.history)}

    def serve(self) -> Process:
        """Start the coordinator and wait until it serves."""
        silence, grace = (f"{seconds * self._patience:g}" for seconds in (_SILENCE, _GRACE))
        return self.start_coordinator(*_OPTIONS, "--silence", silence, "--grace", grace)

    def man(self, name: str) -> Member:
        """Start a worker with two children, or start it again; it need not be known yet when this returns."""
        proxy = self._link_of(self.members.get(name))
        options = ("-A", "chaosrig.chaos_tasks", "--heartbeat-interval", "0.5")
        process = self.start_worker(name, *options, address=proxy.address, wait=False)
        self.members[name] = Member(name, proxy, process)
        self.shot.pop(name, None)
        return self.members[name]

    def enlist(self, name: str, style: str) -> Member:
        """Start a client, or start it again under a new name in the history.

        Args:
            name: its name.
            style: `threads` or `asyncio`.
        """
        proxy = self._link_of(self.clients.get(name))
        self._incarnations += 1
        self._called[name] = f"{name}.{self._incarnations}"
        words = (self._called[name], f"{self._seed} {self._incarnations}", style)
        process = self._run(name, "chaosrig.client", *words, env=self.environment(proxy.address), warm=True)
        self.clients[name] = Member(name, proxy, process)
        return self.clients[name]

    def _link_of(self, known: Member | None) -> Proxy:
        if known is not None:
            return known.proxy
        proxy = Proxy(self.port)
        proxy.start()
        return proxy

    def heeds(self, name: str) -> bool:
        """Return whether a client has come so far that it ends as it should when it is told to."""
        return (self.history / f"client-{self._called[name]}.jsonl").exists()

    def man_again(self) -> None:
        """Start those workers again that have ended because their children were killed just before.

        While a worker starts, or again and again while it starts new ones: it says that its app cannot be imported, and
        what runs it as a service starts it again.
        """
        for name, member in list(self.members.items()):
            self._manned_again(name, member.process.popen.poll())

    def _manned_again(self, name: str, code: int | None) -> bool:
        """Start a worker again that ended with a code, where that is why; return whether it was."""
        since = time.monotonic() - _SHOT
        if code not in _NO_CHILDREN or self.shot.get(name, since) <= since:
            return False
        self.man(name)
        return True

    def assert_alive(self) -> None:
        """Fail where a process has ended by itself, but for those workers: none does, whatever is done to others."""
        assert self.coordinator is not None
        running = {"coordinator": self.coordinator}
        running |= {one.name: one.process for one in (*self.members.values(), *self.clients.values())}
        for name, process in running.items():
            code = process.popen.poll()
            assert code is None or self._manned_again(name, code), f"{name} ended by itself, with {code}"

    def stop(self) -> None:
        """End everything, links too."""
        super().stop()
        for member in (*self.members.values(), *self.clients.values()):
            member.proxy.stop()
