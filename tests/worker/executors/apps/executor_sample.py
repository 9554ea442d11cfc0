"""The app that the executors' tests run."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from grpcflow import Grpcflow
from grpcflow.errors import Ignore, Reject, SoftTimeLimitExceeded
from grpcflow.state import in_task

app = Grpcflow("executor_sample")
app.conf.update(task_default_queue="sample")


@app.task
def noop() -> None:
    return None


@app.task
def add(x: Any, y: Any) -> Any:
    return x + y


@app.task
def listed(*args: Any) -> list[Any]:
    return list(args)


@app.task
def fail(message: str) -> None:
    raise ValueError(message)


@app.task
def leave(how: str) -> None:
    if how == "exit":
        sys.exit(3)
    raise KeyboardInterrupt


@app.task
def length(value: str) -> int:
    return len(value)


@app.task
def text(length: int) -> str:
    return "x" * length


@app.task
def unsendable() -> object:
    return object()


@app.task
def ignored() -> None:
    raise Ignore


@app.task
def rejected(requeue: bool) -> None:
    raise Reject("not mine", requeue=requeue)


@app.task(bind=True)
def again(self: Any, x: int, y: int = 0) -> int:
    if self.request.retries:
        return x + y
    raise self.retry(args=[x + 1], countdown=1.5, exc=ValueError("later"))


@app.task(bind=True)
def again_as_it_is(self: Any, x: int) -> int:
    raise self.retry(countdown=0)


@app.task(bind=True)
def request(self: Any) -> dict[str, Any]:
    r = self.request
    names = ("id", "task", "root_id", "parent_id", "retries", "losses", "hostname", "headers", "delivery_info")
    return {**{name: getattr(r, name) for name in names}, "args": list(r.args), "called_directly": r.called_directly}


@app.task
def where() -> list[Any]:
    return [os.getpid(), in_task(), threading.current_thread() is threading.main_thread()]


@app.task
def errback_id(failed: str) -> list[str]:
    return ["id", failed]


@app.task(bind=True)
def errback_bound(self: Any, failed: Any, b: Any = None, c: Any = None) -> list[Any]:
    return ["bound", failed, b, c]


@app.task
def errback_three(request: Any, exc: BaseException, traceback: str) -> list[str]:
    return ["three", request.id, repr(exc), traceback]


@app.task
def wait_at(port: int, name: str = "") -> str:
    """Connects to the test's gate and waits until it is opened."""
    with socket.create_connection(("127.0.0.1", port)) as gate:
        gate.sendall(f"{name or os.getpid()}\n".encode())
        return gate.recv(100).decode()


@app.task
def wait_deaf(port: int) -> str:
    """As wait_at; it lives on after SIGTERM and tells the gate of it."""

    def heard(_number: int, _frame: object) -> None:
        with socket.create_connection(("127.0.0.1", port)) as gate:
            gate.sendall(b"heard\n")

    signal.signal(signal.SIGTERM, heard)
    return wait_at(port, "deaf")


@app.task
def die(how: str) -> None:
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def stray() -> int:
    """Forks, and lets the copy return from the task as if it were the child."""
    if os.fork() == 0:
        return 2
    os.wait()
    return 1


@app.task
def wait_or_not(port: int) -> str:
    """Waits at the gate where a port is given; else ends at once."""
    return wait_at(port, "slow") if port else ""


@app.task
def heavy_modules() -> list[str]:
    """Names of the heavy modules that this process has loaded."""
    return [name for name in ("grpc", "google.protobuf", "asyncio") if name in sys.modules]


@app.task(bind=True)
def tell(self: Any, count: int, port: int = 0) -> int:
    """Says so often how far it is, and then waits at the gate where a port is given."""
    for number in range(count):
        self.update_state(state="STEP", meta={"number": number})
    if port:
        wait_at(port, "told")
    return count


@app.task(bind=True)
def tell_from_a_fork(self: Any) -> str:
    """Has a fork report progress; gives what the fork was told instead."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            self.update_state(state="STEP", meta={})
        except RuntimeError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    return os.read(reading, 1000).decode()


@app.task
def clean_up(port: int) -> list[Any]:
    """Waits at the gate for ever; cleans up where it is told of its soft time limit."""
    try:
        wait_at(port, "soft")
    except SoftTimeLimitExceeded as error:
        return [os.getpid(), str(error)]
    return [0, ""]


@app.task
def stubborn() -> None:
    """Never ends, whatever it is told."""
    while True:
        try:
            while True:
                pass
        except SoftTimeLimitExceeded:
            pass


@app.task
def deaf_sum() -> int:
    """Keeps the interpreter to itself, so that no thread of this process gets to run."""
    return sum(range(10**12))


@app.task
def spin(seconds: float) -> None:
    """Keeps the processor busy for so long."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@app.task
def mark_or_die(path: str, number: int) -> None:
    """Writes its number down; dies instead where that is negative."""
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    with open(path, "a") as file:
        file.write(f"{number}\n")


kept: list[bytes] = []


@app.task
def grow(mebibytes: int) -> int:
    """Takes memory and keeps it; gives its process."""
    kept.append(b"x" * (mebibytes << 20))
    return os.getpid()


@app.task
def title() -> str:
    """The title of this process, as others see it."""
    with open("/proc/self/cmdline", "rb") as file:
        return file.read().rstrip(b"\0").decode()


@app.task
def say(count: int, port: int = 0) -> int:
    for number in range(count):
        logging.getLogger("sample").warning("line %d", number)
    if port:
        with socket.create_connection(("127.0.0.1", port)) as gate:
            gate.sendall(b"said\n")
            gate.recv(1)
    return count


@app.task
def print_and_fork() -> int:
    child = os.fork()
    if not child:
        logging.getLogger("sample").warning("from a fork")
        os._exit(0)
    os.waitpid(child, 0)
    print("printed", end="")
    return 0
