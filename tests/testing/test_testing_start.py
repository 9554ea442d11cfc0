"""How long a cluster takes to start, once it is imported, and that starting many of them leaves nothing that grows."""

import statistics
import threading
import time

import pytest

from grpcflow import Grpcflow
from grpcflow.testing import Cluster

#: Seconds that a start may take, as the median of `STARTS`.
MOST = 0.1
STARTS = 20


@pytest.mark.alone
def test_a_cluster_starts_within_a_tenth_of_a_second() -> None:
    took: list[float] = []
    threads: list[int] = []
    with Grpcflow("starts", set_as_current=False) as app:
        app.task(name="one")(lambda: 1)
        for _ in range(STARTS):
            began = time.perf_counter()
            with Cluster(app):
                took.append(time.perf_counter() - began)
                assert app.send_task("one").get(timeout=20) == 1
            threads.append(threading.active_count())
    print(f"median {statistics.median(took) * 1000:.1f} ms, longest {max(took) * 1000:.1f} ms")
    assert statistics.median(took) < MOST
    assert len(set(threads)) == 1, threads
