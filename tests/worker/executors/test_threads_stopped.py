"""Code in a thread cannot be stopped from outside: what is terminated there ends as revoked once it returns."""

import pytest
from tests.worker.executors.executor_kit import Gate, Start


@pytest.mark.parametrize("kind", ["threads", "solo"])
async def test_a_terminated_task_ends_as_revoked_when_its_code_returns_and_its_value_is_dropped(
    start: Start, gate: Gate, kind: str
) -> None:
    one = await start(kind, concurrency=1)
    stopped = one.put("wait_at", gate.port, "a")
    behind = one.put("add", 1, 2)
    name = await gate.arrival()
    assert one.executor.stop(stopped, "SIGKILL")
    assert stopped not in one.heard.ends
    gate.open(name)
    await one.heard.all_of([stopped, behind])
    assert one.heard.ends[stopped].kind == "revoked"
    assert stopped not in one.heard.data
    assert one.heard.value(behind) == 3
