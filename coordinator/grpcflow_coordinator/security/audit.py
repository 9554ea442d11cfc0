"""The audit log: what was changed, by whom and how that ended, one JSON object a line.

Only names, ids and numbers of a request are written: payloads are counted, and no token is ever seen here. A line is
written when its call has ended; where it cannot be written the call has been made all the same, and the daemon's own
log says so. It may not know what the calls mean.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, MutableSequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.security.tokens import Identity

log = logging.getLogger(__name__)

#: How much of a request is written: characters of a text, items of a list, messages within messages.
_TEXT: Final = 200
_ITEMS: Final = 20
_DEPTH: Final = 3

#: Texts that are made of arguments.
_OF_PAYLOADS: Final = frozenset({"description"})


class Audit:
    """A file that grows; moved away by who rotates logs, and opened anew for each line where it is no longer there.

    Args:
        path: the file; made where it is not, readable by its owner alone.
        now: Unix time in seconds.

    Raises:
        ConfigurationError: it cannot be written.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path, self._now = path, now
        try:
            self._append(b"")
        except OSError as error:
            raise ConfigurationError(f"the audit log {path} cannot be written: {error.strerror}") from error

    def write(self, method: str, identity: Identity, peer: str, request: Any, status: str) -> None:
        """Write a line.

        Args:
            method: ``/SERVICE/METHOD``.
            identity: who called.
            peer: from where.
            request: the message; None where none was read.
            status: how it ended: OK, or the code of its refusal.
        """
        line = {
            "time": datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds"),
            "action": method.rpartition("/")[2],
            "token": identity.id,
            "name": identity.name,
            "namespace": identity.namespace,
            "peer": peer,
            "status": status,
            "request": {} if request is None else summary(request),
        }
        try:
            self._append(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            log.error("the audit log lacks a line, %s by %s: %s", method, identity.name or peer, error.strerror)

    def _append(self, data: bytes) -> None:
        # One write of one line, so that lines never mix; opened each time, so that rotation needs no signal.
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            written = os.write(handle, data)
            if written < len(data):
                # Half a line would take the next one with it.
                os.ftruncate(handle, os.fstat(handle).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(handle)


def summary(message: Any, depth: int = _DEPTH) -> dict[str, Any]:
    """Return the names, ids and numbers of a request; what is opaque only by its length.

    Args:
        message: any protobuf message.
        depth: how many messages within messages are looked into.
    """
    found: dict[str, Any] = {}
    if not isinstance(message, Message):
        return found  # it could not be parsed
    for field, value in message.ListFields():
        if isinstance(value, MutableSequence):
            items = [_plain(field, item, depth) for item in list(value)[:_ITEMS]]
            found[field.name] = items if len(value) <= _ITEMS else [*items, f"and {len(value) - _ITEMS} more"]
        else:
            found[field.name] = _plain(field, value, depth)
    return found


def _plain(field: FieldDescriptor, value: Any, depth: int) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return summary(value, depth - 1) if depth else "..."
    if field.name in _OF_PAYLOADS:
        return f"{len(value)} characters"
    if isinstance(value, bytes):
        return value.hex() if len(value) in (12, 16) and field.name in ("graph", "node") else f"{len(value)} bytes"
    return value[:_TEXT] if isinstance(value, str) else value
