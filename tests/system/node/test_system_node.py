"""A worker in another language that knows PROTOCOL.md and nothing else takes part like any other."""

import datetime
import decimal
import signal
import subprocess
import uuid
from typing import Any

import pytest
from tests.cluster.harness import wait_for
from tests.support.tree import ROOT
from tests.system.node.nodes import NODE, NodeCluster

from grpcflow import AsyncResult, Grpcflow, chord, group
from grpcflow.errors import ContentDisallowed, RemoteError, TimeLimitExceeded, WorkerLostError

pytestmark = pytest.mark.timeout(180)
PATIENCE = 60.0

VALUES = [
    None,
    2**60,
    -(2**80),
    float("inf"),
    "a\ud800b",
    b"\x00\xff",
    {1: "a", (2, 3): [None]},
    {"__grpcflow__": 1},
    {1, 2},
    decimal.Decimal("1.10"),
    datetime.timedelta(days=1, microseconds=3),
    datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.UTC),
]


def called(on: NodeCluster, task: str, *args: Any, **options: Any) -> AsyncResult[Any]:
    """Sends a call to the queue of the workers in Node."""
    return on.cluster.app.send_task(task, args, queue="node", **options)


def test_the_tests_of_its_parts_pass() -> None:
    done = subprocess.run(["node", "--test"], cwd=NODE, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_goes_there_and_back(running: NodeCluster, value: Any) -> None:
    assert called(running, "n.echo", value).get(timeout=PATIENCE) == value


def test_compressed_arguments_are_read(running: NodeCluster) -> None:
    assert called(running, "n.echo", ["x"] * 1000, compression="gzip").get(timeout=PATIENCE) == ["x"] * 1000


def test_a_type_that_it_does_not_read_fails_and_is_not_decoded(running: NodeCluster) -> None:
    with pytest.raises(ContentDisallowed, match="pickle"):
        called(running, "n.echo", 1, serializer="pickle").get(timeout=PATIENCE)


def test_a_failure_tells_its_type_its_traceback_and_its_cause(running: NodeCluster) -> None:
    result = called(running, "n.fail", "too far")
    error = result.get(timeout=PATIENCE, propagate=False)
    assert isinstance(error, RemoteError)
    assert (error.type_name, error.message) == ("RangeError", "too far")
    assert "the reason" in str(error.__cause__)
    assert "node_tasks.js" in (result.traceback or "")


@pytest.mark.parametrize(("task", "state"), [("n.ignore", "IGNORED"), ("n.reject", "REJECTED")])
def test_a_task_ends_without_a_value(running: NodeCluster, task: str, state: str) -> None:
    result = called(running, task)
    wait_for(f"{task} to end", lambda: result.ready())
    assert result.state == state


def test_a_retry_is_run_again(running: NodeCluster) -> None:
    result = called(running, "n.again")
    assert (result.get(timeout=PATIENCE), result.retries) == (2, 2)


def test_a_value_that_is_too_large_fails(running: NodeCluster) -> None:
    error = called(running, "n.large", 5 << 20).get(timeout=PATIENCE, propagate=False)
    assert "4194304" in str(error)
    assert len(called(running, "n.large", 3 << 20).get(timeout=PATIENCE)) == 3 << 20


def test_a_map_and_a_starmap_run_there(running: NodeCluster) -> None:
    app = Grpcflow("map", coordinator=running.cluster.address, set_as_current=False)

    @app.task(name="n.add", queue="node")
    def add(x: int, y: int) -> int:
        raise AssertionError("this body is never run")

    @app.task(name="n.sum", queue="node")
    def total(numbers: list[int]) -> int:
        raise AssertionError("this body is never run")

    with app:
        assert add.starmap([(1, 2), (3, 4)]).apply_async(queue="node").get(timeout=PATIENCE) == [3, 7]
        assert total.map([[1, 2], [3]]).apply_async(queue="node").get(timeout=PATIENCE) == [3, 3]


def test_inputs_that_no_message_holds_are_fetched(running: NodeCluster) -> None:
    app = running.cluster.app
    header = group(app.signature("n.add", (number, 1), queue="node") for number in range(2500))
    body = chord(header, app.signature("n.sum", queue="node"))
    assert body.delay().get(timeout=PATIENCE) == sum(range(2501))


def test_a_client_reads_a_list_that_no_message_holds(running: NodeCluster) -> None:
    members = group(running.cluster.app.signature("n.add", (number, 1), queue="node") for number in range(2500)).delay()
    assert len(members.get(timeout=PATIENCE)) == 2500
    graph = uuid.UUID(members.results[0].id).bytes[:12].hex()
    program = f"""
        import {{ Client }} from "{NODE / "lib" / "client.js"}";
        const client = new Client("{running.cluster.address}");
        const values = await client.result(Buffer.from("{graph}{2500:08x}", "hex"));
        console.log(values.length, values.at(-1));
        client.close();
    """
    command = ["node", "--input-type=module", "--eval", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("2500 2500\n", "")


def test_a_failure_is_thrown_to_a_client(running: NodeCluster) -> None:
    program = f"""
        import {{ Client, TaskFailed }} from "{NODE / "lib" / "client.js"}";
        const client = new Client("{running.cluster.address}");
        const calls = [{{ task: "n.fail", args: ["no"] }}, {{ task: "n.echo" }}];
        const node = await client.submit(calls.map((call) => ({{ ...call, queue: "node" }})));
        await client.result(node).catch((error) => console.log(error instanceof TaskFailed, error.message));
        client.close();
    """
    command = ["node", "--input-type=module", "--eval", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("true FAILURE: RangeError: no\n", "")


def test_an_errback_is_told(running: NodeCluster) -> None:
    errback = running.cluster.app.signature("n.told", queue="node")
    result = called(running, "n.fail", "no", link_error=errback)
    assert isinstance(result.get(timeout=PATIENCE, propagate=False), Exception)
    wait_for("the errback to run", lambda: running.cluster.count("told"))


def test_progress_is_told_before_the_end(running: NodeCluster) -> None:
    told: list[Any] = []
    assert called(running, "n.steps", 5).get(timeout=PATIENCE, on_message=told.append) == 5
    assert told[-1]["status"] == "SUCCESS"


def test_a_task_that_holds_its_thread_holds_up_no_sign_of_life(running: NodeCluster) -> None:
    spinning = called(running, "n.spin", 9_000)
    assert spinning.get(timeout=PATIENCE) == "spin"
    assert running.cluster.count("start-spin") == 1
    assert "the stream ended" not in (running.cluster.folder / "n1.log").read_text()


def test_a_time_limit_ends_a_task_whatever_it_does(running: NodeCluster) -> None:
    with pytest.raises(TimeLimitExceeded):
        called(running, "n.spin", 600_000, "limited", time_limit=0.5).get(timeout=PATIENCE)
    assert called(running, "n.patient", soft_time_limit=0.2).get(timeout=PATIENCE) == "the soft time limit is over"


def test_a_task_that_is_revoked_is_stopped(running: NodeCluster) -> None:
    result = called(running, "n.spin", 600_000, "revoked")
    wait_for("it to run", lambda: running.cluster.count("start-revoked"))
    result.revoke(terminate=True)
    wait_for("it to end", lambda: result.ready())
    assert result.state == "REVOKED"


def test_a_task_that_kills_its_thread_is_lost_three_times(running: NodeCluster) -> None:
    with pytest.raises(WorkerLostError, match="code 3"):
        called(running, "n.die").get(timeout=PATIENCE)


def test_commands_are_answered_also_those_it_does_not_know(running: NodeCluster) -> None:
    control = running.cluster.app.control
    inspect = control.inspect(destination=["n1"], timeout=PATIENCE)
    assert inspect.ping() == {"n1": {"ok": "pong"}}
    assert "n.add" in inspect.registered()["n1"]
    answer = control.broadcast("pool_grow", {"n": 1}, destination=["n1"], reply=True, timeout=PATIENCE)
    assert "it has: active" in str(answer)


def test_what_runs_while_the_coordinator_is_killed_ends_once(fragile: NodeCluster) -> None:
    cluster = fragile.cluster
    result = called(fragile, "n.nap", 3_000, "over")
    wait_for("it to run", lambda: cluster.count("start-over"))
    assert cluster.coordinator is not None
    cluster.coordinator.kill()
    wait_for("it to end while nobody hears of it", lambda: cluster.count("end-over"))
    cluster.start_coordinator()
    assert result.get(timeout=PATIENCE) == "over"
    assert cluster.count("start-over") == 1
    assert ", as before" in (cluster.folder / "n1.log").read_text()


def test_a_worker_that_is_asked_to_go_finishes_and_hands_the_rest_back(fragile: NodeCluster) -> None:
    cluster = fragile.cluster
    results = [called(fragile, "n.nap", 5_000, f"nap{number}") for number in range(4)]
    wait_for("two to run", lambda: cluster.count("start-") >= 2)
    fragile.processes["n1"].send_signal(signal.SIGTERM)
    assert fragile.processes["n1"].wait(30) == 0
    assert cluster.count("end-") == cluster.count("start-") < 4
    fragile.start("n2")
    assert [result.get(timeout=PATIENCE) for result in results] == [f"nap{number}" for number in range(4)]
    assert cluster.count("start-") == 4


def test_the_example_does_what_its_page_shows() -> None:
    page = (NODE / "README.md").read_text(encoding="utf-8")
    shown = page.split("are up\n")[1].split("```")[0]
    done = subprocess.run([str(NODE / "run")], cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shown in done.stdout.replace("\u00a0", " ")  # which stands between the digits of a thousand in Swedish
