"""The simulator finds what it is meant to find: the product is broken on purpose, and within some worlds that shows.

Each bug has a profile in which it is met soon; without a bug those worlds pass, which a test of its own shows.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from tests.simulation.planning import EVERYTHING, Profile
from tests.simulation.trying import first_failure

from grpcflow_coordinator.core import (
    attaching,
    attempts,
    handing,
    keeping,
    limits,
    recovery,
    sessions,
    settling,
    sweeping,
    timers,
)
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.events import WorkerSpoke
from grpcflow_coordinator.core.lines import Lines
from grpcflow_coordinator.core.model import Progress
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.storage import keys
from grpcflow_coordinator.storage.overlay import Overlay
from grpcflow_coordinator.storage.records import Records
from grpcflow_worker.task_logs import TaskLogs

Patch = pytest.MonkeyPatch

CRASHES: Final = {"crash": 3, "crash after commit": 3, "crash before commit": 2}
#: Crowded worlds in which the coordinator dies; workers live.
CRASHING: Final = replace(EVERYTHING, orders={}, faults=CRASHES, most_jobs=8, most_faults=5, seconds=3.0)
#: The same with workers that die and streams that break.
DEADLY: Final = replace(
    CRASHING, faults={**CRASHES, "kill worker": 6, "break worker": 4, "kill child": 3, "stop worker": 3}
)
#: Nothing goes wrong.
FAIR: Final = replace(EVERYTHING, orders={}, faults={}, most_jobs=8, seconds=1.0)


def only(profile: Profile, *kinds: str) -> Profile:
    """Return a profile in which nothing but some kinds is submitted."""
    return replace(profile, jobs=dict.fromkeys(kinds, 1))


#: Little happens, nothing goes wrong, and nothing is kept.
FORGETFUL: Final = replace(FAIR, orders={"revoke": 1, "cancel": 2}, most_jobs=1, forgetful=1.0, again=1.0)
#: What waits to be tried again is cancelled, deleted, and submitted once more.
RETURNING: Final = replace(only(FORGETFUL, "retrying"), orders={"cancel": 1}, most_jobs=3, most_orders=8, seconds=2.0)
#: Workers with much to do leave while the coordinator dies.
LEAVING: Final = replace(
    only(CRASHING, "plain", "limited"), faults={**CRASHES, "drain worker": 8}, most_jobs=16, most_faults=10
)
#: Streams break again and again.
REDIALLING: Final = replace(
    only(FAIR, "plain"),
    faults={"break worker": 6, "crash before commit": 3, "crash": 2},
    most_faults=24,
    most_jobs=24,
)


def nothing(*_: Any, **__: Any) -> None:
    """What the broken parts do."""


def drop_no_index_entry(patch: Patch) -> None:
    """The entry of a queue's index stays when its last node has settled."""
    patch.setattr(Records, "drop_entry", nothing)


def send_before_the_commit(patch: Patch) -> None:
    """What a batch has to tell is told, then it is committed."""
    whole = Engine._commit

    def hasty(self: Engine, gathered: list[Any]) -> None:
        self._release(gathered)
        whole(self, [])

    patch.setattr(Engine, "_commit", hasty)


def check_no_attempt(patch: Patch) -> None:
    """A worker that comes back after a restart has what it names, whoever runs it meanwhile."""
    patch.setattr(recovery, "may_run", lambda step, graph, index: True)


def miss_the_batch_in_flight(patch: Patch) -> None:
    """A scan sees what is committed only."""
    patch.setattr(Overlay, "_changed", lambda self, start, end: {})


def end_no_grace(patch: Patch) -> None:
    """Who lost a worker waits for it for ever."""
    whole = sessions.break_stream

    def patient(step: Step, session: Session) -> None:
        whole(step, session)
        session.deadline = math.inf

    patch.setattr(sessions, "break_stream", patient)


def lose_a_waiting_count(patch: Patch) -> None:
    """How many parents a node waits for is in memory only."""
    patch.setattr(Records, "put_waiting", nothing)


def move_no_hand_out_mark(patch: Patch) -> None:
    """What was handed out looks after a restart as if it had not been."""
    patch.setattr(Records, "put_mark", nothing)


