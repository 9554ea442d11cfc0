"""Random sequences of events: the invariants hold after each of them, and everything ends once all is well."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.coordinator.support.bench import BOOM, Bench, Puppet
from tests.coordinator.support.graphs import PLAIN, Sketch

from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.effects import Accepted, RevokeDone, StopAttempt
from grpcflow_coordinator.core.events import (
    CancelAsked,
    Ended,
    LimitAsked,
    PauseAsked,
    Raised,
    Report,
    Retried,
    RetryAsked,
    RevokeAsked,
    Value,
)
from grpcflow_coordinator.core.model import Edge, EdgeMode, FailureMode, Template, text_id
from grpcflow_coordinator.core.presence import Limit, TaskFacts

#: What the code of two of the workers says of their tasks.
FACTS = (
    (TaskFacts("t", Limit(concurrency=3)),),
    (TaskFacts("u", batch_size=3, batch_within_ms=1_000), TaskFacts("t", Limit(rate_count=2, rate_period_ms=1_000))),
)

LIMITS = Limits(grace=10.0, silence=1e9, batch=7, result_expires_ms=3_600_000)

TEMPLATES: list[Template] = [
    PLAIN,
    replace(PLAIN, queue="other", priority=5),
    replace(PLAIN, task="u"),
    replace(PLAIN, acks_early=True),
    replace(PLAIN, countdown_ms=3_000),
    replace(PLAIN, expires_in_ms=4_000),
    replace(PLAIN, countdown_ms=2_000, expires_in_ms=6_000, max_deliveries=1),
    replace(PLAIN, ignore_result=True, track_started=True),
    replace(PLAIN, task="u", per_key=2, unique_for_ms=3_000),
    replace(PLAIN, unique_for_ms=8_000, unique_stays=True),
    replace(PLAIN, broadcast=True),
    replace(PLAIN, queue="other", broadcast=True, countdown_ms=1_000),
]

#: What bounds the hand-outs; None: what the workers say.
BOUNDS = [None, Limit(), Limit(concurrency=1), Limit(concurrency=2), Limit(rate_count=1, rate_period_ms=1_000)]

ENDS = ["value", "plain", "raised", "retry", "again", "ignored", "rejected", "requeued", "lost", "returned", "revoked"]


@st.composite
def sketches(draw: st.DrawFn) -> Sketch:
    """Draw a graph of a few runs, any edges, whatever a canvas would make of them."""
    sketch = Sketch(*TEMPLATES)
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["task", "task", "group", "join", "errback"]))
        template = draw(st.integers(0, len(TEMPLATES) - 1))
        singles = [run.first for run, _ in sketch.runs if run.count == 1]
        if kind == "group":
            sketch.group(draw(st.integers(1, 4)), template)
        elif kind == "join":
            members = draw(st.lists(st.sampled_from(sketch.runs), max_size=3, unique_by=id)) if sketch.runs else []
            sketch.join(*((run.first, run.count) for run, _ in members))
        elif kind == "errback" and singles:
            parents = draw(st.lists(st.sampled_from(singles), min_size=1, max_size=3, unique=True))
            sketch.task(*(Edge(one, EdgeMode.ERROR, FailureMode.PASS) for one in parents), template=template)
        else:
            parents = draw(st.lists(st.sampled_from(singles), max_size=2, unique=True)) if singles else []
            sketch.task(*(draw(_edges(one)) for one in parents), template=template)
    for run, _ in sketch.runs:
        if not run.is_join and draw(st.booleans()):
            run.fairness_key = draw(st.sampled_from(["", "x", "y"]))
            run.concurrency_key = draw(st.sampled_from(["", "k", "l"]))
            run.unique_key = draw(st.sampled_from(["", "only", "one"])) if run.count == 1 else ""
    return sketch


def _edges(parent: int) -> st.SearchStrategy[Edge]:
    modes = st.sampled_from([EdgeMode.VALUE, EdgeMode.AFTER])
    return st.builds(Edge, st.just(parent), modes, st.sampled_from(FailureMode))


class CoreMachine(RuleBasedStateMachine):
    """Three workers, any order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(LIMITS)
        self.sketches: list[Sketch] = []
        self.workers = [
            Puppet("a@host", ("default", "other"), frozenset({"t", "u"}), capacity=3, weights=(2, 1)),
            Puppet("b@host", ("default",), frozenset({"t"}), capacity=50, concurrency=4, task_facts=FACTS[0]),
            Puppet("c@host", ("other", "default"), frozenset({"u", "t"}), capacity=1, task_facts=FACTS[1]),
        ]

    def _pick(self, index: int) -> Puppet | None:
        worker = self.workers[index]
        return worker if worker.stream is not None and worker.welcome is not None else None

    def _tidy(self) -> None:
        """Let workers drop what is superseded; nothing else that is sent matters here."""
        for stop in self.bench.take(StopAttempt):
            if stop.superseded:
                for worker in self.workers:
                    worker.held.pop(stop.token, None)
        self.bench.sent.clear()

    @rule(sketch=sketches(), staged=st.booleans(), again=st.booleans())
    def submit(self, sketch: Sketch, staged: bool, again: bool) -> None:
        self.bench.submit(sketch, runs_each=2 if staged else 100)
        if again:
            self.bench.submit(sketch)
        self.sketches.append(sketch)

    @rule(sketch=sketches(), pieces=st.integers(1, 3))
    def submit_a_part(self, sketch: Sketch, pieces: int) -> None:
        self.bench.send_chunks(sketch.chunks("other", 1)[:-1][:pieces])

    @rule(index=st.integers(0, 2), forgets=st.booleans())
    def arrive(self, index: int, forgets: bool) -> None:
        worker = self.workers[index]
        held = list(worker.held)[1:] if forgets and worker.stream is None else list(worker.held)
        self.bench.arrive(worker, held=held)
        self._tidy()

    @rule(index=st.integers(0, 2))
    def break_stream(self, index: int) -> None:
        if worker := self._pick(index):
            self.bench.break_stream(worker)

    @rule(index=st.integers(0, 2))
    def die_and_return_as_another(self, index: int) -> None:
        if worker := self._pick(index):
            self.bench.break_stream(worker)
        old = self.workers[index]
        self.workers[index] = replace(old, session=b"", stream=None, held={}, given=[], welcome=None)

    @rule(index=st.integers(0, 2))
    def leave(self, index: int) -> None:
        if worker := self._pick(index):
            self.bench.speak(worker, drain=True)
            self.bench.speak(worker, goodbye=True)
            self.workers[index] = replace(worker, session=b"", stream=None, held={}, given=[], welcome=None)

    @rule(index=st.integers(0, 2), how=st.sampled_from(ENDS), which=st.integers(0, 5))
    def report(self, index: int, how: str, which: int) -> None:
        worker = self._pick(index)
        if worker is None or not worker.held:
            return
        token = list(worker.held)[which % len(worker.held)]
        if how == "plain":
            self.bench.values_of(worker, token)
        else:
            self.bench.report(worker, _report(token, how))
        self._tidy()

    @rule(index=st.integers(0, 2))
    def report_all(self, index: int) -> None:
        worker = self._pick(index)
        if worker is not None and worker.held:
            self.bench.values_of(worker)
            self._tidy()

    @rule(index=st.integers(0, 2), how=st.sampled_from(ENDS))
    def report_and_crash_before_the_answer(self, index: int, how: str) -> None:
        worker = self._pick(index)
        if worker is None or not worker.held:
            return
        token = next(iter(worker.held))
        kept = dict(worker.held)
        self.bench.delivers = False
        self.bench.report(worker, _report(token, how) if how != "plain" else Value(token, b"1", ""))
        worker.held = kept
        self._restart()

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 5.0, 11.0]))
    def pass_time(self, seconds: float) -> None:
        self.bench.pass_time(seconds)
        self._tidy()

    @rule(down=st.sampled_from([0.0, 1.0, 5.0]))
    def restart(self, down: float) -> None:
        self._restart(down)

    def _restart(self, down: float = 0.0) -> None:
        self.bench.settled.clear()  # who was told what is forgotten with the process; the records are not
        self.bench.restart(down)
        for worker in self.workers:
            worker.stream = None

    @rule(data=st.data(), terminate=st.booleans())
    def revoke(self, data: st.DataObject, terminate: bool) -> None:
        if not self.sketches:
            return
        sketch = data.draw(st.sampled_from(self.sketches))
        index = data.draw(st.integers(0, sketch.count - 1))
        self.bench.step(RevokeAsked(None, (text_id(sketch.id, index),), terminate, "SIGTERM"))
        assert len(self.bench.take(RevokeDone)) == 1
        self._tidy()

    @rule(scope=st.sampled_from(["task", "queue"]), bound=st.sampled_from(BOUNDS))
    def bound(self, scope: Any, bound: Limit | None) -> None:
        self.bench.step(LimitAsked(None, scope, "t" if scope == "task" else "default", bound))
        self._tidy()

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.bench.step(PauseAsked(None, "default", paused))
        self._tidy()

    @rule(data=st.data(), retries=st.booleans())
    def cancel_or_retry(self, data: st.DataObject, retries: bool) -> None:
        if self.sketches:
            graph = data.draw(st.sampled_from(self.sketches)).id
            if retries:
                self.bench.settled.clear()
            self.bench.step(RetryAsked(None, graph) if retries else CancelAsked(None, graph, True, "SIGTERM"))
            self._tidy()

    @invariant()
    def nobody_has_more_than_he_takes(self) -> None:
        assert not self.bench.take(Accepted)
        for session in self.bench.machine.cluster.sessions.values():
            assert session.stream is None or session.free >= 0

    def teardown(self) -> None:
        """When all is well again, every graph ends."""
        for scope, name in (("task", "t"), ("queue", "default")):
            self.bench.step(LimitAsked(None, scope, name, None))  # type: ignore[arg-type]
        self.bench.step(PauseAsked(None, "default", False))
        for worker in self.workers:
            self.bench.arrive(worker)
        self._tidy()
        for _ in range(400):
            busy = [worker for worker in self.workers if worker.held]
            for worker in busy:
                self.bench.values_of(worker)
            self.bench.pass_time(0.0 if busy else 10.0)
            self._tidy()
            if not busy and all(self._has_ended(sketch) for sketch in self.sketches):
                return
        left = [
            (sketch.id.hex(), index)
            for sketch in self.sketches
            for index in range(sketch.count)
            if self.bench.state(sketch.id, index) is None
        ]
        raise AssertionError(f"these nodes never settled: {left}")

    def _has_ended(self, sketch: Sketch) -> bool:
        graph = self.bench.records.graph(sketch.id)
        return graph is None or self.bench.records.has_ended(graph)


def _report(token: int, how: str) -> Report:
    if how in {"value", "plain"}:
        return Value(token, b"\x01", "application/msgpack")
    if how == "raised":
        return Raised(token, BOOM)
    if how in {"retry", "again"}:
        return Retried(token, 2_500 if how == "retry" else 0, BOOM, b"[[1],{}]")
    return Ended(token, how)


def _test_case() -> Any:
    case = CoreMachine.TestCase
    case.settings = hypothesis.settings(
        max_examples=50, stateful_step_count=30, deadline=None, print_blob=True, database=None
    )
    return hypothesis.seed(int(os.environ.get("GRPCFLOW_TEST_SEED", "1")))(case)


TestCoreMachine = _test_case()
