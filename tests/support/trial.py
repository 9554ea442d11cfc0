"""One trial: a random canvas on a simulated cluster, judged by the reference evaluator.

Core, engine, records, lowering and public API are the real ones. Judged are the final value or failure, how often each
call ran (callbacks and errbacks among them), that every node settled once, and that nothing is left once results have
expired.
"""

import random
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from tests.support.canvases import Drawn, app
from tests.support.chaos import Chaos
from tests.support.functions import FUNCTIONS
from tests.support.random_canvases import EVERYTHING, REVOKED_ID, ROBUST, draw
from tests.support.reference import Error, Outcome, canonical, evaluate
from tests.support.simulated import SimulatedCluster, error_of

from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.model import NodeState

#: So many lost attempts that no task fails by them: what is judged here is the canvas.
PATIENT: Final = Limits(max_deliveries=1_000_000)

#: How likely a fault is at each turn, where there are any.
FAULTS: Final = 0.25


class Weather(Enum):
    """What happens to the cluster meanwhile.

    FAIR: everything in random order. ROUGH: streams break and the coordinator crashes between any two steps, all
    workers live. DEADLY: workers die and leave, too, so that a call may run more than once.
    """

    FAIR = "fair"
    ROUGH = "rough"
    DEADLY = "deadly"


class Difference(AssertionError):
    """A canvas came to something else than it should have."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a canvas came to.

    Attributes:
        state: How its last node settled.
        value: Its value, where it has one.
        error: Its failure, where it has one.
        runs: How often each call ran.
    """

    state: NodeState
    value: Any
    error: Error | None
    runs: Counter[str]


@dataclass(frozen=True, slots=True)
class Trial:
    """One canvas and what happens around it.

    Attributes:
        drawn: The canvas.
        seed: Of all that happens around it.
        weather: What happens.
        check_every: The invariants are checked after every so many steps of the core.
    """

    drawn: Drawn
    seed: int
    weather: Weather = Weather.FAIR
    check_every: int = 1

    def run(self) -> Ending | None:
        """Runs it and returns what it came to; None for nothing but empty chains.

        Raises:
            Difference: It came to something else than the reference evaluator allows.
            AssertionError: An invariant broke, or it does not end.
        """
        drawn = self.drawn
        lowered = lower(drawn.built(), Calls(app), args=drawn.args, kwargs=drawn.kwargs)
        if lowered is None:
            return None
        wanted = evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs)
        cluster = SimulatedCluster(FUNCTIONS, PATIENT, self.check_every)
        graph = cluster.submit(to_chunks(lowered, cluster.mint()), REVOKED_ID)
        cluster.add_worker("w1")
        cluster.add_worker("w2")
        faults = 0 if self.weather is Weather.FAIR else FAULTS
        deadly = self.weather is Weather.DEADLY
        Chaos(cluster, random.Random(self.seed), faults, deadly=deadly).run(graph)
        ending = _ending(cluster, graph, lowered.outcome.node)
        _judge_end(wanted, ending)
        _judge_runs(wanted.runs, cluster.calls, once=not deadly)
        _judge_records(cluster)
        return ending


def random_trial(seed: int, weather: Weather = Weather.FAIR, check_every: int = 1) -> Trial:
    """Returns the trial of a seed."""
    rng = random.Random(seed)
    drawn = draw(rng, ROBUST if weather is Weather.DEADLY else EVERYTHING)
    return Trial(drawn, rng.randrange(2**32), weather, check_every)


def _ending(cluster: SimulatedCluster, graph: bytes, node: int) -> Ending:
    outcome = cluster.outcome(graph, node)
    if outcome is None:
        raise Difference("it is over, and its last node has not settled")
    value = cluster.value(graph, node) if outcome.state is NodeState.SUCCESS else None
    error = None if outcome.failure is None else error_of(outcome.failure)
    return Ending(outcome.state, value, error, Counter(cluster.calls))


def _judge_end(wanted: Outcome, ending: Ending) -> None:
    allowed = wanted.value or wanted.errors or "nothing (ignored)"
    if ending.state is NodeState.SUCCESS:
        value = canonical(ending.value)
        if value != wanted.value:
            raise Difference(f"it gave {value}; allowed is {allowed}")
    elif ending.state is NodeState.IGNORED:
        if not wanted.ignored:
            raise Difference(f"it was ignored; allowed is {allowed}")
    elif ending.error not in wanted.errors:
        raise Difference(f"it failed with {ending.error}; allowed is {allowed}")


def _judge_runs(wanted: Counter[str], calls: Counter[str], *, once: bool) -> None:
    missing, more = wanted - calls, calls - wanted
    if missing:
        raise Difference(f"these calls did not run, or not so often: {dict(missing)}")
    if more and (once or set(more) - set(wanted)):
        raise Difference(f"these calls ran, or ran too often: {dict(more)}")


def _judge_records(cluster: SimulatedCluster) -> None:
    """Every node settled, each was told once (see SimulatedCluster), and all records go when results expire."""
    left = cluster.left_after_pruning()
    if left:
        raise Difference(f"these records are left when all results have expired: {left}")
