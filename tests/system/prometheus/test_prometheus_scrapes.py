"""A real Prometheus scrapes live daemons, with a token and over TLS too, and answers what the page asks."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.harness import Cluster, cluster_in, wait_for
from tests.cluster.test_metrics_told import url_in
from tests.cluster.warm import WARM
from tests.coordinator.security.token_files import give
from tests.support.certificates import Authority
from tests.support.scraping import RULES, described, in_rules
from tests.support.tree import ROOT
from tests.system.prometheus.queries import of_dashboard, of_page
from tests.system.prometheus.server import BOUND, Prometheus, prometheus

from grpcflow import group
from grpcflow_coordinator.security.token_file import Role

CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def _warm() -> Iterator[None]:
    yield
    WARM.close()


def target(url: str) -> str:
    """Return HOST:PORT of an address."""
    found = re.fullmatch(r"https?://([^/]+)/metrics", url)
    assert found is not None
    return found[1]


def guarded(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """Start a coordinator with a certificate and tokens; return the job that scrapes it."""
    authority = Authority(folder / "authority")
    pair, tokens, file = authority.vouch(), folder / "tokens.json", folder / "prometheus.token"
    file.write_text(give(tokens, [Role.METRICS], name="prometheus"))
    cluster.launch(
        "guarded",
        *("grpcflow_coordinator", "--memory", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
        *("--tokens", str(tokens), "--tls-cert", str(pair.cert), "--tls-key", str(pair.key)),
    )
    return {
        "job_name": "guarded",
        "scheme": "https",
        "tls_config": {"ca_file": str(authority.cert)},
        "authorization": {"credentials_file": str(file)},
        "static_configs": [{"targets": [target(url_in(cluster, "guarded"))]}],
    }


def config_of(cluster: Cluster, folder: Path) -> Path:
    """Write the configuration of deploy/ for the daemons of a cluster, with a third job."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    for job, log in zip(config["scrape_configs"], ("coordinator", "w1"), strict=True):
        job["static_configs"] = [{"targets": [target(url_in(cluster, log))]}]
    config["scrape_configs"].append(guarded(cluster, folder))
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def scraped(folder: Path) -> Iterator[tuple[Cluster, Prometheus]]:
    """Run a cluster that has done some work, some of it in vain, and a Prometheus that has scraped all of it."""
    for name in ("cluster", "prometheus"):
        (folder / name).mkdir()
    with cluster_in(folder / "cluster") as cluster:
        cluster.start_coordinator("--metrics", "127.0.0.1:0")
        cluster.start_worker("w1", "--metrics", "127.0.0.1:0")
        add = cluster.app.signature("t.add", args=(1, 2))
        assert group(add for _ in range(50)).apply_async().get(timeout=BOUND) == [3] * 50
        with pytest.raises(TypeError):
            cluster.app.signature("t.add", args=(1, None)).apply_async().get(timeout=BOUND)
        for _ in range(7):
            add.apply_async(queue="lost")
        with prometheus(folder / "prometheus", config_of(cluster, folder / "prometheus")) as server:
            wait_for("all to be scraped", lambda: server.query("sum(up)") == [3], BOUND)
            yield cluster, server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped a cluster, which no test breaks."""
    with scraped(tmp_path_factory.mktemp("scraped")) as (_, made):
        yield made


def test_it_has_what_the_page_names_with_its_kind(server: Prometheus) -> None:
    kinds = {name: found[0]["type"] for name, found in server.ask("metadata").items()}
    for name, (kind, _) in described().items():
        # It asks for OpenMetrics, where a counter's ending is its samples' alone.
        assert kinds[name.removesuffix("_total")] == kind
        assert server.wait(f"{name}_count" if kind == "histogram" else name)


def test_it_answers_with_the_values_that_there_are(server: Prometheus) -> None:
    assert server.wait('grpcflow_queue_depth{queue="lost"}') == [7]
    assert server.query('grpcflow_queue_workers{queue="lost"}') == [0]
    assert server.query('grpcflow_attempts_ended_total{outcome="success"}') == [50]
    assert server.query('sum(grpcflow_worker_tasks_total{task="t.add"})') == [51]
    assert server.query('grpcflow_worker_connected{job="grpcflow-worker"}') == [1]
    assert server.query('grpcflow_build_info{job="guarded"}') == [1]


def test_it_answers_every_query_of_the_dashboard_and_of_the_page(server: Prometheus) -> None:
    for query in (*of_dashboard(), *of_page()):
        server.query(query)
    for query in of_dashboard():
        if "rate(" not in query and "increase(" not in query and "paused" not in query:
            assert server.wait(query), query


def test_it_evaluates_every_alert_without_an_error(server: Prometheus) -> None:
    def health() -> dict[str, str]:
        rules = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
        return {rule["name"]: rule["health"] for rule in rules}

    assert health().keys() == in_rules().keys()
    wait_for("every alert to be looked at", lambda: set(health().values()) == {"ok"}, BOUND)
    assert server.wait('ALERTS{alertname="GrpcflowQueueWithoutWorker", queue="lost"}') == [1]
    assert server.query('ALERTS{alertname="GrpcflowCoordinatorDown"}') == []


def test_a_coordinator_that_was_killed_is_seen_and_its_worker_alone(tmp_path: Path) -> None:
    with scraped(tmp_path) as (cluster, server):
        assert cluster.coordinator is not None
        cluster.coordinator.kill()
        assert server.wait('ALERTS{alertname="GrpcflowCoordinatorDown"}') == [1]
        assert server.wait('ALERTS{alertname="GrpcflowWorkerAlone"}') == [1]
        assert server.query('up{job="guarded"}') == [1]
