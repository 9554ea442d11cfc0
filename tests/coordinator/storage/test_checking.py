"""The check of a store: silent about a whole one, and every index entry that is taken away or added is named."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.coordinator.support.storied import tell

from grpcflow_coordinator.core.model import TimerKind
from grpcflow_coordinator.storage import formats, keys
from grpcflow_coordinator.storage.checking import check
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.findings import NAMES, Finding, pairs
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_coordinator.storage.overlay import Overlay
from grpcflow_coordinator.storage.records import Records

#: Kinds of which nothing else knows: who takes one away, or adds one, leaves no trace. The page of backups lists them.
ALONE = {
    keys.RATE: "how far a rate is used up",
    keys.SESSION: "who may come back",
    keys.JOB: "work under way",
    keys.FORGOTTEN: "a result is hidden",
    keys.CANCELLED: "a mark for people",
    keys.PAUSED: "a queue rests",
    keys.LIMIT: "what was set",
    keys.STRIPPED: "how far arguments are gone",
    keys.LOG: "what a task printed",
    keys.MARK: "told by what was handed out early only",
}

#: Kinds that other records name, or that other records must be named by.
LINKED = [kind for kind in NAMES if kind not in ALONE and kind not in (keys.STAGED, keys.RETENTION)]


#: Kinds whose keys have names in them.
ANY_LENGTH = (keys.META, keys.ALIAS, keys.SESSION)


@pytest.fixture(scope="module")
def told() -> tuple[MemoryStore, int]:
    """A store with a story, and its time."""
    bench = tell()
    return bench.store, bench.wall_ms


@pytest.fixture
def store(told: tuple[MemoryStore, int]) -> MemoryStore:
    """A copy of it, to be broken."""
    copy = MemoryStore()
    copy.commit(Batch(dict(told[0].scan(b"", b"\xff" * 8, 1 << 30))))
    return copy


@pytest.fixture
def now_ms(told: tuple[MemoryStore, int]) -> int:
    return told[1]


def named(store: MemoryStore, now_ms: int) -> set[Finding]:
    return set(check(store, now_ms))


def ids(kind: bytes) -> str:
    return NAMES[kind].replace(" ", "-")


def test_a_whole_store_is_whole_and_has_something_of_every_kind(store: MemoryStore, now_ms: int) -> None:
    assert not [finding for finding in check(store, now_ms) if finding.broken]
    counts = Counter(key[:4] for key in store.keys(b"", b"\xff" * 8, 1 << 30))
    missing = [NAMES[kind] for kind in NAMES if not counts[kind] and kind != keys.JOB]
    assert missing == []


@pytest.mark.parametrize("kind", LINKED, ids=ids)
def test_every_entry_that_is_taken_away_is_named(store: MemoryStore, now_ms: int, kind: bytes) -> None:
    before = named(store, now_ms)
    for key, value in _taken(store, kind):
        store.commit(Batch({}, {key}))
        new = named(store, now_ms) - before
        assert new, f"{NAMES[kind]} {key.hex()} is gone, and nobody sees it"
        store.commit(Batch({key: value}))


def _taken(store: MemoryStore, kind: bytes) -> list[tuple[bytes, bytes]]:
    """Return some records of a kind of which each, taken alone, is to be missed."""
    found = list(pairs(store, kind))
    if kind == keys.RUN:
        found = [pair for pair in found if store.get(keys.GRAPH + pair[0][4:16]) is not None]
    if kind == keys.PRUNE:
        found = [pair for pair in found if keys.split_timer(pair[0])[1] != TimerKind.ARGUMENTS]
        ended = Counter(keys.split_timer(key)[2] for key, _ in found)
        found = [pair for pair in found if ended[keys.split_timer(pair[0])[2]] == 1 and _has_ended(store, pair[0])]
    if kind == keys.ENTRY:
        dead = {key[4:]: formats.read_number(value) for key, value in pairs(store, keys.RETRIED)}
        found = [pair for pair in found if keys.split_entry(pair[0])[0] >= dead.get(pair[1][:12], 0)]
        found = [pair for pair in found if store.get(keys.OUTCOME + pair[1]) is None]
    if kind == keys.TIMER:
        found = [pair for pair in found if store.get(keys.OUTCOME + keys.split_timer(pair[0])[2]) is None]
    if kind == keys.ITEM:
        found = found[:-1]  # of the last one nobody knows that there was one more
    if kind == keys.KEPT:
        found = found[1:]  # of the oldest it cannot be told from one that ended before anything was set
    if kind == keys.RETRIED:
        entries = {(value[:12], keys.split_entry(key)[0]) for key, value in pairs(store, keys.ENTRY)}
        below = [(key, formats.read_number(value)) for key, value in found]
        dead_too = {key for key, bound in below for graph, at in entries if graph == key[4:] and at < bound}
        found = [pair for pair in found if pair[0] in dead_too]
    if kind == keys.STRAY:
        settled = [value for _, value in pairs(store, keys.ENTRY) if store.get(keys.OUTCOME + value) is not None]
        again = {key[4:] for key, _ in pairs(store, keys.RETRIED)}
        found = [pair for pair in found if pair[0][4:] in {value[:12] for value in settled} - again]
    if kind == keys.PROGRESS:
        found = [pair for pair in found if not _is_alone(pair)]
    if kind == keys.LANE:
        used = {key[4:8] for key, _ in pairs(store, keys.ENTRY)} | {key[4:8] for key, _ in pairs(store, keys.MARK)}
        found = [pair for pair in found if pair[0][4:8] in used]
    assert found, f"the story has no {NAMES[kind]} to take away"
    return [found[0], found[len(found) // 2], found[-1]]


def _has_ended(store: MemoryStore, timer: bytes) -> bool:
    kind, node = keys.split_timer(timer)[1:]
    return kind != TimerKind.PRUNE or store.get(keys.OUTCOME + node) is not None


def _is_alone(pair: tuple[bytes, bytes]) -> bool:
    """Return whether nothing else says that a node went through this."""
    progress = formats.read_progress(pair[1])
    return not (progress.replaced_by or progress.follows)


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind in keys.OF_A_GRAPH], ids=ids)
def test_what_belongs_to_a_graph_that_is_not_there_is_named(store: MemoryStore, now_ms: int, kind: bytes) -> None:
    before = named(store, now_ms)
    key, value = next(iter(pairs(store, kind)))
    stranger = kind + b"\x01" * 12 + key[16:]
    store.commit(Batch({stranger: value}))
    new = named(store, now_ms) - before
    if kind == keys.STAGED:
        return  # a graph of which nothing has come yet
    assert {finding.kind for finding in new} == {NAMES[kind]}
    assert all("not there" in finding.what for finding in new)


def _added(store: MemoryStore) -> Iterator[tuple[str, bytes, bytes]]:
    """Make one entry more of each index: what it is, its key and its value."""
    zero = formats.write_number(0)
    entry_key, entry = next((key, value) for key, value in pairs(store, keys.ENTRY))
    again = keys.entry(*keys.split_line(entry_key), 1 << 40, keys.split_entry(entry_key)[1])
    yield "queue entry", again, entry
    yield "lane", entry_key[:4] + b"\x00\x00\x00\x63" + entry_key[8:], entry
    yield "hand-out mark", keys.line(keys.MARK, 99, 0), zero
    waiting = next(key for key, _ in pairs(store, keys.LANE))
    yield "lane", waiting[:4] + b"\x00\x00\x00\x63", store.get(waiting) or b""
    ready = next((key, value) for key, value in pairs(store, keys.TIMER) if key[12] == TimerKind.READY)
    yield "timer", keys.timer(1 << 40, TimerKind.READY, ready[0][13:]), ready[1]
    yield "timer", keys.timer(1 << 40, TimerKind.READY, b"\x01" * 16), ready[1]
    yield "retention timer", keys.timer(1 << 40, TimerKind.SAVED, b"\x01" * 16), formats.write_number(1)
    yield "retention timer", keys.timer(1 << 40, 9, b"\x01" * 16), formats.write_number(1)
    yield "alias", keys.ALIAS + b"stranger", entry
    yield "stamp", keys.STAMP + b"\x01" * 16 + entry[:12], zero
    yield "failed task", keys.FAILED + entry, zero
    yield "waiting count", keys.WAITING + next(key for key, _ in pairs(store, keys.OUTCOME))[4:], zero
    yield "tally", keys.LIVE + entry[:12], zero
    yield "kept graph", keys.KEPT + b"\x01" * 16 + bytes(8) + entry[:12], zero
    yield "follower", keys.FOLLOWER + entry + entry, zero
    yield "unique key", keys.UNIQUE + b"\x01" * 16, next(value for _, value in pairs(store, keys.UNIQUE))
    yield "release cursor", keys.CURSOR + entry[:12], zero
    yield "added member", keys.EXTRA + b"\x01" * 16 + bytes(4), entry
    yield "schedule", keys.SCHEDULE + b"\x01" * 16, next(value for _, value in pairs(store, keys.SCHEDULE))
    yield "plan", keys.PLAN + b"\x01" * 16, next(value for _, value in pairs(store, keys.PLAN))
    yield "saved group", keys.SAVED + b"\x01" * 16, next(value for _, value in pairs(store, keys.SAVED))
    yield "limit", keys.LIMIT + b"\x01" * 16, next(value for _, value in pairs(store, keys.LIMIT))
    yield "paused queue", keys.PAUSED + b"\x01" * 16, next(value for _, value in pairs(store, keys.PAUSED))
    yield "retention", keys.RETENTION + b"\x01" * 16, next(value for _, value in pairs(store, keys.RETENTION))
    graph, graph_value = next(pair for pair in pairs(store, keys.GRAPH) if formats.read_graph(b"", pair[1])[1] is None)
    large = graph[4:]
    yield "run", keys.GRAPH + b"\x01" * 12, graph_value
    run = next(value for _, value in pairs(store, keys.RUN))
    behind = replace(formats.read_run(run), first=1 << 20)
    yield "run", keys.node(keys.RUN, large, 1 << 20), run  # which says that it is another one: nobody may follow it
    yield "run", keys.node(keys.RUN, large, 1 << 20), formats.write_run(behind, [b""])
    yield "queued settled nodes", keys.OUTCOME + entry, next(value for _, value in pairs(store, keys.OUTCOME))
    replaced = next(value for _, value in pairs(store, keys.PROGRESS) if formats.read_progress(value).replaced_by)
    yield "progress", keys.PROGRESS + entry, replaced
    yield "timer", keys.timer(1 << 40, TimerKind.EXPIRE, large + b"\x00\x00\xff\xff"), formats.write_number(1)
    yield "retention timer", keys.timer(1 << 40, TimerKind.PRUNE, entry), formats.write_number(1)
    yield "queue entry, timer or cursor", keys.RETRIED + entry[:12], formats.write_number(1 << 40)
    yield "staged graph", keys.STAGED + large, zero
    yield "forgotten result", keys.node(keys.FORGOTTEN, large, 1 << 20), zero
    yield "deleted arguments", keys.STRIPPED + large, formats.write_number(1 << 20)
    logged, logged_value = next(pair for pair in pairs(store, keys.LOG))
    yield "log", logged[:4] + entry[:12] + b"\x00\x00\xff\xff" + logged[20:], logged_value
    item, item_value = next(pair for pair in pairs(store, keys.ITEM))
    yield "item", item[:-4] + b"\x00\x00\x00\x07", item_value
    yield "unknown", keys.SPACE + b"\x7f" + b"x", zero


def test_every_entry_that_is_added_is_named(store: MemoryStore, now_ms: int) -> None:
    before = named(store, now_ms)
    seen: Counter[str] = Counter()
    for kind, key, value in list(_added(store)):
        old = store.get(key)
        assert old is None, f"{kind} {key.hex()} is there already"
        store.commit(Batch({key: value}))
        assert kind in {finding.kind for finding in named(store, now_ms) - before}, f"{kind} {key.hex()} is not named"
        store.commit(Batch({}, {key}))
        seen[kind] += 1
    assert len(seen) >= 25


def test_one_of_every_kind_is_added_but_of_those_that_stand_alone(store: MemoryStore) -> None:
    seen = {key[:4] for _, key, _ in _added(store)}
    assert set(NAMES) - seen == {keys.META, keys.SESSION, keys.JOB, keys.RATE, keys.CANCELLED, keys.STRAY}


@pytest.mark.parametrize("kind", [keys.LIVE, keys.WAITING], ids=ids)
def test_a_count_that_is_wrong_is_named(store: MemoryStore, now_ms: int, kind: bytes) -> None:
    before = named(store, now_ms)
    key, value = next(pair for pair in pairs(store, kind))
    fields = formats.read(value)
    store.commit(Batch({key: formats.encode((1, fields[1] + 1, *fields[2:]))}))
    assert NAMES[kind] in {finding.kind for finding in named(store, now_ms) - before}


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind not in ANY_LENGTH], ids=ids)
def test_a_key_that_is_too_short_or_too_long_is_named(store: MemoryStore, now_ms: int, kind: bytes) -> None:
    key, value = next(iter(pairs(store, kind)), (kind + bytes(8), formats.write_number(0)))
    for other in (kind, key[:-1], key + b"\x00"):
        store.commit(Batch({other: value}))
        assert {finding.kind for finding in check(store, now_ms) if finding.broken} == {NAMES[kind]}
        store.commit(Batch({}, {other}))


@pytest.mark.parametrize("kind", NAMES, ids=ids)
def test_a_record_that_cannot_be_read_is_named(store: MemoryStore, now_ms: int, kind: bytes) -> None:
    found = next(iter(pairs(store, kind)), (kind + bytes(8), b""))
    store.commit(Batch({found[0]: b"\xc1torn"}))
    broken = [finding for finding in check(store, now_ms) if finding.broken]
    assert [finding.kind for finding in broken] == [NAMES[kind]]
    assert found[0].hex() in broken[0].what


def test_what_is_being_deleted_need_not_agree(store: MemoryStore, now_ms: int) -> None:
    """The last steps of a deletion leave a graph without its nodes for a moment; that is no damage."""
    due = next(keys.split_timer(key)[2] for key, _ in pairs(store, keys.PRUNE) if _is_done(store, key))
    store.commit(Batch({keys.timer(now_ms - 5, TimerKind.PRUNE, due): formats.write_number(1)}, {keys.OUTCOME + due}))
    assert not [finding for finding in check(store, now_ms) if finding.broken and finding.kind != "kept graph"]


def test_what_is_left_of_a_graph_whose_root_went_is_no_damage(store: MemoryStore, now_ms: int) -> None:
    graph = next(keys.split_timer(key)[2][:12] for key, _ in pairs(store, keys.PRUNE) if _is_done(store, key))
    overlay = Overlay(store)
    assert Records(overlay).drop_graph(graph, 1) == 0, "there is more of it than one step deletes"
    store.commit(overlay.seal())
    assert any(key[4:16] == graph for kind in keys.OF_A_GRAPH for key, _ in pairs(store, kind))
    found = [finding for finding in check(store, now_ms) if finding.broken and finding.kind != "kept graph"]
    assert not [finding for finding in found if graph.hex() in finding.what]


def _is_done(store: MemoryStore, timer: bytes) -> bool:
    return keys.split_timer(timer)[1] == TimerKind.PRUNE and _has_ended(store, timer)
