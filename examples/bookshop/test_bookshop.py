# bookshop/test_bookshop.py
"""The tests of the bookshop. Nothing has to be started for them, and none of them waits."""

from datetime import timedelta

import pytest

from bookshop.tasks import charge, order, price, remind


def test_an_order_is_priced_and_charged(grpcflow_cluster):
    assert order(["Emma", "Persuasion"]).delay().get(timeout=10) == "1600 paid"


def test_the_bank_is_asked_again_every_minute(grpcflow_cluster):
    result = order(["Emma"], bank_is_down_for=2).delay()
    grpcflow_cluster.settle()
    assert result.state == "RETRY"
    grpcflow_cluster.time.advance(120)
    assert result.get(timeout=10) == "900 paid"
    assert [call.retries for call in grpcflow_cluster.calls(charge)] == [0, 1, 2]


def test_a_book_that_is_not_there_charges_nobody(grpcflow_cluster):
    order(["Emma", "Sanditon"]).delay()
    grpcflow_cluster.settle()
    assert {call.args: call.state for call in grpcflow_cluster.calls(price)} == {
        ("Emma",): "SUCCESS",
        ("Sanditon",): "FAILURE",
    }
    assert grpcflow_cluster.calls(charge) == []


def test_a_reminder_goes_out_after_three_days(grpcflow_cluster):
    remind.apply_async(("Anne",), countdown=3 * 24 * 3600)
    grpcflow_cluster.time.advance(timedelta(days=3))
    assert [call.args for call in grpcflow_cluster.calls(remind)] == [("Anne",)]


@pytest.mark.grpcflow(task_always_eager=True)
def test_without_a_cluster_tasks_can_run_in_place(grpcflow_app):
    assert order(["Emma"]).delay().get() == "900 paid"
