"""The spans of attempts as a worker makes them: what they are without a submission, what is lost, hidden or broken."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from grpcflow import Grpcflow, codec, signals, state
from grpcflow.context import Context
from grpcflow.log import TaskFormatter
from grpcflow.opentelemetry import instrument, uninstrument
from grpcflow.opentelemetry.span_ids import span_id, trace_id
from grpcflow_worker import hooks
from grpcflow_worker.executor import Call, CallRun, Ended
from grpcflow_worker.executors.frames import decode_ends, encode_members
from grpcflow_worker.invoke import Invoker
from grpcflow_worker.lines import JsonLineFormatter, LogOptions

GRAPH = bytes(range(12))
ID = "00010203-0405-0607-0809-0a0b00000003"
NODE = GRAPH + (3).to_bytes(4, "big")
TRACE = 0x0AF7651916CD43DD8448EB211C80319C
SUBMITTED = {"traceparent": f"00-{TRACE:032x}-b7ad6b7169203331-01"}

app = Grpcflow("worker_traces", set_as_current=False)
EXPORTER = InMemorySpanExporter()


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@app.task(name="current")
def current() -> int:
    found: int = trace.get_current_span().get_span_context().span_id
    return found


@app.task(name="secret", sensitive=True)
def secret(word: str) -> None:
    raise ValueError(word)


@app.task(name="unreadable")
def unreadable() -> None:
    raise Unreadable


@app.batch_task(name="gathered", size=2)
def gathered(calls: Any) -> list[str]:
    return [trace.format_span_id(current()) for _ in calls]


@app.task(name="logged")
def logged() -> list[Any]:
    formatters = TaskFormatter("%(task_name)s %(trace_id)s %(span_id)s"), JsonLineFormatter(LogOptions("INFO", "w1"))
    return [each.format(logging.LogRecord("n", logging.INFO, "f", 1, "said", None, None)) for each in formatters]


@pytest.fixture(autouse=True)
def provider() -> Iterator[TracerProvider]:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(EXPORTER))
    instrument(app, tracer_provider=made)
    yield made
    uninstrument(app)
    EXPORTER.clear()


def invoke(
    name: str, *args: Any, headers: Any = None, retries: int = 0, losses: int = 0, after: int = 0, root: str = ""
) -> bytes | Ended:
    """Run one attempt of a task, the fourth node of its graph."""
    call = Call(task=name, headers=codec.encode(headers) if headers else b"", root_id=root)
    told: dict[str, Any] = {"retries": retries, "losses": losses, "after": after}
    run = CallRun(call, graph=GRAPH, first=3, token=40, payloads=[codec.encode_call(args, {})], **told)
    return Invoker(app, hostname="w1").bind(run)(0)


def only() -> ReadableSpan:
    [span] = EXPORTER.get_finished_spans()
    EXPORTER.clear()
    return span


def ids_of(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def test_the_span_of_an_attempt_has_the_id_that_others_expect_and_is_current_in_the_body() -> None:
    before = trace.get_current_span()
    assert invoke("current", headers=SUBMITTED) == str(span_id(TRACE, NODE)).encode()
    span = only()
    assert ids_of(span) == (TRACE, span_id(TRACE, NODE))
    assert span.parent is not None
    assert span.parent.span_id == 0xB7AD6B7169203331
    assert trace.get_current_span() is before


@pytest.mark.parametrize("after", [0, 39], ids=["its worker is gone", "its worker told so"])
def test_what_takes_the_place_of_a_lost_attempt_has_its_id_and_says_so(after: int) -> None:
    """The lost one never ended, so it has no span; what it submitted hangs below this one."""
    invoke("current", headers=SUBMITTED, losses=1, after=after)
    span = only()
    assert ids_of(span) == (TRACE, span_id(TRACE, NODE))
    assert span.attributes is not None
    assert span.attributes["grpcflow.losses"] == 1
    assert "grpcflow.queue_wait_ms" not in span.attributes


@pytest.mark.parametrize(
    ("told", "own"),
    [
        ({"retries": 2, "after": 39}, 39),
        ({"retries": 1, "losses": 1, "after": 39}, 39),
        ({"after": 39}, 39),  # it was requeued, or its graph was retried
        ({"retries": 2}, 2),  # by a coordinator that does not tell
    ],
    ids=str,
)
def test_a_later_attempt_is_below_the_first(told: dict[str, Any], own: int) -> None:
    invoke("current", headers=SUBMITTED, **told)
    span = only()
    assert ids_of(span) == (TRACE, span_id(TRACE, NODE, own))
    assert span.parent is not None
    assert span.parent.span_id == span_id(TRACE, NODE)
    assert span.attributes is not None
    assert "grpcflow.queue_wait_ms" not in span.attributes


def test_without_a_trace_all_calls_of_the_same_work_are_in_one_of_their_own() -> None:
    for headers, retries in ((None, 0), ({"grpcflow_parents": [[-2, 2]]}, 0), (None, 1)):
        invoke("current", headers=headers, retries=retries, root="root")
    first, second, again = EXPORTER.get_finished_spans()
    assert {ids_of(span)[0] for span in (first, second, again)} == {trace_id("root")}
    assert {span.parent for span in (first, second, again)} == {None}
    parents = [span_id(trace_id("root"), GRAPH + place.to_bytes(4, "big")) for place in (1, 2)]
    assert [link.context.span_id for link in second.links] == parents
    assert [link.context.span_id for link in again.links] == [span_id(trace_id("root"), NODE)]


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": 7, "grpcflow_parents": 7},
        {"traceparent": "no", "grpcflow_parents": [[1], "x", [1, "2"]]},
        {"traceparent": ["00"], "grpcflow_parents": [[0, 1 << 60], [-(1 << 70), 1], [2, -5]], "tracestate": {"a": 1}},
        {"grpcflow_parents": "failed", "baggage": "===;;;,"},
    ],
    ids=str,
)
def test_headers_of_a_stranger_do_no_harm(headers: dict[str, Any]) -> None:
    assert isinstance(invoke("current", headers=headers), bytes)
    assert len(only().links) <= 4


@pytest.mark.parametrize("fails", [False, True])
def test_after_a_batch_nothing_of_it_is_current_any_more(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if fails:
        monkeypatch.setattr(app.tasks["gathered"], "run", None)
    payloads = [codec.encode_call((), {})]
    call = Call(task="gathered", headers=codec.encode(SUBMITTED))
    members = [CallRun(call, graph=GRAPH, first=place, token=place, payloads=payloads) for place in (4, 5)]
    batch = CallRun(call, graph=GRAPH, first=4, token=4, payloads=[encode_members(members)], batch=4)
    ends = Invoker(app, hostname="w1").bind(batch)(0)
    assert isinstance(ends, Ended)
    [run] = [span for span in EXPORTER.get_finished_spans() if span.name == "batch gathered"]
    assert run.attributes is not None
    assert run.attributes["grpcflow.state"] == ("FAILURE" if fails else "SUCCESS")
    assert fails or {codec.decode(end.data) for end in decode_ends(ends.data)} == {trace.format_span_id(ids_of(run)[1])}
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_of_a_sensitive_call_only_the_class_of_its_exception_is_told() -> None:
    invoke("secret", "the word", headers=SUBMITTED)
    span = only()
    assert "the word" not in span.to_json()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert [event.attributes for event in span.events] == [{"exception.type": "ValueError"}]


def test_an_exception_without_text_is_recorded_by_its_class() -> None:
    invoke("unreadable", headers=SUBMITTED)
    span = only()
    assert span.status.description == "Unreadable"
    assert span.attributes is not None
    assert span.attributes["error.type"] == f"{__name__}.Unreadable"


def test_tracing_that_is_broken_breaks_no_task(caplog: pytest.LogCaptureFixture) -> None:
    def make() -> TracerProvider:
        raise OSError("no collector")

    instrument(app, tracer_provider=make)
    assert invoke("current", headers=SUBMITTED) == b"0"
    assert "is not traced" in caplog.text


def test_without_the_sdk_there_are_spans_of_nobody() -> None:
    instrument(app, tracer_provider=trace.NoOpTracerProvider())
    # Older releases have none at all in the place of the one that came along.
    assert invoke("current", headers=SUBMITTED) in (str(0xB7AD6B7169203331).encode(), b"0")


def test_a_provider_is_made_once_in_a_process_and_asked_for_what_it_holds_at_its_end() -> None:
    made: list[str] = []

    class Flushed(TracerProvider):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            made.append(f"flushed in {timeout_millis} ms")
            return True

    def make() -> TracerProvider:
        made.append("made")
        return Flushed()

    instrument(app, tracer_provider=make)
    threads = [threading.Thread(target=invoke, args=("current",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    hooks.process_ends()
    uninstrument(app)
    hooks.process_ends()
    assert made == ["made", "flushed in 5000 ms"]
    assert not signals.worker_process_shutdown.receivers


def test_the_global_provider_is_the_one_that_is_there_then(monkeypatch: pytest.MonkeyPatch) -> None:
    instrument(app)
    assert invoke("current") == b"0"  # none was set
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    invoke("current")
    assert only().name == "run current"


def test_lines_of_a_traced_task_have_the_ids_of_its_trace() -> None:
    data = invoke("logged", headers=SUBMITTED)
    assert isinstance(data, bytes)
    line, as_json = codec.decode(data)
    ids = trace.format_trace_id(TRACE), trace.format_span_id(span_id(TRACE, NODE))
    assert line == f"logged {ids[0]} {ids[1]}"
    fields = json.loads(as_json)
    assert (fields["trace_id"], fields["span_id"], fields["task_id"]) == (*ids, ID)
    uninstrument(app)
    data = invoke("logged", headers=SUBMITTED)
    assert isinstance(data, bytes)
    line, as_json = codec.decode(data)
    assert (line, "trace_id" in json.loads(as_json)) == ("logged  ", False)


def test_where_nobody_traces_nothing_is_made_for_a_call() -> None:
    task, invoker = app.tasks["current"], Invoker(app, hostname="w1")
    assert invoker.tells(task)
    uninstrument(app)
    assert not invoker.tells(task)
    assert Context()._trace is None
    assert state.current_request() is None
