"""A shop on the web: examples/webshop/run [--serve].

Starts a coordinator, two workers and the web application, orders as a browser would, breaks the connection in the
middle and goes on where it was, orders twice by one click, and orders what is sold out. Exits 0 where each was told
what it should. With --serve it stays, for a browser.
"""

import argparse
import contextlib
import json
import socket
import sys
import threading
from collections.abc import Iterator

import httpx
import uvicorn

from local_cluster import LocalCluster, played
from webshop import tasks
from webshop.app import app
from webshop.shop import web

PATIENCE = 60.0
BOOKS = ["Emma", "Persuasion", "Evelina"]
WANTED = [
    "reserve: Emma is reserved",
    "reserve: Persuasion is reserved",
    "reserve: Evelina is reserved",
    "charge: 24.00 are charged",
    "pack: Emma is packed, 1 of 3",
    "pack: Persuasion is packed, 2 of 3",
    "pack: Evelina is packed, 3 of 3",
    "ship: parcel-first",
]

#: How many events a browser hears before its connection breaks.
HEARD = 5


def main() -> int:
    """Opens the shop and returns the exit code."""
    parser = argparse.ArgumentParser(prog="webshop", description="Order in a web shop, on a cluster.")
    parser.add_argument("--serve", action="store_true", help="stay open for a browser, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="of the shop; 0, the default: a free one")
    arguments = parser.parse_args()
    return played("webshop", lambda cluster: opened(cluster, arguments.port, arguments.serve))


def opened(cluster: LocalCluster, port: int, stays: bool) -> bool:
    """Opens the shop on the cluster; returns whether all customers were told what they should."""
    cluster.environment[tasks.VARIABLE] = "0.3"
    cluster.staff(app, "w1", "w2")
    with served(port) as address:
        print(f"the shop is open: {address}")
        if stays:
            threading.Event().wait()
        with httpx.Client(base_url=address, timeout=PATIENCE) as browser:
            return all([first_order(browser), double_click(browser), sold_out(browser)])


@contextlib.contextmanager
def served(port: int) -> Iterator[str]:
    """Serves the web application in a thread; gives its address."""
    listening = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(web, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def first_order(browser: httpx.Client) -> bool:
    """Orders three books, and loses the connection on the way."""
    print("\nan order; the connection breaks after five events:")
    taken = ordered(browser, "first", BOOKS)
    told, last = listened(browser, taken["events"], "", HEARD)
    print(f"  ... the connection breaks behind event {last}; the browser comes back")
    rest, _ = listened(browser, taken["events"], last)
    return "Webshop" in browser.get("/").text and told + rest == WANTED


def double_click(browser: httpx.Client) -> bool:
    """Orders twice with one key."""
    both = [ordered(browser, "second", ["Emma"]) for _ in range(2)]
    told, _ = listened(browser, both[0]["events"], "", quiet=True)
    print(f"\na double click: two answers, one order: {told[-1]}")
    return both[0] == both[1] and len(told) == 4


def sold_out(browser: httpx.Client) -> bool:
    """Orders what is not there."""
    print("\nan order of what is sold out:")
    told, _ = listened(browser, ordered(browser, "third", ["Emma", "Sanditon"])["events"], "")
    return told == ["reserve: Emma is reserved", "reserve: Sanditon is sold out"]


def ordered(browser: httpx.Client, number: str, books: list[str]) -> dict[str, str]:
    """Sends an order and returns the answer."""
    answer = browser.post("/orders", json={"books": books}, headers={"idempotency-key": number})
    taken: dict[str, str] = answer.raise_for_status().json()
    return taken


def listened(
    browser: httpx.Client, address: str, last: str, most: int = 1000, quiet: bool = False
) -> tuple[list[str], str]:
    """Hears events behind the last one heard, so many at most; returns what they said and the id of the last."""
    told: list[str] = []
    headers = {"last-event-id": last} if last else {}
    with browser.stream("GET", address, headers=headers) as stream:
        for line in stream.iter_lines():
            field, _, text = line.partition(": ")
            if field == "id":
                last = text
            elif field == "data":
                data = json.loads(text)
                told.append(f"{data['step']}: {data['words']}")
                if not quiet:
                    print(f"  {told[-1]}", flush=True)
            if len(told) == most:
                break
    return told, last


if __name__ == "__main__":
    sys.exit(main())
