"""Settings that come from objects, modules and environment variables, and when they are read."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from grpcflow import Grpcflow
from grpcflow.conf import Settings
from grpcflow.errors import ImproperlyConfigured
from grpcflow.setting_names import unknown
from grpcflow.setting_values import TESTS


@pytest.fixture
def app() -> Grpcflow:
    return Grpcflow("conft", set_as_current=False)


def module(**held: Any) -> types.ModuleType:
    made = types.ModuleType("conft_settings")
    vars(made).update(held)
    return made


@pytest.mark.parametrize("kind", [lambda **held: held, module, lambda **held: type("C", (), held)])
def test_mappings_modules_and_classes_are_sources(app: Grpcflow, kind: Any) -> None:
    app.config_from_object(kind(task_default_queue="q", task_acks_late=False))
    assert (app.conf.task_default_queue, app.conf.task_acks_late) == ("q", False)


def test_a_module_is_named_imported_at_the_first_use_and_no_earlier(
    app: Grpcflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conft_named.py").write_text("import os\nfrom pathlib import Path\ntask_default_queue = 'named'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    app.config_from_object("conft_named")
    app.conf.update(task_acks_late=False)
    assert "conft_named" not in sys.modules
    assert app.conf.task_default_queue == "named"
    monkeypatch.delitem(sys.modules, "conft_named")


def test_what_the_program_sets_wins_over_the_source_and_that_over_defaults(app: Grpcflow) -> None:
    app.add_defaults({"task_default_queue": "default", "task_default_priority": 1, "timezone": "UTC"})
    app.add_defaults(lambda: {"task_time_limit": 9})
    app.config_from_object({"task_default_queue": "source", "task_default_priority": 2})
    app.conf.task_default_queue = "program"
    conf = app.conf
    assert (conf.task_default_queue, conf.task_default_priority, conf.task_time_limit) == ("program", 2, 9)
    app.config_from_object({"task_ignore_result": True})
    assert (conf.task_default_queue, conf.task_default_priority, conf.task_ignore_result) == ("program", 0, True)
    assert type(app.conf) is Settings
    assert "task_default_queue: 'program'" in conf.humanize()
    assert "task_track_started" not in conf.table()


def test_signals_of_the_configuration(app: Grpcflow) -> None:
    told: list[tuple[str, Any]] = []

    def configure(sender: Grpcflow, **_: Any) -> None:
        told.append(("before", sender))
        sender.conf.task_default_queue = "from receiver"

    def configured(source: Settings, **_: Any) -> None:
        told.append(("after", source.task_default_queue))

    app.on_configure.connect(configure)
    app.on_after_configure.connect(configured)
    assert told == []
    for _ in range(2):
        assert app.conf["task_default_queue"] == "from receiver"
    assert told == [("before", app), ("after", "from receiver")]


def test_a_namespace_is_a_start_of_names(app: Grpcflow) -> None:
    app.config_from_object(module(CELERY_TASK_DEFAULT_QUEUE="q", DEBUG=True, task_acks_late=False), namespace="CELERY")
    assert (app.conf.task_default_queue, app.conf.task_acks_late) == ("q", True)
    with pytest.raises(ImproperlyConfigured, match=r"CELERY_TASK_DEFALT_QUEUE.*'task_default_queue'"):
        app.config_from_object(module(CELERY_TASK_DEFALT_QUEUE="q"), namespace="CELERY", force=True)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("task_route", {}, "'task_routes'"),
        ("worker_speed", 5, "no setting 'worker_speed'"),
        ("broker_url", "redis://", "there is no broker"),
        ("time_zone", "UTC", "'timezone'"),
        ("CELERY_TASK_ROUTES", {}, "namespace='CELERY'"),
        ("BROKER_URL", "redis://", "old name.*there is no broker"),
        ("CELERY_ACKS_LATE", True, "write 'task_acks_late'"),
    ],
)
def test_a_name_in_a_module_that_was_meant_for_a_setting_is_refused(
    app: Grpcflow, name: str, value: Any, words: str
) -> None:
    app.config_from_object(module(**{name: value}))
    for _ in range(2):  # and again: nothing is half read
        with pytest.raises(ImproperlyConfigured, match=words):
            _ = app.conf.timezone


@pytest.mark.parametrize(
    ("source", "namespace"),
    [
        ({"CELERY_BROKER_URL": "redis://", "CELERY_TASK_TRACK_STARTED": True, "CELERY_RESULT_BACKEND": "x"}, "CELERY"),
        (module(broker_url="redis://", task_track_started=True, result_backend="x"), None),
        ({"broker_url": "redis://", "task_track_started": True, "result_backend": "x"}, None),
    ],
    ids=["namespace", "module", "mapping"],
)
def test_all_that_is_wrong_is_told_at_once(app: Grpcflow, source: Any, namespace: str | None) -> None:
    app.config_from_object(source, namespace=namespace)
    with pytest.raises(ImproperlyConfigured) as caught:
        _ = app.conf.timezone
    told = str(caught.value).splitlines()
    assert caught.value.code == "UNKNOWN_SETTING"
    assert ["broker_url" in told[0], "result_backend" in told[1], len(told)] == [True, True, 2]


def test_other_names_of_a_module_are_passed_over(app: Grpcflow) -> None:
    held = {"os": types, "helper": lambda: 1, "task_helper": lambda: 1, "Path": Path, "_task_x": 1, "names": [1]}
    app.config_from_object(module(**held, task_default_queue="q"))
    assert app.conf.task_default_queue == "q"


def test_a_mapping_is_taken_at_its_word(app: Grpcflow) -> None:
    with pytest.raises(ImproperlyConfigured, match="'names'"):
        app.config_from_object({"names": 1}, force=True)


def test_a_module_that_is_not_there(app: Grpcflow) -> None:
    app.config_from_object("conft_nowhere", silent=True)
    assert app.conf.task_default_queue == "default"
    with pytest.raises(ImproperlyConfigured, match="no module 'conft_nowhere'"):
        app.config_from_object("conft_nowhere")
    with pytest.raises(ImproperlyConfigured, match=r"without \.py"):
        app.config_from_object("conft_nowhere.py")


def test_what_a_configuration_raises_itself_is_never_passed_over(
    app: Grpcflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "conft_needs.py").write_text("import conft_missing_part\n")
    app.config_from_object("conft_needs", silent=True)
    with pytest.raises(ModuleNotFoundError, match="conft_missing_part"):
        _ = app.conf.timezone
    (tmp_path / "conft_wrong.py").write_text("task_default_queue = 'x'.nothing\n")
    app.config_from_object("conft_wrong")
    with pytest.raises(ImproperlyConfigured, match="reading the configuration failed"):
        _ = app.conf.timezone


def test_an_environment_variable_names_the_module(app: Grpcflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONFT", raising=False)
    assert not app.config_from_envvar("CONFT", silent=True)
    with pytest.raises(ImproperlyConfigured, match="CONFT is not set"):
        app.config_from_envvar("CONFT")
    monkeypatch.setitem(sys.modules, "conft_settings", module(task_default_queue="env"))
    monkeypatch.setenv("CONFT", "conft_settings")
    assert app.config_from_envvar("CONFT", force=True)
    assert app.conf.task_default_queue == "env"


def test_a_source_given_to_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Grpcflow("x", config_source={"CELERY_TIMEZONE": "UTC"}, namespace="CELERY", set_as_current=False)
    assert made.conf.timezone == "UTC"


def test_reading_as_a_mapping() -> None:
    conf = Settings()
    conf["timezone"] = "UTC"
    assert "timezone" in conf
    assert "time_zone" not in conf
    assert conf.get("timezone") == "UTC"
    assert conf.get("time_zone", 5) == 5
    assert list(conf) == list(conf.as_dict())


def test_local_time_needs_a_name() -> None:
    with pytest.raises(ImproperlyConfigured, match="set timezone"):
        _ = Settings(enable_utc=False).tzinfo


def test_every_setting_has_a_test_and_no_setting_is_told_to_be_elsewhere() -> None:
    assert set(TESTS) == set(Settings())
    for name in TESTS:
        assert "Did you mean" in unknown(name, tuple(TESTS)), name


def test_of_a_large_value_that_cannot_be_the_beginning_is_shown() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        Settings().update({"task_serializer": ["x" * 10_000], "task_default_queue": {"y" * 10_000: 1}})
    assert len(str(caught.value)) < 1_000
    assert "['xxx" in str(caught.value)
    assert "{'yyy" in str(caught.value)
