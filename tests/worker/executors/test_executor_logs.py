"""What running tasks log and print, over all executors: in order, while they run, all of it before their end."""

import pytest
from tests.worker.executors.executor_kit import Gate, Running, Start

from grpcflow_worker.executors import KINDS
from grpcflow_worker.log_lines import GATHERED_BYTES, size_of


@pytest.fixture(params=KINDS)
async def one(request: pytest.FixtureRequest, start: Start) -> Running:
    """An executor with one place."""
    return await start(str(request.param), concurrency=1)


def texts(one: Running, token: int) -> list[str]:
    return [line[3] for line in one.heard.lines.get(token, [])]


async def test_lines_are_heard_before_the_end_of_their_attempt(one: Running) -> None:
    await one.get("say", 0)
    tokens = one.put_many("say", [[number] for number in range(20)])
    await one.heard.all_of(tokens)
    for count, token in enumerate(tokens):
        assert texts(one, token) == [f"line {number}" for number in range(count)]
    _, level, logger, _ = one.heard.lines[tokens[1]][0]
    assert (level, logger) == ("WARNING", "sample")
    assert not one.heard.dropped


async def test_lines_are_heard_while_the_task_goes_on(one: Running, gate: Gate) -> None:
    token = one.put("say", 3, gate.port)
    await gate.arrival()
    await one.heard.until(lambda: len(texts(one, token)) == 3)
    assert token not in one.heard.data
    gate.open("said")
    await one.heard.all_of([token])


async def test_a_storm_loses_its_oldest_lines_and_no_number_is_lost(one: Running) -> None:
    token = one.put("say", 20_000)
    await one.heard.all_of([token])
    heard = texts(one, token)
    assert heard[-1] == "line 19999"
    assert len(heard) + one.heard.dropped == 20_000
    assert sum(map(size_of, one.heard.lines[token])) >= GATHERED_BYTES // 2


async def test_what_a_sensitive_task_logs_is_kept_nowhere(one: Running) -> None:
    token = one.put("say", 3, sensitive=True)
    await one.heard.all_of([token])
    assert not one.heard.lines


async def test_a_fork_that_a_task_made_logs_to_the_log_alone_and_what_is_printed_is_kept(start: Start) -> None:
    one = await start("prefork", concurrency=1, log_level="WARNING")
    token = one.put("print_and_fork")
    await one.heard.all_of([token])
    [(_, level, logger, text)] = one.heard.lines[token]
    assert (level, logger, text) == ("WARNING", "", "printed")
