"""What clients submit in a simulated world: each kind of graph is one function from a random generator to its pieces.

A kind that is new in the product is one more function in `KINDS`. Canvases are drawn and lowered once for a process,
since that costs more than to run them; a world names them by number.

May NOT know how any of it ends; that is judging.py's affair.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from tests.support.acting import Done, Finished
from tests.support.canvases import app
from tests.support.functions import FUNCTIONS
from tests.support.random_canvases import Range, draw
from tests.support.reference import Outcome, evaluate

from grpcflow.lower import Calls, LoweredGraph, lower, to_chunks
from grpcflow_protos.v1 import graph_pb2, limit_pb2, value_pb2, worker_service_pb2
from grpcflow_worker.executor import CallRun

#: Canvases that there are; a world's are numbers below it, those from `ROBUST` on only where attempts are never lost.
CANVASES: Final = 240
ROBUST: Final = 200

#: What the code of all workers says of tasks. The pace is slow: a coordinator is often back before the next start.
LIMITED_AT_ONCE: Final = 2
PACED_MS: Final = 1_000
BATCH: Final = 3
#: How long a task waits before it is tried again; some of them longer than it takes until its results have expired.
RETRIED_MS: Final = (300, 9_000)
MOST_LOST: Final = 3

#: The queues that there are; workers that do not serve the second one come and go.
QUEUES: Final = ("default", "away")

#: How many with one concurrency key run at once.
PER_KEY: Final = MappingProxyType({"k1": 1, "k2": 2})

#: Tasks beside those of the canvases, and how long they take: most seconds of most of them, and of a few.
TASKS: Final = ("plain", "once", "limited", "paced", "keyed", "unique", "batched", "dies", "retries", "fails", "long")

TASK_FACTS: Final = (
    limit_pb2.TaskFacts(task="limited", limit=limit_pb2.Limit(concurrency=LIMITED_AT_ONCE)),
    limit_pb2.TaskFacts(task="paced", limit=limit_pb2.Limit(rate_count=1, rate_period_ms=PACED_MS)),
    limit_pb2.TaskFacts(task="batched", batch_size=BATCH, batch_within_ms=400),
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A canvas of the pool: lowered, and what it may come to."""

    lowered: LoweredGraph
    wanted: Outcome
    described: str


@functools.cache
def canvas(number: int) -> Drawn:
    """Return a canvas of the pool."""
    growing = number >= ROBUST
    for attempt in range(100):
        rng = random.Random(f"canvas {number} {attempt}")
        drawn = draw(rng, Range(depth=4, calls=9, growing=growing, revoking=False))
        lowered = lower(drawn.built(), Calls(app), args=drawn.args, kwargs=drawn.kwargs)
        if lowered is not None:
            return Drawn(lowered, evaluate(drawn.canvas, FUNCTIONS, drawn.args, drawn.kwargs), repr(drawn.canvas))
    raise AssertionError("no canvas could be drawn")


@dataclass(slots=True)
class Submitted:
    """One graph that a client submits.

    Attributes:
        kind: Its kind.
        chunks: Its pieces.
        canvas: The canvas it was lowered from; None: it is of another kind.
    """

    kind: str
    chunks: Sequence[graph_pb2.GraphChunk]
    canvas: Drawn | None = None
    client: int = 0
    #: True once the coordinator has said that it is durable.
    accepted: bool = False
    #: True: somebody has ended some of it, so that how it ends is open.
    touched: bool = False
    refused: str = ""
    keys: Mapping[int, str] = field(default_factory=dict)

    @property
    def graph(self) -> bytes:
        """The graph's id."""
        return self.chunks[0].graph


Made = list[graph_pb2.GraphChunk]


def _queue(rng: random.Random) -> str:
    return rng.choice(QUEUES) if rng.random() < 0.5 else QUEUES[0]


def _payload(number: int) -> bytes:
    return json.dumps([[number], {}]).encode()