def write_an_early_acknowledgement_too_late(patch: Patch) -> None:
    """A task that must not run twice is sent, and then written as handed out."""
    whole = handing.make_attempts

    def late(step: Step, *given: Any) -> Any:
        kept = step.loaded.put_progress
        try:
            vars(step.loaded)["put_progress"] = nothing
            return whole(step, *given)
        finally:
            vars(step.loaded)["put_progress"] = kept

    patch.setattr(handing, "make_attempts", late)


def fire_a_tick_twice(patch: Patch) -> None:
    """That a tick has come is in memory only, and what it submits has an id by chance."""
    from grpcflow_coordinator.core import schedules

    whole = schedules._fire

    def twice(step: Step, schedule: Any, tick: int, named: int) -> bytes:
        return whole(step, schedule, tick, named + step.cluster.epoch)

    put = Records.put_schedule

    def forgetful(self: Records, schedule: Any) -> None:
        if not schedule.fired:
            put(self, schedule)

    patch.setattr(schedules, "_fire", twice)
    patch.setattr(Records, "put_schedule", forgetful)


def write_no_rate(patch: Patch) -> None:
    """How far a rate is used up is forgotten by a restart."""
    patch.setattr(Records, "put_rate", nothing)


def run_an_errback_twice(patch: Patch) -> None:
    """An errback leaves no mark that it was released."""
    whole = settling._forget_waiting
    patch.setattr(
        settling, "_forget_waiting", lambda step, graph, index, *, released: whole(step, graph, index, released=False)
    )


def prune_what_is_read(patch: Patch) -> None:
    """A graph is deleted while the graph reads from it that it runs in the place of."""
    patch.setattr(timers, "_is_needed", lambda step, graph: False)


def wake_nobody(patch: Patch) -> None:
    """Who waits for a concurrency key is not looked at when it is free."""
    patch.setattr(limits, "wake", lambda step: step.cluster.lines.loose.clear())


def trust_the_start(patch: Patch) -> None:
    """After a restart what is limited is handed out before it is known what runs."""
    whole = limits.begin

    def hasty(step: Step) -> None:
        whole(step)
        step.cluster.gates.uncertain = False

    patch.setattr(limits, "begin", hasty)


def run_again_what_must_not(patch: Patch) -> None:
    """What may run once is handed out again when its worker and the coordinator went down."""
    patch.setattr(recovery, "_was_told", lambda step, recovering, session: True)


def lose_what_came_back(patch: Patch) -> None:
    """A node that is handed back is in no line any more."""
    patch.setattr(attempts, "_give_back", lambda step, attempt, **_: attempts.close(step, attempt))


def count_no_loss(patch: Patch) -> None:
    """A task that kills its process is handed out for ever."""
    whole = attempts.lose

    def forgetful(step: Step, attempt: Any, why: str, *, reported: bool = False) -> None:
        progress = step.loaded.progress(attempt.graph, attempt.index) or Progress()
        progress.losses = 0
        step.loaded.put_progress(attempt.graph, attempt.index, progress)
        whole(step, attempt, why, reported=reported)

    patch.setattr(attempts, "lose", forgetful)


def tell_no_parent(patch: Patch) -> None:
    """A node that waits for a graph which runs in its place is not told of its end."""
    patch.setattr(attaching, "hand_up", lambda step: step.handed_up.clear())


def pass_a_shut_gate(patch: Patch) -> None:
    """A limit lets one more through than it may."""
    whole = limits.Gates._room
    patch.setattr(limits.Gates, "_room", lambda self, gate, now_ms: whole(self, gate, now_ms) + 1)


def forget_what_is_gone(patch: Patch) -> None:
    """A node that was revoked while it was queued is handed out all the same."""
    patch.setattr(Lines, "_is_gone", lambda self, entry, offset: False)


def delete_what_a_queue_names(patch: Patch) -> None:
    """A graph is deleted while an entry of a queue that nobody serves names it."""
    patch.setattr(sweeping, "_SHARE", 0)
    patch.setattr(sweeping, "is_clean", lambda step, graph: True)


def keep_the_marks_of_what_is_deleted(patch: Patch) -> None:
    """What was revoked while it waited to be tried again is passed over when its graph is submitted once more."""
    patch.setattr(sweeping, "forget", nothing)


