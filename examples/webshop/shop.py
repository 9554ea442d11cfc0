"""The shop as a web application: takes an order, and tells the browser how far it is by server-sent events.

Nothing about an order is kept in this process: what it tells is read from the coordinator. So it may be started anew at
any time, or run many times behind a balancer, and a browser whose connection breaks goes on where it was.
"""

import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from grpcflow.errors import AlreadyExists
from webshop.app import app as tasks_app
from webshop.tasks import PRICES, STEPS, call_id, fulfil

HERE = Path(__file__).parent

#: Seconds after which a comment says that the connection still stands, for proxies that end silent ones.
STILL_HERE = 15.0

NUMBER = Header(pattern="^[A-Za-z0-9-]{1,64}$")


class Basket(BaseModel):
    """What a customer sends."""

    books: list[str] = Field(min_length=1, max_length=20)


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Ends the connection with the event loop."""
    yield
    await tasks_app.aclose()


web = FastAPI(title="Webshop", lifespan=lifespan)


@web.middleware("http")
async def own_origin_only(request: Request, call_next: Any) -> Response:
    """Lets the page load from here and from nowhere else."""
    response: Response = await call_next(request)
    response.headers["content-security-policy"] = "default-src 'self'"
    return response


@web.get("/")
async def page() -> FileResponse:
    """Gives the page."""
    return FileResponse(HERE / "page.html")


@web.get("/shop.js")
async def script() -> FileResponse:
    """Gives the page's script."""
    return FileResponse(HERE / "shop.js")


@web.get("/shop.css")
async def style() -> FileResponse:
    """Gives the page's looks."""
    return FileResponse(HERE / "shop.css")


@web.get("/books")
async def books() -> dict[str, int]:
    """Gives the books and their prices in cents."""
    return PRICES


@web.post("/orders", status_code=202)
async def order(basket: Basket, idempotency_key: Annotated[str | None, NUMBER] = None) -> dict[str, str]:
    """Takes an order. It is durable when this answers; the same key once more is the same order."""
    if unknown := set(basket.books) - PRICES.keys():
        raise HTTPException(422, f"there is no {', '.join(sorted(unknown))}")
    number = idempotency_key or uuid.uuid4().hex
    if not await is_known(number):
        # Two clicks in one moment: the ids of the calls are taken, or else the key has nothing run twice.
        with contextlib.suppress(AlreadyExists):
            await fulfil({"number": number, "books": basket.books}).aapply_async(idempotency_key=number)
    return {"order": number, "events": f"/orders/{number}/events"}


@web.get("/orders/{number}")
async def standing(number: str) -> dict[str, str]:
    """Says how each step of an order stands."""
    await must_exist(number)
    return {step: await tasks_app.AsyncResult(call_id(number, step)).astate() for step in STEPS}


@web.get("/orders/{number}/events")
async def events(number: str, last_event_id: Annotated[str, Header()] = "") -> StreamingResponse:
    """Streams what happens to an order until it has ended; a browser that comes back says what it heard last."""
    await must_exist(number)
    return StreamingResponse(
        told(number, *place_after(last_event_id)), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


async def must_exist(number: str) -> None:
    """Answers 404 for an order that nobody made, or that is no longer kept."""
    if not await is_known(number):
        raise HTTPException(404, f"there is no order {number}")


async def is_known(number: str) -> bool:
    """Says whether there is an order of this number."""
    return await tasks_app.AsyncResult(call_id(number, STEPS[0])).aexists()


async def told(number: str, step: int, item: int) -> AsyncIterator[str]:
    """Yields the events of an order, from an item of a step on."""
    value: Any = None
    for at, name in enumerate(STEPS[step:], start=step):
        result = tasks_app.AsyncResult(call_id(number, name))
        first = item if at == step else 0
        while True:
            try:
                async for words in result.astream(timeout=STILL_HERE, first=first, propagate=False):
                    yield event("progress", {"step": name, "words": words}, f"{at}.{first}")
                    first += 1
                break
            except TimeoutError:
                yield ": still here\n\n"
        value = await result.aget(propagate=False)
        if isinstance(value, Exception):
            yield event("failed", {"step": name, "words": str(value)})
            return
    yield event("done", {"step": STEPS[-1], "words": value})


def place_after(last: str) -> tuple[int, int]:
    """Returns the step and the item behind the event of this id; the beginning where it is none of ours."""
    step, _, item = last.partition(".")
    if step.isdecimal() and item.isdecimal() and int(step) < len(STEPS):
        return int(step), int(item) + 1
    return 0, 0


def event(kind: str, data: dict[str, str], name: str = "") -> str:
    """Returns one event as it is written."""
    return f"{f'id: {name}' if name else ':'}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
