"""Progress of running tasks, over prefork, threads and solo: at once, in order, the newest last, and never a flood."""

import json

import pytest
from tests.worker.executors.executor_kit import Gate, Running, Start

from grpcflow_worker.executors import KINDS


@pytest.fixture(params=KINDS)
async def one(request: pytest.FixtureRequest, start: Start) -> Running:
    """An executor with one place."""
    return await start(str(request.param), concurrency=1)


def numbers(one: Running, token: int) -> list[int]:
    return [json.loads(data)["number"] for said, _, data, _ in one.heard.progress if said == token]


async def test_progress_is_heard_with_its_state_before_the_end(one: Running) -> None:
    token = one.put("tell", 1)
    await one.heard.all_of([token])
    ((said, state, data, content_type),) = one.heard.progress
    assert (said, state, json.loads(data), content_type) == (token, "STEP", {"number": 0}, "application/json")


async def test_the_newest_progress_is_heard_while_the_task_goes_on(one: Running, gate: Gate) -> None:
    token = one.put("tell", 3, gate.port)
    await gate.arrival()
    await one.heard.until(lambda: 2 in numbers(one, token))
    assert token not in one.heard.data
    gate.open("told")
    await one.heard.all_of([token])


async def test_a_storm_of_progress_is_told_in_few_words_and_the_last_one_is_kept(one: Running) -> None:
    tokens = [one.put("tell", 20_000), one.put("tell", 1)]
    await one.heard.all_of(tokens)
    heard = numbers(one, tokens[0])
    assert heard == sorted(heard)
    assert heard[-1] == 19_999
    assert len(heard) < 10_000
    assert numbers(one, tokens[1]) == [0]


async def test_tasks_of_one_batch_each_have_their_progress_before_their_end(one: Running) -> None:
    await one.get("tell", 1)  # their duration is known now, so that they go in batches
    tokens = one.put_many("tell", [[1]] * 50)
    await one.heard.all_of(tokens)
    assert [numbers(one, token) for token in tokens] == [[0]] * 50


async def test_a_fork_that_a_task_made_cannot_report(start: Start) -> None:
    one = await start("prefork", concurrency=1)
    assert "have the fork tell the task" in await one.get("tell_from_a_fork")
    assert one.heard.progress == []
