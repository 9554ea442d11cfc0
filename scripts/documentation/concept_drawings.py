"""The drawings of docs/concepts.md: run it to write them anew, `python -m documentation.concept_drawings`.

A test holds the files in docs/pictures/drawn to what stands here.
"""

from collections.abc import Callable
from typing import Final

from documentation.drawing import Drawing, Step, sequence
from documentation.pages import DRAWN, ROOT

__all__ = ["DRAWINGS"]

_CLIENT: Final = ("client", "client")
_COORDINATOR: Final = ("coordinator", "coordinator")
_DISK: Final = ("disk", "disk")
_WORKER: Final = ("worker", "worker")


def parts() -> Drawing:
    """Who there is."""
    made = Drawing(
        "A client submits graphs to the coordinator, which keeps them on its disk and hands tasks to workers", 860, 236
    )
    made.box(10, 70, 150, 76, "*your program\n~client", "client")
    made.box(330, 50, 180, 116, "*coordinator\n~graphs, queues, timers,\n~limits, schedules", "coordinator")
    made.box(345, 196, 150, 34, "~LMDB on a local disk", "disk")
    made.line(420, 166, 420, 196)
    for number, y in enumerate((16, 140)):
        made.box(690, y, 160, 82, f"*worker {number + 1}\n~a supervisor, and\n~processes for tasks", "worker")
        made.arrow((688, y + 30), (514, 80 + 40 * number))
        made.arrow((512, 92 + 40 * number), (688, y + 46))
    made.arrow((162, 96), (328, 96), text="~a canvas, as one graph")
    made.arrow((328, 124), (162, 124), text="~results, as they come", up=-18)
    made.text(640, 114, "~one stream each,", "middle")
    made.text(640, 130, "~opened by the worker", "middle")
    return made


def graph() -> Drawing:
    """What a canvas becomes."""
    made = Drawing(
        "The graph of a chord whose header is a task and a chain of two, with an errback on the body", 760, 262
    )
    made.text(10, 24, ">chord([a.s(), chain(b.s(), c.s())], d.s().on_error(e.s()))")
    made.box(20, 60, 92, 44, "*a", "worker")
    made.box(20, 150, 92, 44, "*b", "worker")
    made.box(190, 150, 92, 44, "*c", "worker")
    made.box(372, 96, 120, 58, "*join\n~no task runs here", "coordinator")
    made.box(606, 102, 92, 44, "*d", "worker")
    made.box(606, 200, 92, 44, "*e", "bad")
    made.arrow((112, 82), (372, 116), text="~value")
    made.arrow((112, 172), (190, 172), text="~value")
    made.arrow((282, 172), (372, 138), text="~value")
    made.arrow((492, 124), (606, 124), text="~list of values")
    made.arrow((652, 146), (652, 200), dashed=True)
    made.text(642, 178, "~if it fails", "end")
    made.text(10, 226, "~Green: calls, which a worker runs. Violet: settled by the coordinator itself.")
    made.text(10, 246, "~Each node has an id, a state and at most one outcome, on disk.")
    return made


