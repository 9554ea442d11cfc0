"""What failed for good, over the wire: listed in pages, filtered, purged; unfinished graphs by age; what is refused."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, refused, serving

from grpcflow_coordinator.core.model import text_id
from grpcflow_protos.v1 import graph_pb2, value_pb2, worker_service_pb2
from grpcflow_protos.v1 import graph_service_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LONG = "x" * 256


async def ask(wire: Wire, method: str, **given: Any) -> Any:
    """Call a unary rpc of the graphs' service."""
    return await getattr(wire.graphs, method)(getattr(pb, f"{method}Request")(**given), timeout=BOUND)


async def failing(wire: Wire, *chunks: graph_pb2.GraphChunk, reason: str = "", type_name: str = "ValueError") -> None:
    """Submit graphs of one call each and have a worker fail them."""
    for chunk in chunks:
        await wire.submit(chunk)
    tasks = sorted({chunk.templates[0].task for chunk in chunks})
    queues = sorted({chunk.templates[0].queue or "default" for chunk in chunks})
    worker = await wire.work(name=f"{text_id(chunks[0].graph, 0)}@host", tasks=tasks, queues=queues)
    failure = value_pb2.Failure(type_name=type_name, module="builtins", message="boom", reason=reason)
    for token in await worker.have(len(chunks)):
        await worker.report(reports=[worker_service_pb2.Report(token=token, failure=failure)])
    await worker.leave()


async def listed(wire: Wire, **wanted: Any) -> list[str]:
    """Return the ids on one page of the list."""
    return [node.id for node in (await ask(wire, "ListFailed", **wanted)).nodes]


@pytest.mark.parametrize(
    ("method", "given", "code"),
    [
        ("ListFailed", {"page_token": b"nonsense"}, "BAD_ARGUMENTS"),
        ("ListFailed", {"page_token": bytes(17)}, "BAD_ARGUMENTS"),
        ("ListFailed", {"page_size": 1_001}, "BAD_ARGUMENTS"),
        *(("ListFailed", {field: LONG}, "NAME_TOO_LONG") for field in ("task", "queue", "type")),
        ("PurgeFailed", {"ids": [LONG]}, "ID_TOO_LONG"),
        ("PurgeFailed", {"ids": ["x"] * 10_001}, "TOO_MANY_IDS"),
        ("ListGraphs", {"unfinished": True, "after": b"nonsense"}, "BAD_ARGUMENTS"),
        ("ListGraphs", {"oldest_first": True, "limit": 1_001}, "BAD_ARGUMENTS"),
    ],
)
async def test_what_is_refused_of_the_list(method: str, given: dict[str, Any], code: str) -> None:
    async with serving() as wire:
        assert await refused(ask(wire, method, **given)) == (INVALID, code)
        await wire.works()


async def test_what_failed_is_told_with_its_error_and_a_success_is_not() -> None:
    async with serving() as wire:
        chunk, fine = call(id="mine"), call()
        await failing(wire, chunk)
        await wire.submit(fine)
        worker = await wire.work()
        await worker.run(1)
        [entry] = (await ask(wire, "ListFailed")).nodes
        assert (entry.id, entry.graph, entry.task, entry.queue) == ("mine", chunk.graph, "t", "default")
        assert (entry.type, entry.message, entry.reason, entry.retries) == ("ValueError", "boom", "", 0)
        assert entry.worker == f"{text_id(chunk.graph, 0)}@host"
        assert entry.failed_at_ms > 0


async def test_the_filters_of_the_list_let_pass_what_they_say() -> None:
    async with serving() as wire:
        mail, bulk, lost = call(task="mail.send"), call(task="bulk.send"), call(task="mail.lost")
        bulk.templates[0].queue = "bulk"
        await failing(wire, mail)
        await failing(wire, bulk, type_name="KeyError")
        await failing(wire, lost, reason="WORKER_LOST", type_name="WorkerLostError")
        ids = {name: text_id(chunk.graph, 0) for name, chunk in (("mail", mail), ("bulk", bulk), ("lost", lost))}
        for wanted, names in (
            ({}, {"mail", "bulk", "lost"}),
            ({"task": "mail.*"}, {"mail", "lost"}),
            ({"task": "MAIL.*"}, set()),
            ({"queue": "bulk"}, {"bulk"}),
            ({"type": "*Error"}, {"mail", "bulk", "lost"}),
            ({"type": "K*"}, {"bulk"}),
            ({"lost": True}, {"lost"}),
            ({"since_ms": 1}, {"mail", "bulk", "lost"}),
            ({"since_ms": 1 << 60}, set()),
        ):
            assert set(await listed(wire, **wanted)) == {ids[name] for name in names}, wanted


