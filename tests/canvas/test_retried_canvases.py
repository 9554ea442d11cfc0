"""Random canvases that are cancelled somewhere on their way and retried: they come to what they would have come to."""

import json
import random
from typing import Any

import pytest
from tests.support.canvases import app
from tests.support.chaos import Chaos
from tests.support.functions import FUNCTIONS
from tests.support.random_canvases import EVERYTHING, REVOKED_ID, ROBUST, draw
from tests.support.reference import evaluate
from tests.support.simulated import SimulatedCluster
from tests.support.trial import FAULTS, PATIENT, _ending, _judge_end, _judge_records

from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import CancelAsked, RetryAsked

#: Each part is a test of its own, so that they can run side by side.
PARTS = 2
CANVASES = 30


def ask(cluster: SimulatedCluster, event: Any) -> None:
    """Asks until it is answered; where the answer was lost in a crash, what was asked for may be under way."""
    crashes = cluster.crashes
    for _ in range(20):
        cluster.answers.clear()
        cluster.post(event)
        found = [answer for answer in cluster.answers if isinstance(answer, Answer)]
        if found:
            assert found[0].code == "" or (found[0].code == "STILL_RUNNING" and cluster.crashes > crashes)
            return
    raise AssertionError("it was not answered")


def one(seed: int, *, faults: bool) -> None:
    """Runs one canvas; cancels it somewhere, or lets it end; then retries it, twice where it failed."""
    rng = random.Random(seed)
    drawn = draw(rng, ROBUST if faults else EVERYTHING)
    lowered = lower(drawn.built(), Calls(app), args=drawn.args, kwargs=drawn.kwargs)
    if lowered is None or REVOKED_ID in json.dumps(drawn.canvas, default=str):
        return  # what was revoked would run after a retry, and the reference does not know that
    wanted = evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs)
    cluster = SimulatedCluster(FUNCTIONS, PATIENT)
    graph = cluster.submit(to_chunks(lowered, cluster.mint()))
    cluster.add_worker("w1")
    cluster.add_worker("w2")
    chaos = Chaos(cluster, rng, FAULTS if faults else 0, deadly=False)
    if rng.random() < 0.8:
        for _ in range(rng.randint(0, 40)):
            chaos._heal()
            chaos._act()
        ask(cluster, CancelAsked(cluster, graph, rng.random() < 0.5, "SIGTERM"))
    for _ in range(2):
        chaos.run(graph)
        cluster.settled.clear()
        ask(cluster, RetryAsked(cluster, graph))
    chaos.run(graph)
    _judge_end(wanted, _ending(cluster, graph, lowered.outcome.node))
    _judge_records(cluster)


@pytest.mark.slow
@pytest.mark.parametrize("faults", [False, True], ids=["fair", "rough"])
@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_cancelled_and_retried_ends_as_the_reference_says(part: int, faults: bool, seed: int) -> None:
    for number in range(CANVASES // (3 if faults else 1)):
        try:
            one(seed + number, faults=faults)
        except Exception as error:
            error.add_note(f"canvas of seed {seed + number}, {'with' if faults else 'without'} faults")
            raise
