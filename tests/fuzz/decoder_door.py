"""What reads the disk: every record, the frames of events, the codecs' bytes that a child or a peer sent.

A record that is damaged may be refused with one of `REFUSALS` and with nothing else, in little time and memory.
"""

from __future__ import annotations

import contextlib
import inspect
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.fuzz.judging import Finding, judged
from tests.fuzz.making import bent, junk, number, text

from grpcflow_coordinator import event_frames
from grpcflow_coordinator.core import model, planning, presence
from grpcflow_coordinator.core.ticks import Times
from grpcflow_coordinator.happenings import Happening
from grpcflow_coordinator.storage import formats, journal, schedule_formats
from grpcflow_coordinator.storage.contract import Batch, StoreDamaged, StoreFailed

#: What a reader of records may raise where the bytes are none of ours.
REFUSALS: Final = (formats.UnknownVersion, StoreDamaged, *formats.DAMAGED)

#: Length of a journal here.
_JOURNAL_BYTES: Final = 64 * 4096

_GRAPH: Final = b"\x01\x9b\x76\xda\xa8\x00\x70\x00\x80\x00\x00\x01"
_RUN: Final = model.Run(0, 2, 0, (model.Edge(0, model.EdgeMode(1), model.FailureMode(1)),), (3,), "own", ((0, 2),))
_ROOT: Final = model.Graph(_GRAPH, 3, (model.Template("t", "q", stamps=(("a", ("b",)),)),), 5)
_PLAN: Final = planning.Plan("n", Times("crontab", ("*",) * 5), _ROOT, ((_RUN, [b"1", b"2"]),), "allow")
_FAILURE: Final = model.Failure("E", "m", "r", "o", b"raw", model.Failure("C", "m"))
_HAPPENING: Final = Happening(1, 2, _GRAPH, (1, 2, 5), "w", "d", "y", b"{}", "t", "q", "own")


def _records() -> Iterator[tuple[str, Callable[[bytes], Any], bytes]]:
    """Yields each reader with bytes that it reads."""
    f = formats
    facts = presence.SessionFacts(b"s" * 16, "w", ("q",), frozenset({"t"}))
    written: dict[str, bytes] = {
        "number": f.write_number(2**40),
        "tally": f.write_tally(model.Tally(5, 1, 2, 3, 4)),
        "graph": f.write_graph(_ROOT, [(f.run_head(_RUN), [b"1", b"2"])]),
        "inline": f.write_graph(_ROOT, [(f.run_head(_RUN), [b"1", b"2"])]),
        "run": f.write_run(_RUN, [b"1", b"2"]),
        "payloads": f.write_run(_RUN, [b"1", b"2"]),
        "outcome": f.write_outcome(model.Outcome(model.NodeState.FAILURE, 5, failure=_FAILURE, took_ms=4)),
        "progress": f.write_progress(model.Progress(1, 2, failure=_FAILURE)),
        "job": f.write_job(model.Job(1, graphs=(_GRAPH,))),
        "name": f.write_name("n"),
        "item": f.write_item(b"1", ""),
        "saved": f.write_saved("own", b"{}", 5),
        "session": f.write_session(facts),
        "lane": f.write_lane(f.Lane("q", "t", "f", "k", 1)),
        "held": f.write_held(model.Held(_GRAPH + b"\0\0\0\0", 5, True)),
        "retention": f.write_retention("task", "t", model.Retention()),
        "limit": f.write_limit("task", "t", presence.Limit(1, 2, 3)),
    }
    given: dict[str, tuple[Any, ...]] = {"graph": (_GRAPH,), "job": (1,), "session": (b"s" * 16,)}
    for name, reader in inspect.getmembers(formats, inspect.isfunction):
        what = name.removeprefix("read_")
        if name.startswith("read_") and what != "run_head":
            yield name, _with(reader, given.get(what, ())), written.get(what, b"")
    yield "read_plan", schedule_formats.read_plan, schedule_formats.write_plan(_PLAN)
    schedule = planning.Schedule(_PLAN, 1, 1)
    yield "read_schedule", _with(schedule_formats.read_schedule, (_PLAN,)), schedule_formats.write_schedule(schedule)


def _with(reader: Callable[..., Any], given: tuple[Any, ...]) -> Callable[[bytes], Any]:
    return lambda data: reader(*given, data)


READERS: Final = tuple(_records())


