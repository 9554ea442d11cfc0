"""A payday at the bank: examples/bank/run [--customers N].

Starts a coordinator and two workers, books a salary for every customer and tells each over two channels, kills a worker
with -9 when half of them are told, and compares the book with what it should say. Exits 0 when every cent is there.
"""

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from bank import ledger
from bank.app import app
from bank.tasks import deposit, payday, send_sms, send_whatsapp
from grpcflow import chain
from local_cluster import LocalCluster, played

MONTH = "2026-11"
VICTIM = "w2"
PATIENCE = 60.0
SHOWN = 8

console = Console(soft_wrap=True)


def main() -> int:
    """Plays the day and returns the exit code."""
    parser = argparse.ArgumentParser(prog="bank", description="Book salaries and tell the customers, on a cluster.")
    parser.add_argument("--customers", metavar="N", type=int, default=60, help="how many there are [60]")
    customers = parser.parse_args().customers
    return played("bank", lambda cluster: day(cluster, customers))


def day(cluster: LocalCluster, customers: int) -> bool:
    """Does the work of a day on the cluster; returns whether the book is as it should be."""
    ledger_path = str(cluster.folder / "bank.sqlite")
    cluster.environment[ledger.VARIABLE] = ledger_path
    ledger.set_path(ledger_path)
    ledger.create()
    cluster.staff(app, "w1", VICTIM)
    console.print(f"a coordinator on {cluster.address} and workers w1 and {VICTIM} are up")
    one_customer()
    salaries = {account: 200_000 + 1_250 * account for account in range(1001, 1001 + customers)}
    began = time.monotonic()
    result = payday(MONTH, salaries).apply_async()
    after = killed_halfway(cluster, customers)
    report = result.get(timeout=PATIENCE)
    seconds = time.monotonic() - began
    show(salaries)
    console.print(
        f"{report['customers']} salaries booked, {report['SMS']} SMS and {report['WhatsApp']} WhatsApp sent in "
        f"{seconds:.1f} s; {VICTIM} was killed with -9 after {after} messages and started again"
    )
    return right(salaries, report)


def one_customer() -> None:
    """Shows what a chain and a link do for one customer, whose account is number 1."""
    chained = chain(deposit.s("first", 1, 5_000), send_sms.s())().get(timeout=PATIENCE)
    console.print(f"a chain gives what its last step gave: {chained!r}")
    result = deposit.apply_async(("second", 1, 5_000), link=send_whatsapp.s())
    console.print(f"a link leaves the first value alone:   {result.get(timeout=PATIENCE)}")
    assert result.children is not None
    console.print(f"  and its own is that of the child:    {result.children[0].get(timeout=PATIENCE)!r}")
    again = deposit.delay("second", 1, 5_000).get(timeout=PATIENCE)
    console.print(f"the same booking once more:            balance {again['balance'] / 100:.2f}, as before")


def killed_halfway(cluster: LocalCluster, customers: int) -> int:
    """Kills a worker once half of the messages are out, and starts it again; returns how many were out then."""
    deadline = time.monotonic() + PATIENCE
    while (sent := sum(ledger.messages().values())) < customers:
        cluster.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {sent} of {2 * customers} messages after {PATIENCE:.0f} s")
        time.sleep(0.01)
    cluster.kill_worker(VICTIM)
    cluster.start_worker(VICTIM)
    return sent


def show(salaries: dict[int, int]) -> None:
    """Prints the first accounts."""
    table = Table(title=f"Payday {MONTH}")
    for column in ("account", "salary", "balance"):
        table.add_column(column, justify="right")
    held = ledger.balances()
    for account, cents in list(salaries.items())[:SHOWN]:
        table.add_row(str(account), f"{cents / 100:,.2f}", f"{held[account] / 100:,.2f}")
    if len(salaries) > SHOWN:
        table.add_row(f"{len(salaries) - SHOWN} more", "", "")
    console.print(table)


def right(salaries: dict[int, int], report: dict[str, int]) -> bool:
    """Says whether every salary is booked once and every customer was told once over each channel."""
    customers = len(salaries)
    return (
        ledger.balances() == {1: 10_000, **salaries}
        and ledger.messages() == {"SMS": customers + 1, "WhatsApp": customers + 1}
        and report == {"customers": customers, "SMS": customers, "WhatsApp": customers}
    )


if __name__ == "__main__":
    sys.exit(main())
