"""The options of a worker: what is filled in, what is refused."""

from pathlib import Path

import pytest

from grpcflow_worker import config
from grpcflow_worker.config import build_config, cgroup_quota, parse_addresses
from grpcflow_worker.names import expand_name
from grpcflow_worker.subscription import ConfigError


def test_what_is_left_out_is_filled_in() -> None:
    made = build_config(host="host.example", count_cpus=lambda: 3)
    assert made.queues == {}, "as the app says"
    assert made.coordinators == ()
    assert made.name == "worker@host.example"
    assert (made.concurrency, made.pool, made.log_level) == (3, "prefork", "INFO")


def test_queues_come_from_both_spellings_once_each() -> None:
    assert build_config(queues=("a, b:2", "b,c", "")).queues == {"a": None, "b": None, "c": None}


def test_a_name_is_expanded() -> None:
    assert expand_name("w1@%h %n %d 100%%h", "box.example.org") == "w1@box.example.org box example.org 100%h"
    assert expand_name("w1", "box") == "w1"


@pytest.mark.parametrize("name", ["w%x", "w%", "", "w" * 256])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        expand_name(name, "box")


@pytest.mark.parametrize("text", ["box", "box:", ":1", "box:0", "box:65536", "box:port", ",", "a:1,b"])
def test_an_address_without_host_or_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_addresses(text)


def test_addresses_are_a_list_without_repeats() -> None:
    assert parse_addresses("a:1, [::1]:2,a:1") == ("a:1", "[::1]:2")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pool": "processes or so"}, "prefork"),
        ({"log_level": "LOUD"}, "DEBUG"),
        ({"concurrency": 0}, "at least 1"),
        ({"concurrency": 4, "pool": "solo"}, "one task at a time"),
        ({"queues": ("q" * 256,)}, "255"),
        ({"time_limit": 5, "soft_time_limit": 6}, "is above the time limit"),
        ({"threads": 4}, "for the asyncio pool only"),
        ({"blocked_after": 1.0, "pool": "threads"}, "--blocked-after is for the asyncio pool only"),
        ({"threads": 0, "pool": "asyncio"}, "at least 1"),
        ({"blocked_after": -1.0, "pool": "asyncio"}, "0 \\(never\\) or more"),
    ],
)
def test_a_wrong_option_is_refused_with_what_to_write(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_config(**options)  # type: ignore[arg-type]


def test_solo_runs_one_at_a_time() -> None:
    assert build_config(pool="solo", count_cpus=lambda: 8).concurrency == 1


def test_asyncio_has_places_that_do_not_depend_on_the_machine() -> None:
    made = build_config(pool="asyncio", count_cpus=lambda: 3)
    assert (made.concurrency, made.threads, made.blocked_after) == (100, 8, 0.1)
    made = build_config(pool="asyncio", concurrency=1000, threads=2, blocked_after=0)
    assert (made.concurrency, made.threads, made.blocked_after) == (1000, 2, 0)


def test_concurrency_follows_affinity_and_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for quota, cpus in ((None, 8), (1.5, 2), (0.1, 1), (64.0, 8)):
        monkeypatch.setattr(config, "cgroup_quota", lambda quota=quota: quota)
        assert config.available_cpus() == cpus


def test_the_smallest_quota_on_the_way_up_holds(tmp_path: Path) -> None:
    of_self = tmp_path / "self"
    of_self.write_text("0::/slice/unit\n")
    unit = tmp_path / "cg" / "slice" / "unit"
    unit.mkdir(parents=True)
    (unit / "cpu.max").write_text("400000 100000\n")
    (unit.parent / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "cg" / "cpu.max").write_text("max 100000\n")
    assert cgroup_quota(tmp_path / "cg", of_self) == 1.5


def test_a_container_sees_its_own_group_at_the_root(tmp_path: Path) -> None:
    of_self = tmp_path / "self"
    of_self.write_text("0::/docker/of/the/host\n")
    (tmp_path / "cg").mkdir()
    (tmp_path / "cg" / "cpu.max").write_text("50000 100000\n")
    assert cgroup_quota(tmp_path / "cg", of_self) == 0.5


def test_the_first_version_of_cgroups_is_read_too(tmp_path: Path) -> None:
    of_self = tmp_path / "self"
    of_self.write_text("5:memory:/x\n4:cpuacct,cpu:/x\n")
    folder = tmp_path / "cg" / "cpu" / "x"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("200000")
    (folder / "cpu.cfs_period_us").write_text("100000")
    (tmp_path / "cg" / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    assert cgroup_quota(tmp_path / "cg", of_self) == 2.0


def test_no_cgroups_mean_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path, tmp_path / "missing") is None