def _whole(graph: bytes, template: graph_pb2.Template, *runs: graph_pb2.NodeRun) -> Made:
    """Return a graph of runs of one template, in one piece."""
    count = 0
    for run in runs:
        run.first = count
        run.payloads.extend(_payload(count + ahead) for ahead in range(run.count))
        count += run.count
    return [graph_pb2.GraphChunk(graph=graph, last=True, node_count=count, templates=[template], runs=runs)]


def _plain(rng: random.Random, graph: bytes) -> Made:
    task = rng.choice(["plain", "plain", "long"])
    template = graph_pb2.Template(task=task, priority=rng.choice([0, 0, 5]), queue=rng.choice(QUEUES))
    template.track_started = rng.random() < 0.3
    return _whole(graph, template, graph_pb2.NodeRun(count=rng.choice([1, 1, 2, 7])))


def _apart(rng: random.Random, graph: bytes) -> Made:
    """Many calls that have nothing to do with each other, sent as one graph of runs."""
    template = graph_pb2.Template(task="plain", apart=True)
    return _whole(graph, template, *(graph_pb2.NodeRun(count=rng.randint(1, 4)) for _ in range(rng.randint(1, 3))))


def _once(rng: random.Random, graph: bytes) -> Made:
    template = graph_pb2.Template(task="once", acks_early=True)
    return _whole(graph, template, graph_pb2.NodeRun(count=rng.choice([1, 2, 4])))


def _limited(rng: random.Random, graph: bytes) -> Made:
    return _whole(graph, graph_pb2.Template(task="limited"), graph_pb2.NodeRun(count=rng.randint(1, 6)))


def _paced(rng: random.Random, graph: bytes) -> Made:
    return _whole(graph, graph_pb2.Template(task="paced"), graph_pb2.NodeRun(count=rng.randint(1, 4)))


def _batched(rng: random.Random, graph: bytes) -> Made:
    return _whole(graph, graph_pb2.Template(task="batched"), graph_pb2.NodeRun(count=rng.randint(1, 7)))


def _keyed(rng: random.Random, graph: bytes) -> Made:
    key = rng.choice(list(PER_KEY))
    template = graph_pb2.Template(task="keyed", concurrency_per_key=PER_KEY[key], queue=_queue(rng))
    runs = [
        graph_pb2.NodeRun(count=rng.randint(1, 3), concurrency_key=key, fairness_key=rng.choice(["", "x", "y"]))
        for _ in range(rng.randint(1, 3))
    ]
    return _whole(graph, template, *runs)


def _unique(rng: random.Random, graph: bytes) -> Made:
    template = graph_pb2.Template(task="unique")
    template.unique_for.seconds = 3_000
    return _whole(graph, template, graph_pb2.NodeRun(count=1, unique_key=rng.choice(["u1", "u1", "u2"])))


def _expiring(rng: random.Random, graph: bytes) -> Made:
    template = graph_pb2.Template(task=rng.choice(["plain", "long"]), queue=_queue(rng))
    template.expires_in.FromMilliseconds(rng.choice([1, 300, 2_000, 20_000]))
    if rng.random() < 0.4:
        template.countdown.FromMilliseconds(rng.choice([200, 3_000]))
    return _whole(graph, template, graph_pb2.NodeRun(count=rng.choice([1, 3])))


def _delayed(rng: random.Random, graph: bytes) -> Made:
    template = graph_pb2.Template(task="plain", queue=_queue(rng))
    template.countdown.FromMilliseconds(rng.choice([5, 700, 4_000, 9_000]))
    return _whole(graph, template, graph_pb2.NodeRun(count=rng.choice([1, 3])))


def _dying(rng: random.Random, graph: bytes) -> Made:
    template = graph_pb2.Template(task="dies", max_deliveries=MOST_LOST, acks_early=rng.random() < 0.3)
    return _whole(graph, template, graph_pb2.NodeRun(count=rng.choice([1, 2])))


def _retrying(rng: random.Random, graph: bytes) -> Made:
    return _whole(graph, graph_pb2.Template(task="retries"), graph_pb2.NodeRun(count=rng.choice([1, 3])))


