"""Limits and retention from Python: ``app.control.limit``, ``rate_limit``, ``retention`` and their lists."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from grpcflow import Grpcflow, errors
from grpcflow.limit_model import Keep, Limit, LimitInfo, Retention
from grpcflow.limits import Rate
from grpcflow.testing import Cluster

app = Grpcflow("limits and retention")


@app.task(name="bounds.mail", rate_limit="10/m", concurrency_limit=3)
def mail(number: int) -> int:
    return number


@app.task(name="bounds.plain")
def plain(number: int) -> int:
    return number


OF_CODE = Limit(Rate(10, 60_000), 3)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(app, queues=["default"]) as made:
        yield made


def test_limits_of_the_code_are_listed(cluster: Cluster) -> None:
    [found] = app.control.limits()
    assert found == LimitInfo("task", "bounds.mail", OF_CODE, False, 0, 0, timedelta(0))
    assert str(found.limit) == "10/m, 3 at once"


def test_what_is_not_named_of_a_limit_stays_as_it_is(cluster: Cluster) -> None:
    control = app.control
    assert str(control.limit("bounds.mail", rate="100/s")) == "100/s, 3 at once"
    assert str(control.limit("bounds.mail", concurrency=5)) == "100/s, 5 at once"
    assert str(control.limit("bounds.mail", rate=0)) == "5 at once"
    [found] = control.limits()
    assert (found.limit, found.is_set) == (Limit(None, 5), True)
    assert control.clear_limit("bounds.mail") == OF_CODE
    assert not control.limits()[0].is_set


def test_a_limit_is_heeded_and_says_what_it_holds_back(cluster: Cluster) -> None:
    app.control.limit(queue="default", rate="1/h")
    first, second = plain.delay(1), plain.delay(2)
    assert first.get(timeout=40) == 1
    [_, found] = app.control.limits()
    assert (found.scope, found.name, found.waiting_lines) == ("queue", "default", 1)
    assert timedelta(minutes=58) < found.next_in <= timedelta(hours=1)
    assert not second.ready()
    app.control.clear_limit(queue="default")
    assert second.get(timeout=40) == 2


def test_no_limit_at_all_goes_before_the_codes_and_leaves_nothing_where_there_is_none(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.control.limit("bounds.mail", rate=0, concurrency=0) == Limit()
    [lifted] = app.control.limits()
    assert (lifted.name, lifted.limit, lifted.is_set) == ("bounds.mail", Limit(), True)
    assert app.control.clear_limit("bounds.mail") == OF_CODE
    app.control.limit("bounds.plain", rate="1/h")
    assert app.control.limit("bounds.plain", rate=0) == Limit()
    monkeypatch.setattr(plain, "rate_limit", "7/m")  # the code that is deployed later
    cluster.worker()
    assert [str(one.limit) for one in app.control.limits()] == ["10/m, 3 at once", "7/m"]


def test_rate_limit_has_celerys_name_and_shape(cluster: Cluster) -> None:
    assert app.control.rate_limit("bounds.mail", "20/m") == [{"coordinator": {"ok": "rate limit is 20/m from now on"}}]
    assert app.control.limits()[0].limit == Limit(Rate(20, 60_000), 3)
    for nothing in (None, 0, "0"):
        app.control.rate_limit("bounds.mail", "20/m")
        assert app.control.rate_limit("bounds.mail", nothing) == [{"coordinator": {"ok": "no rate limit from now on"}}]
        assert app.control.limits()[0].limit == Limit(None, 3)
    assert "coordinator" in app.control.rate_limit("not.there.yet", 5).replies


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "words"),
    [
        ("limit", (), {"rate": "1/s"}, "either a task or a queue"),
        ("limit", ("t",), {"queue": "q", "rate": "1/s"}, "either a task or a queue"),
        ("limit", ("t",), {}, "nothing is said of the limit"),
        ("limit", ("t",), {"rate": "fast"}, 'write "10/s"'),
        ("limit", ("t",), {"rate": "1/y"}, 'write "10/s"'),
        ("limit", ("t",), {"rate": 1e-9}, "cannot be kept"),
        ("limit", ("t",), {"rate": "0.00001/s"}, "cannot be kept"),
        ("limit", ("t",), {"concurrency": -1}, "concurrency is -1"),
        ("clear_limit", (), {}, "either a task or a queue"),
        ("rate_limit", ("t", "often"), {}, 'write "10/s"'),
        ("rate_limit", ("", "1/s"), {}, "no task is named"),
        ("rate_limit", ("t", "1/s", ["w1"]), {}, "leave destination out"),
        ("retention", (), {"results": 1}, "either a task or a queue"),
        ("retention", ("t",), {}, "nothing is said of what to keep"),
        ("retention", ("t",), {"results": "soon"}, "no length of time"),
        ("retention", ("t",), {"failures": -1}, "failures is -1"),
        ("retention", ("t",), {"keep_failures": -1}, "keep_failures is -1"),
        ("retention", ("t",), {"keep": 1.5}, "keep is 1.5"),
        ("clear_retention", ("t",), {"queue": "q"}, "either a task or a queue"),
    ],
)
def test_what_cannot_be_is_refused_before_anybody_is_asked(
    method: str, args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    alone = Grpcflow("nowhere", coordinator="127.0.0.1:1", set_as_current=False)
    with pytest.raises(ValueError, match=words):
        getattr(alone.control, method)(*args, **kwargs)


def test_a_name_that_is_too_long_is_refused(cluster: Cluster) -> None:
    with pytest.raises(errors.InvalidRequest):
        app.control.limit("x" * 256, rate="1/s")
    with pytest.raises(errors.InvalidRequest):
        app.control.retention(queue="x" * 256, keep=1)


def test_what_is_not_named_of_retention_stays_as_it_is(cluster: Cluster) -> None:
    control = app.control
    assert control.retentions() == ()
    first = control.retention(queue="mail", results="1h", keep=10_000)
    assert first == Retention("queue", "mail", Keep(timedelta(hours=1), 10_000))
    whole = control.retention(queue="mail", failures=timedelta(days=30), keep_failures=1_000, arguments=600)
    assert whole == Retention(
        "queue",
        "mail",
        Keep(timedelta(hours=1), 10_000),
        Keep(timedelta(days=30), 1_000),
        Keep(timedelta(minutes=10)),
    )
    control.retention("bounds.mail", keep_arguments=5)
    assert control.retentions() == (whole, Retention("task", "bounds.mail", arguments=Keep(count=5)))
    assert control.retention(queue="mail", keep=0).results == Keep(timedelta(hours=1))
    control.clear_retention(queue="mail")
    assert [one.name for one in control.retentions()] == ["bounds.mail"]


def test_retention_is_heeded(cluster: Cluster) -> None:
    app.control.retention("bounds.plain", results="1h")
    soon, late = plain.delay(1), mail.delay(2)
    assert (soon.get(timeout=40), late.get(timeout=40)) == (1, 2)
    cluster.time.advance(3_601)
    assert [app.AsyncResult(one.id).state for one in (soon, late)] == ["PENDING", "SUCCESS"]


def test_limits_and_retention_from_coroutines(cluster: Cluster) -> None:
    async def main() -> None:
        control = app.control
        assert str(await control.alimit("bounds.mail", rate="5/s")) == "5/s, 3 at once"
        assert await control.arate_limit("bounds.mail", None) == [{"coordinator": {"ok": "no rate limit from now on"}}]
        assert [one.limit for one in await control.alimits()] == [Limit(None, 3)]
        assert await control.aclear_limit("bounds.mail") == OF_CODE
        kept = await control.aretention(queue="mail", results="1h", keep_failures=3)
        assert await control.aretentions() == (kept,)
        with pytest.raises(TypeError, match="no argument 'age'"):
            await control.aretention(queue="mail", results="1h", age=3)
        await control.aclear_retention(queue="mail")
        assert await control.aretentions() == ()

    asyncio.run(main())
