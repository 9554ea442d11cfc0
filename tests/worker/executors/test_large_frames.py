"""Large frames come straight into their place, in whatever pieces and beside whatever else."""

import random
import socket

import pytest

from grpcflow_worker.executors.frames import CHUNK, PREFIX, FrameReader


def framed(*bodies: bytes) -> bytes:
    return b"".join(PREFIX.pack(len(body)) + body for body in bodies)


BODIES = (b"one", b"l" * (CHUNK + 1), b"", b"m" * (3 * CHUNK), b"two")


def test_frames_cut_anywhere_are_whole_again(seed: int) -> None:
    rng = random.Random(seed)
    stream = framed(*BODIES)
    for _ in range(30):
        cuts = sorted(rng.sample(range(len(stream)), rng.randint(1, 12)))
        reader = FrameReader()
        found: list[bytes | bytearray] = []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            found += reader.feed(stream[start:end])
        assert found == list(BODIES)


def test_frames_are_read_from_a_socket(seed: int) -> None:
    rng = random.Random(seed)
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        reader = FrameReader()
        found: list[bytes | bytearray] = []
        rest = memoryview(framed(*BODIES))
        while len(found) < len(BODIES):
            rest = rest[left.send(rest[: rng.choice([3, 5_000, 100_000])]) :] if rest else rest
            found += reader.read(right) or []
        assert found == list(BODIES)
        with pytest.raises(BlockingIOError):
            reader.read(right)


@pytest.mark.parametrize("begun", [b"", framed(b"x" * (2 * CHUNK))[: CHUNK + 100]])
def test_the_end_of_the_other_side_is_told(begun: bytes) -> None:
    left, right = socket.socketpair()
    with right:
        with left:
            left.setblocking(False)
            reader = FrameReader()
            sent = memoryview(begun)
            while sent:
                sent = sent[left.send(sent) :]
                assert reader.read(right) == []
        found = reader.read(right)
        while found == []:
            found = reader.read(right)
        assert found is None
