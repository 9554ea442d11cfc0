"""What happens in a world, drawn from its seed before it begins: submissions, orders and faults, each with its moment.

A plan is data, so that parts of it can be left out and the rest run again; what is left to chance within a world (how
long things take) comes from generators of their own, which a smaller plan disturbs as little as can be.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from tests.simulation.workload import CANVASES, KINDS, ROBUST

#: Part of the worlds in which twice as much happens.
CROWDED: Final = 0.1

#: The invariants are checked after every so many batches; after each one where there are so few jobs.
EVERY: Final = 12
FEW: Final = 2

#: Milliseconds for which results are kept where that is a moment, and elsewhere.
SHORT_MS: Final = (200, 1_500)
LONG_MS: Final = 3_600_000

#: Workers and clients of each world.
WORKERS: Final = 2
CLIENTS: Final = 2


@dataclass(frozen=True, slots=True)
class Job:
    """A client submits a graph.

    Attributes:
        number: Which one it is; what orders name.
        at: Seconds from the beginning.
        kind: See `workload.submission`.
        seed: Its own.
        client: Who submits it.
        twice: True: the other client submits the same, too.
        again: Seconds after which the same is submitted once more, whatever is known of it then; 0: it is not.
        watched: True: its client waits for all its results.
    """

    number: int
    at: float
    kind: str
    seed: int
    client: int
    twice: bool = False
    again: float = 0.0
    watched: bool = True

    def __str__(self) -> str:
        """Return it for people."""
        how = (" twice" if self.twice else "") + (" and watches" if self.watched else "")
        how += f" and again after {self.again:.3f}" if self.again else ""
        return f"{self.at:7.3f} client {self.client} submits job {self.number}: {self.kind} {self.seed}{how}"


@dataclass(frozen=True, slots=True)
class Order:
    """A client asks for something beside submitting.

    Attributes:
        at: Seconds from the beginning.
        kind: One of `ORDERS`.
        job: Number of the job it is about.
        seed: Its own.
    """

    at: float
    kind: str
    job: int
    seed: int

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.at:7.3f} order {self.kind} of job {self.job} ({self.seed})"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something goes wrong.

    Attributes:
        at: Seconds from the beginning.
        kind: One of `FAULTS`.
        target: Which worker or client.
        amount: Seconds, or what else the kind takes.
    """

    at: float
    kind: str
    target: int
    amount: float

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.at:7.3f} fault {self.kind} (target {self.target}, amount {self.amount:.3f})"


#: Orders, and how often each is drawn.
ORDERS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "revoke": 4,
        "terminate": 3,
        "cancel": 4,
        "retry": 4,
        "pause": 2,
        "limit": 3,
        "purge": 1,
        "schedule": 5,
        "match": 1,
        "erase": 3,
        "forget": 2,
    }
)

