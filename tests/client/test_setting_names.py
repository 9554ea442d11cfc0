"""Names of settings that do not exist: each says what is there instead, and what is nobody's business passes."""

import pytest

from grpcflow.conf import Settings
from grpcflow.configuration import read_source
from grpcflow.errors import ImproperlyConfigured
from grpcflow.setting_names import ELSEWHERE, new_name
from grpcflow.setting_values import TESTS


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_a_setting_that_only_celery_has_is_refused_with_what_to_use_instead(name: str) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        Settings().update({name: None})
    assert str(raised.value) == f"grpcflow has no setting {name!r}: {ELSEWHERE[name]}."
    assert raised.value.code == "UNKNOWN_SETTING"


@pytest.mark.parametrize("written", ["broker_ur", "Broker_Url", "brokerurl"])
def test_a_slip_in_such_a_name_is_answered_as_the_name_would_be(written: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="nor Celery's 'broker_url': there is no broker"):
        Settings().update({written: "redis://"})


def test_a_module_may_hold_names_of_its_own_that_only_begin_like_a_setting() -> None:
    class Config:
        redis_url = "redis://"
        cache_folder = "/var/cache"
        task_default_queue = "slow"

    assert read_source(Config) == {"task_default_queue": "slow"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CELERY_RESULT_BACKEND", "result_backend"),
        ("CELERY_ALWAYS_EAGER", "task_always_eager"),
        ("CELERY_TASK_RESULT_EXPIRES", "result_expires"),
        ("CELERYD_PREFETCH_MULTIPLIER", "worker_prefetch_multiplier"),
        ("CELERYD_TASK_TIME_LIMIT", "task_time_limit"),
        ("CELERY_SEND_EVENTS", "worker_send_task_events"),
        ("CELERYBEAT_SCHEDULE", "beat_schedule"),
        ("BROKER_URL", "broker_url"),
        ("CELERY_MESSAGE_COMPRESSION", "task_compression"),
        ("CELERY_CHRISTMAS", "christmas"),
    ],
)
def test_an_upper_case_name_leads_to_the_name_of_today(old: str, new: str) -> None:
    assert new_name(old, tuple(TESTS)) == new


@pytest.mark.parametrize(
    ("old", "says"),
    [
        ("CELERY_ACKS_LATE", "is an old name of 'task_acks_late'"),
        ("CELERYD_CONCURRENCY", "no setting 'worker_concurrency': it is the option -c"),
        ("BROKER_URL", "no setting 'broker_url': there is no broker"),
        ("CELERY_CHRISTMAS", "no setting 'christmas'"),
    ],
)
def test_an_upper_case_name_in_a_mapping_is_answered_by_the_name_of_today(old: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        Settings().update({old: True})
