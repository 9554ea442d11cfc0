"""How calls and values are shown to people, as plain JSON; a part of remote control.

Payloads are shown only where they can be read without running anything. It may NOT import gRPC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from grpcflow_protos import limits
from grpcflow_worker.executor import CallRun

#: Largest payload in bytes that is decoded to be shown; of a larger one only the size is.
_SHOWN_PAYLOAD: Final = 65_536


def show_call(run: CallRun, offset: int) -> tuple[Any, Any]:
    """The args and kwargs of one attempt, inputs in front; as texts where they cannot be shown as they are.

    Args:
        run: the run.
        offset: which attempt of it, from 0.
    """
    from grpcflow import codec
    from grpcflow_protos.v1 import value_pb2

    if run.call.sensitive:
        return limits.HIDDEN, limits.HIDDEN
    payload = run.payloads[offset]
    content = run.content_type or run.call.content_type
    size = len(payload) + sum(len(value) for value in run.inputs)
    if size > _SHOWN_PAYLOAD:
        return f"({size} bytes)", ""
    try:
        args, kwargs = codec.decode_call(payload, content)
        values = [codec.decode_value(value_pb2.Value.FromString(value)) for value in run.inputs]
    except Exception as error:  # noqa: BLE001 - whatever a client sent, a question about it is answered
        return f"({size} bytes of {content or codec.JSON}, not shown: {type(error).__name__})", ""
    # Inputs are put in front one after the other, so that the last one ends up first.
    return [plain(_told(value)) for value in reversed(values)] + [plain(arg) for arg in args], plain(kwargs)


def _told(value: Any) -> Any:
    """What an errback gets for a failed node: its id."""
    from grpcflow_protos.v1 import value_pb2

    return value.id if isinstance(value, value_pb2.FailedNode) else value


def plain(value: Any) -> Any:
    """The value as JSON carries it: what JSON has no word for becomes its repr."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else repr(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return repr(value)
