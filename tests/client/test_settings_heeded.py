"""Each setting of Celery 5.7 and each of ours is heeded, fixed, without effect or refused, and one of these only."""

import ast
import functools
from pathlib import Path

import pytest
from tests.client.fake_connection import FakeApp

import grpcflow
from grpcflow import codec
from grpcflow.conf import Settings
from grpcflow.connection import Settled
from grpcflow.errors import ContentDisallowed, ImproperlyConfigured
from grpcflow.setting_values import FIXED, TESTS, WITHOUT_EFFECT

CELERYS = {
    "": "accept_content result_accept_content enable_utc imports include timezone",
    "beat_": "cron_starting_deadline enable_remote_control max_loop_interval remote_control_max_tick_age schedule "
    "schedule_filename scheduler sync_every",
    "broker_": "channel_error_retry connection_max_retries connection_retry connection_retry_on_startup "
    "connection_timeout failover_strategy heartbeat heartbeat_checkrate host login_method "
    "native_delayed_delivery_queue_type password pool_acquire_timeout pool_limit port read_url transport "
    "transport_options url use_ssl user vhost write_url",
    "cache_": "backend backend_options",
    "cassandra_": "auth_kwargs auth_provider bundle_path entry_ttl keyspace options port read_consistency servers "
    "table write_consistency",
    "s3_": "access_key_id base_path bucket endpoint_url region secret_access_key",
    "azureblockblob_": "base_path connection_timeout container_name read_timeout retry_increment_base "
    "retry_initial_backoff_sec retry_max_attempts",
    "gcs_": "base_path bucket project ttl",
    "control_": "exchange queue_durable queue_exclusive queue_expires queue_ttl",
    "couchbase_": "backend_settings",
    "arangodb_": "backend_settings",
    "mongodb_": "backend_settings",
    "cosmosdbsql_": "collection_name consistency_level database_name max_retry_attempts max_retry_wait_time",
    "event_": "exchange queue_durable queue_exclusive queue_expires queue_prefix queue_ttl serializer",
    "redis_": "backend_use_ssl db host max_connections password port retry_on_timeout socket_connect_timeout "
    "socket_keepalive socket_timeout username",
    "result_": "backend backend_always_retry backend_base_sleep_between_retries_ms backend_max_retries "
    "backend_max_sleep_between_retries_ms backend_transport_options cache_max chord_expires chord_join_timeout "
    "chord_retry_interval compression exchange exchange_type expires extended failure_expires persistent serializer",
    "elasticsearch_": "max_retries retry_on_timeout save_meta_as_text timeout",
    "security_": "cert_store certificate digest key key_password",
    "database_": "create_tables_at_setup engine_callback engine_options short_lived_sessions table_names "
    "table_schemas url",
    "task_": "acks_late acks_on_failure acks_on_failure_or_timeout acks_on_timeout allow_error_cb_on_chord_header "
    "always_eager annotations compression create_missing_queue_exchange_type create_missing_queue_type "
    "create_missing_queues default_delivery_mode default_exchange default_exchange_type default_priority default_queue "
    "default_queue_type default_rate_limit default_routing_key eager_propagates ignore_result inherit_parent_priority "
    "protocol publish_retry publish_retry_policy queue_max_priority queues reject_on_worker_lost remote_tracebacks "
    "repr_maxlevels retry_on_worker_lost routes send_sent_event serializer soft_time_limit store_eager_result "
    "store_errors_even_if_ignored time_limit track_started",
    "worker_": "agent autoscaler cancel_long_running_tasks_on_connection_loss concurrency consumer "
    "deduplicate_successful_tasks detect_quorum_queues direct disable_prefetch disable_rate_limits "
    "enable_prefetch_count_reduction enable_remote_control enable_soft_shutdown_on_idle eta_task_limit "
    "hijack_root_logger log_color log_datefmt log_format lost_wait max_memory_per_child max_tasks_per_child pool "
    "pool_putlocks pool_restarts pool_start_method prefetch_multiplier proc_alive_timeout redirect_stdouts "
    "redirect_stdouts_level send_task_events soft_shutdown_timeout state_db task_log_datefmt task_log_format timer "
    "timer_precision",
}
ALL_OF_CELERY = {prefix + name for prefix, names in CELERYS.items() for name in names.split()}