def life() -> Drawing:
    """The states of a task."""
    made = Drawing("The states of a task, from WAITING to one of five ends", 760, 330)
    made.box(20, 40, 130, 50, "*WAITING\n~for its parents")
    made.box(56, 150, 112, 50, "*SCHEDULED\n~for its time")
    made.box(250, 95, 130, 50, "*QUEUED\n~for a worker")
    made.box(440, 95, 140, 50, "*HANDED OUT\n~in a worker", "worker")
    made.box(630, 95, 120, 50, "*STARTED\n~runs", "worker")
    made.arrow((150, 65), (200, 65), (200, 110), (250, 110))
    made.text(206, 60, "~parents succeeded")
    made.arrow((168, 175), (200, 175), (200, 130), (250, 130))
    made.text(206, 178, "~its time came")
    made.arrow((112, 90), (112, 150))
    made.arrow((380, 112), (440, 112))
    made.arrow((440, 130), (380, 130), dashed=True)
    made.text(410, 150, "~lost or", "middle")
    made.text(410, 166, "~returned", "middle")
    made.arrow((580, 120), (630, 120))
    made.arrow((690, 95), (690, 22), (10, 22), (10, 175), (56, 175), dashed=True)
    made.text(420, 16, "~retry: a later attempt of the same task", "middle")
    made.box(
        20,
        258,
        730,
        60,
        "*SUCCESS,  FAILURE,  REVOKED,  IGNORED,  REJECTED\n~an end, written once; nothing changes it",
        "disk",
    )
    made.arrow((690, 145), (690, 258))
    made.text(682, 196, "~value or", "end")
    made.text(682, 212, "~exception", "end")
    made.arrow((315, 145), (315, 258), dashed=True)
    made.text(323, 222, "~revoked, expired")
    made.arrow((36, 90), (36, 258), dashed=True)
    made.text(44, 232, "~a parent failed")
    return made


def durable() -> Drawing:
    """What is on disk when."""
    steps = [
        Step(0, 1, "~submit: the whole graph"),
        Step(1, 2, "~one commit, with fsync"),
        Step(2, 2, "graph and queue entry", "disk"),
        Step(1, 0, "~accepted", dashed=True),
        Step(1, 3, "~an attempt, with a token: nothing is written"),
        Step(3, 3, "runs it", "worker"),
        Step(3, 1, "~the outcome; the worker keeps it for now"),
        Step(1, 2, "~one commit, with fsync"),
        Step(2, 2, "outcome; what waited is released", "disk"),
        Step(1, 3, "~acknowledged: the worker forgets it", dashed=True),
        Step(1, 0, "~the result", dashed=True),
    ]
    lanes = [_CLIENT, _COORDINATOR, _DISK, _WORKER]
    return sequence("A submission and its result: each is told only after it is on disk", lanes, steps)


def credit() -> Drawing:
    """How work comes to a worker."""
    steps = [
        Step(1, 0, "~hello: queues, tasks, room for 8"),
        Step(0, 1, "~8 attempts, in one message"),
        Step(1, 2, "~as many short ones as fill 2 ms, or one long one"),
        Step(2, 1, "~outcomes", dashed=True),
        Step(1, 0, "~outcomes of 3: that is room for 3 more", dashed=True),
        Step(0, 1, "~3 attempts, and what is committed"),
        Step(1, 1, "tasks take long: room for 4 is enough", "worker"),
        Step(1, 0, "~room for 4; what has not started goes back"),
    ]
    lanes = [_COORDINATOR, ("supervisor", "worker"), ("child process", "worker")]
    return sequence("A worker says how much it takes, and each outcome makes room for one more", lanes, steps, 335)


def queues() -> Drawing:
    """How the next call is found."""
    made = Drawing("Queues, their order, the gates of limits, and the workers that take from them", 760, 300)
    made.text(10, 22, "*queue emails, weight 3")
    made.text(10, 172, "*queue default, weight 1")
    rows = [
        (36, "mail, priority 9", "plain", "rate 100/m", "shut"),
        (74, "report, priority 5", "plain", "", ""),
        (186, "book, account 17", "plain", "one per account", "shut"),
        (224, "book, account 18", "plain", "one per account", "open"),
        (262, "resize: no worker knows it", "bad", "", ""),
    ]
    for y, name, kind, gate, state in rows:
        made.box(10, y, 200, 30, f"~{name}", kind)
        if gate:
            made.box(270, y, 190, 30, f"~gate: {gate}, {state}", "bad" if state == "shut" else "worker")
            made.line(210, y + 15, 270, y + 15)
    made.box(570, 84, 180, 62, "*worker 1\n~serves emails:3, default", "worker")
    made.box(570, 184, 180, 62, "*worker 2\n~serves default", "worker")
    made.arrow((210, 89), (500, 89), (500, 108), (570, 108))
    made.text(300, 84, "~nothing holds it back")
    made.arrow((460, 239), (520, 239), (520, 222), (570, 222))
    made.text(472, 196, "~passed over")
    made.text(472, 56, "~passed over")
    made.text(222, 282, "~waits alone; inspect says why")
    return made


