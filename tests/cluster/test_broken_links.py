"""Links break in every way between the coordinator and its peers: nothing is lost, run twice or refused."""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster, cluster_in, wait_for
from tests.cluster.proxy import Proxy, proxy_to

from grpcflow import chord, driving, group

#: Seconds that a result may take.
SOON = 60.0

#: Seconds after which the hasty proxy closes whatever it carries.
HASTE = 0.4

#: What can be done to a link, by the words that the tests are named with.
FAULTS: dict[str, Callable[[Proxy], None]] = {
    "nothing gets through": Proxy.swallow,
    "nothing gets up": lambda proxy: proxy.swallow(down=False),
    "nothing comes down": lambda proxy: proxy.swallow(up=False),
    "the peer's end closes": Proxy.close_near,
    "the coordinator's end closes": Proxy.close_far,
    "both ends close": Proxy.cut,
}


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Proxy]]:
    """A cluster that notices silence soon, with a worker behind a proxy."""
    with cluster_in(tmp_path_factory.mktemp("links")) as cluster:
        cluster.start_coordinator("--grace", "30", "--heartbeat", "0.2", "--silence", "0.8")
        with proxy_to(cluster.port) as proxy:
            cluster.start_worker("w1", address=proxy.address)
            yield cluster, proxy


@pytest.fixture
def hasty(wire: tuple[Cluster, Proxy]) -> Iterator[Proxy]:
    """Another proxy to the same coordinator, which closes every connection after a moment."""
    with proxy_to(wire[0].port, HASTE) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_whose_link_breaks_comes_back_with_what_it_ran(wire: tuple[Cluster, Proxy], fault: str) -> None:
    cluster, proxy = wire
    tasks.app.conf.update(coordinator=cluster.address)
    name = fault.replace(" ", "-").replace("'", "")
    door = cluster.folder / name
    results = [tasks.gate.delay(str(door), f"{name}-{i}") for i in range(2)]
    summed = chord(group(tasks.add.s(i, i) for i in range(50)), tasks.total.s())()
    wait_for("both to run", lambda: cluster.count(f"start-{name}") == 2)
    before = proxy.connections
    FAULTS[fault](proxy)
    wait_for("the worker to connect again", lambda: proxy.connections > before)
    wait_for("it to be welcome", lambda: cluster.state_of("w1") == "live")
    door.touch()
    assert [result.get(timeout=SOON) for result in results] == [f"{name}-{i}" for i in range(2)]
    assert summed.get(timeout=SOON) == sum(2 * i for i in range(50))
    assert cluster.count(f"start-{name}") == 2


def test_a_client_whose_link_is_dead_without_a_word_gets_its_results(
    wire: tuple[Cluster, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "_SILENCE", 0.4)
    monkeypatch.setattr(driving, "_PROBE_TIME", 0.4)
    cluster, _ = wire
    with proxy_to(cluster.port) as proxy:
        tasks.app.conf.update(coordinator=proxy.address)
        for number, fault in enumerate(("nothing gets through", "nothing comes down")):
            break_while_it_waits(cluster, proxy, number, FAULTS[fault])
        tasks.app.connection.close()


def break_while_it_waits(cluster: Cluster, proxy: Proxy, number: int, fault: Callable[[Proxy], None]) -> None:
    """Breaks the client's link once while it waits for a result, and once more when it submits the next task."""
    door = cluster.folder / f"client-{number}"
    result = tasks.gate.delay(str(door), f"client-{number}")
    wait_for("it to run", lambda: cluster.count(f"start-client-{number}"))
    waiting, answers = waiter(partial(result.get, timeout=SOON))
    before = proxy.connections
    fault(proxy)
    wait_for("the client to connect again", lambda: proxy.connections > before)
    door.touch()
    waiting.join(SOON)
    assert answers == [f"client-{number}"]
    fault(proxy)
    assert tasks.noted.delay(f"again-{number}", number).get(timeout=SOON) == number
    assert cluster.count(f"again-{number}") == 1


def waiter(ask: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Asks on a thread of its own; its answer is put into the list."""
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), daemon=True)
    thread.start()
    return thread, answers


def test_work_goes_on_while_every_stream_of_the_worker_is_closed_again_and_again(
    wire: tuple[Cluster, Proxy], hasty: Proxy
) -> None:
    cluster, _ = wire
    tasks.app.conf.update(coordinator=cluster.address)
    worker = cluster.start_worker("hasty", queues="hasty", address=hasty.address)
    naps = group(tasks.nap.s(0.01, f"hasty-{i}").set(queue="hasty") for i in range(250))()
    summed = chord(
        group(tasks.add.s(i, i).set(queue="hasty") for i in range(1000)), tasks.total.s().set(queue="hasty")
    )()
    assert naps.get(timeout=SOON) == [f"hasty-{i}" for i in range(250)]
    assert summed.get(timeout=SOON) == 999_000
    assert cluster.count("start-hasty") == 250
    assert hasty.connections >= 3
    assert "refuses" not in worker.log.read_text()
    assert worker.terminate() == 0


def test_work_goes_on_while_every_stream_of_the_client_is_closed_again_and_again(
    wire: tuple[Cluster, Proxy], hasty: Proxy
) -> None:
    cluster, _ = wire
    tasks.app.conf.update(coordinator=hasty.address)
    threads = [waiter(partial(submit_some, n)) for n in range(3)]
    for thread, _ in threads:
        thread.join(SOON)
    assert [answers for _, answers in threads] == [[list(range(30))]] * 3
    assert cluster.count("client.") == 90
    assert hasty.connections >= 3
    tasks.app.connection.close()


def submit_some(number: int) -> list[object]:
    """Submits and waits, one after the other; several of these at once, over one connection."""
    values = []
    for i in range(30):
        pair = group(tasks.noted.si("client", i), tasks.nap.si(0.03, f"pause-{number}"))()
        values.append(pair.get(timeout=SOON)[0])
    return values
