"""Answers as browsers get them: JSON, and what went wrong as JSON with a status. Knows no route and asks nobody."""

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from grpcflow import errors
from grpcflow.dashboard.actions import BadArguments

__all__ = ["TooLong", "body_of", "failed", "said"]

#: Bytes of what a browser may send.
_LONGEST: Final = 64 * 1024

_STATUSES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (BadArguments, 400),
    (errors.StillRunning, 409),
    (errors.AlreadyExists, 409),
    (errors.NotFound, 404),
    (errors.InvalidRequest, 400),
    (errors.CoordinatorUnavailable, 503),
    (errors.TimeoutError, 504),
)


class TooLong(Exception):
    """What a browser sent is longer than anything that is meant for us."""


async def body_of(request: Request) -> bytes:
    """Return the body of a request.

    Raises:
        TooLong: It is longer than 64 KiB.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST:
            raise TooLong
    return bytes(body)


def said(value: Any, status: int = 200) -> Response:
    """Return plain data as JSON; what is no number of JSON is null there.

    Args:
        value: The data.
        status: Of HTTP.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, {"Cache-Control": "no-store"}, "application/json")


def failed(error: Exception) -> Response:
    """Return what went wrong: ``error``, ``code`` and ``cure``.

    Args:
        error: One of grpcflow's own, or BadArguments.
    """
    code = getattr(error, "code", "BAD_ARGUMENTS")
    cure = getattr(error, "cure", "")
    status = next((number for kind, number in _STATUSES if isinstance(error, kind)), 502)
    if code.endswith("_FORBIDDEN"):
        status = 403
    elif code.startswith("TOKEN_"):
        status = 401
    return said({"error": str(error), "code": code, "cure": "" if cure in str(error) else cure}, status)
