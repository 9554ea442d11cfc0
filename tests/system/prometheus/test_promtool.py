"""Prometheus' own tool takes the alerts, the configuration, all queries that are written down, and the names."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.coordinator.support.serving import serving
from tests.support.certificates import Authority
from tests.support.scraping import DASHBOARD, PAGE, RULES, answered
from tests.support.tree import ROOT
from tests.system.prometheus.queries import of_dashboard, of_page

CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"
HERE = Path(__file__).parent


def promtool(*words: object, folder: Path = ROOT, given: bytes = b"", fails: bool = False) -> str:
    """Return what promtool says; fails unless it takes what it is shown, or with `fails` unless it does not."""
    command = ["promtool", *map(str, words)]
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert (done.returncode != 0) is fails, said
    return said


def test_the_alerts_are_rules() -> None:
    assert "11 rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_a_mistake_in_them_would_be_seen(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(RULES.read_text(encoding="utf-8").replace("grpcflow_disk_full == 1", "grpcflow_disk_full === 1"))
    promtool("check", "rules", broken, fails=True)


def test_the_configuration_is_one_and_finds_its_rules() -> None:
    assert "SUCCESS: 11 rules found" in promtool("check", "config", CONFIG)


def test_the_one_on_the_page_is_one_too(tmp_path: Path) -> None:
    [block] = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "token").write_text("gft_x_y")
    text = block.replace("/etc/prometheus/grpcflow-ca.pem", str(Authority(tmp_path).cert))
    text = text.replace("/etc/prometheus/prometheus.token", str(tmp_path / "token"))
    assert "/etc" not in text
    (tmp_path / "prometheus.yml").write_text(text)
    assert "SUCCESS" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_alerts_come_when_they_should_and_not_before(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(HERE / "grpcflow.rules.test.yml", tmp_path)
    assert "SUCCESS" in promtool("test", "rules", "grpcflow.rules.test.yml", folder=tmp_path)


def test_a_rule_that_changed_would_fail_its_test(tmp_path: Path) -> None:
    shutil.copy(HERE / "grpcflow.rules.test.yml", tmp_path)
    changed = RULES.read_text(encoding="utf-8").replace("grpcflow_queue_workers == 0", "grpcflow_queue_workers == 1")
    (tmp_path / RULES.name).write_text(changed)
    promtool("test", "rules", "grpcflow.rules.test.yml", folder=tmp_path, fails=True)


def test_every_query_of_the_dashboard_and_of_the_page_is_one(tmp_path: Path) -> None:
    queries = [*of_dashboard(), *of_page()]
    assert len(queries) > 50
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    # JSON is YAML.
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": DASHBOARD.stem, "rules": rules}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", tmp_path / "queries.yml")


async def test_names_are_as_they_are_to_be() -> None:
    async with serving(metrics="127.0.0.1:0") as wire:
        assert wire.coordinator.metrics is not None
        _, body, _ = await asyncio.to_thread(answered, wire.coordinator.metrics.url)
    assert promtool("check", "metrics", given=body) == ""
