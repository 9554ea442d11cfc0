"""The tasks of the cluster tests. A task that matters leaves a note for each of its runs: a file in NOTES."""

import os
import threading
import uuid
from pathlib import Path

from grpcflow import Grpcflow

app = Grpcflow("cluster")

#: What a task does instead of work.
pause = threading.Event().wait


def note(text):
    """Leave a note that this ran; two runs leave two."""
    folder = os.environ.get("NOTES")
    if folder:
        (Path(folder) / f"{text}.{uuid.uuid4().hex[:8]}").touch()


@app.task(name="t.add")
def add(x, y):
    return x + y


@app.task(name="t.total")
def total(numbers):
    return sum(numbers)


@app.task(name="t.noted")
def noted(text, value=None):
    """Leave a note, give the value."""
    note(text)
    return value


@app.task(name="t.nap")
def nap(seconds, text="nap"):
    """Leave a note at the start and one at the end."""
    note(f"start-{text}")
    pause(seconds)
    note(f"end-{text}")
    return text


@app.task(name="t.nap_once", acks_late=False)
def nap_once(seconds, text="once"):
    """The same, never to be run twice."""
    note(f"start-{text}")
    pause(seconds)
    note(f"end-{text}")
    return text


@app.task(name="t.gate")
def gate(path, text="gate"):
    """Run until a file is there."""
    note(f"start-{text}")
    while not Path(path).exists():
        pause(0.01)
    note(f"end-{text}")
    return text


@app.task(name="t.fail")
def fail(message):
    raise ValueError(message)


@app.task(name="t.die")
def die(code=9):
    """Take the child process down."""
    note("die")
    os._exit(code)


@app.task(name="t.where", bind=True)
def where(self, seconds=0.0):
    """Tell which worker and which process ran it."""
    pause(seconds)
    return [self.request.hostname, os.getpid()]


@app.task(name="t.die_by")
def die_by(number):
    """Have the child process killed by a signal."""
    note("die_by")
    os.kill(os.getpid(), number)
    pause(30)


@app.task(name="t.die_once")
def die_once(path):
    """Take the child process down, the first time only."""
    note("die_once")
    if not Path(path).exists():
        Path(path).touch()
        os._exit(1)
    return "survived"


@app.task(name="t.gate_where", bind=True)
def gate_where(self, path, text="gate"):
    """Run until a file is there; tell which worker ran it."""
    gate(path, text)
    return self.request.hostname


@app.task(name="t.submit")
def submit(x, y):
    """Submit another task from inside this one."""
    return add.delay(x, y).id


@app.task(name="t.wait")
def wait():
    """Wait for another task from inside this one, which is refused."""
    return add.delay(1, 1).get(timeout=5)


@app.task(name="t.text")
def text(size):
    return "x" * size


@app.task(name="t.length")
def length(value):
    return len(value)


@app.task(name="t.fail_at_length")
def fail_at_length(size):
    raise ValueError("x" * size)


@app.task(name="t.unspeakable")
def unspeakable():
    """Return what no value of the wire can be."""
    return object()


@app.task(name="t.die_at")
def die_at(number, victim):
    """Take the child process down for one number; the others come back."""
    if number == victim:
        os._exit(1)
    return number
