"""Records of what stands beside the nodes: added members, stamps, revokes under way, saved groups, what is forgotten.

A part of `Records`; decides nothing about tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from grpcflow_coordinator.core.model import Held, Job, Retention, Template
from grpcflow_coordinator.core.planning import Plan, Schedule
from grpcflow_coordinator.core.presence import Limit
from grpcflow_coordinator.storage import formats, keys, schedule_formats
from grpcflow_coordinator.storage.numbers import Numbers


class Keeping(Numbers):
    """Reads and writes of these nouns; mixed into `Records`."""

    def extras(self, graph: bytes, join: int) -> list[bytes]:
        """See `Loaded`."""
        prefix = keys.node(keys.EXTRA, graph, join)
        return [node for _, node in self._overlay.scan(prefix, keys.after(prefix), 1 << 30)]

    def put_extra(self, graph: bytes, join: int, node: bytes) -> None:
        """See `Loaded`."""
        prefix = keys.node(keys.EXTRA, graph, join)
        last = self._overlay.scan(prefix, keys.after(prefix), 1, reverse=True)
        number = int.from_bytes(last[0][0][len(prefix) :], "big") + 1 if last else 0
        self._overlay.put(prefix + number.to_bytes(4, "big"), node)

    def drop_extra(self, graph: bytes, join: int, node: bytes) -> None:
        """See `Loaded`."""
        prefix = keys.node(keys.EXTRA, graph, join)
        for key, found in self._overlay.scan(prefix, keys.after(prefix), 1 << 30):
            if found == node:
                self._overlay.delete(key)

    def is_cancelled(self, graph: bytes) -> bool:
        """See `Loaded`."""
        return self._overlay.get(keys.CANCELLED + graph) is not None

    def put_cancelled(self, graph: bytes, when_ms: int | None) -> None:
        """See `Loaded`."""
        if when_ms is None:
            self._overlay.delete(keys.CANCELLED + graph)
        else:
            self._overlay.put(keys.CANCELLED + graph, formats.write_number(when_ms))

    def retried(self) -> dict[bytes, int]:
        """See `Loaded`."""
        return {key[len(keys.RETRIED) :]: formats.read_number(data) for key, data in self._all(keys.RETRIED)}

    def put_retried(self, graph: bytes, sequence: int) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.RETRIED + graph, formats.write_number(sequence))

    def stray(self, graph: bytes) -> int:
        """See `Loaded`."""
        return self._number(keys.STRAY + graph) or 0

    def put_stray(self, graph: bytes, sequence: int) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.STRAY + graph, formats.write_number(sequence))

    def paused_queues(self) -> list[str]:
        """See `Loaded`."""
        return [formats.read_name(data) for _, data in self._all(keys.PAUSED)]

    def put_paused(self, queue: str, *, paused: bool) -> None:
        """See `Loaded`."""
        key = keys.PAUSED + keys.digest(queue)
        if paused:
            self._overlay.put(key, formats.write_name(queue))
        else:
            self._overlay.delete(key)

    # Limits

    def limits(self) -> list[tuple[tuple[Literal["task", "queue"], str], Limit]]:
        """See `Loaded`."""
        return [formats.read_limit(data) for _, data in self._all(keys.LIMIT)]

    def put_limit(self, scope: str, name: str, limit: Limit | None) -> None:
        """See `Loaded`."""
        key = keys.LIMIT + keys.digest(scope, name)
        if limit is None:
            self._overlay.delete(key)
        else:
            self._overlay.put(key, formats.write_limit(scope, name, limit))

    def rate(self, scope: str, name: str) -> int | None:
        """See `Loaded`."""
        data = self._overlay.get(keys.RATE + keys.digest(scope, name))
        return None if data is None else formats.read_number(data)

    def put_rate(self, scope: str, name: str, spent_ms: int) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.RATE + keys.digest(scope, name), formats.write_number(spent_ms))

    # Schedules

    def schedules(self) -> list[tuple[Plan, Schedule | None]]:
        """See `Loaded`."""
        found: list[tuple[Plan, Schedule | None]] = []
        for key, data in self._all(keys.PLAN):
            plan = schedule_formats.read_plan(data)
            stands = self._overlay.get(keys.SCHEDULE + key[len(keys.PLAN) :])
            found.append((plan, None if stands is None else schedule_formats.read_schedule(plan, stands)))
        return found

    def put_plan(self, plan: Plan) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.PLAN + keys.digest(plan.name), schedule_formats.write_plan(plan))

    def put_schedule(self, schedule: Schedule) -> None:
        """See `Loaded`."""
        key = keys.SCHEDULE + keys.digest(schedule.plan.name)
        self._overlay.put(key, schedule_formats.write_schedule(schedule))

    def drop_schedule(self, name: str) -> None:
        """See `Loaded`."""
        for kind in (keys.PLAN, keys.SCHEDULE):
            self._overlay.delete(kind + keys.digest(name))

    # Unique keys

    def held(self, key: str) -> Held | None:
        """See `Loaded`."""
        return self.held_by(keys.digest(key))

    def put_held(self, key: str, held: Held) -> bytes:
        """See `Loaded`."""
        digest = keys.digest(key)
        self._overlay.put(keys.UNIQUE + digest, formats.write_held(held))
        return digest

    def drop_held(self, key: str) -> bytes:
        """See `Loaded`."""
        digest = keys.digest(key)
        self.drop_held_by(digest)
        return digest

    def held_by(self, timer: bytes) -> Held | None:
        """See `Loaded`."""
        data = self._overlay.get(keys.UNIQUE + timer)
        return None if data is None else formats.read_held(data)

    def drop_held_by(self, timer: bytes) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.UNIQUE + timer)

    def followers(self, holder: bytes, limit: int) -> list[bytes]:
        """See `Loaded`."""
        prefix = keys.FOLLOWER + holder
        return [key[len(prefix) :] for key in self._overlay.keys(prefix, keys.after(prefix), limit)]

    def put_follower(self, holder: bytes, node: bytes) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.FOLLOWER + holder + node, formats.write_number(0))

    def drop_follower(self, holder: bytes, node: bytes) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.FOLLOWER + holder + node)

    def followed(self) -> list[bytes]:
        """See `Loaded`."""
        found: list[bytes] = []
        start = keys.FOLLOWER
        while page := self._overlay.keys(start, keys.after(keys.FOLLOWER), 1):
            found.append(page[0][len(keys.FOLLOWER) : len(keys.FOLLOWER) + 16])
            start = keys.after(keys.FOLLOWER + found[-1])
        return found

    # What ended

    def put_failed(self, graph: bytes, index: int) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.node(keys.FAILED, graph, index), formats.write_number(0))

    def has_failed(self, graph: bytes, index: int) -> bool:
        """See `Loaded`."""
        return self._overlay.get(keys.node(keys.FAILED, graph, index)) is not None

    def drop_failed(self, graph: bytes, index: int) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.node(keys.FAILED, graph, index))

    def newest_failed(self, before: bytes, limit: int) -> list[bytes]:
        """Return the ids of up to `limit` nodes below `before` that failed for good, newest graph first."""
        end = keys.FAILED + before if before else keys.after(keys.FAILED)
        return [key[len(keys.FAILED) :] for key, _ in self._overlay.scan(keys.FAILED, end, limit, reverse=True)]

    def retention(self) -> list[tuple[tuple[str, str], Retention]]:
        """See `Loaded`."""
        return [formats.read_retention(data) for _, data in self._all(keys.RETENTION)]

    def put_retention(self, scope: str, name: str, retention: Retention | None) -> None:
        """See `Loaded`."""
        key = keys.RETENTION + keys.digest(scope, name)
        if retention is None:
            self._overlay.delete(key)
        else:
            self._overlay.put(key, formats.write_retention(scope, name, retention))

    def kept_count(self, key: tuple[str, str, str]) -> int:
        """See `Loaded`."""
        prefix = keys.KEPT + keys.digest(*key)
        return len(self._overlay.keys(prefix, keys.after(prefix), 1 << 30))

    def put_kept(self, key: tuple[str, str, str], end_ms: int, graph: bytes) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.KEPT + keys.digest(*key) + end_ms.to_bytes(8, "big") + graph, formats.write_number(0))

    def oldest_kept(self, key: tuple[str, str, str], limit: int) -> list[tuple[int, bytes]]:
        """See `Loaded`."""
        prefix = keys.KEPT + keys.digest(*key)
        at = len(prefix)
        found = self._overlay.keys(prefix, keys.after(prefix), limit)
        return [(int.from_bytes(one[at : at + 8], "big"), one[at + 8 :]) for one in found]

    def drop_one_kept(self, key: tuple[str, str, str], end_ms: int, graph: bytes) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.KEPT + keys.digest(*key) + end_ms.to_bytes(8, "big") + graph)

    def drop_kept(self, key: tuple[str, str, str]) -> None:
        """See `Loaded`."""
        prefix = keys.KEPT + keys.digest(*key)
        for found in self._overlay.keys(prefix, keys.after(prefix), 1 << 30):
            self._overlay.delete(found)

    # Items

    def item_count(self, graph: bytes, index: int) -> int:
        """See `Loaded`."""
        prefix = keys.node(keys.ITEM, graph, index)
        last = self._overlay.scan(prefix, keys.after(prefix), 1, reverse=True)
        return int.from_bytes(last[0][0][len(prefix) :], "big") + 1 if last else 0

    def put_item(self, graph: bytes, index: int, number: int, data: bytes, content_type: str) -> None:
        """See `Loaded`."""
        key = keys.node(keys.ITEM, graph, index) + number.to_bytes(4, "big")
        self._overlay.put(key, formats.write_item(data, content_type))

    def items(self, graph: bytes, index: int, first: int, limit: int) -> list[tuple[bytes, str]]:
        """Return up to `limit` items (data, content type) of a node's stream, from the one numbered `first` on."""
        prefix = keys.node(keys.ITEM, graph, index)
        found = self._overlay.scan(prefix + first.to_bytes(4, "big"), keys.after(prefix), limit)
        return [formats.read_item(data) for _, data in found]

    def drop_items(self, graph: bytes, index: int) -> None:
        """Delete the stream of a node."""
        prefix = keys.node(keys.ITEM, graph, index)
        for key in self._overlay.keys(prefix, keys.after(prefix), 1 << 30):
            self._overlay.delete(key)

    def is_forgotten(self, graph: bytes, index: int) -> bool:
        """Return whether the result of a node is hidden from whoever asks for it."""
        return self._overlay.get(keys.node(keys.FORGOTTEN, graph, index)) is not None

    def put_forgotten(self, graph: bytes, index: int) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.node(keys.FORGOTTEN, graph, index), formats.write_number(0))

    # Stamps

    def put_stamps(self, graph: bytes, stamps: Collection[tuple[str, str]]) -> None:
        """See `Loaded`."""
        for stamp in stamps:
            self._overlay.put(keys.STAMP + keys.digest(*stamp) + graph, formats.write_number(0))

    def stamped_graphs(self, name: str, value: str, after: bytes, limit: int) -> list[bytes]:
        """See `Loaded`."""
        prefix = keys.STAMP + keys.digest(name, value)
        found = self._overlay.keys(prefix + after + b"\0" if after else prefix, keys.after(prefix), limit)
        return [key[len(prefix) :] for key in found]

    def newest_stamped(self, name: str, value: str, before: bytes, limit: int) -> list[bytes]:
        """Return graphs below `before` that bear a stamp, newest first; empty: the newest. Some may be gone."""
        prefix = keys.STAMP + keys.digest(name, value)
        found = self._overlay.scan(prefix, prefix + before if before else keys.after(prefix), limit, reverse=True)
        return [key[len(prefix) :] for key, _ in found]

    def jobs(self) -> list[Job]:
        """See `Loaded`."""
        return [
            formats.read_job(int.from_bytes(key[len(keys.JOB) :], "big"), data) for key, data in self._all(keys.JOB)
        ]

    def put_job(self, job: Job) -> None:
        """See `Loaded`."""
        self._overlay.put(keys.JOB + job.number.to_bytes(8, "big"), formats.write_job(job))

    def drop_job(self, number: int) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.JOB + number.to_bytes(8, "big"))

    # Saved groups

    def saved_group(self, own_id: str) -> bytes | None:
        """Return the description that is kept under a group's id."""
        data = self._overlay.get(keys.SAVED + keys.digest(own_id))
        found = None if data is None else formats.read_saved(data)
        return found[1] if found is not None and found[0] == own_id else None

    def put_saved(self, own_id: str, data: bytes, expires_ms: int) -> bytes:
        """See `Loaded`."""
        key = keys.digest(own_id)
        self._overlay.put(keys.SAVED + key, formats.write_saved(own_id, data, expires_ms))
        return key

    def drop_saved(self, own_id: str) -> None:
        """See `Loaded`."""
        self._overlay.delete(keys.SAVED + keys.digest(own_id))

    def expire_saved(self, key: bytes, now_ms: int) -> None:
        """See `Loaded`."""
        data = self._overlay.get(keys.SAVED + key)
        if data is not None and formats.read_saved(data)[2] <= now_ms:
            self._overlay.delete(keys.SAVED + key)


def stamps_of(templates: Iterable[Template]) -> set[tuple[str, str]]:
    """Return every stamp (name, value) that one of the templates bears."""
    return {(name, value) for template in templates for name, values in template.stamps for value in values}
