"""Hundreds of simulated worlds in each run of the suite; `scripts/simulate` runs them for as long as it is told to.

A world that fails is printed with its seed, cut down to the least that still fails, and with a trace.
"""

import os
import subprocess
from dataclasses import replace

import pytest
from tests.simulation.planning import FAULTS, ORDERS, plan_of
from tests.simulation.trying import first_failure, report, shrunk, try_plan
from tests.simulation.workload import KINDS
from tests.support.tree import ROOT

from grpcflow_coordinator.storage.records import Records

#: Each part is a test of its own, so that they can run side by side.
PARTS = 10
WORLDS = 50


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_promised_holds_in_every_world(part: int, seed: int) -> None:
    _, failed = first_failure(seed, WORLDS)
    if failed is not None:
        print(report(failed))
        pytest.fail(f"world {failed.plan.seed} fails, see the output: {failed.error}")


def test_one_seed_is_one_world() -> None:
    plan = plan_of(7)
    first, again = try_plan(plan, traced=True), try_plan(plan_of(7), traced=True)
    assert first.error is None
    assert len(first.lines) > 20
    assert first.lines == again.lines


def test_every_kind_of_graph_order_and_fault_is_drawn() -> None:
    plans = [plan_of(seed) for seed in range(400)]
    assert {job.kind for plan in plans for job in plan.jobs} == {*KINDS, "canvas"}
    assert {order.kind for plan in plans for order in plan.orders} == set(ORDERS)
    assert {fault.kind for plan in plans for fault in plan.faults} == set(FAULTS)


@pytest.mark.slow
def test_a_failure_is_cut_down_and_says_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Records, "drop_entry", lambda records, entry: None)
    failed = next(
        tried
        for tried in (try_plan(plan_of(seed)) for seed in range(300))
        if tried.error is not None and len(tried.plan.parts) > 5
    )
    small = shrunk(failed, tries=40)
    assert small.kind == failed.kind
    assert len(small.plan.parts) < len(failed.plan.parts)
    text = report(failed, small)
    assert f"scripts/simulate --world {failed.plan.seed}" in text
    assert not small.plan.faults, "no fault has to do with it"
    assert "is submitted as" in text


def test_a_world_without_parts_comes_to_rest() -> None:
    assert try_plan(replace(plan_of(1), jobs=(), orders=(), faults=())).error is None


@pytest.mark.slow
def test_the_command_runs_worlds_and_tells_its_seed() -> None:
    command = [str(ROOT / "scripts" / "simulate"), "--seed", "11", "--worlds", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == "seed: 11"
    assert "5 worlds" in done.stdout
