"""What all parts of the records share: reading a whole kind, and records that are one number."""

from __future__ import annotations

from grpcflow_coordinator.storage import formats, keys
from grpcflow_coordinator.storage.overlay import Overlay


class Numbers:
    """Over the ordered key-value contract, through an overlay."""

    _overlay: Overlay

    def _all(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        return self._overlay.scan(kind, keys.after(kind), 1 << 30)

    def _number(self, key: bytes) -> int | None:
        data = self._overlay.get(key)
        return None if data is None else formats.read_number(data)

    def _put_number(self, key: bytes, number: int | None) -> None:
        if number is None:
            self._overlay.delete(key)
        else:
            self._overlay.put(key, formats.write_number(number))