def chord() -> Drawing:
    """Why a chord does not hang."""
    made = Drawing("A chord's join counts outcomes on disk; with a failure its body is settled at once", 760, 330)
    for left, title in ((0, "*all members succeed"), (390, "*one member fails")):
        made.text(left + 10, 22, title)
        bad = left > 0
        for number in range(3):
            y = 40 + number * 62
            failed = bad and number == 1
            told = (
                "*member 2\n~FAILURE"
                if failed
                else f"*member {number + 1}\n~{'runs on' if bad and number == 2 else 'SUCCESS'}"
            )
            made.box(left + 10, y, 100, 50, told, "bad" if failed else "worker")
            made.arrow((left + 110, y + 25), (left + 160, 127), dashed=bad and number != 1)
        made.box(
            left + 162, 92, 96, 70, "*join\n~FAILURE" if bad else "*join\n~waits for 0", "bad" if bad else "coordinator"
        )
        made.arrow((left + 258, 127), (left + 292, 127))
        made.box(
            left + 292, 92, 72, 70, "*body\n~never\n~runs" if bad else "*body\n~runs\n~once", "bad" if bad else "worker"
        )
    made.text(10, 252, "~In the commit that writes a member's outcome the join")
    made.text(10, 270, "~waits for one less. A member that is reported twice has")
    made.text(10, 288, "~an outcome already, so it cannot count twice.")
    made.text(400, 252, "~In the commit that writes the failure the join and the")
    made.text(400, 270, "~body end too, the body with ChordError. Nobody polls,")
    made.text(400, 288, "~and its errback runs once, however many fail.")
    made.line(380, 10, 380, 310, dashed=True)
    return made


def lost_worker() -> Drawing:
    """The death of a worker."""
    steps = [
        Step(0, 1, "~attempt 1 of task T"),
        Step(1, 1, "kill -9", "bad"),
        Step(0, 0, "stream gone: 10 s of grace", "coordinator"),
        Step(0, 0, "grace over: attempt 1 is lost", "coordinator"),
        Step(0, 2, "~attempt 2 of task T: a new token"),
        Step(2, 0, "~the outcome of attempt 2", dashed=True),
        Step(0, 0, "written once; attempt 1 counts no more", "coordinator"),
    ]
    return sequence(
        "A worker is killed: its task runs again elsewhere",
        [_COORDINATOR, ("worker 1", "worker"), ("worker 2", "worker")],
        steps,
        270,
    )


def lost_coordinator() -> Drawing:
    """The death of the coordinator."""
    steps = [
        Step(1, 2, "~attempt 1 of task T"),
        Step(1, 1, "kill -9", "bad"),
        Step(2, 2, "runs on; keeps its outcome", "worker"),
        Step(0, 0, "waits, and tries again", "client"),
        Step(1, 1, "starts; reads its disk", "coordinator"),
        Step(2, 1, "~hello: I hold attempt 1, and its outcome", dashed=True),
        Step(0, 1, "~hello: I wait for T"),
        Step(1, 1, "writes the outcome", "coordinator"),
        Step(1, 0, "~the result", dashed=True),
    ]
    return sequence(
        "The coordinator is killed: tasks run on, and their outcomes arrive after its start",
        [_CLIENT, _COORDINATOR, _WORKER],
        steps,
        270,
    )


DRAWINGS: Final[dict[str, Callable[[], Drawing]]] = {
    "parts": parts,
    "graph": graph,
    "life": life,
    "durable": durable,
    "credit": credit,
    "queues": queues,
    "chord": chord,
    "lost-worker": lost_worker,
    "lost-coordinator": lost_coordinator,
}

if __name__ == "__main__":
    (ROOT / DRAWN).mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (ROOT / DRAWN / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
