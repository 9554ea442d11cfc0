"""The tests of the nightly work. Time is in the test's hand, so a night takes as long as its tasks do."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from nightly import tills
from nightly.schedule import HALF_PAST_TWO
from nightly.tasks import night, read_till, write_report

DAY = date(2026, 11, 20)
PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture(scope="session")
def grpcflow_worker_parameters():
    return {"timeout": 60}  # seconds of this machine that a night may take, however busy it is


@pytest.fixture(autouse=True)
def shops(tmp_path, monkeypatch):
    monkeypatch.setenv(tills.FOLDER, str(tmp_path))
    monkeypatch.setenv(tills.DAY, DAY.isoformat())
    tills.write_tills(DAY)


def test_a_night_reads_every_till_and_writes_one_report(grpcflow_cluster, tmp_path):
    report = night().delay().get(timeout=60)
    assert "Report of Friday, 20 November 2026" in report
    assert all(shop in report for shop in tills.SHOPS)
    assert (tmp_path / "report 2026-11-20.txt").read_text() == report + "\n"


def test_the_schedule_runs_it_once_each_night_at_half_past_two(grpcflow_app, grpcflow_cluster):
    grpcflow_app.schedules.sync()
    kept = grpcflow_app.schedules.get("nightly", count=2)
    assert kept.schedule == HALF_PAST_TWO
    first, second = kept.next
    assert {moment.astimezone(PARIS).strftime("%H:%M") for moment in (first, second)} == {"02:30"}
    grpcflow_cluster.time.advance(second - grpcflow_cluster.time.now() - timedelta(minutes=1))
    assert len(grpcflow_cluster.calls(write_report)) == 1
    grpcflow_cluster.time.advance(120)
    assert len(grpcflow_cluster.calls(write_report)) == 2


def test_a_till_that_comes_late_is_waited_for(grpcflow_cluster):
    late = tills.till("London", DAY)
    text = late.read_text()
    late.unlink()
    result = night().delay()
    grpcflow_cluster.settle()
    grpcflow_cluster.time.advance(900)
    assert grpcflow_cluster.calls(write_report) == []
    late.write_text(text)
    grpcflow_cluster.time.advance(600)
    assert "London" in result.get(timeout=60)
    assert max(call.retries for call in grpcflow_cluster.calls(read_till)) == 2


def test_a_till_that_never_comes_fails_the_night(grpcflow_cluster):
    tills.till("Paris", DAY).unlink()
    result = night().delay()
    grpcflow_cluster.settle()
    grpcflow_cluster.time.advance(2 * 3600)
    with pytest.raises(Exception, match="Paris"):
        result.get(timeout=60)


def test_without_a_day_it_is_yesterday(monkeypatch):
    monkeypatch.delenv(tills.DAY)
    before, day, after = datetime.now(PARIS), tills.reported_day(), datetime.now(PARIS)
    assert day in {(before - timedelta(days=1)).date(), (after - timedelta(days=1)).date()}
