"""Forks with a live stream, in many ways, against the coordinator at argv[1]; run by test_fork.py as a process.

Prints one line for each thing that held. Every wait has a bound; a child that hangs is killed and told of.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from tests.client.fake_coordinator import chunk

from grpcflow import ids
from grpcflow.connection import Connection, Settled, connection_for

ADDRESS = sys.argv[1]
ROUNDS = int(sys.argv[2])
T = 40.0


def work(connection: Connection) -> None:
    """Submits, waits and asks: everything that a client does."""
    graph = ids.mint_graph()
    connection.submit(chunk(graph, 3), timeout=T)
    results = connection.wait_range(graph, 0, 3, timeout=T)
    assert [result.data for result in results] == [b"0", b"1", b"2"]
    assert connection.wait([ids.node_id(graph, 1)], timeout=T)
    assert connection.list_workers()


def in_child(body: Callable[[], None]) -> int:
    """Runs `body` in a forked child and returns its exit code; -9 where it hangs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            body()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return wait_for(child)


def wait_for(child: int) -> int:
    done = threading.Event()

    def kill() -> None:
        if not done.wait(T):
            os.kill(child, signal.SIGKILL)

    guard = threading.Thread(target=kill, daemon=True)
    guard.start()
    _, status = os.waitpid(child, 0)
    done.set()
    guard.join()
    return os.waitstatus_to_exitcode(status)


def both_sides(connection: Connection) -> None:
    """Parent and child work at the same time, and the child's child too."""
    work(connection)
    for _ in range(ROUNDS):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(connection)
                code = in_child(lambda: work(connection))
            finally:
                os._exit(code)
        work(connection)
        assert wait_for(child) == 0
    print("both sides work")


def waiting_threads(connection: Connection) -> None:
    """Threads that wait, submit and ask go on while another one forks."""
    late = ids.mint_graph()
    connection.submit(chunk(late, 8), timeout=T)
    got: list[bytes | None] = []
    errors: list[BaseException] = []
    stop = threading.Event()

    def busy() -> None:
        try:
            while not stop.is_set():
                work(connection)
        except BaseException as error:
            errors.append(error)

    def asking() -> None:
        try:
            while not stop.is_set():
                connection.inspect("ping")
        except BaseException as error:
            errors.append(error)

    def waiting() -> None:
        try:
            got.append(connection.wait_range(late, 7, 1, timeout=T * 2)[0].data)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=target) for target in (busy, busy, asking, waiting)]
    for thread in threads:
        thread.start()
    for _ in range(ROUNDS):
        assert in_child(lambda: work(connection)) == 0
    stop.set()
    assert not got
    connection.submit(chunk(ids.mint_graph(), 99), timeout=T)  # settles what is watched, see test_fork.py
    for thread in threads:
        thread.join(T)
        assert not thread.is_alive()
    assert not errors, errors
    assert got == [b'"late"']
    print("waiting threads go on")


def fork_in_a_callback(connection: Connection) -> None:
    """A fork in the middle of wait(): both sides get all results."""
    graph = ids.mint_graph()
    connection.submit(chunk(graph, 3), timeout=T)
    me = os.getpid()
    children: list[int] = []

    def on_result(text: str, settled: Settled) -> None:
        if os.getpid() == me and not children:
            children.append(os.fork())

    names = [ids.node_id(graph, index) for index in range(3)]
    found = connection.wait(names, timeout=T, on_result=on_result)
    assert len(found) == 3
    if os.getpid() != me:
        work(connection)
        os._exit(0)
    assert wait_for(children[0]) == 0
    print("a fork in a callback works")


def fork_in_a_stream(connection: Connection) -> None:
    """A fork with a stream half read: both sides get what is left of it, each item once."""
    items = connection.read_items("stream", timeout=T)
    before = [next(items) for _ in range(5)]
    assert before == [(str(number).encode(), "") for number in range(5)]

    def rest() -> None:
        left = [one[0] for one in items if isinstance(one, tuple)]
        assert left == [str(number).encode() for number in range(5, 40)], left

    assert in_child(rest) == 0
    rest()
    print("a fork in a stream works")


def quick(connection: Connection) -> None:
    """A fork with nothing open costs nothing; one with a live stream little."""
    took = []
    for _ in range(3):
        work(connection)
        began = time.monotonic()
        assert in_child(lambda: None) == 0
        took.append(time.monotonic() - began)
    assert min(took) < 2, "the quickest of three, for what else the machine does"
    print("forking is quick")


if __name__ == "__main__":
    if sys.argv[3] == "first":
        # The parent has never used it when it forks.
        assert in_child(lambda: work(connection_for([ADDRESS]))) == 0
    shared = connection_for([ADDRESS])
    both_sides(shared)
    waiting_threads(shared)
    fork_in_a_callback(shared)
    fork_in_a_stream(shared)
    quick(shared)
    closed = Connection([ADDRESS])
    work(closed)
    closed.close()
    assert in_child(lambda: work(shared)) == 0
    print("done")
