"""Every way to compose work, and remote control, each statement checked on a live cluster.

    PYTHONPATH=examples python examples/canvas_seed.py

Two workers with -A proj are running: w1 serves the queues hipri and default, w2 serves default alone, each with -c 2.
"""

import json

from grpcflow import chain, chord, group, signature
from proj.app import app
from proj.tasks import (
    add,
    apply_filter,
    call,
    fail,
    mul,
    nap,
    nap_where,
    show_arguments,
    total,
    upload_document,
    urgent,
    who_am_i,
)
from statements import PATIENCE, Statements


def main() -> None:
    """Checks every statement in order."""
    statements = Statements("the canvas")
    for chapter in (signatures, groups, chains, chords, batches, errors, travel, routing, control):
        chapter(statements)
    statements.all_hold()


def signatures(say: Statements) -> None:
    """A signature is a call to be made: whole or partial, by task or by name, with options."""
    say.holds("a signature has options", add.signature((2, 2), countdown=1).apply_async().get(timeout=PATIENCE), 4)
    by_name = signature("proj.tasks.add", args=(2, 2), app=app)
    say.holds("a signature by name", by_name.delay().get(timeout=PATIENCE), 4)
    say.holds("s() and delay", add.s(2, 2).delay().get(timeout=PATIENCE), 4)
    say.holds("a partial is completed", add.s(2).delay(8).get(timeout=PATIENCE), 10)
    given = show_arguments.s(2, a=1, b=1).delay(1, b=2).get(timeout=PATIENCE)
    say.holds("later arguments come first", given, [[1, 2], {"a": 1, "b": 2}])
    given = show_arguments.s(2, 2, debug=True).delay(debug=False).get(timeout=PATIENCE)
    say.holds("later keywords win", given, [[2, 2], {"debug": False}])
    completed = add.s(2).apply_async(args=(8,), kwargs={"debug": True}, countdown=0)
    say.holds("apply_async completes a partial", completed.get(timeout=PATIENCE), 10)
    say.holds("si takes nothing from its parent", (add.s(1, 1) | add.si(5, 5))().get(timeout=PATIENCE), 10)


def groups(say: Statements) -> None:
    """A group runs side by side and answers with a list in its own order."""
    doubles = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    say.holds("a group", group(add.s(i, i) for i in range(10))().get(timeout=PATIENCE), doubles)
    partial = group(add.s(i) for i in range(10))
    say.holds("a group of partials", partial(10).get(timeout=PATIENCE), list(range(10, 20)))
    say.holds("delay of a group", group(add.s(1, 1), add.s(2, 2)).delay().get(timeout=PATIENCE), [2, 4])
    say.holds("a group of a list", group([add.s(1, 1), add.s(2, 2)]).apply_async().get(timeout=PATIENCE), [2, 4])
    result = group(add.s(i, i) for i in range(3))()
    result.get(timeout=PATIENCE)
    seen = [len(result), result.ready(), result.successful(), result.failed(), result.completed_count()]
    say.holds("a group result is looked at as a whole", seen, [3, True, True, False, 3])


def chains(say: Statements) -> None:
    """A chain hands each value on to the next step."""
    say.holds("a chain", chain(add.s(4, 4) | mul.s(8))().get(timeout=PATIENCE), 64)
    say.holds("a chain of a partial", chain(add.s(4) | mul.s(8))(4).get(timeout=PATIENCE), 64)
    say.holds("the | operator", (add.s(4, 4) | mul.s(8))().get(timeout=PATIENCE), 64)
    result = chain(add.s(2, 2), add.s(4), mul.s(2))()
    walked = [step.get(timeout=PATIENCE) for step in (result, result.parent, result.parent.parent)]
    say.holds("a chain's result walks back", walked, [16, 8, 4])


def chords(say: Statements) -> None:
    """A chord hands a group's values on as one list; chords nest."""
    say.holds("a chord", chord((add.s(i, i) for i in range(10)), total.s())().get(timeout=PATIENCE), 90)
    say.holds("chord(header)(body)", chord(add.s(i, i) for i in range(10))(total.s()).get(timeout=PATIENCE), 90)
    piped = group(add.s(i, i) for i in range(10)) | total.s()
    say.holds("a group | a task is a chord", piped().get(timeout=PATIENCE), 90)
    fan_out = upload_document.s("a.png") | group(apply_filter.s(name=n) for n in ("blur", "crop", "sharpen"))
    filtered = ["doc:a.png+blur", "doc:a.png+crop", "doc:a.png+sharpen"]
    say.holds("a task | a group", fan_out().get(timeout=PATIENCE), filtered)
    twice = add.s(1, 1) | group(add.s(i) for i in range(3)) | total.s() | group(mul.s(2), mul.s(3)) | total.s()
    say.holds("out and in, twice", twice().get(timeout=PATIENCE), 45)
    inner = [chord([add.s(i, j) for j in range(5)], total.s()) for i in range(5)]
    say.holds("chords in a chord", chord(inner, total.s())().get(timeout=PATIENCE), 100)


