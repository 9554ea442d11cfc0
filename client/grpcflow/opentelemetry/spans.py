"""The spans of an app: of what it submits, of each attempt, of the one run of a batch.

Names and attributes follow OpenTelemetry's conventions for messaging: a canvas is sent, its calls are processed. What
travels beside the calls is written by ``headers``, what spans are made from by ``source``.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TracerProvider

from grpcflow import ids
from grpcflow.errors import SoftTimeLimitExceeded
from grpcflow.opentelemetry import span_ids
from grpcflow.opentelemetry.ends import end_span
from grpcflow.opentelemetry.headers import FAILED, MOST_LINKS, PARENTS, annotate, parents_of
from grpcflow.opentelemetry.source import Source

if TYPE_CHECKING:
    from grpcflow import context as requests
    from grpcflow.canvas.signature import Signature
    from grpcflow.lower.model import LoweredGraph
    from grpcflow.spans import OpenSpan
    from grpcflow.task import Task

__all__ = ["AppSpans"]

_MS: Final = 1000

_log: Final = logging.getLogger("grpcflow.opentelemetry")


class AppSpans:
    """Makes the spans of one app; see ``grpcflow.spans.Spans``, of which it is one.

    Args:
        provider: Where spans go; see ``instrument``.

    Attributes:
        source: Makes spans.
    """

    def __init__(self, provider: "TracerProvider | Callable[[], TracerProvider] | None") -> None:
        self.source = Source(provider)

    # --- what is submitted --------------------------------------------------------------------------------

    @contextmanager
    def submitting(
        self, canvas: "Signature", graph: "LoweredGraph", graph_id: bytes, request: "requests.Context | None"
    ) -> Iterator[None]:
        """Make the span of a submission, and give the calls of the graph the headers that lead back to it."""
        first = graph.runs[0].id or ids.node_id(graph_id, 0)
        about = {
            **_about_graph(canvas, graph, "submit"),
            "messaging.operation.type": "send",
            "messaging.message.id": graph.outcome.id or ids.node_id(graph_id, graph.outcome.node),
            "messaging.message.conversation_id": (request and request.root_id) or first,
        }
        span = self.source.span(f"submit {_name(canvas, graph)}", SpanKind.PRODUCER, contexts.get_current(), about)
        _lead_back(graph, span, graph_id)
        # Not made current: what is awaited meanwhile may end in another context than it began in.
        try:
            yield
        except BaseException as error:
            end_span(span, "FAILURE", error)
            raise
        span.end()

    @contextmanager
    def applying(self, canvas: "Signature", graph: "LoweredGraph") -> Iterator[None]:
        """Make the span of a canvas that runs in this process; it is current meanwhile."""
        span = self.source.span(
            f"apply {_name(canvas, graph)}",
            SpanKind.INTERNAL,
            contexts.get_current(),
            _about_graph(canvas, graph, "apply"),
        )
        _lead_back(graph, span)
        with trace.use_span(span, end_on_exit=True):
            yield

    # --- what runs ----------------------------------------------------------------------------------------

    def begin(self, task: "Task[..., Any]", request: "requests.Context") -> "OpenSpan | None":
        """Begin the span of an attempt; tracing that fails is logged, and the attempt goes on without a span."""
        try:
            span, context = self._attempt(request)
            # The calls of a batch run as one: its span is the current one then.
            attached = request.is_eager or not task.batch_size
            return RunSpan(span, context if attached else None, task, request)
        except SoftTimeLimitExceeded:
            raise  # it is meant for the task
        except Exception:  # noqa: BLE001 - a guest of the task, as a receiver of a signal is
            _log.exception("the call %s[%s] is not traced", request.task, request.id)
            return None

    def _attempt(self, request: "requests.Context") -> tuple[Span, Context]:
        """Return the span of an attempt, and the context that its body runs in."""
        context = _context_of(request)
        parent = trace.get_current_span(context).get_span_context()
        node, is_traced = _node_of(request), parent.is_valid
        trace_id = parent.trace_id if is_traced else span_ids.trace_id(request.root_id or request.id or "")
        links: list[Link] = []
        chosen = 0
        if node and self.source.chooses:
            flags = parent.trace_flags if is_traced else trace.TraceFlags(trace.TraceFlags.SAMPLED)

            def place(of: bytes) -> SpanContext:
                return SpanContext(trace_id, span_ids.span_id(trace_id, of), True, flags, parent.trace_state)

            later = _later(request)
            chosen = span_ids.span_id(trace_id, node, later)
            links = [Link(place(each)) for each in _waited_for(request, node)]
            if later and is_traced and not request.is_eager:
                context = trace.set_span_in_context(NonRecordingSpan(place(node)), context)
            elif later:
                links.append(Link(place(node)))
        span = self.source.span(
            f"run {request.shadow or request.task}",
            SpanKind.INTERNAL if request.is_eager else SpanKind.CONSUMER,
            context,
            _about_attempt(request, node if is_traced else b""),
            links=links,
            trace_id=0 if is_traced else trace_id,
            span_id=chosen,
        )
        return span, trace.set_span_in_context(span, context)

    def begin_batch(self, task: "Task[..., Any]", members: "Sequence[OpenSpan]") -> "OpenSpan | None":
        """Begin the span of a batch: a child of the span of its first call, with links to those of all."""
        spans = [member.span for member in members if isinstance(member, RunSpan)]
        if not spans:
            return None
        context = trace.set_span_in_context(spans[0], Context())
        about = {
            "messaging.system": "grpcflow",
            "messaging.operation.type": "process",
            "messaging.operation.name": "batch",
            "messaging.batch.message_count": len(spans),
            "grpcflow.task": task.name,
        }
        links = [Link(span.get_span_context()) for span in spans[:MOST_LINKS]]
        batch = self.source.span(f"batch {task.name}", SpanKind.CONSUMER, context, about, links=links)
        for span in spans:
            span.add_link(batch.get_span_context())
        return RunSpan(batch, trace.set_span_in_context(batch, context), task, None)


class RunSpan:
    """The span of something that runs; it is current until it ends, where it has a context.

    Args:
        span: The span.
        context: What is current meanwhile; None: what is current now.
        task: The task.
        request: The request of the attempt; it learns the ids, for the log. None: that of no attempt.

    Attributes:
        span: The span.
    """

    __slots__ = ("_before", "_hidden", "_throws", "span")

    def __init__(
        self, span: Span, context: Context | None, task: "Task[..., Any]", request: "requests.Context | None"
    ) -> None:
        self.span = span
        self._throws = tuple(task.throws)
        self._hidden = task.sensitive or (request is not None and request.sensitive)
        self._before: Context | None = None
        place = span.get_span_context()
        if request is not None and place.is_valid:
            request._trace = trace.format_trace_id(place.trace_id), trace.format_span_id(place.span_id)
        if context is not None:
            self._before = contexts.get_current()
            contexts.attach(context)

    def end(self, state: str, outcome: Any) -> None:
        """End it as the attempt did."""
        if self._before is not None:
            # By putting back what was, and not by a token: the end may be told in a copy of the context.
            contexts.attach(self._before)
            self._before = None
        end_span(self.span, state, outcome, expected=self._throws, hidden=self._hidden)


def _name(canvas: "Signature", graph: "LoweredGraph") -> str:
    """Return what a span calls a canvas: the task of a call, the kind of all else."""
    kind = canvas["subtask_type"]
    if kind in (None, "xmap", "xstarmap") and graph.runs[0].members is None:
        return graph.templates[graph.runs[0].template].task
    return str(kind)


def _about_graph(canvas: "Signature", graph: "LoweredGraph", operation: str) -> dict[str, Any]:
    """Return the attributes of the span of a whole canvas."""
    about: dict[str, Any] = {
        "messaging.system": "grpcflow",
        "messaging.operation.name": operation,
        "grpcflow.nodes": graph.node_count,
    }
    queues = {template.queue for template in graph.templates}
    if len(queues) == 1:
        about["messaging.destination.name"] = queues.pop()
    if graph.node_count > 1:
        about["messaging.batch.message_count"] = graph.node_count
    return about


def _lead_back(graph: "LoweredGraph", span: Span, graph_id: bytes = b"") -> None:
    """Have the calls of a graph lead back to a span; without an id the graph runs here."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    annotate(graph, carrier, graph_id)


