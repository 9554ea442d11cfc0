"""Replies of workers as they come over the real wire: a callback for each, and an end after so many."""

from typing import Any

from tests.client.fake_coordinator import FakeCoordinator

from grpcflow import Grpcflow


def app_of(coordinator: FakeCoordinator) -> Grpcflow:
    return Grpcflow("heard", coordinator=coordinator.address, set_as_current=False)


def test_each_reply_is_told_as_it_comes_and_the_others_are_not_waited_for(coordinator: FakeCoordinator) -> None:
    told: list[dict[str, Any]] = []
    replies = app_of(coordinator).control.inspect(callback=told.append, limit=1, labels="zone=eu", upcoming=3).ping()
    assert (dict(replies), replies.no_reply) == ({"a@h": {"ok": "pong"}}, ())
    assert told == [{"a@h": {"ok": "pong"}}]
    [request] = coordinator.fake.requests
    assert (list(request.labels), request.limit) == (["zone=eu"], 3)
    everybody = app_of(coordinator).control.inspect(callback=told.append).ping()
    assert everybody.no_reply == ("b@h",)
    assert len(told) == 3, "one that does not answer has said nothing"


async def test_the_same_on_an_event_loop(coordinator: FakeCoordinator) -> None:
    told: list[dict[str, Any]] = []
    replies = await app_of(coordinator).control.inspect(callback=told.append, limit=1).aask("ping")
    assert dict(replies) == {"a@h": {"ok": "pong"}}
    assert told == [{"a@h": {"ok": "pong"}}]


def test_commands_are_listed_with_those_of_apps(coordinator: FakeCoordinator) -> None:
    ping, cache = app_of(coordinator).control.commands()
    assert (ping.name, ping.control, ping.workers) == ("ping", False, ())
    assert (cache.name, cache.help, cache.workers) == ("cache_size", "How large the cache is.", ("a@h",))
    assert [(one.name, one.type, one.optional) for one in cache.arguments] == [("n", "int", True)]
