"""An order in four steps. Each says what it does in a stream, which anybody may read, from any item on."""

import os
import time
from typing import TypedDict

from grpcflow import Signature, Task, chain
from webshop.app import app

#: Prices in cents; of some there is none left.
PRICES = {"Emma": 900, "Persuasion": 700, "Sanditon": 1100, "Evelina": 800}
SOLD_OUT = {"Sanditon"}

#: Names the seconds that it takes to put a book into a box.
VARIABLE = "WEBSHOP_SECONDS_PER_BOOK"

#: The steps, in order. The call of a step has the id "NUMBER.STEP", so whoever knows an order's number finds them all.
STEPS = ("reserve", "charge", "pack", "ship")


class Order(TypedDict):
    """What is ordered."""

    number: str
    books: list[str]


class SoldOut(Exception):
    """There is none left of a book."""


@app.task(bind=True)
def reserve(self: Task, order: Order) -> Order:
    """Takes every book off the shelf."""
    for book in order["books"]:
        if book in SOLD_OUT:
            raise SoldOut(f"{book} is sold out")
        self.emit(f"{book} is reserved")
    return order


@app.task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=True)
def charge(self: Task, order: Order) -> Order:
    """Charges the customer; a real one would give the order's number to the bank, which charges it once."""
    cents = sum(PRICES[book] for book in order["books"])
    self.emit(f"{cents / 100:.2f} are charged")
    return order


@app.task(bind=True)
def pack(self: Task, order: Order) -> Order:
    """Puts one book after the other into a box."""
    for count, book in enumerate(order["books"], start=1):
        time.sleep(float(os.environ.get(VARIABLE, "0")))
        self.emit(f"{book} is packed, {count} of {len(order['books'])}")
    return order


@app.task
def ship(order: Order) -> str:
    """Hands the box to the post; returns the parcel's number."""
    return f"parcel-{order['number']}"


def fulfil(order: Order) -> Signature:
    """Returns the canvas of an order."""
    steps = (reserve.s(order), charge.s(), pack.s(), ship.s())
    return chain(*(step.set(task_id=call_id(order["number"], name)) for name, step in zip(STEPS, steps, strict=True)))


def call_id(number: str, step: str) -> str:
    """Returns the id of the call that does a step of an order."""
    return f"{number}.{step}"
