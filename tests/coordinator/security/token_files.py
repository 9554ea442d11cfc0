"""Token files for tests, and callers that show what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from tests.coordinator.support.serving import Wire

from grpcflow_coordinator.realm import Realm
from grpcflow_coordinator.security.token_file import Role, new_token, read_file, write_file


def give(
    path: Path,
    roles: Iterable[Role],
    *,
    name: str = "someone",
    queues: Sequence[str] = (),
    until: datetime | None = None,
    namespace: str = "",
) -> str:
    """Add a token to a file, and return it."""
    content = read_file(path)
    made, text = new_token(name, tuple(roles), queues, until, namespace)
    write_file(path, msgspec.structs.replace(content, tokens=(*content.tokens, made)))
    return text


def take_away(path: Path, token: str) -> None:
    """Take a token out of a file."""
    content = read_file(path)
    identity = token.split("_")[1]
    write_file(path, msgspec.structs.replace(content, tokens=tuple(x for x in content.tokens if x.id != identity)))


def bearing(token: str, namespace: str = "") -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call that bears a token, and may name a namespace."""
    shown = (("authorization", f"Bearer {token}"),) if token else ()
    return (*shown, ("grpcflow-namespace", namespace)) if namespace else shown


def caller(wire: Wire, token: str, namespace: str = "") -> Wire:
    """Return the same wire as somebody uses it whose calls all bear a token, and may name a namespace."""
    channel: Any = _BearingChannel(wire.channel, bearing(token, namespace))
    return Wire(wire.coordinator, channel)


def realm(wire: Wire, name: str) -> Realm:
    """Return the realm of a namespace; "" is the default one."""
    return wire.coordinator.realms._by_name[name]


class _BearingChannel:
    """A channel whose calls bear metadata."""

    def __init__(self, channel: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel, self._metadata = channel, metadata

    def __getattr__(self, shape: str) -> Any:
        """Return what makes calls of a shape."""

        def makes(*args: Any, **options: Any) -> Any:
            call = getattr(self._channel, shape)(*args, **options)
            return lambda *given, **more: call(*given, metadata=self._metadata, **more)

        return makes
