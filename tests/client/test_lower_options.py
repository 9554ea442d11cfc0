"""Options of calls as they travel: limits, stamps, names and ids, and what is refused with a word on what to use."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grpcflow import Grpcflow, chain, chord, codec, errors, group
from grpcflow.lower import Calls, LoweredGraph, TemplateSpec, lower, to_chunks
from grpcflow_protos.v1 import graph_pb2

WHEN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

app = Grpcflow("options", set_as_current=False, task_routes={"elsewhere": {"queue": "far"}})


@app.task(name="noop")
def noop(*args: Any) -> None:
    """Do nothing."""


@app.task(name="limited", time_limit=30, soft_time_limit=20)
def limited() -> None:
    """Do nothing, quickly."""


def templates(canvas: Any, **options: Any) -> list[graph_pb2.Template]:
    """Returns the templates that a canvas needs, as they travel."""
    graph = lower(canvas, Calls(app, "parent", "root"), options=options)
    assert isinstance(graph, LoweredGraph)
    return [template for chunk in to_chunks(graph, b"g" * 12) for template in chunk.templates]


def headers(template: graph_pb2.Template) -> Any:
    return codec.decode(template.headers)


# --- time limits ------------------------------------------------------------------------------------------


def test_time_limits_of_task_and_call() -> None:
    (template,) = templates(limited.s())
    assert (template.time_limit.seconds, template.soft_time_limit.seconds) == (30, 20)
    (template,) = templates(limited.s(), time_limit=2.5, soft_time_limit=timedelta(seconds=1))
    assert (template.time_limit.ToTimedelta(), template.soft_time_limit.seconds) == (timedelta(seconds=2.5), 1)
    (template,) = templates(noop.s())
    assert not template.HasField("time_limit")


def test_a_soft_limit_of_a_setting_never_stands_above_a_hard_one() -> None:
    own = Grpcflow("own", set_as_current=False, task_time_limit=60, task_soft_time_limit=50)
    template = Calls(own).template("f")
    assert (template.time_limit, template.soft_time_limit) == (timedelta(seconds=60), timedelta(seconds=50))
    assert Calls(own).template("f", {"time_limit": 10}).soft_time_limit is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_limit": 1, "soft_time_limit": 2}, "soft_time_limit of 2 s must be at most the time_limit of 1 s"),
        ({"soft_time_limit": 31}, "soft_time_limit of 31 s"),
        ({"time_limit": 0}, "above zero"),
        ({"soft_time_limit": -1}, "above zero"),
        ({"time_limit": "soon"}, "number of seconds"),
    ],
)
def test_limits_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        templates(limited.s(), **options)


# --- times ------------------------------------------------------------------------------------------------


def test_countdown_and_eta_together_are_refused() -> None:
    with pytest.raises(ValueError, match="name two starts"):
        templates(noop.s(), countdown=5, eta=WHEN)
    with pytest.raises(ValueError, match="name two starts"):
        templates(noop.signature(countdown=5, eta=WHEN))


def test_a_later_start_takes_the_place_of_an_earlier_one() -> None:
    (template,) = templates(noop.signature(eta=WHEN), countdown=5)
    assert template.countdown.seconds == 5
    assert not template.HasField("eta")
    (template,) = templates(group(noop.signature(countdown=5)).set(eta=WHEN))
    assert template.HasField("eta")
    assert not template.HasField("countdown")
    assert noop.signature(eta=WHEN).set(countdown=1).options == {"countdown": 1}
    assert noop.signature(countdown=1).clone(eta=WHEN).options == {"eta": WHEN}


# --- what travels in headers ------------------------------------------------------------------------------


def test_shadow_reply_to_and_headers_travel_together() -> None:
    (template,) = templates(noop.signature(headers={"a": 1, "b": 1}), headers={"b": 2}, shadow="other", reply_to="me")
    assert headers(template) == {"a": 1, "b": 2, "shadow": "other", "reply_to": "me"}


def test_the_header_of_map_belongs_to_map() -> None:
    with pytest.raises(ValueError, match="'via' belongs to map"):
        templates(noop.s(), headers={"via": "map"})


def test_stamps_travel_as_text_for_revoking_and_as_values_for_the_task() -> None:
    (template,) = templates(noop.s(), stamped_headers=["user", "nums"], user="ann", nums=[1, 2.5])
    assert [(stamp.name, list(stamp.values)) for stamp in template.stamps] == [
        ("user", ["ann"]),
        ("nums", ["1", "2.5"]),
    ]
    assert headers(template) == {"stamps": {"user": ["ann"], "nums": [1, 2.5]}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stamped_headers": ["queue"], "queue": "q"}, "cannot be called 'queue'"),
        ({"stamped_headers": ["gone"]}, "there is no value for it"),
        ({"stamped_headers": ["s"], "s": "x" * 256}, "over 255 bytes"),
        ({"stamped_headers": ["s" * 256], "s" * 256: 1}, "over 255 bytes"),
    ],
)
def test_stamps_that_cannot_travel_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        templates(noop.s(), **options)


# --- ids and names ----------------------------------------------------------------------------------------


def test_root_and_parent_ids_hold_for_the_whole_canvas() -> None:
    canvas = chord([noop.s(1), chain(noop.s(2), noop.signature((3,), root_id="own"))], noop.s())
    found = templates(canvas, root_id="r", parent_id="p")
    assert {(template.root_id, template.parent_id) for template in found} == {("r", "p"), ("own", "p")}
    assert [(template.root_id, template.parent_id) for template in templates(noop.s())] == [("root", "parent")]


def test_route_name_is_what_the_route_is_chosen_by() -> None:
    (template,) = templates(noop.s(), route_name="elsewhere")
    assert (template.task, template.queue) == ("noop", "far")


def test_replacements_above_a_call_are_counted() -> None:
    assert templates(noop.s(), replaced_task_nesting=3)[0].replaced_nesting == 3


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("exchange", "name the queue with queue="),
        ("exchange_type", "name the queue with queue="),
        ("routing_key", "name the queue with queue="),
        ("delivery_mode", "kept on disk"),
        ("producer", "connection of its app"),
        ("connection", "connection of its app"),
        ("chain", r"a \| b"),
        ("chord", r"chord\(header, body\)"),
        ("group_id", r"group\(\.\.\.\)"),
        ("group_index", r"group\(\.\.\.\)"),
        ("interval", "nothing polls"),
        ("result_cls", "another object of its id"),
        ("rate_limit", r"give it to @app.task\(rate_limit=\.\.\.\)"),
        ("countdwn", "did you mean 'countdown'"),
        ("xyzzy", "there are acks_late"),
    ],
)
def test_an_option_without_a_place_here_says_what_to_use(option: str, message: str) -> None:
    options: dict[str, Any] = {option: 1}
    for given in (noop.s().set(**options), group(noop.s()).set(**options)):
        with pytest.raises(TypeError, match=message):
            templates(given)


def test_none_is_no_option() -> None:
    assert templates(noop.signature(exchange=None, group_id=None), chord=None, countdown=None) == templates(noop.s())


def test_serializer_and_compression_are_one_content_type() -> None:
    canvas = noop.signature(("x" * 5_000,), compression="gzip")
    (template,) = templates(canvas)
    assert template.content_type == "application/json+gzip"
    graph = lower(canvas, Calls(app))
    assert graph is not None
    (payload,) = graph.runs[0].payloads
    assert len(payload) < 500
    assert codec.decode_call(payload, template.content_type) == (["x" * 5_000], {})
    own = Grpcflow("packed", set_as_current=False, task_compression="zlib")
    assert Calls(own).template("f", {"serializer": "msgpack"}).content_type == "application/msgpack+zlib"
    with pytest.raises(errors.ContentDisallowed):
        templates(noop.s(), compression="squeeze")


def test_calls_under_another_parent_are_of_the_same_class_and_priority() -> None:
    class Mine(Calls):
        pass

    calls = Mine(app, "p", "r", 7)
    assert calls.under(None, None) is calls
    under = calls.under("other", None)
    assert type(under) is Mine
    made = under.template("noop")
    assert (made.parent_id, made.root_id, made.priority) == ("other", "r", 7)
    assert calls.template("noop").parent_id == "p"


def test_members_that_differ_in_their_countdowns_only_share_the_work_of_a_template(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    real = Calls.template

    def counted(self: Calls, name: str, *args: Any, **kwargs: Any) -> TemplateSpec:
        made.append(name)
        return real(self, name, *args, **kwargs)

    monkeypatch.setattr(Calls, "template", counted)
    graph = lower(group(noop.signature(queue="q", priority=i % 2) for i in range(1_000)).skew(0, step=0.5), Calls(app))
    assert graph is not None
    assert len(made) == 2
    assert len(graph.templates) == 1_000
    countdowns = [template.countdown for template in graph.templates]
    assert countdowns == [None, *(timedelta(seconds=place / 2) for place in range(1, 1_000))]
    assert [template.priority for template in graph.templates] == [place % 2 for place in range(1_000)]
    assert {template.queue for template in graph.templates} == {"q"}
    assert graph.templates[1] == real(Calls(app), noop.name, {"queue": "q", "priority": 1, "countdown": 0.5})


def test_a_countdown_beside_another_start_is_refused_also_in_a_group() -> None:
    with pytest.raises(ValueError, match="name two starts"):
        lower(
            group(noop.signature(eta=datetime(2030, 1, 1, tzinfo=UTC), countdown=place) for place in range(1, 3)),
            Calls(app),
        )


def test_what_a_template_is_tied_by_is_not_that_of_another_countdown() -> None:
    plain = TemplateSpec("t")
    assert not plain.is_tied
    late = plain.delayed(timedelta(seconds=1))
    assert late.is_tied
    assert not late.delayed(None).is_tied