def packed(rng: random.Random, depth: int = 0) -> Any:
    """Returns anything that MessagePack can say."""
    match rng.randrange(9 if depth < 4 else 5):
        case 0:
            return number(rng)
        case 1:
            return text(rng)
        case 2:
            return junk(rng)
        case 3:
            return rng.choice((None, True, False, 1.5, float("nan")))
        case 4:
            return 1
        case 5:
            return {text(rng): packed(rng, depth + 1) for _ in range(rng.randrange(3))}
        case _:
            return [packed(rng, depth + 1) for _ in range(rng.randrange(12))]


def _changed(rng: random.Random, value: Any) -> Any:
    """Returns what was read from a record with one part of it changed."""
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]
    return packed(rng, 3)


def _input(rng: random.Random, good: bytes) -> bytes:
    """Returns bytes for a reader."""
    way = rng.random()
    if way < 0.1:
        return junk(rng)
    if way < 0.25:
        return msgspec.msgpack.encode([1, *(packed(rng) for _ in range(rng.randrange(20)))])
    if way < 0.6:
        try:
            return msgspec.msgpack.encode(_changed(rng, msgspec.msgpack.decode(good)))
        except msgspec.DecodeError:
            pass  # the record of a run has a head of its own
    return bent(rng, good)


def run(seed: int, first: int, count: int) -> None:
    """Give readers so many inputs.

    Raises:
        Finding: one of them did what none may.
    """
    rng = random.Random(f"{seed} decoders {first}")
    for _ in range(count):
        way = rng.random()
        if way < 0.25:
            (_try_frame if way < 0.15 else _try_journal)(rng)
            continue
        name, reader, good = rng.choice(READERS)
        data = _input(rng, good)
        with judged(f"{name} of {data[:2_000].hex()}"), contextlib.suppress(*REFUSALS):
            reader(data)


def _try_journal(rng: random.Random) -> None:
    """Read a journal that is bent, or whose last frame says something else and has the right sum."""
    mark = journal.Mark(b"12345678", rng.randrange(3), _JOURNAL_BYTES)
    batches = [Batch({junk(rng)[:500] or b"k": junk(rng)}, {b"gone"}) for _ in range(rng.randrange(1, 4))]
    frames = [journal.frame(mark, place, 7, batch) for place, batch in enumerate(batches)]
    if rng.random() < 0.3:
        body = bent(rng, frames[-1][journal._HEAD_BYTES :])
        head = journal._HEAD.pack(b"gfj1", len(body), *mark[:2], len(frames) - 1, 7)
        frames[-1] = head + journal._SUM.pack(zlib.crc32(body, zlib.crc32(head))) + body
    data = b"".join(one.ljust(-(-len(one) // 4096) * 4096, b"\0") for one in frames)
    data = (bent(rng, data) if rng.random() < 0.7 else data).ljust(_JOURNAL_BYTES, b"\0")
    with judged(f"a journal {data.hex()[:2_000]}"), contextlib.suppress(StoreDamaged, StoreFailed):
        found = journal.frames_in(data, mark, Path("journal"))
        sure = found.batches[:-1]  # the last one may be the one that was changed with its sum
        if sure != batches[: len(sure)]:
            raise Finding("a journal was read as something else")
    with judged("a mark"), contextlib.suppress(StoreDamaged):
        journal.Mark.read(bent(rng, mark.encoded()))


def _try_frame(rng: random.Random) -> None:
    """Read a frame of events whose body is changed and whose sum is right: it is read, or it is damaged."""
    frame = next(event_frames.frames(3, [_HAPPENING] * rng.randrange(1, 4)))[1]
    head = event_frames.read_head(bent(rng, frame)[: event_frames.HEAD_BYTES]) or event_frames.read_head(frame)
    assert head is not None
    body = bent(rng, frame[event_frames.HEAD_BYTES :])
    if rng.random() < 0.5:
        entry = [
            1,
            2,
            _GRAPH,
            [number(rng, 0, 2**40) for _ in range(rng.randrange(6))],
            "w",
            "d",
            "y",
            b"",
            "t",
            "q",
            "",
        ]
        body = msgspec.msgpack.encode([entry])
    summed = event_frames._SUMMED.pack(head.first, head.events, head.time_ms)
    if rng.random() < 0.9:
        head = head._replace(length=len(body), sum=zlib.crc32(body, zlib.crc32(summed)))
    with judged(f"a frame {head} of {body.hex()}"):
        event_frames.read_body(head, body)
