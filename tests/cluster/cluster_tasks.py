"""The tasks of the cluster tests. A task that matters leaves a note for each of its runs: a file in NOTES."""

import os
import signal
import threading
import uuid
from pathlib import Path

from grpcflow import Grpcflow, Ignore

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


@app.batch_task(name="t.gathered", size=50, within=0.2)
def gathered(calls):
    """Take many calls at once; note how often."""
    note("gathered")
    return [ValueError("bad is bad") if call.args == ["bad"] else f"{call.args[0]}!" for call in calls]


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


@app.task(name="t.gather")
def gather(values):
    """Give back what was given."""
    return values


@app.task(name="t.lengths")
def lengths(values):
    return [len(value) for value in values]


@app.task(name="t.instead", bind=True)
def instead(self, text, sig):
    """Have `sig` run in the place of this call."""
    note(f"instead-{text}")
    raise self.replace(self.app.signature(sig))


@app.task(name="t.instead_and_die", bind=True)
def instead_and_die(self, text, sig):
    """The same, and the child is killed before it can say that this call is over."""
    note(f"instead-{text}")
    try:
        self.replace(self.app.signature(sig))
    except Ignore:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="t.die_once_then_instead", bind=True)
def die_once_then_instead(self, path, sig):
    """Take the child down the first time, before the replacement."""
    note("die_once_then_instead")
    if not Path(path).exists():
        Path(path).touch()
        os._exit(1)
    raise self.replace(self.app.signature(sig))


@app.task(name="t.count_down", bind=True)
def count_down(self, number):
    """Put itself and one more step in its own place, until the number is 0."""
    if number == 0:
        return self.request.replaced_task_nesting
    raise self.replace(count_down.s(number - 1) | add.s(1))


@app.task(name="t.joined_by", bind=True)
def joined_by(self, value, *sigs):
    """Add members to the group that this call is in."""
    note("joined_by")
    for sig in sigs:
        self.add_to_chord(self.app.signature(sig))
    return value


@app.task(name="t.until", bind=True, max_retries=None)
def until(self, path, value):
    """Ask for another attempt until a file is there."""
    note("until")
    if not Path(path).exists():
        raise self.retry(countdown=0.1)
    return value


@app.task(name="t.progress", bind=True)
def progress(self, path):
    """Say how far this is, and run until a file is there."""
    for done in range(1, 4):
        self.update_state(state="PROGRESS", meta={"done": done, "of": 3})
    gate(path, "progress")
    return "all"


@app.task(name="t.stamps", bind=True)
def stamps(self):
    return {name: list(values) for name, values in self.request.stamps.items()}


@app.task(name="t.open_once")
def open_once(path):
    """Fail until a file is there."""
    if not Path(path).exists():
        raise ValueError("not open")
    return path


@app.inspect_command(args=[("n", int), ("by", float)], signature="N [BY]", help="N times BY, where the app is.")
def times(state, n, by=2.0):
    return {"hostname": state.hostname, "product": n * by}


@app.control_command(variadic="words", default_timeout=5.0)
def say(state, words):
    """Note WORDS, or fail without any."""
    if not words:
        raise LookupError("no words")
    return {"ok": " ".join(words)}
