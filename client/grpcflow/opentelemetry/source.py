"""Where spans come from: the tracer of the provider, in whichever process this is, with ids that we may choose.

May not know what the spans are about.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer, TracerProvider

from grpcflow.opentelemetry.span_ids import ChosenIds

__all__ = ["Source"]

#: Name of our instrumentation, as exporters show it.
_SCOPE: Final = "grpcflow"


class Source:
    """Makes spans.

    Args:
        given: The provider, or what makes one in each process; None: the global one.
    """

    def __init__(self, given: "TracerProvider | Callable[[], TracerProvider] | None") -> None:
        self._given = given
        self._made: dict[int, TracerProvider] = {}
        self._making: dict[int, threading.Lock] = {}
        self._tracer: tuple[TracerProvider | None, Tracer, ChosenIds | None] = (None, trace.NoOpTracer(), None)

    @property
    def chooses(self) -> bool:
        """True where ids can be chosen: the provider is that of OpenTelemetry's SDK."""
        return self._current()[1] is not None

    def span(
        self,
        name: str,
        kind: SpanKind,
        context: Context,
        attributes: Mapping[str, Any],
        *,
        links: Sequence[Link] = (),
        trace_id: int = 0,
        span_id: int = 0,
    ) -> Span:
        """Return a new span, begun and not made current.

        Args:
            name: Its name.
            kind: Its kind.
            context: Holds its parent; one without a span: it begins a trace.
            attributes: Its attributes.
            links: Its links.
            trace_id: Id of the trace where it begins one; 0: any.
            span_id: Its id; 0: any.
        """
        tracer, chosen = self._current()
        if chosen is None:
            return tracer.start_span(name, context, kind, attributes, links)
        chosen.trace, chosen.span = trace_id, span_id
        try:
            return tracer.start_span(name, context, kind, attributes, links)
        finally:
            chosen.trace = chosen.span = 0

    def flush(self, timeout_ms: int) -> None:
        """Have all spans that ended handed over.

        Args:
            timeout_ms: How long that may take, in milliseconds.
        """
        flush = getattr(self._provider(), "force_flush", None)
        if flush is not None:
            flush(timeout_ms)

    def _provider(self) -> TracerProvider:
        given = self._given
        if given is None:
            return trace.get_tracer_provider()
        if isinstance(given, TracerProvider):
            return given
        process = os.getpid()
        made = self._made.get(process)
        if made is None:
            # A lock for each process: one that another thread held at a fork would never be let go in the child.
            with self._making.setdefault(process, threading.Lock()):
                made = self._made.get(process) or self._made.setdefault(process, given())
        return made

    def _current(self) -> tuple[Tracer, ChosenIds | None]:
        """Return the tracer, and what chooses its ids; the global provider may have been set a moment ago."""
        provider = self._provider()
        known, tracer, chosen = self._tracer
        if known is not provider:
            # Nobody else has the tracer of our scope, so its generator may be ours; other apps of ours share both.
            tracer = provider.get_tracer(_SCOPE)
            inner = getattr(tracer, "id_generator", None)
            chosen = inner if inner is None or isinstance(inner, ChosenIds) else ChosenIds(inner)
            if chosen is not None:
                vars(tracer)["id_generator"] = chosen
            self._tracer = provider, tracer, chosen
        return tracer, chosen
