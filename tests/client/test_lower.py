"""Lowering: golden texts of what canvases become, and what holds for every graph.

GRPCFLOW_WRITE_GOLDEN=1 writes the golden texts anew; read the difference before you keep it.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from grpcflow import Grpcflow, chain, chord, errors, group
from grpcflow.lower import Calls, LoweredGraph, Outcome, lower, to_chunks
from grpcflow_protos.limits import BATCH_BYTES, CHUNK_RUNS, PAYLOAD_LIMIT, RUN_NODES
from grpcflow_protos.v1 import graph_pb2

GOLDEN: Final = Path(__file__).parent / "golden_lowered.txt"
WHEN: Final[datetime] = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

app = Grpcflow("golden", set_as_current=False, task_routes={"urgent": {"queue": "hipri", "priority": 9}})


def task(name: str, function: Callable[..., Any], **options: Any) -> Any:
    decorate: Callable[..., Any] = app.task(name=name, **options)
    return decorate(function)


add = task("add", lambda x, y: None)
xsum = task("xsum", lambda numbers: None)
noop = task("noop", lambda *args, **kwargs: None)
urgent = task("urgent", lambda: None)
tuned = task("tuned", lambda: None, queue="own", acks_late=False, ignore_result=True, track_started=True, expires=60)

CANVASES: Final[dict[str, Callable[[], Any]]] = {
    "a call": lambda: add.s(1, 2),
    "a call with options": lambda: add.signature(
        (1, 2), countdown=10, queue="q", priority=5, task_id="mine", headers={"a": 1}, max_deliveries=7
    ),
    "times": lambda: group(noop.signature(eta=WHEN), noop.signature(expires=WHEN), noop.signature(expires=1.5)),
    "routes and the options of a task": lambda: group(urgent.s(), tuned.s(), urgent.signature(queue="q")),
    "chain": lambda: chain(add.s(1, 2), add.s(3), add.si(4, 5), add.s(6)),
    "chain in a chain": lambda: chain(add.s(1, 2), chain(add.s(3), chain(add.s(4))), add.s(5)),
    "group": lambda: group(add.s(i, i) for i in range(3)),
    "group of different calls": lambda: group(add.s(1, 1), noop.s(), noop.s(), add.s(2, 2)),
    "group in a group": lambda: group(add.s(1, 1), group(add.s(2, 2), group(add.s(3, 3))), add.s(4, 4)),
    "group of chains": lambda: group(chain(add.s(1, 1), add.s(2)), add.s(3, 3), chain(add.s(4, 4), add.s(5))),
    "empty group": group,
    "chord": lambda: chord([add.s(1, 1), add.s(2, 2)], xsum.s()),
    "chord with an immutable body": lambda: chord([add.s(1, 1), add.s(2, 2)], noop.si()),
    "chord with an empty header": lambda: chord([], xsum.s()),
    "chord whose body is a group": lambda: chord([add.s(1, 1), add.s(2, 2)], group(xsum.s(), noop.si())),
    "chord in a chord": lambda: chord([chord([noop.s(1), noop.s(2)], xsum.s()), noop.s(3)], xsum.s()),
    "group | task": lambda: group(noop.s(1), noop.s(2)) | xsum.s(),
    "group | group": lambda: group(noop.s(1), noop.s(2)) | group(xsum.s(), noop.s(3)),
    "task | group": lambda: noop.s(1) | group(noop.s(2), noop.si(3)),
    "task | group | task | group | task": lambda: (
        noop.s(1) | group(noop.s(2), noop.s(3)) | xsum.s() | group(noop.s(4), noop.s(5)) | xsum.s()
    ),
    "chord | task": lambda: chord([noop.s(1), noop.s(2)], xsum.s()) | noop.s(3),
    "group of one and empty group in a chain": lambda: chain(group(), noop.s(1), group(noop.s(2)), group(), noop.s(3)),
    "chain in a header": lambda: chord([chain(noop.s(1), noop.s(2)), noop.s(3)], xsum.s()),
    "map and starmap": lambda: chain(xsum.map([[1, 2], [3]]), add.starmap([(1, 2), (3, 4)]).set(queue="q")),
    "chunks": lambda: add.chunks([(1, 1), (2, 2), (3, 3)], 2).group(),
    "chunks | task": lambda: noop.s() | add.chunks([(1, 1), (2, 2), (3, 3)], 2) | xsum.s(),
    "links of a call": lambda: linked(add.s(1, 2), noop.s("link"), noop.si("fixed"), error=noop.s("error")),
    "links of a chain": lambda: linked(chain(noop.s(1), noop.s(2), noop.s(3)), noop.s("link"), error=noop.s("error")),
    "links of a group": lambda: linked(group(noop.s(1), noop.s(2)), noop.s("link"), error=noop.si("error")),
    "links of a chord": lambda: linked(chord([noop.s(1)], noop.s(2)), noop.s("link"), error=noop.s("error")),
    "errback of a chain of groups": lambda: linked(
        chain(noop.s(0), group(noop.s(1), noop.s(2)), noop.s(3), group(noop.s(4), noop.s(5))), error=noop.s("error")
    ),
    "a callback that is a chain": lambda: linked(noop.s(1), chain(noop.s(2), group(noop.s(3), noop.s(4)))),
    "an errback that is a chord": lambda: linked(noop.s(1), error=chord([noop.s(2), noop.si(3)], noop.s("body"))),
    "an errback that is a chord with an empty header": lambda: linked(noop.s(1), error=chord([], noop.s("body"))),
    "limits, stamps and names": lambda: group(
        noop.signature(time_limit=5, soft_time_limit=2.5, shadow="other", reply_to="me", root_id="r", parent_id="p"),
        noop.s(1).stamp(user="ann", n=[1, 2]),
        chain(noop.s(2), noop.s(3)).stamp(user="bob"),
    ),
    "ids": lambda: (
        group(noop.s(1), noop.signature((2,), task_id="two"), task_id="all")
        | chord([noop.s(3)], noop.s(4), task_id="body")
    ),
    "options of composed canvases": lambda: chain(
        noop.s(1), chord([noop.s(2)], noop.s(3), countdown=5, queue="body"), group(noop.s(4), queue="members")
    ).set(priority=3),
}


def linked(canvas: Any, *links: Any, error: Any = None) -> Any:
    for link in links:
        canvas.link(link)
    if error is not None:
        canvas.link_error(error)
    return canvas


def lowered(canvas: Any, **given: Any) -> LoweredGraph:
    graph = lower(canvas, Calls(app), **given)
    assert graph is not None
    return graph


def text_of(graph: LoweredGraph) -> str:
    """Returns a graph as text for people: templates, runs with edges and children, and where the result is."""
    plain = graph_pb2.Template(queue="default")
    lines = []
    for index, template in enumerate(to_chunks(graph, b"0" * 12)[0].templates):
        shown = [
            f"{field.name}={_plain(value)}"
            for field, value in template.ListFields()
            if field.name != "task" and value != getattr(plain, field.name)
        ]
        lines.append(" ".join([f"  t{index} {template.task}", *shown]))
    for run in graph.runs:
        nodes = str(run.first) if run.count == 1 else f"{run.first}-{run.first + run.count - 1}"
        if run.members is None:
            what = f"t{run.template} {' '.join(payload.decode() for payload in run.payloads)}"
        else:
            what = f"join {' '.join(_range(*member) for member in run.members)}".rstrip()
        if run.group >= 0:
            what += f" in {'chord' if run.in_chord else 'group'} {run.group}[{run.group_index}]"
        edges = "".join(f" <- {edge.parent} {edge.mode.name} {edge.on_failure.name}" for edge in run.inputs)
        children = f" -> {' '.join(map(str, run.children))}" if run.children else ""
        lines.append(f"  {nodes}: {what}{f' id={run.id}' if run.id else ''}{edges}{children}")
    lines.append(f"  result: {shape(graph.outcome)}")
    return "\n".join(lines)


def shape(outcome: Outcome) -> str:
    members = (
        ""
        if outcome.members is None
        else f"[{', '.join(_range(*m) if isinstance(m, tuple) else shape(m) for m in outcome.members)}]"
    )
    callbacks = "".join(f" +{callback.node}" for callback in outcome.callbacks)
    return f"{outcome.node}{members}{callbacks}" + ("" if outcome.parent is None else f" after {shape(outcome.parent)}")


def _plain(value: Any) -> Any:
    if hasattr(value, "ToJsonString"):
        return value.ToJsonString()
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, bytes):
        return value.decode()
    return " ".join(f"{stamp.name}={','.join(stamp.values)}" for stamp in value)


def _range(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def golden() -> dict[str, str]:
    parts = GOLDEN.read_text(encoding="utf-8").split("\n## ")
    return {name: body.rstrip("\n") for name, _, body in (part.partition("\n") for part in parts[1:])}


def test_the_golden_texts_are_those_of_the_canvases() -> None:
    if os.environ.get("GRPCFLOW_WRITE_GOLDEN"):
        texts = [f"## {name}\n{text_of(lowered(canvas()))}\n" for name, canvas in CANVASES.items()]
        head = (
            "Canvases as graphs: templates (t), nodes with edges (<-) and children (->), results. See test_lower.py.\n"
        )
        GOLDEN.write_text(head + "\n" + "\n".join(texts), encoding="utf-8")
    assert list(golden()) == list(CANVASES)


@pytest.mark.parametrize("name", CANVASES)
def test_golden(name: str) -> None:
    assert text_of(lowered(CANVASES[name]())) == golden()[name]


@pytest.mark.parametrize("name", CANVASES)
def test_children_mirror_the_edges_and_parents_come_before_children(name: str) -> None:
    check_whole(lowered(CANVASES[name]()))


def check_whole(graph: LoweredGraph) -> None:
    from_parents = sorted(
        (parent, child)
        for run in graph.runs
        for parent in range(run.first, run.first + run.count)
        for child in run.children
    )
    assert from_parents == sorted(graph.edges())
    assert all(parent < child for parent, child in from_parents)
    expected = 0
    for run in graph.runs:
        assert run.first == expected
        expected += run.count
        assert run.count == 1 or not (run.inputs or run.id or run.members)
        assert len(run.payloads) <= RUN_NODES
    assert expected == graph.node_count


def test_partial_arguments_go_to_the_first_step_that_does_something() -> None:
    canvas = chain(group(), chain(), group(group()), noop.s(1), noop.s(2))
    assert b"".join(run.payloads[0] for run in lowered(canvas, args=(0,), kwargs={"k": 5}).runs) == (
        b'[[0,1],{"k":5}][[2],{}]'
    )


def test_partial_arguments_of_a_chord_go_to_its_header() -> None:
    graph = lowered(chord([noop.s(1), noop.si(2)], noop.s(3)), args=(0,))
    assert [run.payloads for run in graph.runs if run.payloads] == [[b"[[0,1],{}]", b"[[2],{}]"], [b"[[3],{}]"]]


def test_an_empty_chain_has_no_graph() -> None:
    assert lower(chain(), Calls(app)) is None
    assert lower(chain(chain(), chain()), Calls(app)) is None
    assert text_of(lowered(chain(group()))) == "  0: join\n  result: 0[]"


def test_plain_dicts_lower_like_signatures() -> None:
    import json

    for name, canvas in CANVASES.items():
        if name != "times":  # datetimes are no JSON
            assert text_of(lowered(json.loads(json.dumps(canvas())))) == golden()[name]


def test_runs_are_cut_by_number_and_by_bytes() -> None:
    many = lowered(group(noop.s(i) for i in range(RUN_NODES + 1)))
    assert [run.count for run in many.runs] == [RUN_NODES, 1, 1]
    assert many.runs[-1].members == [(0, RUN_NODES + 1)]
    large = "x" * (BATCH_BYTES // 2)
    assert [run.count for run in lowered(group(noop.s(large) for _ in range(3))).runs] == [1, 1, 1, 1]


def test_chunks_are_cut_by_bytes_and_hold_every_run_once() -> None:
    large = "x" * (BATCH_BYTES // 3)
    graph = lowered(group(noop.s(large) for _ in range(10)))
    chunks = to_chunks(graph, b"g" * 12)
    assert len(chunks) > 3
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert [run.first for chunk in chunks for run in chunk.runs] == [run.first for run in graph.runs]
    assert {(chunk.graph, chunk.node_count) for chunk in chunks} == {(b"g" * 12, 11)}
    assert [len(chunk.templates) for chunk in chunks] == [1] + [0] * (len(chunks) - 1)
    assert all(chunk.ByteSize() <= BATCH_BYTES + 1000 for chunk in chunks)


def test_chunks_are_cut_by_the_number_of_runs() -> None:
    chunks = to_chunks(lowered(chain(noop.s() for _ in range(2 * CHUNK_RUNS + 1))), b"g" * 12)
    assert [len(chunk.runs) for chunk in chunks] == [CHUNK_RUNS, CHUNK_RUNS, 1]


def test_a_payload_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    around = len(lowered(noop.s("")).runs[0].payloads[0])
    fits = "x" * (PAYLOAD_LIMIT - around)
    assert lowered(noop.s(fits)).runs[0].size == PAYLOAD_LIMIT
    with pytest.raises(errors.PayloadTooLarge, match="arguments of noop are 4,194,305 bytes"):
        lowered(noop.s(fits + "x"))


def test_what_cannot_travel_is_refused_with_its_path() -> None:
    with pytest.raises(errors.SerializationError) as raised:
        lowered(group(noop.s(1), noop.s([1, object()])))
    assert raised.value.path == "args[0][1]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queu": "x"}, "no option 'queu'"),
        ({"priority": 10}, "priority is 10"),
        ({"countdown": "soon"}, "countdown is 'soon'"),
        ({"eta": 5}, "eta is 5"),
        ({"queue": "q" * 256}, "over 255 bytes"),
        ({"task_id": "ü" * 128}, "over 255 bytes"),
        ({"serializer": "xml"}, "no serializer 'xml'"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        lowered(noop.s(), options=options)


def test_a_long_name_that_fits_passes() -> None:
    assert lowered(noop.s(), options={"task_id": "i" * 255}).runs[0].id == "i" * 255


def test_wrong_arguments_anywhere_are_refused() -> None:
    for canvas in (group(add.s(1, 1), add.s(1)), chain(add.s(1, 1), add.s(1, 2)), chain(add.s(1, 1), add.si(1))):
        with pytest.raises(TypeError, match="add"):
            lowered(canvas)
    lowered(chain(add.s(1, 1), add.s(1)))


def test_naive_times_are_read_in_the_time_zone_of_the_app() -> None:
    own = Grpcflow("own", set_as_current=False, timezone="Europe/Paris")
    naive = datetime(2030, 7, 1, 12)
    template = Calls(own).template("f", {"eta": naive, "expires": naive.isoformat()})
    assert template.eta == template.expires_at == datetime(2030, 7, 1, 10, tzinfo=UTC)


def test_lengths_of_time_travel_as_such() -> None:
    template = Calls(app).template("f", {"countdown": timedelta(minutes=1), "expires": 0.5})
    assert (template.countdown, template.expires_in) == (timedelta(minutes=1), timedelta(seconds=0.5))
    assert Calls(app).template("f", {"countdown": -5}).countdown is None
    assert Calls(app).template("f", {"expires": 0}).expires_in == timedelta(microseconds=1)


def test_a_setting_that_changes_reaches_the_next_call() -> None:
    own = Grpcflow("own", set_as_current=False)
    f = own.task(name="f")(lambda: None)
    assert Calls(own).template("f").queue == "default"
    own.conf.update(task_default_queue="other")
    assert Calls(own).template("f").queue == "other"
    f.queue = "third"
    assert Calls(own).template("f").queue == "third"


def test_an_errback_of_a_chain_is_one_node_with_an_edge_from_each_step() -> None:
    graph = lowered(linked(chain(noop.s(i) for i in range(100)), error=noop.s()))
    assert [edge.parent for edge in graph.runs[-1].inputs] == list(range(100))
    check_whole(graph)


def test_a_chain_of_ten_thousand_steps() -> None:
    graph = lowered(chain([noop.s(), *(noop.s(i) for i in range(9_999))]))
    check_whole(graph)
    assert graph.node_count == 10_000


def test_deep_nesting() -> None:
    """Deeper than Python's own stack would carry; built from dicts, for constructors may recurse."""
    canvas: dict[str, Any] = dict(noop.s())
    for depth in range(3_000):
        kind = ("chain", "group", "chord")[depth % 3]
        header = {"header": [canvas, dict(noop.s())], "body": dict(noop.s())}
        parts = header if kind == "chord" else {"tasks": [dict(noop.s()), canvas]}
        canvas = {"task": kind, "args": (), "kwargs": parts, "options": {}, "subtask_type": kind, "immutable": False}
    check_whole(lowered(canvas))


def test_a_large_group_lowers_quickly() -> None:
    """Twenty thousand members; the bound is ten times what is measured, for slow machines."""
    canvas = group(add.s(i, i) for i in range(20_000))
    started = time.process_time()
    graph = lowered(canvas)
    assert time.process_time() - started < 20_000 * 30e-6
    assert len(graph.runs) == 20_000 // RUN_NODES + 1
