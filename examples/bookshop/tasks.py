# bookshop/tasks.py
"""A bookshop: orders are priced and charged, and customers are reminded."""

from grpcflow import Grpcflow, chord

app = Grpcflow("bookshop")

PRICES = {"Emma": 900, "Persuasion": 700}


@app.task
def price(title):
    """What a book costs, in cents."""
    return PRICES[title]


@app.task(bind=True, max_retries=5, default_retry_delay=60)
def charge(self, cents, *, bank_is_down_for=0):
    """Charges the customer; where the bank does not answer, again a minute later."""
    if self.request.retries < bank_is_down_for:
        raise self.retry()
    return f"{sum(cents)} paid"


@app.task(ignore_result=True)
def remind(customer):
    """Tells a customer that the books are there."""
    print(f"Dear {customer}, your books are waiting.")


def order(titles, **options):
    """The canvas of an order: all its prices, and then one charge."""
    return chord([price.s(title) for title in titles], charge.s(**options))