#: Faults, and how often each is drawn.
FAULTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "crash": 4,
        "crash before commit": 5,
        "crash after commit": 6,
        "crash in recovery": 3,
        "power loss": 2,
        "disk full": 2,
        "disk slow": 2,
        "disk fails": 2,
        "clock step": 3,
        "break worker": 6,
        "break client": 4,
        "silent worker": 4,
        "silent client": 2,
        "slow network": 2,
        "stop worker": 3,
        "kill worker": 5,
        "lose worker": 2,
        "kill child": 4,
        "drain worker": 3,
        "kill client": 2,
        "report twice": 3,
        "resize worker": 2,
        "other queues": 3,
    }
)
#: Those by which an attempt may be lost and its task run twice.
LOSING: Final = frozenset({"silent worker", "stop worker", "kill worker", "lose worker", "kill child", "power loss"})
#: Those by which the coordinator dies.
FATAL: Final = frozenset(
    {"crash", "crash before commit", "crash after commit", "crash in recovery", "power loss", "disk fails"}
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What is drawn, and how much of it.

    Attributes:
        jobs, orders, faults: Kinds with their weights.
        most_jobs, most_orders, most_faults: Most of each in one world.
        seconds: Until when things are submitted and go wrong.
        forgetful: Part of the worlds in which results are kept for a moment only.
        again: Part of the jobs that are submitted once more, later.
    """

    jobs: Mapping[str, int]
    orders: Mapping[str, int] = field(default_factory=lambda: ORDERS)
    faults: Mapping[str, int] = field(default_factory=lambda: FAULTS)
    most_jobs: int = 5
    most_orders: int = 3
    most_faults: int = 6
    seconds: float = 6.0
    forgetful: float = 0.25
    again: float = 0.4

    def __post_init__(self) -> None:
        """Refuse kinds that there are none of: a world that cannot be drawn would pass for one that found a bug."""
        for kinds, known in ((self.jobs, (*KINDS, "canvas")), (self.orders, ORDERS), (self.faults, FAULTS)):
            if not set(kinds) <= set(known):
                raise ValueError(f"there are no such kinds: {sorted(set(kinds).difference(known))}")


#: Everything.
EVERYTHING: Final = Profile({**dict.fromkeys(KINDS, 2), "canvas": 14})


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a world.

    Attributes:
        seed: Of everything that the parts leave open.
        jobs, orders, faults: The parts.
        every: The invariants are checked after every so many batches of the engine.
        kept_ms: Milliseconds for which results are kept.
    """

    seed: int
    jobs: tuple[Job, ...]
    orders: tuple[Order, ...]
    faults: tuple[Fault, ...]
    every: int = EVERY
    kept_ms: int = LONG_MS

    @property
    def may_return(self) -> bool:
        """True where a graph may be submitted again once it was deleted."""
        return self.kept_ms < LONG_MS or any(order.kind in ("erase", "forget") for order in self.orders)

    @property
    def parts(self) -> tuple[Job | Order | Fault, ...]:
        """All that happens."""
        return (*self.jobs, *self.orders, *self.faults)

    @property
    def loses_attempts(self) -> bool:
        """True where a task may rightly run twice.

        A worker that leaves while its connection is broken is given up when its successor comes.
        """
        kinds = {fault.kind for fault in self.faults}
        return bool(kinds & LOSING) or {"drain worker", "break worker"} <= kinds

    @property
    def gives_up(self) -> bool:
        """True where a task that may run once only may rightly fail.

        A worker that leaves while there is no coordinator cannot tell it what never came to it.
        """
        kinds = {fault.kind for fault in self.faults}
        return self.loses_attempts or ("drain worker" in kinds and bool(kinds & FATAL))

    def __str__(self) -> str:
        """Return it for people."""
        kept = "" if self.kept_ms == LONG_MS else f", results are kept for {self.kept_ms} ms"
        return "\n".join([f"world {self.seed}{kept}", *map(str, sorted(self.parts, key=lambda part: part.at))])


def plan_of(seed: int, profile: Profile = EVERYTHING) -> Plan:
    """Draw the plan of a world."""
    rng = random.Random(seed)
    if random.Random(f"crowd {seed}").random() < CROWDED:
        profile = replace(profile, most_jobs=profile.most_jobs * 2, most_orders=profile.most_orders * 2)
        profile = replace(profile, most_faults=profile.most_faults * 2)
    calm = rng.random() < 0.25
    faults = _faults(rng, profile, calm=calm)
    loses = Plan(seed, (), (), faults).loses_attempts
    jobs = _jobs(rng, profile, loses=loses)
    orders = _orders(rng, profile, jobs)
    kept_ms = rng.choice(SHORT_MS) if rng.random() < profile.forgetful else LONG_MS
    return Plan(seed, jobs, orders, faults, EVERY if len(jobs) > FEW else 1, kept_ms)


def _faults(rng: random.Random, profile: Profile, *, calm: bool) -> tuple[Fault, ...]:
    kinds, weights = list(profile.faults), list(profile.faults.values())
    if calm:
        weights = [0 if kind in LOSING else weight for kind, weight in zip(kinds, weights, strict=True)]
    if not sum(weights):
        return ()
    count = rng.randint(0, profile.most_faults)
    return tuple(
        Fault(rng.uniform(0.02, profile.seconds), kind, rng.randrange(2), rng.random())
        for kind in rng.choices(kinds, weights, k=count)
    )


def _jobs(rng: random.Random, profile: Profile, *, loses: bool) -> tuple[Job, ...]:
    kinds, weights = list(profile.jobs), list(profile.jobs.values())
    found = []
    for number, kind in enumerate(rng.choices(kinds, weights, k=rng.randint(1, profile.most_jobs))):
        seed = rng.randrange(ROBUST if loses else CANVASES)
        client, twice, watched = rng.randrange(CLIENTS), rng.random() < 0.12, rng.random() < 0.6
        at, again = (
            rng.uniform(0.0, profile.seconds * 0.7),
            rng.uniform(0.5, 8.0) if rng.random() < profile.again else 0.0,
        )
        found.append(Job(number, at, kind, seed, client, twice, again, watched))
    return tuple(found)


def _orders(rng: random.Random, profile: Profile, jobs: tuple[Job, ...]) -> tuple[Order, ...]:
    kinds, weights = list(profile.orders), list(profile.orders.values())
    if not kinds:
        return ()
    count = rng.randint(0, profile.most_orders) if rng.random() < 0.6 else 0
    return tuple(
        Order(rng.uniform(0.1, profile.seconds), kind, rng.choice(jobs).number, rng.randrange(1_000))
        for kind in rng.choices(kinds, weights, k=count)
    )
