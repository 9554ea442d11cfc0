"""What a worker says of limits and batches in its hello: made where the app is, told by the supervisor."""

import json
from typing import Any

from tests.worker.worker_fakes import SECRET

from grpcflow import Grpcflow, Queue
from grpcflow_worker.facts import declared, queue_facts, task_facts
from grpcflow_worker.identity import Identity
from grpcflow_worker.session import Session


def app_with(**settings: Any) -> Grpcflow:
    app = Grpcflow("facts", set_as_current=False, **settings)
    app.task(name="plain")(lambda: None)
    app.task(name="limited", rate_limit="100/m", concurrency_limit=5)(lambda: None)
    app.task(name="free", rate_limit=0)(lambda: None)
    app.batch_task(name="many", size=100, within=0.25)(lambda calls: None)
    return app


def travelled(app: Grpcflow) -> Any:
    """Returns what an app declares after its way to the supervisor."""
    return json.loads(json.dumps(declared(app)))


def test_limits_and_batches_of_tasks_are_told_and_nothing_of_others() -> None:
    limited, many = task_facts(travelled(app_with()))
    assert (limited.task, limited.batch_size) == ("limited", 0)
    assert (limited.limit.rate_count, limited.limit.rate_period_ms, limited.limit.concurrency) == (100, 60_000, 5)
    assert (many.task, many.batch_size, many.batch_within_ms) == ("many", 100, 250)
    assert not many.limit.ByteSize()


def test_a_rate_for_all_holds_for_tasks_that_say_nothing() -> None:
    found = {one.task: one.limit.rate_count for one in task_facts(travelled(app_with(task_default_rate_limit="7/s")))}
    mine = {name: count for name, count in found.items() if name in {"plain", "limited", "many", "free"}}
    assert mine == {"plain": 7, "limited": 100, "many": 7}  # and 0 is no limit


def test_declared_queues_are_told_with_their_limits_and_without() -> None:
    app = app_with(task_queues=(Queue("a", rate_limit=2.5, concurrency_limit=3), Queue("b")))
    a, b = queue_facts(travelled(app))
    assert (a.queue, a.limit.rate_count, a.limit.rate_period_ms, a.limit.concurrency) == ("a", 5, 2000, 3)
    assert (b.queue, b.limit.ByteSize()) == ("b", 0)


def test_of_a_queue_that_is_not_declared_nothing_is_said() -> None:
    assert queue_facts(travelled(app_with())) == ()
    assert queue_facts({}) == task_facts({}) == ()


def test_the_hello_holds_them() -> None:
    facts = travelled(app_with(task_queues=("a",)))
    identity = Identity(
        name="w1",
        secret=SECRET,
        tasks=("plain",),
        concurrency=1,
        task_facts=task_facts(facts),
        queue_facts=queue_facts(facts),
    )
    hello = Session(identity, {"a": 1}).hello().hello
    assert [one.task for one in hello.task_facts] == ["limited", "many"]
    assert [one.queue for one in hello.queue_facts] == ["a"]
