"""Random canvases on a simulated cluster land in the outcomes that the reference evaluator allows.

Core, engine, records and lowering are the real ones. The order of everything is random; in rough weather streams break,
reports come twice and the coordinator crashes before and after its commits, in deadly weather workers die, too.
Invariants are checked after every step and each node's state is compared; test_many_canvases.py runs many more.
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
from tests.support.trial import FAULTS, PATIENT, Weather

from grpcflow import ids
from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_coordinator.core.model import NodeState

CANVASES = int(os.environ.get("GRPCFLOW_TEST_CANVASES", "80"))
BOUNDS: Final[dict[str, Any]] = {
    "deadline": None,
    "print_blob": True,
    "report_multiple_bugs": False,
    "suppress_health_check": [HealthCheck.too_slow],
}

#: How a node ends by the interpreter of graphs, and its state by the core.
STATES: Final = {Success: NodeState.SUCCESS, Failure: NodeState.FAILURE, Spared: NodeState.IGNORED}


def run_on_cluster(drawn: Drawn, seed: int, weather: Weather) -> tuple[SimulatedCluster, bytes, int]:
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
    faults = 0 if weather is Weather.FAIR else FAULTS
    Chaos(cluster, random.Random(seed), faults, deadly=weather is Weather.DEADLY).run(graph)
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
@given(submissions(4), st.integers(0, 2**32), st.sampled_from(Weather))
def test_a_random_canvas_ends_as_the_reference_says_in_any_weather(drawn: Drawn, seed: int, weather: Weather) -> None:
    wanted = evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs)
    cluster, graph, node = run_on_cluster(drawn, seed, weather)
    assert_allowed(wanted, cluster, graph, node)
    if weather is not Weather.DEADLY:
        assert cluster.calls == wanted.runs
    # A lost attempt runs again, so a call may run more often than once; none is left out and none is made up.
    assert set(cluster.calls) == set(wanted.runs)
    assert wanted.runs <= Counter(cluster.calls)
