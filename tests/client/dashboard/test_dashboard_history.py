"""Curves of the dashboard: digests, levels, ranges, and how events become counts, waits and run times."""

import os
import random
from datetime import UTC, datetime

import pytest

from grpcflow.dashboard import recorder as recorder_module
from grpcflow.dashboard.history import LEVELS, POINTS, Digest, History
from grpcflow.dashboard.recorder import Recorder
from grpcflow.event_model import Event, EventPage

SEED = int(os.environ.get("GRPCFLOW_TEST_SEED") or random.randrange(2**32))
NOW = 1_900_000_080.0
G1, G2 = b"\x01" * 12, b"\x02" * 12


def event(kind: str, at: float, graph: bytes = G1, **more: object) -> Event:
    known = {"task": "t", "count": 1, "graph": graph, "nodes": (0,)}
    return Event(0, datetime.fromtimestamp(at, UTC), kind, kind, **{**known, **more})  # type: ignore[arg-type]


def taken(*events: Event) -> History:
    history = History()
    Recorder(history).take(EventPage(events, 1, 0))
    return history


# --- digests -----------------------------------------------------------------------------------------------


def test_a_percentile_is_right_to_a_tenth() -> None:
    print("seed", SEED)
    chance = random.Random(SEED)
    lengths = sorted(chance.lognormvariate(-2, 1.5) for _ in range(5_000))
    digest = Digest()
    for one in lengths:
        digest.add(one)
    for part in (0.5, 0.95, 0.99):
        found, right = digest.at(part), lengths[int(part * len(lengths)) - 1]
        assert found == pytest.approx(right, rel=0.11), part


def test_a_digest_holds_what_is_longest_and_shortest_in_few_classes() -> None:
    digest = Digest()
    for one in (0.0, 1e-9, 1e-6, 0.001, 3_600.0, 86_400.0 * 365):
        digest.add(one, 1_000_000)
    assert len(digest.classes) <= 5
    assert Digest().told() == [None, None, None]


# --- steps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [300, 900, 3_600, 21_600, 86_400])
def test_every_range_counts_the_same_in_few_points(length: int) -> None:
    history = History()
    for second in range(240):
        history.count(NOW - 300 + second, "finished", 10)
    series = history.series(NOW, length)
    assert len(series["times"]) <= POINTS
    assert sum(series["finished"]) * series["step"] == pytest.approx(2_400)
    assert series["times"] == sorted(series["times"])
    assert series["times"][-1] + series["step"] <= NOW, "the step that is not over is left out"


def test_the_tail_is_the_end_of_the_whole() -> None:
    history = History()
    for second in range(600):
        history.count(NOW - second, "failed", second % 7)
        history.stood(NOW - second, {"q": (second, 1.0)}, (1, 2, 3))
    whole, tail = history.series(NOW, 900), history.series(NOW, 900, 3)
    for name in ("times", "failed", "workers", "run"):
        assert tail[name] == whole[name][-3:]
    assert tail["queues"]["q"] == whole["queues"]["q"][-3:]


def test_what_is_older_than_a_level_reaches_is_forgotten() -> None:
    history = History()
    for minute in range(3 * 1_440):
        history.count(NOW + minute * 60, "finished")
    assert [len(steps) for steps in history._levels] <= [kept for _, kept in LEVELS]
    assert sum(history.series(NOW + 3 * 86_400, 86_400)["finished"]) > 0


def test_depths_of_many_queues_are_bounded_and_the_deepest_shown() -> None:
    history = History()
    history.stood(NOW - 5, {f"q{n:03}": (n, float(n)) for n in range(200)}, (2, 1, 4))
    queues = history.series(NOW, 300)["queues"]
    assert list(queues) == [f"q{n}" for n in range(199, 191, -1)]
    assert queues["q199"][-5] == [199, 199.0]
    assert queues["q199"][0] is None, "before anybody looked nothing is known"


# --- events ------------------------------------------------------------------------------------------------


def test_events_are_counted_by_what_happened() -> None:
    history = taken(
        event("task-sent", NOW - 9, count=20, nodes=()),
        event("task-succeeded", NOW - 8, count=4, nodes=(1, 2, 3, 4)),
        event("task-failed", NOW - 8),
        event("task-rejected", NOW - 8),
        event("task-retried", NOW - 8),
        event("task-revoked", NOW - 8),
        event("task-succeeded", NOW - 8, task="", count=7),
    )
    series = history.series(NOW, 300)
    sums = {name: sum(series[name]) for name in ("submitted", "finished", "failed", "retried", "revoked")}
    assert sums == {"submitted": 20, "finished": 6, "failed": 2, "retried": 1, "revoked": 1}


def test_a_wait_is_from_the_submission_to_the_hand_out_while_nothing_of_the_graph_has_ended() -> None:
    history = taken(
        event("task-sent", NOW - 9, count=3, nodes=()),
        event("task-received", NOW - 7, count=2, nodes=(0, 1)),
        event("task-succeeded", NOW - 6),
        event("task-received", NOW - 2, nodes=(2,)),  # it may have waited for another one
        event("task-received", NOW - 2, G2),  # submitted before anybody listened
    )
    [p50, _, p99] = history.digests(NOW, 300)["wait"]
    assert p50 == p99 == pytest.approx(2.0, rel=0.11)
    assert history._levels[0][int(NOW - 7)].wait.count == 2


def test_a_run_time_is_the_coordinators_or_that_between_hand_out_and_end_of_one_of_many() -> None:
    history = taken(
        event("task-received", NOW - 9, count=500, nodes=tuple(range(500))),
        event("task-succeeded", NOW - 8, runtime=0.25),
        event("task-succeeded", NOW - 5, count=100, nodes=tuple(range(100, 200))),
        event("task-succeeded", NOW - 5, G2, count=2, nodes=(0, 1)),  # nobody saw its hand-out
    )
    steps = history._levels[0]
    assert steps[int(NOW - 8)].run.at(0.5) == pytest.approx(0.25, rel=0.11)
    assert steps[int(NOW - 5)].run.at(0.5) == pytest.approx(4.0, rel=0.11)
    assert steps[int(NOW - 5)].run.count == 100


def test_what_is_remembered_of_graphs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_GRAPHS", 100)
    recorder = Recorder(History())
    for number in range(300):
        graph = number.to_bytes(12, "big")
        events = (event("task-sent", NOW, graph, nodes=()), event("task-received", NOW, graph))
        recorder.take(EventPage(events, 1, 0))
    recorder.take(EventPage(tuple(event("task-received", NOW, G1, nodes=(n,)) for n in range(200)), 1, 0))
    assert (len(recorder._sent), len(recorder._handed)) == (100, 100)
    assert len(recorder._handed[G1]) == 64
