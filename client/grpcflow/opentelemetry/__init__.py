"""Traces with OpenTelemetry: one canvas is one trace, from the submission to the last attempt of its last call.

``instrument(app)`` is all that a program needs. It is an extra, ``grpcflow[opentelemetry]``, and no other part of
grpcflow may import it. See docs/traces.md for the spans, their names, attributes, parents and links.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from grpcflow.signals import worker_process_shutdown

try:
    from opentelemetry.trace import TracerProvider
except ImportError as missing:
    raise ImportError(
        "grpcflow.opentelemetry needs OpenTelemetry: pip install 'grpcflow[opentelemetry]'", name="opentelemetry"
    ) from missing

from grpcflow.opentelemetry.spans import AppSpans

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

__all__ = ["instrument", "uninstrument"]

#: Milliseconds that a child process may take at its end to hand over its last spans.
_LAST_SPANS_MS: Final = 5_000


def instrument(
    app: "Grpcflow", *, tracer_provider: "TracerProvider | Callable[[], TracerProvider] | None" = None
) -> None:
    """Trace what an app submits and runs, from now on; call it where the app is made, so that workers do it, too.

    Instrumenting an app again changes its provider and nothing else.

    Args:
        app: The app.
        tracer_provider: Where spans go. A function that makes one is called in each process, at its first span: what
            to give where an exporter must not be carried into a forked child. None: the global one, as it is then.
    """
    uninstrument(app)
    spans = app._spans = AppSpans(tracer_provider)

    def hand_over(**_: Any) -> None:
        spans.source.flush(_LAST_SPANS_MS)

    worker_process_shutdown.connect(hand_over, weak=False, dispatch_uid=_uid(app))


def uninstrument(app: "Grpcflow") -> None:
    """Trace an app no more; what runs is traced to its end.

    Args:
        app: The app; one that is not traced is left as it is.
    """
    app._spans = None
    worker_process_shutdown.disconnect(dispatch_uid=_uid(app))


def _uid(app: "Grpcflow") -> tuple[str, int]:
    return __name__, id(app)
