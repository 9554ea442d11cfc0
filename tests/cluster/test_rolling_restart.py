"""A new release: every worker is replaced, one after the other, and then the coordinator, while work goes on."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from tests.cluster.fleet import Fleet, fleet_of
from tests.cluster.harness import Cluster, wait_for

from grpcflow import Grpcflow, group
from grpcflow_protos.v1.control_service_pb2 import WorkerState

#: How many workers there are, and how many streams of calls go on meanwhile.
WORKERS = 20
CLIENTS = 2

#: Calls in a group, and seconds that one takes.
GROUP = 30
LENGTH = 0.02

#: Seconds that a result may take.
SOON = 60.0


class Load:
    """Calls that go on until they are told to end, and how often each of them ran.

    Args:
        address: where the coordinator is.
    """

    def __init__(self, address: str) -> None:
        self.app = Grpcflow("rolling", coordinator=address, set_as_current=False)
        # A busy machine may take longer to start a coordinator than three seconds.
        self.app.conf.task_publish_retry_policy = {"max_retries": None, "interval_max": 0.5}
        self.runs: Counter[str] = Counter()
        self.finished = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients: list[Future[int]] = []
        self._run = self.app.task(name="rolling.run")(self._task)

    def _task(self, name: str) -> str:
        with self._lock:
            self.runs[name] += 1
        threading.Event().wait(LENGTH)
        return name

    def begin(self) -> None:
        """Send calls from now on."""
        self._clients = [self._pool.submit(self._send, number) for number in range(CLIENTS)]

    def _send(self, client: int) -> int:
        """Send one group after the other and check its values; returns how many calls that were."""
        sent = 0
        while not self._over.is_set():
            names = [f"{client}-{number}" for number in range(sent, sent + GROUP)]
            assert group(self._run.s(name) for name in names)().get(timeout=SOON) == names
            sent += GROUP
            with self._lock:
                self.finished += GROUP
        return sent

    def assert_alive(self) -> None:
        """Fail where a call has failed."""
        for client in self._clients:
            if client.done():
                client.result()

    def end(self) -> int:
        """Send no more; returns how many calls there were, every one of which gave its value."""
        self._over.set()
        return sum(client.result(SOON) for client in self._clients)

    def close(self) -> None:
        """Let go of threads and connection."""
        self._over.set()
        self._pool.shutdown(wait=True)
        self.app.connection.close()


@pytest.fixture
def load(cluster: Cluster) -> Iterator[Load]:
    made = Load(cluster.address)
    yield made
    made.close()


def test_twenty_workers_and_the_coordinator_are_replaced_under_load_and_no_call_fails_or_runs_twice(
    cluster: Cluster, load: Load
) -> None:
    first = cluster.start_coordinator()
    names = [f"w{number}" for number in range(WORKERS)]
    with fleet_of(load.app, cluster.address, *names) as fleet:
        wait_for("all of them to be there", lambda: len(live(cluster)) == WORKERS)
        load.begin()
        replace_all(fleet, load, names)
        assert first.terminate() == 0
        cluster.start_coordinator()
        goes_on(load)
        wait_for("all of them to be back", lambda: len(live(cluster)) == WORKERS)
        sent = load.end()
    assert len(load.runs) == sent
    assert set(load.runs.values()) == {1}, {name: runs for name, runs in load.runs.items() if runs != 1}


def live(cluster: Cluster) -> list[str]:
    """Returns the names of the workers that are connected."""
    return [
        worker.name for worker in cluster.app.connection.list_workers() if worker.state == WorkerState.WORKER_STATE_LIVE
    ]


def replace_all(fleet: Fleet, load: Load, names: list[str]) -> None:
    """Replaces one worker after the other, each while calls are finished."""
    for name in names:
        assert fleet.replace(name) == 0
        load.assert_alive()
    goes_on(load)


def goes_on(load: Load) -> None:
    """Waits until some more groups of each client have their values."""
    wanted = load.finished + 4 * CLIENTS * GROUP

    def finished() -> bool:
        load.assert_alive()
        return load.finished >= wanted

    wait_for("calls to go on", finished)
