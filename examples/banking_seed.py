"""The bank's customers are told in every way a canvas allows; each statement is checked on a live cluster.

PYTHONPATH=examples python examples/banking_seed.py

A coordinator and a worker with -A proj are running.
"""

import time

from grpcflow import chain, chord, group
from proj.bank import count_sms, count_whatsapp, send_sms, send_whatsapp, send_whatsapp_after
from statements import PATIENCE, Statements

CREDITED = "Your account has been credited with $5000"
SMS = f"SMS to 1234: {CREDITED}"
WHATSAPP = f"WhatsApp to 1234: {CREDITED}"
BOTH = [SMS, "WhatsApp to 1234: the SMS is out"]


def main() -> None:
    """Checks every statement in order."""
    statements = Statements("the bank")
    one_message(statements)
    many_messages(statements)
    one_after_the_other(statements)
    header = group(send_sms.signature((1234, CREDITED)), send_whatsapp.signature((1234, CREDITED)))
    body = group(count_sms.signature(), count_whatsapp.signature())
    statements.holds("a chord of two groups", chord(header, body).delay().get(timeout=PATIENCE), [1, 1])
    statements.all_hold()


def one_message(statements: Statements) -> None:
    """A signature can be sent again and again, now or later."""
    message = send_sms.si(1234, CREDITED)
    statements.holds("a signature is sent with delay", message.delay().get(timeout=PATIENCE), SMS)
    statements.holds("and with apply_async", message.apply_async().get(timeout=PATIENCE), SMS)
    started = time.monotonic()
    later = message.apply_async(countdown=2)
    statements.holds("a countdown has not run at once", later.ready(), False)
    said = later.get(timeout=PATIENCE)
    statements.holds("but after its time", [said, time.monotonic() - started >= 2], [SMS, True])


def many_messages(statements: Statements) -> None:
    """A group sends several at once and can be sent again."""
    pair = group(send_sms.si(1234, CREDITED), send_whatsapp.si(1234, CREDITED))
    statements.holds("a group is sent with delay", pair.delay().get(timeout=PATIENCE), [SMS, WHATSAPP])
    statements.holds("the same group once more", pair.apply_async().get(timeout=PATIENCE), [SMS, WHATSAPP])
    accounts = (1234, 4321, 5678)
    six = group([send_sms.si(n, "hi") for n in accounts] + [send_whatsapp.si(n, "hi") for n in accounts])
    statements.holds("six signatures in one group", len(six.delay().get(timeout=PATIENCE)), 6)


def one_after_the_other(statements: Statements) -> None:
    """A chain feeds the result on; a link does so too, and the first result stays the caller's."""
    after = send_whatsapp_after.s(1234, "the SMS is out")
    told = chain(send_sms.s(1234, CREDITED), after).delay().get(timeout=PATIENCE)
    statements.holds("a chain feeds the result on", told, BOTH)
    linked = send_sms.signature((1234, CREDITED))
    linked.link(after)
    result = linked.delay()
    statements.holds("a link leaves the first task's result alone", result.get(timeout=PATIENCE), SMS)
    statements.eventually("the linked task ran", lambda: result.children and result.children[0].ready())
    statements.holds("and the linked task got it", result.children[0].get(timeout=PATIENCE), BOTH)
    result = send_sms.apply_async((1234, CREDITED), link=after)
    statements.holds("a link is an option too", result.get(timeout=PATIENCE), SMS)


if __name__ == "__main__":
    main()
