"""The tests of the bank: what a customer gets, and that nothing happens twice. Nothing has to be started for them."""

import pytest

from bank import ledger
from bank.tasks import close_of_day, deposit, payday, salary, send_sms, send_whatsapp
from grpcflow import chain


@pytest.fixture(autouse=True)
def book(tmp_path, monkeypatch):
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / "bank.sqlite"))
    ledger.create()


def test_a_salary_is_booked_and_told_over_both_channels(grpcflow_cluster):
    assert salary("may/8", 8, 5_000).delay().get(timeout=60) == [1, 1]
    assert ledger.balances() == {8: 5_000}
    assert ledger.messages() == {"SMS": 1, "WhatsApp": 1}


def test_a_booking_that_comes_twice_is_booked_once(grpcflow_cluster):
    given = [deposit.delay("may/8", 8, 5_000).get(timeout=60) for _ in range(2)]
    assert given[0] == given[1] == {"booking": "may/8", "account": 8, "balance": 5_000}


def test_a_busy_gateway_is_asked_again(grpcflow_cluster):
    words = chain(deposit.s("may/7", 7, 5_000), send_sms.s()).delay()
    assert words.get(timeout=60) == "SMS to 7: your balance is 50.00"
    assert [call.retries for call in grpcflow_cluster.calls(send_sms)] == [0, 1]


def test_a_link_leaves_the_first_value_alone(grpcflow_cluster):
    result = deposit.apply_async(("may/8", 8, 5_000), link=send_whatsapp.s())
    assert result.get(timeout=60)["balance"] == 5_000
    assert result.children[0].get(timeout=60) == "WhatsApp to 8: your balance is 50.00"


def test_the_day_ends_when_every_customer_was_told(grpcflow_cluster):
    report = payday("may", {8: 1, 9: 2, 10: 3}).delay()
    assert report.get(timeout=60) == {"customers": 3, "SMS": 3, "WhatsApp": 3}
    assert ledger.balances() == {8: 1, 9: 2, 10: 3}
    assert len(grpcflow_cluster.calls(close_of_day)) == 1
