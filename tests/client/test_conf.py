"""Settings: names and values are checked when they are set; routes find their tasks."""

import re
from datetime import UTC

import pytest

from grpcflow.conf import COORDINATOR_VARIABLE, DEFAULT_COORDINATOR, Settings
from grpcflow.errors import ImproperlyConfigured
from grpcflow.routes import Router


def test_update_sets_many() -> None:
    conf = Settings()
    conf.update({"task_default_queue": "slow"}, task_acks_late=False)
    assert (conf.task_default_queue, conf.task_acks_late, conf["task_acks_late"]) == ("slow", False, False)


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'task_route'.*Did you mean 'task_routes'") as raised:
        Settings().update(task_route={})
    assert raised.value.code == "UNKNOWN_SETTING"


def test_an_attribute_that_does_not_exist_cannot_be_set_or_read() -> None:
    conf = Settings()
    with pytest.raises(ImproperlyConfigured, match="timezone"):
        conf.time_zone = "UTC"
    with pytest.raises(AttributeError, match="timezone"):
        _ = conf.time_zone
    with pytest.raises(KeyError, match="timezone"):
        _ = conf["time_zone"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broker_url", "there is no broker"),
        ("result_backend", "the coordinator keeps the results"),
        ("result_chord_expires", "set result_expires"),
        ("task_allow_error_cb_on_chord_header", r"on_error\(\)"),
        ("worker_prefetch_multiplier", "adapts"),
    ],
)
def test_a_setting_of_celery_that_has_no_place_here_says_where_it_went(name: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        Settings().update({name: "x"})


def test_update_sets_all_or_nothing() -> None:
    conf = Settings()
    with pytest.raises(ImproperlyConfigured):
        conf.update(task_default_queue="slow", timezone="Nowhere/Town")
    assert conf.task_default_queue == "default"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coordinator", 5),
        ("coordinator", []),
        ("include", "proj.tasks"),
        ("task_serializer", "xml"),
        ("accept_content", "json"),
        ("accept_content", ["xml"]),
        ("timezone", "Nowhere/Town"),
        ("task_routes", ["a"]),
        ("task_routes", {"a": {"exchange": "x"}}),
        ("task_routes", {"a": 5}),
        ("task_default_queue", ""),
        ("task_default_priority", 10),
        ("task_default_priority", True),
        ("task_acks_late", 1),
        ("task_max_deliveries", 0),
        ("result_extended", False),
        ("task_compression", "zip"),
        ("task_time_limit", 0),
        ("task_annotations", 5),
        ("task_publish_retry_policy", {"tries": 5}),
        ("task_publish_retry_policy", {"max_retries": -1}),
    ],
)
def test_a_wrong_value_is_refused_when_it_is_set(name: str, value: object) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{name}|task_routes"):
        Settings().update({name: value})


def test_the_address_is_that_of_the_app_then_of_the_environment_then_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(COORDINATOR_VARIABLE, raising=False)
    conf = Settings()
    assert list(conf.addresses) == [DEFAULT_COORDINATOR]
    monkeypatch.setenv(COORDINATOR_VARIABLE, "one:1, two:2")
    assert list(conf.addresses) == ["one:1", "two:2"]
    conf.coordinator = ["three:3"]
    assert list(conf.addresses) == ["three:3"]


def test_the_time_zone() -> None:
    conf = Settings()
    assert conf.tzinfo is UTC
    conf.timezone = "Europe/Paris"
    assert str(conf.tzinfo) == "Europe/Paris"


def test_routes_exact_names_win_over_patterns_and_patterns_hold_in_order() -> None:
    router = Router(
        {"feed.*": "feeds", re.compile(r"(video|image)\..*"): {"queue": "media", "priority": 7}, "feed.now": "fast"}
    )
    assert router.route("feed.now") == {"queue": "fast"}
    assert router.route("feed.later") == {"queue": "feeds"}
    assert router.route("video.cut") == {"queue": "media", "priority": 7}
    assert router.route("other") == {}


def test_new_routes_replace_the_old_ones() -> None:
    conf = Settings()
    assert conf.router.route("a") == {}
    before = conf.version
    conf.task_routes = {"a": "q"}
    assert conf.router.route("a") == {"queue": "q"}
    assert conf.version > before


def test_an_address_without_a_port_is_told_how_to_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match="'green' has no port: write green:50551"):
        _ = Settings(coordinator=["blue:1", "green"]).addresses
    monkeypatch.setenv("GRPCFLOW_COORDINATOR", "green")
    with pytest.raises(ImproperlyConfigured, match="GRPCFLOW_COORDINATOR"):
        _ = Settings().addresses
    assert Settings(coordinator="unix:/run/grpcflow, [::1]:7").addresses == ("unix:/run/grpcflow", "[::1]:7")
