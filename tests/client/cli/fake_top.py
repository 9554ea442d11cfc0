"""What `grpcflow top` shows, without a cluster: a source that tells what it is given, and views to give it."""

from collections.abc import Callable
from datetime import UTC, datetime

from grpcflow import errors
from grpcflow.cli.top.model import (
    Failure,
    Listing,
    QueueLine,
    Rate,
    Running,
    Summary,
    View,
    WorkerLine,
)
from grpcflow.graph.boxes import Box, Picture
from grpcflow.graph.model import Node, Run, Tally
from grpcflow.graph.model import Summary as GraphSummary

NAP = "01890000-0000-7000-8000-000000000001"
LOST = "01890000-0000-7000-8000-0000000000ff"


class FakeSource:
    """A source in memory; notes what is asked of it."""

    address = "127.0.0.1:50551"

    def __init__(self, view: View | None = None) -> None:
        self.first = view
        self.done: list[tuple[object, ...]] = []
        self.error: Exception | None = None
        self.stopped = False
        self.tell: Callable[[View], None] = lambda _: None
        self.crash: Callable[[BaseException], None] = lambda _: None

    def start(self, on_view: Callable[[View], None], on_crash: Callable[[BaseException], None]) -> None:
        self.tell, self.crash = on_view, on_crash
        if self.first is not None:
            on_view(self.first)

    def stop(self) -> None:
        self.stopped = True

    def choose(self, wanted: str) -> None:
        self.done.append(("choose", wanted))

    def picture(self, id: str) -> Picture:
        if self.error is not None:
            raise self.error
        return picture(id)

    def pause_queue(self, queue: str, paused: bool) -> str:
        return self._do("pause", queue, paused)

    def revoke(self, id: str, terminate: bool) -> str:
        return self._do("revoke", id, terminate)

    def cancel(self, id: str, terminate: bool) -> str:
        return self._do("cancel", id, terminate)

    def retry(self, id: str) -> str:
        return self._do("retry", id)

    def _do(self, *what: object) -> str:
        if self.error is not None:
            raise self.error
        self.done.append(what)
        return f"did {' '.join(map(str, what))}"


GONE = errors.CoordinatorUnavailable("the coordinator at 127.0.0.1:50551 cannot be reached: nobody listens")


def picture(id: str) -> Picture:
    """Returns a graph of one running task, whose error would clear the screen."""
    tally = Tally(nodes=1, unsettled=1, running=1)
    began = datetime(2030, 1, 31, 12, tzinfo=UTC)
    node = Node(index=0, id=id, state="STARTED", task="proj.nap", worker="w1\x1b[2J", started=began)
    run = Run(0, 1, "proj.nap", "default", 0, join=False, edges=(), tally=tally, nodes=(node,))
    summary = GraphSummary(
        graph=id.replace("-", "")[:24],
        id=id,
        state="STARTED",
        created=began,
        settled=None,
        ended=False,
        tally=tally,
        task="proj.nap",
        templates=1,
        cancelled=False,
        attached_to="",
    )
    return Picture(summary, [Box(run, 1, run.tally, [node])])


NAMES = ("emails@green", "画像処理ワーカー@東京", "a-very-long-worker-name-that-nobody-chose@host.example.org")
STATES = ("live", "live", "no reply", "draining", "broken")


def busy(workers: int = 5, running: int = 12) -> View:
    """Returns a cluster that has much to do, with names of all kinds."""
    wave = tuple(int(200 + 900 * abs((at % 30) - 15) / 15) for at in range(60))
    few = tuple(3 if at % 17 == 0 else 0 for at in range(60))
    states = {"live": workers - 3, "no reply": 1, "draining": 1, "broken": 1}
    return View(
        workers=Listing(tuple(_worker(at) for at in range(workers))),
        queues=Listing(_queues()),
        running=Listing(tuple(_running(at) for at in range(running)), 1_234),
        failures=Listing(tuple(_failure(at) for at in range(9)), 0, at_least=True),
        summary=Summary(states, 14, 40, 1_234_582, 17, 200, True),
        finished=Rate(998.0, wave),
        failed=Rate(0.4, few),
        submitted=Rate(1_020.4, wave[::-1]),
        asked=True,
    )


def _worker(at: int) -> WorkerLine:
    return WorkerLine(
        name=NAMES[at] if at < 3 else f"w{at - 3}@blue",
        state=STATES[at] if at < 5 else "live",
        executor="threads" if at % 2 else "prefork",
        concurrency=8,
        running=(8, 5, 0, 1, 0)[at % 5],
        held=(64, 21, 0, 1, 0)[at % 5],
        capacity=64,
        uptime=(372_500.0, 3_725.0, 59.0, None, 0.4)[at % 5],
        load=((7.25, 3.0, 1.5), (), (0.42, 0.4, 0.3), (0.0, 0.0, 0.0), ())[at % 5],
        queues=("default", "emails", "画像"),
        host="green.example.org",
        process_id=4_700 + at,
    )


def _queues() -> tuple[QueueLine, ...]:
    unserved = "no connected worker serves this queue"
    return (
        QueueLine("reports", "proj.build", lanes=1, waiting=12, oldest=7_300, submitted=0, ended=0, paused=True),
        QueueLine("gpu", "train", lanes=1, waiting=3, oldest=86_400, submitted=0.2, ended=0, why=unserved),
        QueueLine("default", lanes=2, waiting=1_234_567, oldest=48.2, submitted=1_020.4, ended=998.0),
        QueueLine("default", "proj.mail.send", is_lane=True, waiting=1_234_000, oldest=48.2),
        QueueLine("default", "proj.mail.send", 5, is_lane=True, waiting=567, oldest=3.1, why="rate limit 10/s"),
        QueueLine("emails", submitted=3.0, ended=3.0),
        QueueLine("画像", submitted=0.0, ended=0.0),
    )


def _running(at: int) -> Running:
    calls = (
        "proj.mail.send(17, to='ada@example.org')",
        'images.縮小("写真.png", width=1024)',
        "proj.reports.build({})",
    )
    seconds = 4_000.0 / (at * at + 1)
    return Running(NAP[:-2] + f"{at:02x}", calls[at % 3], NAMES[at % 3], seconds, "default", 9_000 + at)


def _failure(at: int) -> Failure:
    return Failure(
        id=LOST[:-2] + f"{at:02x}",
        task=("proj.mail.send", "proj.reports.build")[at % 2],
        error=("SMTPServerDisconnected: Connection unexpectedly closed", "KeyError: 'total'")[at % 2],
        when=datetime(2030, 1, 31, 11, 59 - at, tzinfo=UTC),
        worker=NAMES[at % 3],
        retries=at,
    )
