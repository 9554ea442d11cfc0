"""What clients do: operations of every kind, each with the promise of what it comes to. Calls nothing itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaosrig.chaos_tasks import flaky, once, plus, total, unique, work
from chaosrig.history import Promise
from grpcflow import chain, chord, group

#: Seconds until a call that is to be revoked would run.
REVOKE_WITHIN: Final = 3.0

#: Keys that unique calls of all clients share.
SHARED_KEYS: Final = 5

#: Seconds that most tasks take at most.
_LONG: Final = 0.25


@dataclass(frozen=True, slots=True)
class Expected:
    """What one result of an operation is to be; see `Promise`."""

    value: Any
    how: str = "value"
    key: str = ""

    def of(self, node: str) -> Promise:
        """Return the promise for the node that was made for it."""
        return Promise(node, self.value, self.how, self.key)


@dataclass(frozen=True, slots=True)
class Plan:
    """One operation: what is submitted, together or one after the other, and what its results are to be.

    Attributes:
        kind: its name in the history.
        canvases: what is submitted.
        expected: what the results come to, in order, those of a group one by one.
        options: options of the submission.
        tries: how often it is submitted while nobody knows whether it was.
        revokes: True: each call is revoked once it is there.
    """

    kind: str
    canvases: Sequence[Any]
    expected: Sequence[Expected]
    options: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 1
    revokes: bool = False


def _length(rng: random.Random) -> float:
    return rng.choice((0.0, 0.0, 0.01, rng.uniform(0.0, _LONG)))


def _single(op: str, rng: random.Random) -> Plan:
    value = rng.randrange(1000)
    return Plan("single", [work.s(op, value, _length(rng))], [Expected(value, key=op)])


def _batch(op: str, rng: random.Random) -> Plan:
    values = [rng.randrange(1000) for _ in range(3)]
    keys = [f"{op}/{number}" for number in range(3)]
    calls = [work.s(key, value, _length(rng)) for key, value in zip(keys, values, strict=True)]
    return Plan("batch", calls, [Expected(value, key=key) for key, value in zip(keys, values, strict=True)])


def _group(op: str, rng: random.Random) -> Plan:
    made = _batch(op, rng)
    return Plan("group", [group(made.canvases)], made.expected)


def _chord(op: str, rng: random.Random) -> Plan:
    made = _batch(op, rng)
    value = sum(one.value for one in made.expected)
    return Plan("chord", [chord(made.canvases, total.s(f"{op}/sum"))], [Expected(value, key=f"{op}/sum")])


def _chain(op: str, rng: random.Random) -> Plan:
    canvas = chain(work.s(f"{op}/0", 5, _length(rng)), plus.s(f"{op}/1", 7), plus.s(f"{op}/2", 30))
    return Plan("chain", [canvas], [Expected(42, key=f"{op}/2")])


def _once(op: str, rng: random.Random) -> Plan:
    return Plan("once", [once.s(op, 3, _length(rng))], [Expected(3, "once", op)])


def _flaky(op: str, rng: random.Random) -> Plan:
    return Plan("flaky", [flaky.s(op, 8, rng.randint(1, 3))], [Expected(8, key=op)])


def _later(op: str, rng: random.Random) -> Plan:
    return Plan("later", [work.s(op, 4)], [Expected(4, key=op)], {"countdown": rng.uniform(0.1, 2.0)})


def _revoked(op: str, rng: random.Random) -> Plan:
    expected = [Expected(6, "revoked", op)]
    return Plan("revoked", [work.s(op, 6)], expected, {"countdown": REVOKE_WITHIN}, revokes=True)


def _unique(op: str, rng: random.Random) -> Plan:
    key = f"shared-{rng.randrange(SHARED_KEYS)}"
    return Plan("unique", [unique.s(key=key, seconds=_length(rng))], [Expected(None, "shared", key)])


def _idempotent(op: str, rng: random.Random) -> Plan:
    options = {"idempotency_key": op}
    return Plan("idempotent", [work.s(op, 9, _length(rng))], [Expected(9, "value", op)], options, tries=4)


_KINDS: Final[list[Callable[[str, random.Random], Plan]]] = [
    *(_single, _batch, _group, _chord, _chain, _once, _flaky, _later, _revoked, _unique, _idempotent),
]


def random_plan(op: str, rng: random.Random) -> Plan:
    """Return an operation of any kind.

    Args:
        op: its id, of which the keys of its calls are made.
        rng: where the choice comes from.
    """
    return rng.choice(_KINDS)(op, rng)
