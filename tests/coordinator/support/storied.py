"""A store with a story: at least one record of every kind that the coordinator keeps, all of it made by the core."""

from __future__ import annotations

from dataclasses import replace

from tests.coordinator.support.bench import Bench, Puppet
from tests.coordinator.support.graphs import PLAIN, Sketch, chain, chord, one, value

from grpcflow_coordinator.core.effects import Accepted, Answer
from grpcflow_coordinator.core.events import (
    CancelAsked,
    ForgetAsked,
    GroupSaved,
    ItemsEmitted,
    LimitAsked,
    Logged,
    PauseAsked,
    RetentionAsked,
    RetryAsked,
    SchedulesPut,
)
from grpcflow_coordinator.core.model import (
    Attachment,
    AttachmentKind,
    Graph,
    Keep,
    Retention,
    Template,
    node_id,
    text_id,
)
from grpcflow_coordinator.core.planning import Plan
from grpcflow_coordinator.core.presence import Limit
from grpcflow_coordinator.core.ticks import Times

#: Members of the large graph that is still being released, each a run of its own.
LARGE = 150

LATER = Template("t", "default", countdown_ms=3_600_000)
EXPIRING = Template("later", "nobody", expires_in_ms=7_200_000)
STAMPED = Template("later", "nobody", stamps=(("customer", ("7",)),))
KEYED = Template("later", "nobody", per_key=2)
UNIQUE = Template("later", "nobody")
KEPT = Template("t", "kept")


def tell() -> Bench:
    """Return the bench on which the story was played; `store` holds what came of it."""
    bench = Bench()
    bench.step(RetentionAsked(None, "queue", "kept", Retention(results=Keep(count=100), arguments=Keep(1_000))))
    bench.step(LimitAsked(None, "task", "t", Limit(rate_count=1_000, rate_period_ms=1_000)))
    bench.step(PauseAsked(None, "paused", True))
    bench.step(GroupSaved(None, "group-1", b"saved"))
    _schedule(bench)
    _queued(bench)
    _worked(bench, bench.worker(queues=("default", "kept"), capacity=1_000))
    _large(bench)
    bench.take(Answer)
    return bench


def _schedule(bench: Bench) -> None:
    sketch = one()
    [chunk] = sketch.chunks(None)
    graph = Graph(bytes(12), 1, chunk.templates, 0)
    times = Times("interval", every_ms=3_600_000)
    bench.step(SchedulesPut(None, (Plan("hourly", times, graph, tuple(chunk.runs), wire=b"w"),), ""))


def _queued(bench: Bench) -> None:
    """What waits for a worker that never comes, or for its time."""
    bench.submit(one(LATER, own_id="my-own"))
    bench.submit(one(EXPIRING))
    bench.submit(one(STAMPED))
    keyed = Sketch(KEYED)
    keyed.keyed(fairness="f", concurrency="c")
    bench.submit(keyed)
    for _ in range(2):
        unique = Sketch(UNIQUE)
        unique.keyed(unique="u")
        bench.submit(unique)
    many = Sketch(EXPIRING)
    many.group(12)
    bench.submit(many)  # so that the few that end before them are not swept out of the queue
    cancelled, again = one(EXPIRING), one(EXPIRING)
    for sketch in (cancelled, again):
        bench.submit(sketch)
        bench.step(CancelAsked(None, sketch.id, False, ""))
    bench.step(RetryAsked(None, again.id))  # its first entry is still in the index and means nothing any more


def _worked(bench: Bench, worker: Puppet) -> None:
    """What a worker ran, failed at, replaced, added to and emitted of."""
    for _ in range(3):
        kept = one(KEPT)
        bench.submit(kept)
        bench.finish(worker, kept.id, 0)
        bench.pass_time(0.4)
    bench.pass_time(1)  # the arguments of the first are deleted
    half, failed, again = chord(3), one(), one()
    for sketch in (half, failed, again):
        bench.submit(sketch)
    bench.finish(worker, half.id, 1)
    bench.fail(worker, failed.id, 0)
    bench.fail(worker, again.id, 0)
    bench.step(RetryAsked(None, again.id))
    bench.step(ForgetAsked(None, (text_id(half.id, 1),)))
    bench.step(ItemsEmitted(None, node_id(half.id, 2), worker.token(half.id, 2), 0, ((b"1", ""), (b"2", ""))))
    bench.speak(worker, logs=[Logged(worker.token(half.id, 2), 0, 2, b"lines")])
    _attach(bench, worker, chain(2), half.id, 0, AttachmentKind.REPLACE)
    _attach(bench, worker, one(EXPIRING), half.id, 2, AttachmentKind.MEMBER)


def _attach(bench: Bench, worker: Puppet, sketch: Sketch, graph: bytes, index: int, kind: AttachmentKind) -> None:
    attachment = Attachment(kind, node_id(graph, index), worker.token(graph, index), sketch.count - 1)
    [chunk] = sketch.chunks(None)
    bench.send_chunks([replace(chunk, attachment=attachment)])
    assert bench.take(Accepted)


def _large(bench: Bench) -> None:
    """A graph that came in pieces and is still being released, and one whose client has not sent the rest."""
    large = Sketch(EXPIRING)
    for _ in range(LARGE):
        large.task()
    chunks = large.chunks(None, 50)
    for chunk in chunks[:-1]:
        bench.step(chunk)
    bench._conclude(bench.machine.step(chunks[-1], bench.records, bench.now))  # no tick: the cursor is still there
    bench.take(Accepted)
    staged = Sketch(PLAIN)
    for _ in range(4):
        staged.task()
    last = staged.task(value(0))
    assert last == 4
    bench._conclude(bench.machine.step(staged.chunks(None, 2)[0], bench.records, bench.now))
