"""What failed, schedules, tasks, settings and events in the dashboard, asked of a real coordinator in this process."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.dashboard.browser import Browser
from tests.client.dashboard.test_dashboard_pages import heard
from tests.coordinator.security.token_files import give

from grpcflow import Grpcflow, errors
from grpcflow.connection import Connection
from grpcflow.dashboard.actions import ACTIONS, BadArguments, Given
from grpcflow.dashboard.entrance import Entrance
from grpcflow.dashboard.event_tail import EventTail
from grpcflow.dashboard.failures import failures
from grpcflow.dashboard.link import Link
from grpcflow.dashboard.looks import LOOKS
from grpcflow.dashboard.server import Dashboard
from grpcflow.dashboard.settings import Settings
from grpcflow.testing import Cluster
from grpcflow_coordinator.security.token_file import Role

WAIT = 20.0
app = Grpcflow("dashboard-looks", set_as_current=False)
good = [False]


@app.task(name="bank.book", rate_limit="1000/s")
def book(amount: int) -> int:
    if amount < 0 and not good[0]:
        raise ValueError(f"no {amount}")
    return amount


@app.task(name="bank.read")
def read(key: str) -> str:
    return {"a": "b"}[key]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    good[0] = False
    with Cluster(app) as made:
        yield made


@pytest.fixture
def link(cluster: Cluster) -> Iterator[Link]:
    made = Link(Connection([cluster.address]), interval=0.05)
    yield made
    made.stop()


def do(action: str, link: Link, **given: Any) -> str:
    return ACTIONS[action].do(link, Given(given))


def seen(look: str, link: Link, **said: str) -> dict[str, Any]:
    """Returns what a page shows, which JSON can hold."""
    found = LOOKS[look](link, said)
    json.dumps(found)
    return found


# --- what failed -------------------------------------------------------------------------------------------


def fail(cluster: Cluster) -> None:
    for n in range(30):
        book.delay(-n - 1)
    read.delay("z")
    cluster.settle()


def test_failures_are_grouped_by_task_and_error(link: Link, cluster: Cluster) -> None:
    fail(cluster)
    shown = seen("failed", link)
    groups = {(group["task"], group["type"]): group for group in shown["groups"]}
    assert {key: group["count"] for key, group in groups.items()} == {
        ("bank.book", "ValueError"): 30,
        ("bank.read", "KeyError"): 1,
    }
    assert len(groups["bank.book", "ValueError"]["calls"]) == 20, "the newest of them; the rest is a number"
    assert (shown["count"], shown["more"]) == (31, False)
    assert [group["task"] for group in failures(link, {"task": "bank.r*"})["groups"]] == ["bank.read"]


def test_a_group_is_retried_or_taken_off_the_list_and_no_other(link: Link, cluster: Cluster) -> None:
    fail(cluster)
    good[0] = True
    told = do("retry-failed", link, task="bank.book", type="ValueError")
    assert told == "Run again: 30 tasks of 30 graphs."
    cluster.settle()
    assert [group["task"] for group in seen("failed", link)["groups"]] == ["bank.read"]
    assert do("purge-failed", link, task="bank.read").startswith("Taken off the list: 1;")
    assert seen("failed", link)["groups"] == []


def test_a_large_group_is_retried_a_thousand_at_once_and_that_is_said(
    link: Link, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(cluster)
    monkeypatch.setattr("grpcflow.dashboard.failures.AT_ONCE", 10)
    assert do("purge-failed", link, task="bank.book").endswith("There may be more: look again.")
    assert seen("failed", link)["count"] == 21


# --- schedules ---------------------------------------------------------------------------------------------


def test_schedules_are_listed_run_and_paused(link: Link, cluster: Cluster) -> None:
    app.schedules.add("sweep", timedelta(hours=2), book.s(1))
    app.schedules.add("report", timedelta(hours=3), book.s(2))
    [sweep] = seen("schedules", link, name="swee")["schedules"]
    assert (sweep["name"], sweep["calls"], sweep["when"], len(sweep["next"])) == (
        "sweep",
        "bank.book(1)",
        "every 2 h",
        5,
    )
    assert "runs now" in do("run-schedule", link, name="sweep")
    assert do("pause-schedule", link, name="sweep", paused=True) == "Schedule sweep is paused."
    [sweep] = seen("schedules", link, name="sweep")["schedules"]
    assert (sweep["paused"], sweep["fired"], sweep["history"][0]["outcome"]) == (True, 1, "fired")
    assert do("pause-schedule", link, name="sweep", paused=False) == "Schedule sweep is resumed."
    assert len(seen("schedules", link)["schedules"]) == 2
    with pytest.raises(errors.NotFound):
        do("run-schedule", link, name="nothing")


# --- tasks and settings ------------------------------------------------------------------------------------


async def test_tasks_tell_who_knows_them_and_how_they_did(link: Link, cluster: Cluster) -> None:
    await asyncio.to_thread(fail, cluster)
    await heard(link, lambda: link.tasks().get("bank.book", {}).get("failed") == 30)
    tasks = {task["name"]: task for task in (await asyncio.to_thread(seen, "tasks", link))["tasks"]}
    booked = tasks["bank.book"]
    assert (booked["workers"], booked["lately"]["finished"], booked["lately"]["failed"]) == (
        [cluster.workers[0].name],
        30,
        30,
    )
    assert booked["lately"]["run"][0] >= 0
    assert "rate_limit" in booked["options"]


def test_limits_are_shown_set_and_cleared(link: Link, cluster: Cluster) -> None:
    cluster.settle()
    assert "5/s" in do("set-limit", link, scope="task", name="bank.read", rate="5/s")
    assert "2 at once" in do("set-limit", link, scope="queue", name="slow", concurrency=2)
    limits = {(one["scope"], one["name"]): one for one in seen("settings", link)["limits"]}
    assert seen("limits", link)["limits"] == seen("settings", link)["limits"]
    assert limits["task", "bank.book"]["is_set"] is False
    assert (limits["queue", "slow"]["limit"], limits["queue", "slow"]["is_set"]) == ("2 at once", True)
    assert do("clear-limit", link, scope="queue", name="slow") == "slow: no limit, as its code says."
    wrong: list[dict[str, Any]] = [
        {"scope": "all", "name": "x", "rate": "5/s"}, {"scope": "task", "name": "x", "rate": "often"},
        {"scope": "task", "name": "x"}, {"scope": "task", "rate": "5/s"},
        {"scope": "task", "name": "x", "concurrency": -1}, {"scope": "task", "name": "x", "concurrency": "2"},
    ]  # fmt: skip
    for given in wrong:
        with pytest.raises(BadArguments):
            do("set-limit", link, **given)


def test_retention_is_shown_in_words(link: Link, cluster: Cluster) -> None:
    app.control.retention("bank.book", results=timedelta(hours=2))
    [kept] = seen("settings", link)["retention"]
    assert (kept["name"], kept["results"], kept["failures"]) == ("bank.book", "2 h", "as usual")


def test_retention_is_set_part_by_part_and_cleared(link: Link, cluster: Cluster) -> None:
    named = {"scope": "queue", "name": "brief"}
    assert do("set-retention", link, what="results", kept="2h, newest 5", **named).startswith("Results of brief")
    do("set-retention", link, what="failures", kept="newest 1000", **named)
    do("set-retention", link, what="arguments", kept="90s", **named)
    shown = {one["name"]: one for one in seen("settings", link)["retention"]}["brief"]
    assert (shown["results"], shown["failures"]) == ("2 h, the newest 5", "the newest 1,000")
    assert shown["arguments"] == "1 min 30 s"
    for what, kept in (("values", "2h"), ("results", "often"), ("results", "newest few"), ("results", "2h, ,")):
        with pytest.raises(BadArguments):
            do("set-retention", link, what=what, kept=kept, **named)
    do("clear-retention", link, **named)
    assert "brief" not in {one["name"] for one in seen("settings", link)["retention"]}


# --- events ------------------------------------------------------------------------------------------------


def test_events_are_read_along_with_a_filter_each_once(link: Link, cluster: Cluster) -> None:
    every, failed = EventTail(link, {}), EventTail(link, {"kind": "task-failed", "task": "read"})
    every.look()
    read.delay("z")
    cluster.settle()
    told = [event["kind"] for event in every.look()["events"]]
    assert told == ["task-sent", "task-received", "task-failed"]
    assert every.look()["events"] == []
    [event] = failed.look()["events"]
    assert (event["task"], "KeyError" in event["detail"]) == ("bank.read", True)


def test_events_that_come_too_fast_are_counted_and_the_newest_shown(link: Link, cluster: Cluster) -> None:
    tail = EventTail(link, {})
    tail.look()
    for n in range(150):
        book.delay(n)
    cluster.settle()
    shown = tail.look()
    assert len(shown["events"]) == 200
    assert shown["skipped"] > 0
    assert shown["events"][-1]["kind"] == "task-succeeded"


def test_while_the_coordinator_is_away_events_say_so() -> None:
    class Away:
        def read_events(self, _wanted: Any) -> Any:
            raise errors.CoordinatorUnavailable("it is away")
            yield

    class Gone:
        connection = Away()

    assert EventTail(Gone(), {}).look()["fault"] == "it is away"  # type: ignore[arg-type]


# --- roles, as a real coordinator sees them ----------------------------------------------------------------

#: What of arguments any action takes.
GIVEN = {
    "queue": "q",
    "worker": "w",
    "n": 1,
    "id": "x",
    "task": "t",
    "type": "E",
    "name": "s",
    "scope": "task",
    "rate": "1/s",
}


async def test_a_coordinator_refuses_every_action_of_a_token_that_may_only_look(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    token = give(file, [Role.INSPECT], name="looks")
    with Cluster(Grpcflow("roles", set_as_current=False), concurrency=0, coordinator={"tokens": str(file)}) as cluster:
        entrance = Entrance(Settings("127.0.0.1", 8551, (cluster.address,)))
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(entrance.close)
            browser = Browser(Dashboard(entrance).app)
            assert (await browser.log_in(token)).status == 200
            assert (await browser.enter())["may"] == ["inspect"]
            # As if the dashboard itself had let it pass.
            [session] = entrance.sessions._kept.values()
            session.may = frozenset({"inspect", "control", "submit"})
            for action in ACTIONS:
                answer = await browser.act(action, GIVEN)
                if action in ("retry-failed", "purge-failed"):
                    continue  # of an empty list: there was nothing to refuse
                assert (answer.status, answer.json()["code"]) == (403, "ROLE_FORBIDDEN"), action
