"""The settings of all three: from options, environment, files and code. Each is taken, or refused with its name."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.fuzz.judging import Finding, judged
from tests.fuzz.making import bent, junk, number, text

from grpcflow.conf import Settings
from grpcflow.configuration import read_source
from grpcflow.errors import ImproperlyConfigured
from grpcflow.setting_values import TESTS
from grpcflow_coordinator.config import ENVIRONMENT_PREFIX, Config, load
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_worker.config import POOLS, build_config
from grpcflow_worker.pool_options import build_pool_options
from grpcflow_worker.service_options import build_service_options
from grpcflow_worker.subscription import ConfigError

_TEXTS: Final = (
    *("127.0.0.1:0", "0.0.0.0:1", "[::1]:50551", "::1", "h:99999", "h:٣", "1GiB", "1e9G", "999999999999T", "10/s"),
    *("true", "yes", "0", "1", "nan", "inf", "-1", "1e999", "json", "msgpack", "UTC", "Europe/Berlin", "a:3,b", "%h"),
)

#: A file that holds what all files may hold.
_FILE: Final = b'listen = "127.0.0.1:0"\nmemory = true\nresult_expires = 60.0\ngrace = 1\nevents_on_disk = "1GiB"\n'


def anything(rng: random.Random, depth: int = 0) -> Any:
    """Returns a value of any kind that a setting may be given by mistake."""
    match rng.randrange(11 if depth < 3 else 6):
        case 0 | 1:
            return rng.choice(_TEXTS)
        case 2:
            return text(rng)
        case 3:
            return number(rng)
        case 4:
            return rng.choice((0.5, -1.0, float("nan"), float("inf"), True, False, None))
        case 5:
            return rng.choice((timedelta(seconds=5), timedelta(days=-1), timedelta.max, b"x", object(), len, str))
        case 6 | 7:
            return {
                rng.choice((text(rng), "queue", "t.*", "*")): anything(rng, depth + 1) for _ in range(rng.randrange(3))
            }
        case 8:
            return tuple(anything(rng, depth + 1) for _ in range(rng.randrange(3)))
        case _:
            return [anything(rng, depth + 1) for _ in range(rng.randrange(3))]


def _coordinator(rng: random.Random, folder: Path) -> None:
    names = Config.__struct_fields__
    options = {rng.choice(names): rng.choice((anything(rng), rng.choice(_TEXTS))) for _ in range(rng.randrange(3))}
    environment = {ENVIRONMENT_PREFIX + rng.choice(names).upper(): _word(rng) for _ in range(rng.randrange(3))}
    file = None
    if rng.random() < 0.4:
        file = folder / "settings.toml"
        file.write_bytes(bent(rng, _FILE) if rng.random() < 0.8 else junk(rng))
    elif rng.random() < 0.1:
        file = folder / rng.choice((".", "none", "a\0b", "x" * 300))
    shown = file.read_bytes() if file is not None and file.name == "settings.toml" else file
    with judged(f"{options} {environment} {shown!r}"):
        try:
            made = load(options, file, {"HOME": str(folder), **environment})
        except ConfigurationError as error:
            _check_words(error)
            return
        made.core_limits()
        msgspec.json.encode(made)


def _word(rng: random.Random) -> str:
    return rng.choice(_TEXTS) if rng.random() < 0.7 else text(rng).replace("\0", "")


def _count(rng: random.Random) -> int | None:
    return rng.choice((None, None, number(rng), 0, 1, 2))


def _seconds(rng: random.Random) -> float | None:
    return rng.choice((None, None, 0.0, 1.0, -1.0, float("nan"), float("inf"), 1e300))


def _words(rng: random.Random) -> list[str]:
    return [_word(rng) for _ in range(rng.randrange(3))]


def _worker(rng: random.Random, _folder: Path) -> None:
    pool = rng.choice((*POOLS, text(rng)))
    service: dict[str, Any] = {"logfile": _word(rng), "pidfile": _word(rng), "label": _words(rng)}
    service |= {"drain_timeout": _seconds(rng), "heartbeat_interval": _seconds(rng)}
    given: dict[str, Any] = {"queues": _words(rng), "exclude_queues": _words(rng), "include": _words(rng)}
    given |= {"coordinator": rng.choice((None, _word(rng))), "log_level": _word(rng), "name": _word(rng)}
    given |= {"concurrency": _count(rng), "threads": _count(rng)}
    given |= {name: _seconds(rng) for name in ("time_limit", "soft_time_limit", "blocked_after")}
    children: dict[str, Any] = {"max_tasks_per_child": _count(rng), "max_memory_per_child": _count(rng)}
    children |= {"autoscale": rng.choice((None, "8,2", "2,8", _word(rng))), "autoscale_keepalive": _seconds(rng)}
    with judged(f"{pool} {given} {children} {service}"):
        try:
            config = build_config(app=None, pool=pool, **given, children=build_pool_options(pool=pool, **children))
            build_service_options(config.name, **service)
        except ConfigError as error:
            _check_words(error)


def _app(rng: random.Random, _folder: Path) -> None:
    names = [rng.choice(tuple(TESTS)) for _ in range(rng.choice((1, 1, 2)))]
    if rng.random() < 0.1:
        names.append(text(rng))
    wanted: Mapping[str, Any] = {name: anything(rng) for name in names}
    settings = Settings()
    before = settings.as_dict()
    namespace = rng.choice((None, None, "CELERY", text(rng)))
    with judged(f"{wanted} {namespace}"):
        try:
            read_source(wanted, namespace)
            settings.update(wanted)
        except ImproperlyConfigured as error:
            _check_words(error)
            if settings.as_dict() != before:
                raise Finding("it was refused and has changed the settings") from error
            return
        for name in names:
            _ = settings[name]


def _check_words(error: Exception) -> None:
    if not 15 <= len(str(error)) <= 8_000:
        raise Finding(f"refused with {str(error)[:200]!r}") from error


def run(seed: int, first: int, count: int) -> None:
    """Give so many settings.

    Raises:
        Finding: one of them did what none may.
    """
    rng = random.Random(f"{seed} settings {first}")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            rng.choice((_coordinator, _worker, _app))(rng, Path(folder))
