"""What the bank does for a customer: book, tell, count. Each task may run twice and does its work once."""

from typing import TypedDict

from bank import ledger
from bank.app import app
from grpcflow import Signature, Task, chain, chord, group

#: The gateway of the messages refuses the first message to each account that this divides.
GATEWAY_STUMBLES = 7


class Receipt(TypedDict):
    """What is known of a booking once it is in the book; `balance` in cents."""

    booking: str
    account: int
    balance: int


class GatewayBusy(Exception):
    """The gateway took no message just now."""


@app.task
def deposit(booking: str, account: int, cents: int) -> Receipt:
    """Books an amount. A second run finds the booking in the book and changes nothing."""
    ledger.enter(booking, account, cents)
    return {"booking": booking, "account": account, "balance": ledger.balance(account)}


@app.task(bind=True, autoretry_for=(GatewayBusy,), retry_backoff=0.1, max_retries=5)
def send_sms(self: Task, receipt: Receipt) -> str:
    """Sends a text message; where the gateway is busy, again after a pause that grows."""
    if self.request.retries == 0 and receipt["account"] % GATEWAY_STUMBLES == 0:
        raise GatewayBusy(f"no line to account {receipt['account']}")
    return told(receipt, "SMS")


@app.task(rate_limit="500/s")  # what the provider takes, from all workers together
def send_whatsapp(receipt: Receipt) -> str:
    """Sends a chat message."""
    return told(receipt, "WhatsApp")


@app.task
def count_sms(sent: list[str]) -> int:
    """Counts the text messages among what was sent."""
    return sum(message.startswith("SMS") for message in sent)


@app.task
def count_whatsapp(sent: list[str]) -> int:
    """Counts the chat messages among what was sent."""
    return sum(message.startswith("WhatsApp") for message in sent)


@app.task
def close_of_day(counts: list[list[int]]) -> dict[str, int]:
    """Adds up how often each channel was used, over all customers."""
    return {"customers": len(counts), "SMS": sum(sms for sms, _ in counts), "WhatsApp": sum(chat for _, chat in counts)}


def told(receipt: Receipt, channel: str) -> str:
    """Tells a customer of a booking, once over each channel, and returns the words."""
    words = f"{channel} to {receipt['account']}: your balance is {receipt['balance'] / 100:.2f}"
    ledger.note(receipt["booking"], channel, words)
    return words


def salary(booking: str, account: int, cents: int) -> Signature:
    """Returns what happens for one customer: the booking, then both messages at once, then both counts."""
    both = group(send_sms.s(), send_whatsapp.s())
    return chain(deposit.s(booking, account, cents), chord(both, group(count_sms.s(), count_whatsapp.s())))


def payday(month: str, salaries: dict[int, int]) -> Signature:
    """Returns the whole day: every customer side by side, and one report when the last has been told."""
    return chord(
        [salary(f"{month}/{account}", account, cents) for account, cents in salaries.items()], close_of_day.s()
    )
