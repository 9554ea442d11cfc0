"""Scans through a layer of changes: what a range holds once they are made.

Of what lies below one asks for as many pairs more as there are changes: then at least `limit` of them stand, and no
change behind the last one that was read comes among the first `limit`. Knows bytes only: no store, no record.
"""

from __future__ import annotations

from collections.abc import Mapping

#: What a layer says of keys; None: the key is deleted.
Changes = Mapping[bytes, bytes | None]


def merged_pairs(
    below: list[tuple[bytes, bytes]], changed: Changes, limit: int, *, reverse: bool = False
) -> list[tuple[bytes, bytes]]:
    """Return a scan with changes over it.

    Args:
        below: the pairs of the range as they are, up to `limit` and one more for each change.
        changed: what is changed in the range.
        limit: most pairs to return.
        reverse: True: from the largest key downwards, `below` as well.
    """
    pairs = {key: value for key, value in below if key not in changed}
    pairs.update((key, value) for key, value in changed.items() if value is not None)
    return sorted(pairs.items(), reverse=reverse)[:limit]


def merged_keys(below: list[bytes], changed: Changes, limit: int) -> list[bytes]:
    """Return the keys of such a scan, in order; arguments as of `merged_pairs`."""
    found = {key for key in below if key not in changed}
    found.update(key for key, value in changed.items() if value is not None)
    return sorted(found)[:limit]