async def test_a_call_that_its_workers_died_under_is_on_the_list_as_lost() -> None:
    async with serving(max_deliveries=2) as wire:
        await wire.submit(call(id="poison"))
        worker = await wire.work()
        for times in (1, 2):
            assert await listed(wire, lost=True) == []
            token = (await worker.have(times))[-1]
            lost = worker_service_pb2.Lost(message="signal 11")
            await worker.report(reports=[worker_service_pb2.Report(token=token, lost=lost)])
        [entry] = (await ask(wire, "ListFailed", lost=True)).nodes
        assert (entry.id, entry.type, entry.reason) == ("poison", "WorkerLostError", "WORKER_LOST")
        assert entry.message == "Worker lost: signal 11; lost 2 times"


async def test_pages_follow_each_other_and_the_last_one_says_so() -> None:
    async with serving() as wire:
        chunks = [call() for _ in range(5)]
        await failing(wire, *chunks)
        found, token, pages = list[str](), b"", 0
        while True:
            page = await ask(wire, "ListFailed", page_size=2, page_token=token)
            found += [node.id for node in page.nodes]
            token, pages = page.next_page_token, pages + 1
            if not token:
                break
        newest_first = sorted((text_id(chunk.graph, 0) for chunk in chunks), reverse=True)
        assert (found, pages) == (newest_first, 3)


async def test_a_purge_counts_what_was_on_the_list_and_leaves_the_results() -> None:
    async with serving() as wire:
        chunks = [call() for _ in range(3)]
        await failing(wire, *chunks)
        first, second, third = (text_id(chunk.graph, 0) for chunk in chunks)
        assert (await ask(wire, "PurgeFailed", ids=[first, first, "nobody", second])).purged == 2
        assert (await ask(wire, "PurgeFailed", ids=[first])).purged == 0
        assert (await ask(wire, "PurgeFailed")).purged == 0
        assert await listed(wire) == [third]
        assert (await ask(wire, "Explain", id=first)).code == "FAILED"


async def test_what_is_retried_leaves_the_list_and_comes_back_where_it_fails_again() -> None:
    async with serving() as wire:
        chunk = call()
        await failing(wire, chunk)
        id = text_id(chunk.graph, 0)
        assert (await ask(wire, "RetryGraph", id=id)).retried == 1
        assert await listed(wire) == []
        worker = await wire.work(name="again@host")
        failure = value_pb2.Failure(type_name="ValueError", message="again")
        [token] = await worker.have(1)
        await worker.report(reports=[worker_service_pb2.Report(token=token, failure=failure)])
        assert [node.message for node in (await ask(wire, "ListFailed")).nodes] == ["again"]


async def test_a_purge_is_refused_while_the_disk_is_full_and_goes_on_after_it() -> None:
    async with serving() as wire:
        chunk = call()
        await failing(wire, chunk)
        ids = [text_id(chunk.graph, 0)]
        wire.coordinator.engine._short_of_space = True
        full = (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL")
        assert await refused(ask(wire, "PurgeFailed", ids=ids)) == full
        assert await listed(wire) == ids
        wire.coordinator.engine._short_of_space = False
        assert (await ask(wire, "PurgeFailed", ids=ids)).purged == 1


async def test_unfinished_graphs_come_the_oldest_first_page_by_page() -> None:
    async with serving() as wire:
        waiting = [call(task="nobody.knows") for _ in range(3)]
        done = call()
        await wire.submit(done)
        for chunk in waiting:
            await wire.submit(chunk)
        worker = await wire.work()
        await worker.run(1)
        wanted: dict[str, Any] = {"unfinished": True, "oldest_first": True, "limit": 2}
        page = await ask(wire, "ListGraphs", **wanted)
        more = await ask(wire, "ListGraphs", **wanted, after=page.next)
        ages = sorted(chunk.graph for chunk in waiting)
        assert [[one.graph for one in answer.graphs] for answer in (page, more)] == [ages[:2], ages[2:]]
        everything = await ask(wire, "ListGraphs", oldest_first=True)
        assert [one.graph for one in everything.graphs] == sorted([done.graph, *ages])
        newest = await ask(wire, "ListGraphs", unfinished=True)
        assert [one.graph for one in newest.graphs] == ages[::-1]
