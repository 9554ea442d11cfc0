"""What live daemons tell Prometheus is what the page says: every figure with a sample, its kind and its labels."""

from __future__ import annotations

import re

import pytest
from tests.cluster.harness import Cluster, wait_for
from tests.support.scraping import Scrape, described, expressions, in_rules, names_in, scrape

from grpcflow import group


def url_in(cluster: Cluster, log: str) -> str:
    """Return where a daemon tells its metrics, as its log says."""
    path = cluster.folder / f"{log}.log"
    found: re.Match[str] = wait_for(
        f"{log} to tell metrics", lambda: re.search(r"metrics at (https?://\S+)", path.read_text())
    )
    return found[1]


def told(scrape: Scrape) -> dict[str, tuple[str, set[str]]]:
    """Return kind and labels of every figure of which there is a sample."""
    return {name: (scrape.kinds[name], labels) for name, labels in scrape.labels.items()}


def test_all_that_the_page_names_is_told_and_nothing_else(cluster: Cluster) -> None:
    cluster.start_coordinator("--metrics", "127.0.0.1:0")
    cluster.start_worker("w1", "--metrics", "127.0.0.1:0")
    add = cluster.app.signature("t.add", args=(1, 2))
    assert group(add for _ in range(20)).apply_async().get(timeout=60) == [3] * 20
    with pytest.raises(TypeError):
        cluster.app.signature("t.add", args=(1, None)).apply_async().get(timeout=60)
    url = url_in(cluster, "w1")  # it counts the last one's seconds when it has told of its end
    wait_for("the last one", lambda: scrape(url).several("grpcflow_worker_task_seconds_count", task="t.add") == [21])
    coordinator, worker = scrape(url_in(cluster, "coordinator")), scrape(url)
    page = described()
    namespaced = {name: (kind, labels - {"namespace"}) for name, (kind, labels) in told(coordinator).items()}
    assert namespaced.keys() | told(worker).keys() == page.keys()
    for found in (namespaced, told(worker)):
        assert {name: page[name] for name in found} == found
    named = set().union(*(names_in(text) for text in (*expressions(), *in_rules().values())))
    assert named <= page.keys()
    assert coordinator.value("grpcflow_attempts_ended_total", task="t.add", outcome="success") == 20
    assert coordinator.value("grpcflow_attempts_ended_total", task="t.add", outcome="failure") == 1
    assert worker.value("grpcflow_worker_tasks_total", task="t.add", outcome="success") == 20
    assert worker.value("grpcflow_worker_task_seconds_count", task="t.add") == 21
    assert worker.value("grpcflow_worker_children") == 2
    assert coordinator.value("grpcflow_queue_wait_seconds_count", queue="default") == 21
    cluster.workers["w1"].terminate()
    assert cluster.coordinator is not None
    assert cluster.coordinator.terminate() == 0
