"""Queues from Python and from the shell: purged, paused, resumed; calls revoked by what they call."""

import asyncio
import io
import json
from collections.abc import Iterator

import pytest

from grpcflow import Grpcflow, errors
from grpcflow.cli import main
from grpcflow.testing import Cluster

app = Grpcflow("queues")


@app.task(name="queues.mail")
def mail(number: int) -> int:
    return number


@app.task(name="queues.other")
def other(number: int) -> int:
    return number


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(app, queues=["default"]) as made:
        yield made


def test_a_purge_revokes_what_stands_in_the_queues_that_are_named(cluster: Cluster) -> None:
    mails = [mail.apply_async((number,), queue=queue) for queue in ("mail", "bulk") for number in range(3)]
    assert app.control.purge("mail") == 3
    assert [each.state for each in mails] == ["REVOKED"] * 3 + ["PENDING"] * 3
    assert app.control.purge() == 3
    assert app.control.purge(["mail", "bulk"]) == 0
    assert mail.delay(1).get(timeout=40) == 1


def test_a_paused_queue_keeps_its_calls_until_it_is_resumed(cluster: Cluster) -> None:
    app.control.pause_queue("default")
    held = mail.delay(5)
    assert held.explain().code == "PAUSED"
    app.control.resume_queue("default")
    assert held.get(timeout=40) == 5


def test_calls_are_revoked_by_task_and_by_queue(cluster: Cluster) -> None:
    waiting = [task.apply_async((1,), queue="nobody") for task in (mail, mail, other)]
    assert app.control.revoke_matching("queues.m*") == 2
    assert [each.state for each in waiting] == ["REVOKED", "REVOKED", "PENDING"]
    assert app.control.revoke_matching(queue="nobody") == 1
    with pytest.raises(ValueError, match=r"task='\*'"):
        app.control.revoke_matching()


def test_a_name_that_is_none_is_refused(cluster: Cluster) -> None:
    for refused in (app.control.pause_queue, app.control.resume_queue, app.control.purge):
        with pytest.raises(errors.InvalidRequest):
            refused("")


def test_the_same_from_the_shell(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: str, code: int = 0) -> str:
        assert main(["--coordinator", cluster.address, "ctl", "control", *words]) == code
        found = capsys.readouterr()
        return found.out if not code else found.err

    assert said("pause", "mail") == "Queue mail is paused.\n"
    mail.apply_async((1,), queue="mail")
    assert said("purge", "mail", "--force") == "1 task revoked.\n"
    assert said("resume", "mail") == "Queue mail is not paused.\n"
    for number in range(2):
        mail.apply_async((number,), queue="mail")
    assert json.loads(said("revoke_matching", "--task", "queues.*", "--yes", "--json")) == {"revoked": 2}
    assert said("purge", "--all", "-f") == "0 tasks revoked.\n"
    assert "Name queues, or say --all" in said("purge", code=2)
    for answer, code in (("n\n", 1), ("", 130)):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert "Nothing was done" in said("purge", "mail", code=code)
    assert "Name a --task or a --queue" in said("revoke_matching", code=2)


def test_the_same_from_coroutines(cluster: Cluster) -> None:
    async def main() -> None:
        control = app.control
        await control.apause_queue("mail")
        held = await mail.aapply_async((1,), queue="mail")
        assert (await app.aexplain(held.id)).code == "PAUSED"
        assert await control.apurge("mail") == 1
        assert await held.astate() == "REVOKED"
        await control.aresume_queue("mail")
        assert (await app.aretry_graph(held.id)).retried == 1
        assert await control.arevoke_matching(queue="mail") == 1
        for number in range(2):
            await mail.aapply_async((number,), queue="mail")
        assert await control.apurge() == 2
        with pytest.raises(ValueError, match="name a task or a queue"):
            await control.arevoke_matching()

    asyncio.run(main())


def test_workers_are_asked_and_told_from_coroutines(cluster: Cluster) -> None:
    async def main() -> None:
        [(worker, answer)] = (await app.control.inspect(timeout=30).aask("ping")).items()
        assert answer == {"ok": "pong"}
        added = await app.control.acommand("add_consumer", {"queue": "later"}, destination=[worker])
        assert "ok" in added[worker]
        result = await mail.aapply_async((3,), queue="later")
        assert await result.aget(timeout=40) == 3
        held = [await mail.aapply_async((number,), queue="nobody") for number in range(2)]
        revoked = await app.control.arevoke([held[0], "01890000-0000-7000-8000-000000000001"])
        assert (revoked.revoked, revoked.unknown) == (1, ("01890000-0000-7000-8000-000000000001",))
        assert (await app.acancel_graph(held[1].id)).cancelled == 1
        assert (await app.agraph_summary(held[1].id)).state == "REVOKED"
        assert (await app.control.arevoke_by_stamped_headers({"of": "nobody"})).revoked == 0
        with pytest.raises(ValueError, match="destination is empty"):
            await app.control.acommand("ping", destination=[])

    asyncio.run(main())