def _context_of(request: "requests.Context") -> Context:
    """Return the context that an attempt was submitted in; where it said none, one without a span."""
    base = contexts.get_current() if request.is_eager else Context()
    carrier = {name: value for name, value in request.headers.items() if type(value) is str}
    return propagate.extract(carrier, base) if carrier else base


def _node_of(request: "requests.Context") -> bytes:
    """Return the 16 bytes of the node of an attempt; empty where they are not known here."""
    if request._node or not request.id:
        return request._node
    place = ids.parse(request.id)  # an eager call, unless its id is the user's own
    return b"" if place is None else ids.node_bytes(*place)


def _later(request: "requests.Context") -> int:
    """Return what tells an attempt from the others of its call; 0 for the first that comes to an end.

    One that was lost ended without a span: the attempt after it takes its id, and what it submitted hangs below that.
    """
    if not request.retries and (request.losses or not request._after):
        return 0
    return request._after or request.retries


def _waited_for(request: "requests.Context", node: bytes) -> list[bytes]:
    """Return the nodes that an attempt takes values from, or whose failure it is told."""
    if request.headers.get(PARENTS) != FAILED:
        return parents_of(request.headers, node)
    told = request.args[0] if request.args else None
    text = getattr(told, "id", told)  # a request, or an id
    place = ids.parse(text) if isinstance(text, str) else None
    return [] if place is None else [ids.node_bytes(*place)]


def _about_attempt(request: "requests.Context", node: bytes) -> Mapping[str, Any]:
    """Return the attributes of the span of an attempt; ``node``: where it is known when that was submitted."""
    about: dict[str, Any] = {
        "messaging.system": "grpcflow",
        "messaging.operation.type": "process",
        "messaging.operation.name": "run",
        "messaging.destination.name": request.delivery_info.get("queue") or "default",
        "messaging.message.id": request.id or "",
        "messaging.message.conversation_id": request.root_id or "",
        "messaging.client.id": request.hostname or "",
        "grpcflow.task": request.task,
        "grpcflow.retry.count": request.retries,
    }
    if request.losses:
        about["grpcflow.losses"] = request.losses
    again = request.retries or request.losses or request._after
    if node and not (again or request.is_eager) and PARENTS not in request.headers:
        waited = time.time() - ids.graph_time(node)
        about["grpcflow.queue_wait_ms"] = max(0, round(waited * _MS))
    return about
