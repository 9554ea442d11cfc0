"""What a soak makes of what it saw: growth is told from none, and the plot is one."""

from __future__ import annotations

import random
from xml.dom import minidom

import pytest

from soaking.samples import GROWTH, SLACK, Sample, draw, filled, judge, minutes_to_fill

#: Bytes of a daemon that does not grow.
SIZE = 100_000_000


def looks(count: int, growth: float, rng: random.Random) -> list[Sample]:
    """Return a look a second; the coordinator grows by so many bytes in all, beside some chance."""
    return [
        Sample(float(at), round(SIZE + growth * at / count + rng.gauss(0, 1e5)), SIZE, at % 7, 5.0 + at % 3, at)
        for at in range(count)
    ]


def test_what_stays_did_not_grow_and_what_grows_did(rng: random.Random) -> None:
    limit = max(SLACK, GROWTH * SIZE)
    coordinator = None
    for growth, grew in ((0.0, False), (limit / 2, False), (2 * limit, True)):
        coordinator, worker = judge(looks(600, growth, rng), warm=60.0)
        assert (coordinator.grew, worker.grew) == (grew, False), str(coordinator)
        assert coordinator.an_hour == pytest.approx(growth * 6, abs=3e6)
    assert "GREW" in str(coordinator)


def test_what_grows_while_it_warms_up_does_not_count(rng: random.Random) -> None:
    samples = looks(100, 1e9, rng) + [Sample(at, SIZE, SIZE, 0, 1.0, 1) for at in range(100, 400)]
    assert not any(verdict.grew for verdict in judge(samples, warm=100.0))


def test_the_feed_is_full_when_as_much_came_as_it_keeps() -> None:
    samples = [Sample(float(at), SIZE, SIZE, 0, 1.0, at, fed=10 * at) for at in range(100)]
    assert filled(samples, 500) == 50.0
    assert filled(samples, 5_000) is None
    assert minutes_to_fill(samples, 59_400) == pytest.approx(99.0)
    assert minutes_to_fill(samples[:1], 1) == float("inf")


def test_too_few_looks_are_no_verdict(rng: random.Random) -> None:
    with pytest.raises(SystemExit, match="too few looks"):
        judge(looks(100, 0.0, rng), warm=97.0)


def test_the_plot_has_a_line_for_each_figure(rng: random.Random) -> None:
    plot = minidom.parseString(draw(looks(50, 1e6, rng), warm=10.0, title="a < b"))
    lines = plot.getElementsByTagName("polyline")
    assert [len(line.getAttribute("points").split()) for line in lines] == [50] * 4
