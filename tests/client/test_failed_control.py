"""What failed for good, from Python: ``app.failed``; and unfinished graphs by age."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from grpcflow import Grpcflow, chord, errors, group
from grpcflow.failed_model import FailedCall
from grpcflow.testing import Cluster

app = Grpcflow("dead letters")
GOOD = False


@app.task(name="letters.add")
def add(number: int) -> int:
    if number < 0 and not GOOD:
        raise ValueError(f"{number} is below 0")
    return number


@app.task(name="letters.look")
def look(name: str) -> str:
    raise KeyError(name)


@app.task(name="letters.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(f"{__name__}.GOOD", False)
    with Cluster(app, queues=["default", "other"]) as made:
        yield made


def ended(*results: object) -> None:
    """Waits for the ends of calls, however they end."""
    for result in results:
        result.get(timeout=40, propagate=False)  # type: ignore[attr-defined]


def test_what_failed_itself_is_listed_and_what_failed_because_of_it_is_not(cluster: Cluster) -> None:
    result = chord([add.s(1), add.s(-2), add.s(3)], total.s()).delay()
    ended(result)
    [found] = app.failed.list()
    assert found == FailedCall(
        id=found.id,
        graph=result.graph().summary.graph,
        task="letters.add",
        queue="default",
        failed_at=found.failed_at,
        type="ValueError",
        message="-2 is below 0",
        reason="",
        retries=0,
        worker=cluster.workers[0].name,
    )
    assert timedelta(0) <= datetime.now(UTC) - found.failed_at < timedelta(minutes=1)
    assert (found.error, found.lost) == ("ValueError: -2 is below 0", False)
    assert found.to_dict()["failed_at"] == found.failed_at.isoformat()


def test_the_list_is_filtered_and_is_cut(cluster: Cluster) -> None:
    ended(add.delay(-1), look.delay("x"), add.apply_async((-3,), queue="other"))
    failed = app.failed
    assert [one.task for one in failed.list()] == ["letters.add", "letters.look", "letters.add"]
    assert [one.message for one in failed.list(task="letters.a*")] == ["-3 is below 0", "-1 is below 0"]
    assert [one.message for one in failed.list(queue="other")] == ["-3 is below 0"]
    assert [one.task for one in failed.list(type="Key*")] == ["letters.look"]
    assert [one.message for one in failed.list(limit=1)] == ["-3 is below 0"]
    assert list(failed.list(lost=True)) == []
    assert len(list(failed.list(since=datetime.now(UTC) - timedelta(hours=1)))) == 3
    assert list(failed.list(since=datetime.now(UTC) + timedelta(hours=1))) == []


def test_a_list_of_more_than_a_page_is_whole(cluster: Cluster) -> None:
    ended(group(add.s(-1 - number) for number in range(600)).delay())
    assert len({one.id for one in app.failed.list()}) == 600
    assert len(list(app.failed.list(limit=501))) == 501
    assert app.failed.purge(task="*") == 600
    assert list(app.failed.list()) == []


def test_a_retry_runs_each_graph_once_and_empties_the_list(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    result = chord([add.s(1), add.s(-2), add.s(-3)], total.s()).delay()
    own = add.apply_async((-4,), task_id="my own id")
    ended(result, own)
    monkeypatch.setattr(f"{__name__}.GOOD", True)
    app.control.pause_queue("default")  # so that no graph ends before it could be asked for twice
    done = app.failed.retry([*(one.id for one in app.failed.list())])
    app.control.resume_queue("default")
    # Both members, the join that collects them, and what is behind it; and the call on its own.
    assert (done.retried, done.graphs, done.refused) == (5, 2, ())
    assert str(done) == "Runs again: 5 tasks of 2 graphs."
    assert app.AsyncResult(result.id).get(timeout=40) == -4
    assert app.AsyncResult("my own id").get(timeout=40) == -4
    assert list(app.failed.list()) == []


def test_entries_of_the_list_and_results_may_be_retried_and_purged(cluster: Cluster) -> None:
    first, second = add.delay(-1), add.delay(-2)
    ended(first, second)
    assert app.failed.retry(next(app.failed.list())).retried == 1
    ended(app.AsyncResult(second.id))
    assert app.failed.purge(first) == 1
    assert app.failed.purge(app.failed.list()) == 1
    assert app.failed.purge([first, second.id]) == 0
    assert first.state == "FAILURE"


def test_what_cannot_be_retried_is_told_and_the_rest_is_retried(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = chord([add.s(-1), add.s(1).set(queue="nobody")], total.s()).delay()
    fine, gone = add.delay(-5), add.delay(-6)
    cluster.app.control.retention("letters.look", arguments=0)
    stripped = look.delay("x")
    ended(fine, gone, stripped)
    cluster.time.advance(5)
    monkeypatch.setattr(f"{__name__}.GOOD", True)
    done = app.failed.retry(["nobody", waits.id, stripped.id, fine.id])
    assert [(one.id, one.error.code) for one in done.refused] == [
        ("nobody", "UNKNOWN_GRAPH"),
        (waits.id, "STILL_RUNNING"),
        (stripped.id, "ARGUMENTS_GONE"),
    ]
    assert (done.retried, done.graphs) == (1, 1)


def test_tasks_that_no_worker_knows_are_named(cluster: Cluster) -> None:
    lost = app.send_task("letters.gone", expires=0.001, queue="nobody")
    ended(add.delay(-1))
    app.control.revoke(lost)
    done = app.failed.retry([lost.id])
    assert done.unknown_tasks == ("letters.gone",)
    assert "No connected worker knows letters.gone" in str(done)


def test_nothing_named_and_too_much_named_are_refused(cluster: Cluster) -> None:
    for refused in (app.failed.retry, app.failed.purge):
        with pytest.raises(ValueError, match=r"everything that failed is task='\*'"):
            refused()
        with pytest.raises(ValueError, match="give one of them"):
            refused("x", task="*")
    with pytest.raises(ValueError, match="has no time zone"):
        app.failed.list(since=datetime(2030, 1, 1))
    with pytest.raises(TypeError, match="no filter 'name'"):
        app.failed.purge(name="x")  # type: ignore[call-arg]
    with pytest.raises(errors.InvalidRequest):
        app.failed.purge("x" * 256)
    with pytest.raises(errors.InvalidRequest):
        list(app.failed.list(task="x" * 256))


def test_the_same_of_the_list_from_coroutines(cluster: Cluster) -> None:
    async def main() -> None:
        result = await add.adelay(-1)
        other = await look.adelay("x")
        for one in (result, other):
            with pytest.raises((ValueError, KeyError)):
                await one.aget(timeout=40)
        assert [one.task async for one in app.failed.alist(limit=5)] == ["letters.look", "letters.add"]
        assert (await app.failed.aretry(task="letters.add")).retried == 1
        with pytest.raises(ValueError, match="below 0"):
            await app.AsyncResult(result.id).aget(timeout=40)
        assert (await app.failed.aretry(["nobody"])).refused[0].error.code == "UNKNOWN_GRAPH"
        assert await app.failed.apurge(task="letters.a*") == 1
        assert await app.failed.apurge([other]) == 1

    asyncio.run(main())


def test_unfinished_graphs_are_listed_by_age(cluster: Cluster) -> None:
    waiting = [add.apply_async((1,), queue="nobody") for _ in range(3)]
    ended(add.delay(1))
    found = list(app.graphs(unfinished=True, oldest_first=True))
    assert [one.id for one in found] == [one.id for one in waiting]
    assert [one.id for one in app.graphs(unfinished=True)] == [one.id for one in waiting[::-1]]
    assert next(app.graphs(oldest_first=True, limit=1)).id == waiting[0].id


def test_a_view_tells_of_the_node_that_it_was_made_of(cluster: Cluster) -> None:
    result = chord([add.s(1), add.s(-2), add.s(3)], total.s()).delay()
    own = add.apply_async((-4,), task_id="my own id")
    ended(result, own)
    [failed] = (one for one in app.failed.list() if one.id != "my own id")
    assert app.graph(failed.id).node().error == "ValueError: -2 is below 0"
    assert app.graph(result.id).node().id == result.id
    assert app.graph(failed.graph).node().id == result.id
    assert app.graph("my own id").node().id == "my own id"
    last = app.graph(f"{failed.id[:-1]}2").node()
    assert (last.index, last.state) == (2, "SUCCESS")
    with pytest.raises(errors.NotFound):
        app.graph(f"{failed.id[:-1]}f").node()
