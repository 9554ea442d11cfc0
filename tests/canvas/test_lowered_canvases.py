"""Random canvases: what the lowered graph comes to must be what the reference evaluator says of the canvas as written.

No cluster takes part: an interpreter of graphs stands in for it, so that what fails here is the public API or lowering.
GRPCFLOW_TEST_CANVASES sets how many canvases are drawn.
"""

import os
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, settings
from tests.support.canvases import Drawn, app, rebuilt, submissions
from tests.support.functions import FUNCTIONS
from tests.support.graph_interpreter import Failure, Success, check_shape, describe, interpret
from tests.support.reference import Outcome, canonical, evaluate

from grpcflow import ids
from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_protos.v1 import graph_pb2

CANVASES = int(os.environ.get("GRPCFLOW_TEST_CANVASES", "80"))
BOUNDS: Final[dict[str, Any]] = {
    "deadline": None,
    "print_blob": True,
    "report_multiple_bugs": False,
    "suppress_health_check": [HealthCheck.too_slow],
}
GRAPH = ids.mint_graph()


def lowered(drawn: Drawn, *, through_json: bool = False) -> tuple[list[graph_pb2.GraphChunk], int]:
    """Returns the pieces of the graph and the index of the node whose end is that of the canvas."""
    built = rebuilt(drawn.built()) if through_json else drawn.built()
    graph = lower(built, Calls(app), args=drawn.args, kwargs=drawn.kwargs)
    assert graph is not None
    return to_chunks(graph, GRAPH), graph.outcome.node


def assert_allowed(wanted: Outcome, chunks: list[graph_pb2.GraphChunk], node: int) -> None:
    check_shape(chunks)
    ends, calls = interpret(chunks, FUNCTIONS)
    end = ends[node]
    note(describe(chunks))
    if isinstance(end, Success):
        assert not wanted.errors
        assert canonical(end.value) == wanted.value
    else:
        assert isinstance(end, Failure)
        assert end.error in wanted.errors
    assert calls == wanted.runs


@pytest.mark.slow
@settings(max_examples=CANVASES, **BOUNDS)
@given(submissions())
def test_a_lowered_canvas_means_what_was_written(drawn: Drawn) -> None:
    wanted = evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs)
    note(f"built: {drawn.built()!r}")
    assert_allowed(wanted, *lowered(drawn))


@pytest.mark.slow
@settings(max_examples=CANVASES // 4, **BOUNDS)
@given(submissions(3))
def test_a_canvas_that_went_through_json_means_the_same(drawn: Drawn) -> None:
    wanted = evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs)
    assert_allowed(wanted, *lowered(drawn, through_json=True))