def forget_who_leaves(patch: Patch) -> None:
    """After a restart a newcomer ends whoever had its name, also a worker that was told to leave and has work."""
    patch.setattr(recovery, "may_return", lambda step, session: False)


def keep_an_outcome(patch: Patch) -> None:
    """Of a graph that is deleted the outcomes stay, and mean the one that is submitted again."""
    kinds = tuple(kind for kind in keys.OF_A_GRAPH if kind != keys.OUTCOME)
    patch.setattr(keys, "OF_A_GRAPH", kinds)


def lose_what_was_logged(patch: Patch) -> None:
    """What was logged and not acknowledged when a stream broke is not sent again."""
    patch.setattr(TaskLogs, "rewind", lambda self: self._flying.clear())


def keep_logs_too_late(patch: Patch) -> None:
    """What an attempt logged is taken behind its end, and so no more."""
    whole = sessions._take_reports

    def late(step: Step, session: Session, event: WorkerSpoke, superseded: list[int]) -> bool:
        taken = whole(step, session, event, superseded)
        take_logs(step, session, event.logs)
        return taken

    take_logs = keeping.take_logs
    patch.setattr(keeping, "take_logs", nothing)
    patch.setattr(sessions, "_take_reports", late)


#: Each bug, where it is met, and within how many worlds: where it shows in one of n, in four times n at least,
#: so that other chances than today's find it, too.
BUGS: Final[list[tuple[Callable[[Patch], None], Profile, int]]] = [
    (drop_no_index_entry, FAIR, 1),
    (send_before_the_commit, FAIR, 1),
    (check_no_attempt, DEADLY, 60),
    (miss_the_batch_in_flight, only(FAIR, "staged"), 5),
    (end_no_grace, DEADLY, 20),
    (lose_a_waiting_count, only(CRASHING, "staged"), 20),
    (move_no_hand_out_mark, only(CRASHING, "plain", "once"), 20),
    (write_an_early_acknowledgement_too_late, only(FAIR, "once"), 1),
    (fire_a_tick_twice, replace(only(CRASHING, "plain"), orders={"schedule": 1}, most_orders=8, seconds=9.0), 40),
    (write_no_rate, only(CRASHING, "paced"), 40),
    (run_an_errback_twice, only(FAIR, "canvas"), 20),
    (prune_what_is_read, only(FAIR, "canvas"), 20),
    (wake_nobody, only(FAIR, "keyed"), 5),
    (trust_the_start, replace(only(CRASHING, "limited"), most_faults=10), 60),
    (run_again_what_must_not, replace(only(DEADLY, "once"), most_jobs=16, most_faults=12, seconds=2.0), 60),
    (lose_what_came_back, DEADLY, 20),
    (count_no_loss, only(FAIR, "dying"), 5),
    (tell_no_parent, only(FAIR, "canvas"), 20),
    (pass_a_shut_gate, only(FAIR, "limited"), 5),
    (forget_what_is_gone, replace(only(FAIR, "plain"), orders={"revoke": 1}, most_orders=8), 40),
    (delete_what_a_queue_names, replace(only(FORGETFUL, "plain"), most_jobs=3), 40),
    (keep_the_marks_of_what_is_deleted, RETURNING, 40),
    (forget_who_leaves, LEAVING, 40),
    (keep_an_outcome, only(FAIR, "plain"), 5),
    (lose_what_was_logged, REDIALLING, 60),
    (keep_logs_too_late, only(FAIR, "plain"), 5),
]


@pytest.mark.parametrize(("plant", "profile", "worlds"), BUGS, ids=[bug[0].__name__ for bug in BUGS])
def test_a_planted_bug_is_found(
    plant: Callable[[Patch], None], profile: Profile, worlds: int, monkeypatch: Patch
) -> None:
    plant(monkeypatch)
    _, found = first_failure(0, worlds, profile)
    assert found is not None, f"none of {worlds} worlds has found that {plant.__doc__}"


@pytest.mark.slow
@pytest.mark.parametrize("profile", [FAIR, CRASHING, DEADLY], ids=["fair", "crashing", "deadly"])
def test_without_a_bug_the_same_worlds_pass(profile: Profile) -> None:
    _, found = first_failure(0, 20, profile)
    assert found is None, found
