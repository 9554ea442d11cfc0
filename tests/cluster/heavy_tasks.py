"""An app that holds a hundred megabytes, 40 of them in small objects, and looks things up there."""

import os
import threading
from pathlib import Path

from grpcflow import Grpcflow

app = Grpcflow("heavy_tasks")

#: One large object, and some 300,000 small ones that refer to each other.
BLOCK = os.urandom(60 << 20)
TABLE = {f"word {number}": (number, f"meaning {number}") for number in range(180_000)}

_PAUSE = threading.Event()  # never set: a wait on it is a pause


@app.task(queue="heavy")
def meet(party: int, name: str) -> int:
    """Waits until so many processes are in this task; gives the process."""
    folder = Path(os.environ["NOTES"])
    (folder / f"{name}-{os.getpid()}").touch()
    for _ in range(2_000):
        if len(list(folder.glob(f"{name}-*"))) >= party:
            return os.getpid()
        _PAUSE.wait(0.01)
    raise TimeoutError(f"fewer than {party} processes came to {name}")


@app.task(queue="heavy")
def look_up(number: int) -> str:
    """Looks up a word, as a model or a dictionary is used."""
    return TABLE[f"word {number}"][1] + chr(65 + BLOCK[number] % 26)
