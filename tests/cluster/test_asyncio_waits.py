"""What is awaited on an event loop goes on while the coordinator is killed and comes back: nothing lost or twice."""

import asyncio
from typing import Any

import pytest
from tests.cluster import streaming_tasks as tasks
from tests.cluster.harness import Cluster, wait_for

from grpcflow import group

#: Seconds that a wait may take.
SOON = 60.0

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.timeout(300)]


async def test_waits_streams_and_groups_outlive_a_coordinator_that_is_killed_while_they_are_awaited(
    cluster: Cluster,
) -> None:
    tasks.app.conf.update(coordinator=cluster.address)
    killed = await asyncio.to_thread(cluster.start_coordinator, "--grace", "20")
    await asyncio.to_thread(cluster.start_worker, "w1", "-A", "streaming_tasks", "-c", "4")
    door = cluster.folder / "door"
    async with tasks.app:
        behind = await tasks.behind_door.adelay(str(door), 300, 200)
        seen: list[int] = []

        async def read() -> None:
            async for item in behind.astream(timeout=SOON):
                seen.append(item)

        told: list[dict[str, Any]] = []
        members = await group([tasks.progress.s(4, str(door)), *[tasks.quiet.s() for _ in range(40)]]).adelay()
        waits = asyncio.gather(
            read(),
            behind.aget(timeout=SOON),
            members.aget(timeout=SOON, on_message=told.append),
            ended_of(members),
        )
        await asyncio.to_thread(wait_for, "the middle", lambda: len(seen) == 300 and len(told) > 40)
        killed.kill()
        sent = asyncio.ensure_future(tasks.quiet.aapply_async(retry_policy={"max_retries": None}))
        await asyncio.to_thread(cluster.start_coordinator, "--grace", "20")
        await asyncio.to_thread(wait_for, "the worker to be back", lambda: cluster.state_of("w1") == "live")
        door.touch()
        _, value, values, ended = await waits
        assert seen == list(range(500))
        assert (value, values) == (500, ["done", *[7] * 40])
        assert len(ended) == len(set(ended)) == 41
        assert [record["task_id"] for record in told if record["status"] == "SUCCESS"].count(members[0].id) == 1
        assert await (await sent).aget(timeout=SOON) == 7
        assert behind.retries == 0


async def ended_of(members: Any) -> list[str]:
    return [result.id async for result in members.aiter(timeout=SOON)]
