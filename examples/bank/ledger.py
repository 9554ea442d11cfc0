"""The bank's book: an SQLite file with bookings and the messages that were sent. It knows nothing of tasks.

Whatever is written here is written once, however often it is asked for: each row has a name of its own, and a second
one of the same name is passed over. That is all that a task needs to be run again without harm.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

#: Names the file; the processes of one bank must agree on it.
VARIABLE = "BANK_LEDGER"

#: Seconds that a writer waits for the others.
PATIENCE = 30.0

TABLES = """
create table if not exists booking (name text primary key, account integer not null, cents integer not null);
create table if not exists message (booking text, channel text, words text not null, primary key (booking, channel));
"""


def set_path(path: str) -> None:
    """Says where the book of this process is."""
    os.environ[VARIABLE] = path


@contextmanager
def opened() -> Iterator[sqlite3.Connection]:
    """Opens the book; what was written is durable when the block ends, and undone where it raised."""
    path = os.environ.get(VARIABLE, "bank.sqlite")
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection, connection:
        yield connection


def create() -> None:
    """Makes the tables where they are not there yet."""
    with opened() as book:
        book.executescript(TABLES)


def enter(booking: str, account: int, cents: int) -> bool:
    """Books an amount, in cents; returns False where this booking is in the book already."""
    with opened() as book:
        done = book.execute("insert or ignore into booking values (?, ?, ?)", (booking, account, cents))
        return done.rowcount == 1


def note(booking: str, channel: str, words: str) -> bool:
    """Notes what a customer was told of a booking; returns False where that was noted before."""
    with opened() as book:
        done = book.execute("insert or ignore into message values (?, ?, ?)", (booking, channel, words))
        return done.rowcount == 1


def balance(account: int) -> int:
    """Returns what an account holds, in cents."""
    with opened() as book:
        return int(
            book.execute("select coalesce(sum(cents), 0) from booking where account = ?", (account,)).fetchone()[0]
        )


def balances() -> dict[int, int]:
    """Returns what each account holds, in cents."""
    with opened() as book:
        return dict(book.execute("select account, sum(cents) from booking group by account order by account"))


def messages() -> dict[str, int]:
    """Returns how many messages went out over each channel."""
    with opened() as book:
        return dict(book.execute("select channel, count(*) from message group by channel order by channel"))
