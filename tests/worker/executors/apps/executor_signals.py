"""An app that writes down which signals of the worker it was told of, in which process, and what it was given."""

import json
import logging
import os
import socket
import threading
from typing import Any

from grpcflow import Grpcflow, signals

app = Grpcflow("executor_signals")
PATH = os.environ["EXECUTOR_SIGNALS_PATH"]
NAMES = (
    "celeryd_init",
    "import_modules",
    "worker_init",
    "after_setup_logger",
    "after_setup_task_logger",
    "celeryd_after_setup",
    "worker_before_create_process",
    "worker_process_init",
    "worker_ready",
    "heartbeat_sent",
    "worker_shutting_down",
    "task_revoked",
    "worker_shutdown",
    "worker_process_shutdown",
)


def note(signal: signals.Signal, sender: Any = None, **arguments: Any) -> None:
    hostname = getattr(sender, "hostname", sender if isinstance(sender, str) else "")
    with open(PATH, "a") as file:
        file.write(f"{signal.name} {os.getpid()} {hostname or '-'} {','.join(sorted(arguments)) or '-'}\n")
    if signal is signals.worker_shutting_down:
        with open(PATH + ".shutting", "a") as file:
            file.write(f"{arguments['how']} {arguments['sig']} {arguments['exitcode']}\n")


def note_revoked(sender: Any = None, request: Any = None, **arguments: Any) -> None:
    """One line of JSON for each; `signal` is the object itself, and no news."""
    del arguments["signal"]
    about = {name: getattr(request, name) for name in ("id", "task", "retries", "args", "kwargs", "hostname")}
    with open(PATH + ".revoked", "a") as file:
        file.write(json.dumps({"sender": sender.name, **about, **arguments}) + "\n")


def fail(**_: Any) -> None:
    raise ValueError("a receiver that fails")


def leave(**_: Any) -> None:
    raise SystemExit(9)


def configure(conf: Any = None, **_: Any) -> None:
    conf.update(task_default_queue="by_signal")


def start_a_thread(**_: Any) -> None:
    threading.Thread(target=threading.Event().wait, daemon=True, name="of_the_receiver").start()


for name in NAMES:
    getattr(signals, name).connect(fail, weak=False)
    getattr(signals, name).connect(note, weak=False)
signals.celeryd_init.connect(configure, weak=False)
signals.task_revoked.connect(note_revoked, weak=False)
signals.worker_ready.connect(start_a_thread, weak=False)
if "EXECUTOR_SIGNALS_THREAD" in os.environ:
    start_a_thread()
for name in NAMES:
    if name != "import_modules":  # that one belongs to the import, which a SystemExit does end
        getattr(signals, name).connect(leave, weak=False)


@app.task
def wait_at(port: int, letter: str, beside: str = "") -> str:
    """Connects to the test's gate and waits until it is opened."""
    with socket.create_connection(("127.0.0.1", port)) as gate:
        gate.sendall(f"{letter}{beside}\n".encode())
        return gate.recv(100).decode()


@app.task
def where() -> int:
    logging.getLogger("grpcflow.task").debug("seen")
    return os.getpid()
