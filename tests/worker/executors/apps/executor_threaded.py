"""An app whose import leaves a thread running, so that nothing may fork after it."""

import os
import threading

from grpcflow import Grpcflow

app = Grpcflow("executor_threaded")
threading.Thread(target=threading.Event().wait, name="left-running", daemon=True).start()


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def where() -> list[int]:
    return [os.getpid()]
