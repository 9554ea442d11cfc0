"""What holds for every test: no network but loopback, seeds that are printed, no process left behind.

Fixtures here must be useful to tests of more than one package; anything else lives beside its tests.
"""

import gc
import logging
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest
from tests.support.ports import HeldPort, WatchedSockets
from tests.support.time_limits import TimeLimits
from tests.support.turns import Turns

#: Rewritten asserts in the contract suites that ship with the packages.
pytest.register_assert_rewrite("grpcflow_coordinator.testing")

CLUSTER = Path(__file__).parent / "cluster"
#: More than any one wait there, so that a wait that is too long is told as what it is.
CLUSTER_SECONDS = 300
#: What processes have to end after the last test; some are told to when that has ended already.
LEAVING_SECONDS = 60
SEED_VARIABLE = "GRPCFLOW_TEST_SEED"
#: Objects between two collections; by Python's own 700 they took a fifth of the time.
GARBAGE_THRESHOLD = 10_000
WATCHED_LOGGERS = ("root", "grpcflow", "grpcflow.trace", "grpcflow.task", "grpcflow.worker", "grpcflow_coordinator")
TURNS = pytest.StashKey[Turns]()


def pytest_configure(config: pytest.Config) -> None:
    """Settles what the sessions that run side by side share: the seed and the folder in which they take turns."""
    session_seed()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So start what a shell without job control puts into the background; tests interrupt themselves and others.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # It is the machine that is busy where examples are drawn slowly.
    patient: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
    hypothesis.settings.register_profile("patient", hypothesis.settings(), **patient)  # else as it is here, or in CI
    hypothesis.settings.load_profile("patient")
    # What tests start by the hundred must not compile all that it imports each time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    folder = os.environ.get("GRPCFLOW_TEST_TURNS")
    if folder is None:
        made = tempfile.TemporaryDirectory(prefix="turns-")
        config.add_cleanup(made.cleanup)
        config.add_cleanup(lambda: os.environ.__delitem__("GRPCFLOW_TEST_TURNS"))
        folder = os.environ["GRPCFLOW_TEST_TURNS"] = made.name
    config.stash[TURNS] = turns = Turns(Path(folder))
    config.add_cleanup(turns.end_alone)
    limits = TimeLimits()
    config.pluginmanager.register(limits)
    config.add_cleanup(limits.end)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks everything in tests/cluster: those tests start real processes, and have longer where that takes long.

    Those that run alone come first, one after the other: anywhere else each would wait for what runs beside it.
    """
    items.sort(key=lambda item: not runs_alone(item))
    for item in items:
        if CLUSTER in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(CLUSTER_SECONDS))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Has the garbage collector look no more at the thousands of tests, and less often at what one of them makes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Lets a test that is marked `alone` run while no other does; waiting counts for no test's time limit."""
    turns = item.config.stash[TURNS]
    goes_on = nextitem is not None and runs_alone(nextitem)
    with turns.alone(goes_on=goes_on) if runs_alone(item) else turns.together():
        return (yield)


def runs_alone(item: pytest.Item) -> bool:
    """Returns whether a test is marked `alone`."""
    return item.get_closest_marker("alone") is not None


def pytest_report_header() -> str:
    """Says which seed random tests use, so that a failure can be run again."""
    return f"seed: {session_seed()} (set {SEED_VARIABLE} to use it again)"


def session_seed() -> int:
    """Returns the seed of this test session; children of the session see the same one."""
    return int(os.environ.setdefault(SEED_VARIABLE, str(random.SystemRandom().randrange(2**32))))


@pytest.fixture(autouse=True)
def what_all_share_stays() -> Iterator[None]:
    """Fails the test that leaves a logger at another level, or a shared task: which tests would see it is chance."""
    before, shared = levels_of_logs(), list(shared_tasks())
    yield
    after, left = levels_of_logs(), list(shared_tasks())
    if after != before:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
        pytest.fail(f"the levels of loggers were {before} and are left as {after}")
    if left != shared:
        shared_tasks()[:] = shared
        pytest.fail(f"{len(left) - len(shared)} shared tasks are left, which later apps have too: use `forgets_shared`")


def shared_tasks() -> list[Any]:
    """Returns the registrations of shared tasks; of none where the client was not imported yet."""
    state = sys.modules.get("grpcflow.state")
    return [] if state is None else state.shared_registrations


@pytest.fixture
def forgets_shared() -> Iterator[None]:
    """For a test that makes shared tasks: they are gone behind it."""
    before = list(shared_tasks())
    yield
    shared_tasks()[:] = before


def levels_of_logs() -> dict[str, int]:
    """Returns the level of the root logger and of each of ours that more than one test has to do with."""
    return {name: logging.getLogger(name).level for name in WATCHED_LOGGERS}


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed of this test's own, made from the session's; printed, so that a failing test shows it."""
    value = random.Random(f"{session_seed()} {request.node.nodeid}").randrange(2**32)
    print(f"seed of {request.node.name}: {value} (from {SEED_VARIABLE}={session_seed()})")
    return value


@pytest.fixture
def rng(seed: int) -> random.Random:
    """A random generator seeded with the test's own seed."""
    return random.Random(seed)


@pytest.fixture
def free_port() -> Iterator[Callable[[], int]]:
    """A function that returns a port of 127.0.0.1 that nobody listens on, and that nobody else gets meanwhile."""
    held: list[HeldPort] = []

    def pick() -> int:
        held.append(HeldPort())
        return held[-1].number

    yield pick
    for port in held:
        port.close()


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """Refuses Python sockets that connect elsewhere than to this machine (gRPC's own sockets are not Python's)."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if host is not None and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to connect to {host}; tests stay on loopback")
        connect(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_socket_left() -> Iterator[None]:
    """Fails the session where a socket is open at its end: ports are few, and what nobody closes is nobody's."""
    with pytest.MonkeyPatch.context() as patch:
        sockets = WatchedSockets(patch)
        yield
        assert not (left := sockets.left()), f"sockets left behind by tests: {left}"


@pytest.fixture(autouse=True, scope="session")
def no_process_left() -> Iterator[None]:
    """Fails the session when a process that a test started is still running at its end."""
    yield
    named = {child: command_of(child) for child in psutil.Process().children(recursive=True)}
    ours = [child for child, command in named.items() if "grpcflow" in command]
    _, alive = psutil.wait_procs(ours, timeout=LEAVING_SECONDS)
    assert not alive, f"processes left behind by tests: {[named[child] for child in alive]}"


def command_of(process: psutil.Process) -> str:
    """Returns the command of a process; empty where it has ended by now."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