OURS = frozenset(Settings())

#: Where settings are read that others have turned into something: what is made of them is read elsewhere.
OWN_FILE = "conf.py"


def read_names(path: Path) -> set[str]:
    """The attributes that a file reads of the settings, and the texts it asks them for."""
    of_settings = "self" if path.name == OWN_FILE else "conf"
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            holder = node.value
            if of_settings in (getattr(holder, "attr", None), getattr(holder, "id", None)):
                found.add(node.attr)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get" and node.args:
            found.add(str(getattr(node.args[0], "value", "")))
    return found


@functools.cache
def heeded() -> set[str]:
    """The settings that some code of the client or of the worker reads; found when a test asks, not when collected."""
    import grpcflow_worker

    found: set[str] = set()
    for package in (grpcflow, grpcflow_worker):
        assert package.__file__ is not None
        for path in Path(package.__file__).parent.rglob("*.py"):
            found |= read_names(path)
    return found & OURS


def is_refused(name: str) -> bool:
    """True where nobody can set it, and the error says why."""
    try:
        Settings().update({name: "x"})
    except ImproperlyConfigured as error:
        return error.code == "UNKNOWN_SETTING" and f"no setting {name!r}: " in str(error)
    return False


def test_the_list_of_celerys_settings_is_whole() -> None:
    assert len(ALL_OF_CELERY) == 207


@pytest.mark.parametrize("name", sorted(ALL_OF_CELERY | OURS))
def test_each_setting_is_in_exactly_one_class(name: str) -> None:
    classes = {
        "heeded": name in heeded(),
        "fixed": name in FIXED,
        "without effect": name in WITHOUT_EFFECT,
        "refused": is_refused(name),
    }
    assert sum(classes.values()) == 1, classes
    assert (name in TESTS) is (name in OURS) is not classes["refused"]


def test_a_fixed_setting_takes_its_value_and_no_other_and_says_why() -> None:
    for name, value in FIXED.items():
        Settings().update({name: value})
        assert getattr(Settings(), name) is value
        with pytest.raises(ImproperlyConfigured, match=f"{name}.*{value}: "):
            Settings().update({name: not value})


def test_the_page_of_settings_names_them_all_and_those_alone() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    table = page.split("| setting | default | meaning |")[1].split("\n\n")[0]
    named = {part for row in table.splitlines()[2:] for part in row.split("|")[1].replace("`", "").split(", ")}
    assert {name.strip() for name in named} == OURS


def test_a_refused_setting_promises_no_option_that_the_worker_has_not() -> None:
    for name in ("worker_lost_wait", "worker_enable_soft_shutdown_on_idle", "worker_proc_alive_timeout"):
        with pytest.raises(ImproperlyConfigured) as refused:
            Settings().update({name: 5})
        assert "option" not in str(refused.value)


# --- what was accepted and not heeded ---------------------------------------------------------------------------------


def test_values_are_read_as_result_accept_content_says() -> None:
    app = FakeApp("heeded", set_as_current=False, result_accept_content=["json", "pickle"])
    packed = codec.encode({1, 2}, codec.content_type("pickle"))
    app.fake.settled["x"] = Settled("SUCCESS", data=packed, content_type=codec.content_type("pickle"))
    assert app.AsyncResult("x").get() == app.AsyncResult("x").result == {1, 2}
    assert app.ResultSet([app.AsyncResult("x")]).get() == [{1, 2}]
    app.conf.result_accept_content = ["msgpack"]
    for read in (app.AsyncResult("x").get, app.ResultSet([app.AsyncResult("x")]).get):
        with pytest.raises(ContentDisallowed):
            read()
    app.conf.update(result_accept_content=None, accept_content=["pickle"])
    assert app.AsyncResult("x").get() == {1, 2}
