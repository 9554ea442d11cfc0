"""What tasks logged as a reader gets it: in order, each line once, whatever breaks; against a fake coordinator."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result
from tests.client.fake_coordinator import FakeCoordinator
from tests.client.served import App

from grpcflow import Grpcflow, errors, ids, state
from grpcflow.cli import command_line


@pytest.fixture
def text() -> str:
    return ids.node_id(ids.mint_graph(), 0)


def test_lines_come_with_all_that_is_known_of_them(coordinator: FakeCoordinator, app: App, text: str) -> None:
    coordinator.fake.logs[text] = {5: ["a", "b"], 9: ["c"]}
    lines = list(app.AsyncResult(text).logs())
    assert [(line.attempt, line.number, line.text) for line in lines] == [(5, 0, "a"), (5, 1, "b"), (9, 0, "c")]
    first = lines[0]
    assert (first.id, first.task, first.level, first.logger) == (text, "t", "INFO", "shop")
    assert first.time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_reader_whose_calls_break_asks_for_what_it_lacks(
    coordinator: FakeCoordinator, app: App, text: str, every: int
) -> None:
    coordinator.fake.logs[text] = {5: ["a", "b", "c"], 9: ["d", "e"]}
    coordinator.fake.read_limit = every
    lines = app.AsyncResult(text).logs(follow=True, tail=5)
    assert [line.text for line in lines] == list("abcde")
    asked = coordinator.fake.log_requests
    assert len(asked) > 1
    assert [one.tail for one in asked] == [5] + [0] * (len(asked) - 1)
    assert all(one.follow for one in asked)


async def test_the_same_on_an_event_loop(coordinator: FakeCoordinator, app: Grpcflow, text: str) -> None:
    coordinator.fake.logs[text] = {5: ["a"]}
    async with Grpcflow("loop", coordinator=coordinator.address, set_as_current=False) as alone:
        assert [line.text async for line in alone.AsyncResult(text).alogs()] == ["a"]


def test_what_cannot_be_asked_is_refused(app: App, text: str) -> None:
    with pytest.raises(ValueError, match="tail is 0"):
        app.AsyncResult(text).logs(tail=0)
    with pytest.raises(errors.NotFound):
        list(app.AsyncResult(text).logs())
    with state.running_task(), pytest.raises(RuntimeError, match="inside a task"):
        app.AsyncResult(text).logs(follow=True)


def test_a_call_in_this_process_has_none(app: App) -> None:
    @app.task(name="t")
    def talks() -> None:
        print("here")

    assert list(talks.apply().logs()) == []


# The command


def run(coordinator: FakeCoordinator, *arguments: str) -> Result:
    return CliRunner().invoke(command_line, ["logs", *arguments, "--coordinator", coordinator.address])


def test_the_command_shows_lines_under_their_attempts(coordinator: FakeCoordinator, text: str) -> None:
    coordinator.fake.logs[text] = {5: ["a", "two\nlines"], 9: ["b\x1b[2J"]}
    done = run(coordinator, text)
    assert done.exit_code == 0
    assert [line.partition(" ")[2] for line in done.stdout.splitlines()] == [
        "INFO    a",
        "INFO    two",
        "",
        "INFO    b [2J",
    ]
    assert done.stderr.count(f"t {text}") == 2


def test_the_command_says_what_is_not_kept(coordinator: FakeCoordinator, text: str) -> None:
    coordinator.fake.logs[text] = {5: ["a", "b", "c"]}
    assert "not kept" not in run(coordinator, text).stderr
    coordinator.fake.logs[text] = {}
    assert "logged nothing" in run(coordinator, text).stderr


def test_the_command_gives_json(coordinator: FakeCoordinator, text: str) -> None:
    coordinator.fake.logs[text] = {5: ["a"]}
    [line] = run(coordinator, text, "--json").stdout.splitlines()
    assert json.loads(line) == {
        "id": text,
        "task": "t",
        "attempt": 5,
        "number": 0,
        "time": "1970-01-01T00:00:01+00:00",
        "level": "INFO",
        "logger": "shop",
        "text": "a",
    }


@pytest.mark.parametrize(
    ("arguments", "code"), [(("nobody",), 66), (("x", "--graph", "--follow"), 2), (("x", "--tail", "0"), 2)]
)
def test_wrong_arguments_are_told(coordinator: FakeCoordinator, arguments: tuple[str, ...], code: int) -> None:
    from grpcflow.cli import main

    assert main(["logs", *arguments, "--coordinator", coordinator.address]) == code
