"""How a span ends: its state, its status, and the exception that it is about.

May not know where spans come from.
"""

from typing import Any, Final

from opentelemetry.trace import Span, Status, StatusCode

from grpcflow.errors import Retry

__all__ = ["end_span"]

#: States of calls that did not come to a value and should have.
_FAILED: Final = frozenset({"FAILURE", "REJECTED", "REVOKED"})


def end_span(
    span: Span,
    state: str,
    outcome: Any,
    *,
    expected: tuple[type[BaseException], ...] = (),
    hidden: bool = False,
) -> None:
    """End a span as what it is about ended.

    Args:
        span: The span.
        state: The state that it came to.
        outcome: What it gave, or the exception.
        expected: Exceptions that are no errors.
        hidden: True: nobody is to be shown more of an exception than its class.
    """
    try:
        if span.is_recording():
            span.set_attribute("grpcflow.state", state)
            error = outcome.exc if isinstance(outcome, Retry) else outcome
            if state != "IGNORED" and isinstance(error, BaseException):
                _record(span, error, hidden=hidden)
            if state in _FAILED and not isinstance(outcome, expected):
                span.set_status(Status(StatusCode.ERROR, _said(outcome, hidden=hidden)))
    finally:
        span.end()


def _record(span: Span, error: BaseException, *, hidden: bool) -> None:
    """Note an exception; its class alone where no more is to be told, or its own text cannot be had."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    span.set_attribute("error.type", name)
    if hidden or _text(error) is None:
        span.add_event("exception", {"exception.type": name})
    else:
        span.record_exception(error)


def _said(outcome: Any, *, hidden: bool) -> str:
    """Return what the status says."""
    kind = type(outcome).__name__
    text = None if hidden else _text(outcome)
    return f"{kind}: {text}" if text else kind


def _text(error: Any) -> str | None:
    """Return the text of an exception; None where its own code fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the exception is the user's, and so is its text
        return None
