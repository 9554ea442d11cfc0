"""Random canvases on a simulated cluster land in the outcomes that the reference evaluator allows.

Core, engine, records and lowering are the real ones. The order of everything is random; in the second test workers die,
streams break, reports come twice and the coordinator crashes before and after its commits; in the third workers live.
GRPCFLOW_TEST_CANVASES sets how many canvases are drawn.
"""

import os
import random
from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.support.canvases import Drawn, app, submissions
from tests.support.chaos import Chaos
from tests.support.functions import FUNCTIONS
from tests.support.graph_interpreter import Failure, Spared, Success, describe, interpret
from tests.support.reference import Outcome, canonical, evaluate
from tests.support.simulated import SimulatedCluster, error_of

from grpcflow import ids
from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.model import NodeState

CANVASES = int(os.environ.get("GRPCFLOW_TEST_CANVASES", "40"))
BOUNDS: Final[dict[str, Any]] = {
    "deadline": None,
    "print_blob": True,
    "report_multiple_bugs": False,
    "suppress_health_check": [HealthCheck.too_slow],
}
#: So many lost attempts that no task fails by them: what is judged here is the canvas.
PATIENT = Limits(max_deliveries=1_000_000)


#: How a node ends by the interpreter of graphs, and its state by the core.
STATES: Final = {Success: NodeState.SUCCESS, Failure: NodeState.FAILURE, Spared: NodeState.IGNORED}


def run_on_cluster(
    drawn: Drawn, seed: int, faults: float, *, deadly: bool = True
) -> tuple[SimulatedCluster, bytes, int]:
    """Submits a canvas to a new cluster and runs it until every node has settled, each in the state it should."""
    lowered = lower(drawn.built(), Calls(app), args=drawn.args, kwargs=drawn.kwargs)
    assert lowered is not None
    chunks = to_chunks(lowered, ids.mint_graph())
    note(f"seed {seed}")
    note(describe(chunks))
    cluster = SimulatedCluster(FUNCTIONS, PATIENT)
    cluster.add_worker("w1")
    cluster.add_worker("w2")
    graph = cluster.submit(chunks)
    Chaos(cluster, random.Random(seed), faults, deadly=deadly).run(graph)
    ends, _ = interpret(chunks, FUNCTIONS)
    assert {index: cluster.state(graph, index) for index in range(len(ends))} == {
        index: STATES[type(end)] for index, end in enumerate(ends)
    }
    return cluster, graph, lowered.outcome.node


def assert_allowed(wanted: Outcome, cluster: SimulatedCluster, graph: bytes, node: int) -> None:
    outcome = cluster.outcome(graph, node)
    assert outcome is not None
    if outcome.state is NodeState.SUCCESS:
        assert not wanted.errors
        assert canonical(cluster.value(graph, node)) == wanted.value
    else:
        assert outcome.failure is not None
        assert error_of(outcome.failure) in wanted.errors


@pytest.mark.slow
@settings(max_examples=CANVASES, **BOUNDS)
@given(submissions(4), st.integers(0, 2**32))
def test_a_random_canvas_ends_as_the_reference_says(drawn: Drawn, seed: int) -> None:
    wanted = evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs)
    cluster, graph, node = run_on_cluster(drawn, seed, 0)
    assert_allowed(wanted, cluster, graph, node)
    assert cluster.calls == wanted.runs


@pytest.mark.slow
@settings(max_examples=CANVASES // 2, **BOUNDS)
@given(submissions(4), st.integers(0, 2**32))
def test_also_while_workers_and_the_coordinator_are_killed(drawn: Drawn, seed: int) -> None:
    wanted = evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs)
    cluster, graph, node = run_on_cluster(drawn, seed, 0.25)
    assert_allowed(wanted, cluster, graph, node)
    # A lost attempt runs again, so a call may run more often than once; none is left out and none is made up.
    assert set(cluster.calls) == set(wanted.runs)
    assert wanted.runs <= Counter(cluster.calls)


@pytest.mark.slow
@settings(max_examples=CANVASES // 2, **BOUNDS)
@given(submissions(4), st.integers(0, 2**32))
def test_nothing_runs_twice_while_all_workers_live(drawn: Drawn, seed: int) -> None:
    wanted = evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs)
    cluster, graph, node = run_on_cluster(drawn, seed, 0.25, deadly=False)
    assert_allowed(wanted, cluster, graph, node)
    assert cluster.calls == wanted.runs
