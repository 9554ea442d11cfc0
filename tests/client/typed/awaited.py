"""Submitting and waiting on an event loop: what is taken and what is given. Read by the checkers and never run."""

from typing import Any, assert_type

from tests.client.typed.shop import add, app, fetch, fetch_bound, label

from grpcflow import AsyncResult, chain, group
from grpcflow.result import GroupResult


async def submitted() -> None:
    assert_type(await add.adelay(1, 2), AsyncResult[int])
    assert_type(await (await add.adelay(x=1, y=2)).aget(timeout=3), int)
    assert_type(await (await fetch.adelay("a")).aget(), bytes)
    assert_type(await (await fetch_bound.adelay("a")).aget(), bytes)
    assert_type(await add.aapply_async((1, 2), countdown=1), AsyncResult[int])
    assert_type(await fetch.aapply_async(("a",)), AsyncResult[bytes])
    assert_type(await app.asend_task("shop.add", (1, 2)), AsyncResult[Any])
    await add.adelay("1", 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await add.adelay(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await fetch.adelay(1)  # type: ignore[call-overload]  # pyright: ignore  # noqa: PGH003 - one of two rules


async def composed() -> None:
    assert_type(await (await add.s(1).adelay(2)).aget(), int)
    assert_type(await (await (add.s(1, 2) | label.s()).aapply_async()).aget(), str)
    assert_type(await (await chain(add.s(1, 2), label.s()).adelay()).aget(), str)
    members = await group(add.s(i, i) for i in range(3)).adelay()
    assert_type(members, GroupResult[int])
    assert_type(await members.aget(), list[int])
    assert_type(await members.ajoin(timeout=3), list[int])
    async for result in members.aiter(timeout=3):
        assert_type(result, AsyncResult[int])
    assert_type(await members.aready(), bool)


async def looked() -> None:
    result = await add.adelay(1, 2)
    assert_type(await result.astate(), str)
    assert_type(await result.aready(), bool)
    async with app:
        assert_type(await add.AsyncResult(result.id).aget(), int)