def _owned(rng: random.Random, graph: bytes) -> Made:
    """A call with an id of the user's own, which another submission may have."""
    return _whole(graph, graph_pb2.Template(task="plain"), graph_pb2.NodeRun(count=1, id=rng.choice(["mine", "yours"])))


def _spread(rng: random.Random, graph: bytes) -> Made:
    """A call that runs once on each worker."""
    return _whole(graph, graph_pb2.Template(task="plain", broadcast=True), graph_pb2.NodeRun(count=1))


def _staged(rng: random.Random, graph: bytes) -> Made:
    """A graph of a group, its join, and what comes behind or after a failure, in pieces."""
    members = rng.randint(2, 6)
    body = members + 1
    tasks = [graph_pb2.Template(task="plain"), graph_pb2.Template(task=rng.choice(["plain", "plain", "fails"]))]
    value, error = graph_pb2.EDGE_MODE_VALUE, graph_pb2.EDGE_MODE_ERROR
    runs = [
        graph_pb2.NodeRun(first=at, count=1, template=int(at == 0), payloads=[_payload(at)], children=[members])
        for at in range(members)
    ]
    join = graph_pb2.NodeRun(first=members, count=1, children=[body], join=graph_pb2.Join())
    join.join.members.add(first=0, count=members)
    passes = graph_pb2.FAILURE_MODE_CHORD
    edge = graph_pb2.Edge(parent=members, mode=value, on_failure=passes)
    runs += [
        join,
        graph_pb2.NodeRun(first=body, count=1, payloads=[_payload(body)], inputs=[edge], children=[body + 1]),
        graph_pb2.NodeRun(
            first=body + 1, count=1, payloads=[_payload(0)], inputs=[graph_pb2.Edge(parent=body, mode=error)]
        ),
    ]
    size = rng.randint(1, 4)
    pieces = [runs[at : at + size] for at in range(0, len(runs), size)]
    chunks = [
        graph_pb2.GraphChunk(graph=graph, sequence=at, node_count=body + 2, runs=piece, last=at == len(pieces) - 1)
        for at, piece in enumerate(pieces)
    ]
    chunks[0].templates.extend(tasks)
    chunks[0].outcome = body
    return chunks


#: What can be submitted beside canvases.
KINDS: Final[Mapping[str, Callable[[random.Random, bytes], Made]]] = MappingProxyType(
    {
        "plain": _plain,
        "apart": _apart,
        "once": _once,
        "limited": _limited,
        "paced": _paced,
        "batched": _batched,
        "keyed": _keyed,
        "unique": _unique,
        "expiring": _expiring,
        "delayed": _delayed,
        "dying": _dying,
        "retrying": _retrying,
        "owned": _owned,
        "spread": _spread,
        "staged": _staged,
    }
)


def submission(kind: str, seed: int, graph: bytes) -> Submitted:
    """Return a graph of a kind.

    Args:
        kind: One of `KINDS`, or "canvas".
        seed: Where its chances come from; of a canvas its number.
        graph: The id it is to have.
    """
    if kind == "canvas":
        drawn = canvas(seed)
        return Submitted(kind, to_chunks(drawn.lowered, graph), drawn)
    made = Submitted(kind, KINDS[kind](random.Random(seed), graph))
    made.keys = {run.first: run.unique_key for chunk in made.chunks for run in chunk.runs if run.unique_key}
    return made


def perform(run: CallRun, token: int, node: bytes) -> Done | None:
    """Run a task that is none of a canvas; None: its process died under it."""
    task, report = run.call.task, worker_service_pb2.Report(token=token)
    if task == "dies":
        return None
    if task == "retries" and run.retries < 2:
        report.retry.countdown_ms = 0 if run.retries else RETRIED_MS[node[11] % len(RETRIED_MS)]
        report.retry.failure.type_name = "RetryAsked"
        return Done(Finished(node, token, report=report))
    if task == "fails":
        report.failure.CopyFrom(value_pb2.Failure(type_name="ValueError", module="builtins", message="boom"))
        return Done(Finished(node, token, report=report))
    value: Any = {"node": node.hex()}
    return Done(Finished(node, token, value=json.dumps(value).encode()))
