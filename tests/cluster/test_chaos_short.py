"""A short run of the chaos rig: a few kills and cuts under load, and no finding. The long one is scripts/chaos."""

import random
from dataclasses import replace
from pathlib import Path

from chaosrig.checker import Case, findings
from chaosrig.cluster import ChaosCluster
from chaosrig.history import History, history_in
from chaosrig.plans import REVOKE_WITHIN
from chaosrig.rig import Shape, run


def test_a_few_kills_under_load_lose_change_and_repeat_nothing(tmp_path: Path, rng: random.Random) -> None:
    seed = rng.randrange(2**32)
    cluster = ChaosCluster(tmp_path, seed, patience=4.0)
    try:
        verdict = run(cluster, Shape(rounds=3, seconds=2.0, workers=2, clients=2, runs=30), seed)
        assert verdict.findings == [], verdict
        assert verdict.counts["runs"] >= 30, verdict
        assert verdict.counts["runs"] >= verdict.counts["acknowledged calls"] > 0, verdict
        assert_breaches_would_show(cluster)
    finally:
        cluster.stop()
        print(cluster.logs())


def assert_breaches_would_show(cluster: ChaosCluster) -> None:
    """Plants breaches in what was just written, so that a rule which never matches real records is noticed."""
    lost, changed, again = (history_in(cluster.history) for _ in range(3))
    seen = next(saw for saw in lost.saw if saw.state == "SUCCESS" and saw.node in {run.node for run in lost.begun})
    lost.outcome = [one for one in lost.outcome if one.node != seen.node]
    changed.outcome = [replace(one, value="other") if one.node == seen.node else one for one in changed.outcome]
    latest = max((run for run in again.begun if run.node == seen.node), key=lambda run: run.token)
    again.begun.append(replace(latest, at=seen.at + 1.0, token=latest.token + 1))
    assert rules_of(lost, cluster) == {"lost"}
    assert rules_of(changed, cluster) == {"result", "changed"}
    assert "settled again" in rules_of(again, cluster)


def rules_of(history: History, cluster: ChaosCluster) -> set[str]:
    return {finding.rule for finding in findings(Case(history, cluster.slack, REVOKE_WITHIN))}
