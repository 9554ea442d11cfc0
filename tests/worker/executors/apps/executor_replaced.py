"""An app whose settings have children replaced."""

import os

from grpcflow import Grpcflow

app = Grpcflow("executor_replaced")
app.conf.update(
    worker_max_tasks_per_child=2, worker_max_memory_per_child=int(os.environ.get("EXECUTOR_REPLACED_KIB", "1000000"))
)


@app.task
def where() -> int:
    return os.getpid()
