"""Traces of what a cluster runs: names, parents and links of the spans of every construct, by what was exported."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from grpcflow import Broadcast, Grpcflow, Queue, Reject, Signature, chain, chord, current_task, errors, group
from grpcflow.opentelemetry import instrument, uninstrument
from grpcflow.testing import Cluster

app = Grpcflow("traces", set_as_current=False, task_queues=(Queue("default"), Broadcast("news")))
PROVIDER, EXPORTER = TracerProvider(), InMemorySpanExporter()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))
tracer = PROVIDER.get_tracer("tests")


@app.task(name="add")
def add(x: int, y: int = 1) -> int:
    return x + y


@app.task(name="total")
def total(values: list[int]) -> int:
    return sum(values)


@app.task(name="fail", throws=(LookupError,))
def fail(*_: Any, expected: bool = False) -> None:
    raise LookupError("no such thing") if expected else ValueError("no")


@app.task(name="note")
def note(*_: Any) -> str:
    return "noted"


@app.task(name="again", bind=True, default_retry_delay=0)
def again(self: Any, times: int) -> int:
    if self.request.retries < times:
        raise self.retry(exc=KeyError("not yet"))
    return times


#: How often the tasks below let a call of theirs fail yet.
failures = {"requeued": 0, "mended": 0}


@app.task(name="requeued")
def requeued() -> str:
    failures["requeued"] -= 1
    if failures["requeued"] >= 0:
        raise Reject("elsewhere", requeue=True)
    return "done"


@app.task(name="mended")
def mended() -> str:
    failures["mended"] -= 1
    if failures["mended"] >= 0:
        raise ValueError("not yet")
    return "done"


@app.task(name="nested")
def nested() -> str:
    with tracer.start_as_current_span("inside"):
        return str(add.delay(1).id)


@app.task(name="replaced", bind=True)
def replaced(self: Any) -> None:
    self.replace(add.s(1) | add.s(2))


@app.task(name="carried")
def carried() -> Any:
    return baggage.get_baggage("customer")


@app.task(name="slow")
async def slow(x: int) -> str:
    await asyncio.sleep(0)
    return trace.format_span_id(trace.get_current_span().get_span_context().span_id)


@app.batch_task(name="mails", size=2, within=600)
def mails(calls: Any) -> list[int]:
    for call in calls:
        add.delay(*call.args)
    return [len(calls)] * len(calls)


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with Cluster(app, concurrency=4) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def traced(running: Cluster) -> Iterator[None]:
    instrument(app, tracer_provider=PROVIDER)
    EXPORTER.clear()
    yield
    running.settle()
    uninstrument(app)


def spans(name: str | None = None) -> list[ReadableSpan]:
    """Returns what was exported, in the order of beginning; with a name all of that name."""
    found = [span for span in EXPORTER.get_finished_spans() if name in (None, span.name)]
    return sorted(found, key=lambda span: span.start_time or 0)


def one(name: str) -> ReadableSpan:
    [found] = spans(name)
    return found


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.trace_id
    return found


def parent_of(span: ReadableSpan) -> str | None:
    """Returns the name of the span that one is a child of."""
    return {id_of(each): each.name for each in spans()}[span.parent.span_id] if span.parent else None


def links_of(span: ReadableSpan) -> list[str]:
    """Returns what a span links to, by name and place in the graph."""
    known = {id_of(each): each for each in spans()}
    return [label(known[link.context.span_id]) for link in span.links]


def label(span: ReadableSpan) -> str:
    return f"{span.name} {int(str(about(span)['messaging.message.id'])[-8:], 16)}"


def about(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def one_trace() -> None:
    assert len(set(map(trace_of, spans()))) == 1


def attempts() -> dict[str, list[str]]:
    """Returns every attempt, by its label, with what it links to; all are children of the one submission."""
    one_trace()
    runs = [span for span in spans() if span.name.startswith("run ")]
    assert {str(parent_of(span))[:7] for span in runs} == {"submit "}
    return {label(span): links_of(span) for span in runs}


def test_a_call_is_a_submission_and_an_attempt() -> None:
    result = add.delay(2, 3)
    assert result.get(timeout=40) == 5
    submit, run = one("submit add"), one("run add")
    assert attempts() == {"run add 0": []}
    assert (submit.kind, run.kind, submit.parent) == (SpanKind.PRODUCER, SpanKind.CONSUMER, None)
    assert about(submit) == {
        "messaging.system": "grpcflow",
        "messaging.operation.name": "submit",
        "messaging.operation.type": "send",
        "messaging.destination.name": "default",
        "messaging.message.id": result.id,
        "messaging.message.conversation_id": result.id,
        "grpcflow.nodes": 1,
    }
    told = about(run)
    assert 0 <= told.pop("grpcflow.queue_wait_ms") < 30_000
    assert told.pop("messaging.client.id").startswith("worker")
    assert told == {
        "messaging.system": "grpcflow",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": result.id,
        "messaging.message.conversation_id": result.id,
        "grpcflow.task": "add",
        "grpcflow.retry.count": 0,
        "grpcflow.state": "SUCCESS",
    }
    assert (submit.status.status_code, run.status.status_code) == (StatusCode.UNSET, StatusCode.UNSET)


def test_what_submits_in_a_span_of_its_own_is_in_its_trace() -> None:
    with tracer.start_as_current_span("request"):
        add.delay(1).get(timeout=40)
    assert [(span.name, parent_of(span)) for span in spans()] == [
        ("request", None),
        ("submit add", "request"),
        ("run add", "submit add"),
    ]


Case = tuple[Callable[[], Signature], dict[str, list[str]]]

#: Canvases, and what their attempts link to.
CASES: dict[str, Case] = {
    "chain": (
        lambda: chain(add.s(1), add.s(2), add.s(3)),
        {"run add 0": [], "run add 1": ["run add 0"], "run add 2": ["run add 1"]},
    ),
    "group": (lambda: group(add.s(1), add.s(2)), {"run add 0": [], "run add 1": []}),
    "group behind a step": (
        lambda: chain(add.s(1), group(add.s(1), add.s(2), add.s(3)), total.s()),
        {
            "run add 0": [],
            **{f"run add {place}": ["run add 0"] for place in (1, 2, 3)},
            "run total 5": ["run add 1", "run add 2", "run add 3"],
        },
    ),
    "chord": (
        lambda: chord([add.s(n) for n in range(3)], total.s()),
        {
            **{f"run add {place}": [] for place in range(3)},
            "run total 4": [f"run add {place}" for place in range(3)],
        },
    ),
    "chord of a chain that ends in a group": (
        lambda: chord([chain(add.s(1), group(add.s(1), add.s(2))), add.s(3)], note.s()),
        {
            **{f"run add {place}": [] for place in (0, 4)},
            **{f"run add {place}": ["run add 0"] for place in (1, 2)},
            "run note 6": ["run add 1", "run add 2", "run add 4"],
        },
    ),
    "map": (lambda: add.map([1, 2]), {"run add 0": []}),
    "chunks": (lambda: add.chunks([(1, 2), (3, 4), (5, 6)], 2), {"run add 0": [], "run add 1": []}),
    "link": (lambda: add.s(1).set(link=[note.s()]), {"run add 0": [], "run note 1": ["run add 0"]}),
    "immutable step": (lambda: chain(add.s(1), note.si()), {"run add 0": [], "run note 1": ["run add 0"]}),
}


@pytest.mark.parametrize("name", CASES)
def test_one_canvas_is_one_trace_and_its_attempts_link_to_what_they_wait_for(name: str, running: Cluster) -> None:
    canvas, expected = CASES[name]
    canvas().delay()
    running.settle()
    assert attempts() == expected


def test_the_submission_of_a_canvas_says_how_many_nodes_it_has(running: Cluster) -> None:
    chord([add.s(n) for n in range(3)], total.s()).apply_async(queue="default")
    running.settle()
    told = about(one("submit chord"))
    assert (told["grpcflow.nodes"], told["messaging.batch.message_count"]) == (5, 5)
    assert [span.name for span in spans() if "grpcflow.queue_wait_ms" in about(span)] == ["run add"] * 3


def test_a_span_links_to_at_most_as_many_as_are_kept(running: Cluster) -> None:
    chord([add.s(n) for n in range(200)], total.s()).delay()
    running.settle()
    assert len(one("run total").links) == 128


def test_a_failure_is_recorded_and_its_errback_links_to_it(running: Cluster) -> None:
    chain(add.s(1), fail.s(), add.s()).on_error(note.s()).delay()
    running.settle()
    assert attempts() == {"run add 0": [], "run fail 1": ["run add 0"], "run note 3": ["run fail 1"]}
    failed = one("run fail")
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "ValueError: no")
    [event] = failed.events
    assert event.attributes is not None
    assert (event.name, event.attributes["exception.message"]) == ("exception", "no")
    assert (about(failed)["error.type"], about(failed)["grpcflow.state"]) == ("ValueError", "FAILURE")


def test_an_exception_that_is_expected_is_no_error() -> None:
    fail.delay(expected=True).get(timeout=40, propagate=False)
    failed = one("run fail")
    assert (failed.status.status_code, about(failed)["error.type"]) == (StatusCode.UNSET, "LookupError")


def test_each_attempt_of_a_retried_call_has_a_span_below_the_first(running: Cluster) -> None:
    chain(again.s(2), add.s()).delay()
    running.settle()
    one_trace()
    told = [(about(span)["grpcflow.retry.count"], about(span)["grpcflow.state"]) for span in spans("run again")]
    assert told == [(0, "RETRY"), (1, "RETRY"), (2, "SUCCESS")]
    assert [parent_of(span) for span in spans("run again")] == ["submit chain", "run again", "run again"]
    first = spans("run again")[0]
    assert {span.parent.span_id for span in spans("run again")[1:] if span.parent} == {id_of(first)}
    assert (first.status.status_code, [event.name for event in first.events]) == (StatusCode.UNSET, ["exception"])
    assert [link.context.span_id for link in one("run add").links] == [id_of(first)]


def below_the_first(name: str) -> list[str]:
    """Returns the states of the attempts of a call; the later ones are below the first, and no two have one id."""
    found = spans(name)
    assert len({id_of(span) for span in found}) == len(found)
    assert {span.parent.span_id for span in found[1:] if span.parent} == {id_of(found[0])}
    return [about(span)["grpcflow.state"] for span in found]


def test_a_call_that_is_requeued_again_and_again_has_a_span_each_time(running: Cluster) -> None:
    failures["requeued"] = 2
    chain(requeued.s(), add.s(1)).on_error(note.s()).delay()
    running.settle()
    assert below_the_first("run requeued") == ["REJECTED", "REJECTED", "SUCCESS"]


def test_what_runs_once_more_since_its_graph_is_retried_has_new_spans_in_the_same_trace(running: Cluster) -> None:
    failures["mended"] = 2
    result = chain(add.s(1), mended.si(), note.s()).delay()
    for _ in range(2):
        running.settle()
        app.graph(result.id).retry()
    running.settle()
    one_trace()
    assert below_the_first("run mended") == ["FAILURE", "FAILURE", "SUCCESS"]
    assert (len(spans("run add")), links_of(one("run note"))) == (1, ["run mended 1"])


def test_shares_of_a_broadcast_have_spans_in_its_trace(running: Cluster) -> None:
    readers = [running.worker(name, queues=["news"]) for name in ("one", "two")]
    chain(add.s(1), add.s().set(queue="news"), note.s()).delay()
    running.settle()
    for reader in readers:
        reader.stop()
    one_trace()
    first, *shares = spans("run add")
    assert {about(span)["messaging.client.id"] for span in shares} >= {"one", "two"}
    assert {parent_of(span) for span in spans("run add")} == {"submit chain"}
    assert {tuple(links_of(span)) for span in shares} == {("run add 0",)}
    assert len({id_of(span) for span in (first, *shares)}) == 1 + len(shares)
    assert one("run note").links == ()


def test_what_a_task_submits_is_below_what_it_does(running: Cluster) -> None:
    nested.delay()
    running.settle()
    one_trace()
    assert [(span.name, parent_of(span)) for span in spans()] == [
        ("submit nested", None),
        ("run nested", "submit nested"),
        ("inside", "run nested"),
        ("submit add", "inside"),
        ("run add", "submit add"),
    ]
    root = about(one("submit nested"))["messaging.message.id"]
    assert {about(span).get("messaging.message.conversation_id", root) for span in spans()} == {root}


def test_a_replacement_is_below_the_call_that_it_replaces(running: Cluster) -> None:
    assert chain(replaced.s(), add.s(10)).delay().get(timeout=40) == 14
    running.settle()
    one_trace()
    outer, inner = spans("submit chain")
    assert (outer.parent, parent_of(inner)) == (None, "run replaced")
    assert about(one("run replaced"))["grpcflow.state"] == "IGNORED"
    below: dict[int, list[ReadableSpan]] = {parent: [] for parent in (id_of(outer), id_of(inner))}
    for span in spans("run add"):
        assert span.parent is not None
        below[span.parent.span_id].append(span)
    assert len(below[id_of(inner)]) == 2
    [last] = below[id_of(outer)]
    assert links_of(last) == ["run replaced 0"]


def test_a_countdown_is_no_wait_in_a_queue(running: Cluster) -> None:
    add.apply_async((1,), countdown=60)
    running.time.advance(61)
    running.settle()
    assert attempts() == {"run add 0": []}
    assert "grpcflow.queue_wait_ms" not in about(one("run add"))


def test_what_a_schedule_calls_is_a_trace_of_its_own(running: Cluster) -> None:
    with tracer.start_as_current_span("setup"):
        app.schedules.add("traced", 3600, chain(add.s(1), add.s()))
    app.schedules.run("traced").get(timeout=40)
    running.settle()
    app.schedules.remove("traced")
    first, second = spans("run add")[:2]
    assert (first.parent, second.parent) == (None, None)
    assert trace_of(first) == trace_of(second) != trace_of(one("setup"))


def test_calls_of_a_batch_have_spans_in_their_own_traces_and_the_batch_one_that_links_to_them(
    running: Cluster,
) -> None:
    first, second = mails.delay(1), mails.delay(2)
    assert (first.get(timeout=40), second.get(timeout=40)) == (2, 2)
    running.settle()
    calls, batch = spans("run mails"), one("batch mails")
    assert [parent_of(call) for call in calls] == ["submit mails"] * 2
    assert trace_of(calls[0]) != trace_of(calls[1])
    assert {link.context.span_id for link in batch.links} == {id_of(call) for call in calls}
    assert (parent_of(batch), about(batch)["messaging.batch.message_count"]) == ("run mails", 2)
    assert [[link.context.span_id for link in call.links] for call in calls] == [[id_of(batch)]] * 2
    assert {parent_of(span) for span in spans("submit add")} == {"batch mails"}


def test_baggage_travels_along() -> None:
    token = context.attach(baggage.set_baggage("customer", "7"))
    try:
        result = carried.delay()
    finally:
        context.detach(token)
    assert result.get(timeout=40) == "7"


def test_calls_of_an_open_batch_are_traced_one_by_one() -> None:
    with tracer.start_as_current_span("request"), app.batch():
        results = [add.delay(n) for n in range(3)]
    assert [result.get(timeout=40) for result in results] == [1, 2, 3]
    one_trace()
    assert [parent_of(span) for span in spans("submit add")] == ["request"] * 3
    assert [parent_of(span) for span in spans("run add")] == ["submit add"] * 3


def test_a_submission_that_is_refused_is_an_error() -> None:
    held = add.apply_async((1,), task_id="traces-own", countdown=60)
    with pytest.raises(errors.AlreadyExists):
        add.apply_async((1,), task_id="traces-own")
    held.revoke()
    assert [span.status.status_code for span in spans("submit add")] == [StatusCode.UNSET, StatusCode.ERROR]


async def test_the_asyncio_client_submits_in_the_context_of_the_coroutine(running: Cluster) -> None:
    async def request(number: int) -> int:
        with tracer.start_as_current_span(f"request {number}"):
            result = await add.adelay(number)
            return await result.aget(timeout=40)

    assert await asyncio.gather(*map(request, range(5))) == [1, 2, 3, 4, 5]
    assert sorted(str(parent_of(span)) for span in spans("submit add")) == [f"request {n}" for n in range(5)]
    assert [parent_of(span) for span in spans("run add")] == ["submit add"] * 5


def test_coroutines_of_a_worker_each_have_their_span(running: Cluster) -> None:
    with Cluster(app, pool="asyncio") as loops:
        results = [slow.delay(n) for n in range(5)]
        current = {result.get(timeout=40) for result in results}
        loops.settle()
    assert current == {trace.format_span_id(id_of(span)) for span in spans("run slow")}


def test_an_eager_canvas_is_a_span_with_its_calls_below_it() -> None:
    with tracer.start_as_current_span("request"):
        assert chord([add.s(1), add.s(2)], total.s()).apply().get() == 5
    one_trace()
    assert [(span.name, span.kind, parent_of(span)) for span in spans()] == [
        ("request", SpanKind.INTERNAL, None),
        ("apply chord", SpanKind.INTERNAL, "request"),
        *[("run add", SpanKind.INTERNAL, "apply chord")] * 2,
        ("run total", SpanKind.INTERNAL, "apply chord"),
    ]
    assert links_of(one("run total")) == ["run add 0", "run add 1"]
    EXPORTER.clear()
    assert again.apply((1,)).get() == 1
    assert [parent_of(span) for span in spans("run again")] == ["apply again"] * 2
    assert len({id_of(span) for span in spans()}) == 3


def test_a_function_that_is_called_in_place_is_no_call() -> None:
    assert add(1, 2) == 3
    assert current_task is not None
    assert spans() == []


def test_nothing_is_traced_any_more_once_that_is_switched_off() -> None:
    uninstrument(app)
    assert add.delay(1).get(timeout=40) == 2
    assert spans() == []