def batches(say: Statements) -> None:
    """A map or starmap is one task for many calls; chunks are several such tasks."""
    sums = total.map([list(range(10)), list(range(100))]).delay().get(timeout=PATIENCE)
    say.holds("map", sums, [45, 4950])
    doubles = [i + i for i in range(100)]
    say.holds("starmap", add.starmap(zip(range(10), range(10))).delay().get(timeout=PATIENCE), doubles[:10])
    tens = add.chunks(zip(range(100), range(100)), 10)().get(timeout=PATIENCE)
    say.holds("chunks", tens, [doubles[a : a + 10] for a in range(0, 100, 10)])
    two = add.chunks(zip(range(20), range(20)), 10).group()().get(timeout=PATIENCE)
    say.holds("chunks as a group", two, [doubles[:10], doubles[10:20]])


def errors(say: Statements) -> None:
    """A task's exception is raised where its result is read; no wait is for ever."""
    result = fail.delay("no funds")
    try:
        result.get(timeout=PATIENCE)
        raised: list[object] = []
    except ValueError as error:
        raised = [str(error), result.state, result.failed(), "no funds" in (result.traceback or "")]
    say.holds("the task's own exception comes back", raised, ["no funds", "FAILURE", True, True])
    try:
        nap.s(5).delay().get(timeout=0.2)
        timed_out = False
    except TimeoutError:
        timed_out = True
    say.holds("get() keeps to its timeout", timed_out, True)


def travel(say: Statements) -> None:
    """A task is still a function, and a signature is data."""
    say.holds("a call in place runs here", add(2, 2), 4)
    copy = signature(json.loads(json.dumps(add.s(2, 2))), app=app)
    say.holds("a signature survives JSON", copy.delay().get(timeout=PATIENCE), 4)
    submitted = call.delay(add.s(2, 2)).get(timeout=PATIENCE)
    say.holds("a signature is an argument", app.AsyncResult(submitted).get(timeout=PATIENCE), 4)


def routing(say: Statements) -> None:
    """The app routes by name, a call by option; a queue's workers share it."""
    ran = [urgent.delay(i).get(timeout=PATIENCE) for i in range(12)]
    say.holds("the app routes urgent to hipri", ran, [[i, "w1"] for i in range(12)])
    chosen = [who_am_i.apply_async(queue="hipri").get(timeout=PATIENCE)[1] for _ in range(12)]
    say.holds("a call chooses its queue", chosen, ["w1"] * 12)
    shared = group(nap_where.s(0.5) for _ in range(8))().get(timeout=PATIENCE)
    say.holds("both workers serve the default queue", set(shared), {"w1", "w2"})


def control(say: Statements) -> None:
    """Workers answer while they work, one or all."""
    inspect = app.control.inspect()
    first = app.control.inspect(destination=["w1"])
    say.holds("ping reaches every worker", sorted(inspect.ping()), ["w1", "w2"])
    say.holds("a destination picks one", sorted(first.ping()), ["w1"])
    queues = {worker: sorted(queue["name"] for queue in served) for worker, served in inspect.active_queues().items()}
    say.holds("active_queues", queues, {"w1": ["default", "hipri"], "w2": ["default"]})
    busy = nap.apply_async((2,), queue="hipri")
    say.eventually("a running task shows", lambda: busy.id in [task["id"] for task in first.active()["w1"]])
    running = [(task["id"], task["name"], task["args"]) for task in first.active()["w1"] if task["id"] == busy.id]
    say.holds("active shows what runs", running, [(busy.id, "proj.tasks.nap", [2])])
    say.holds("registered", "proj.tasks.add" in inspect.registered()["w2"], True)
    say.holds("and its value comes", busy.get(timeout=PATIENCE), 2)


if __name__ == "__main__":
    main()
