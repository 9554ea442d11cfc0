"""How `grpcflow top` draws, without a screen: narrow text, columns that share a width, panes that share a height."""

import random

import pytest
from rich.cells import cell_len
from rich.style import Style

from grpcflow.cli.top.layout import shared
from grpcflow.cli.top.model import QueueLine
from grpcflow.cli.top.rows import QUEUE_COLUMNS, queue_row
from grpcflow.cli.top.table import Column, Row, drawn, widths
from grpcflow.cli.top.text import bar, clean, fit, number, per_second, short, spark


def test_what_a_terminal_obeys_is_no_text() -> None:
    assert clean("a\x1b[2J\x07b\nc\u202ed\x9b") == "a [2J b c d "
    assert clean("写真 [red]") == "写真 [red]"
    assert clean("x" * 5_000) == "x" * 999 + "…"


def test_text_is_cut_by_cells() -> None:
    assert fit("abc", 5) == "abc  "
    assert fit("abc", 5, right=True) == "  abc"
    assert fit("abcdef", 4) == "abc…"
    assert fit("画像処理", 8) == "画像処理"
    assert fit("abc", 0) == ""
    for width in range(9):
        assert cell_len(fit("画像処理w", width)) == width


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "?"),
        (-1, "0.0s"),
        (0.44, "0.4s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (200, "3m20s"),
        (7_500, "2h05m"),
        (349_200, "4d01h"),
        (86_400 * 120, "120d"),
    ],
)
def test_times_are_short(seconds: float | None, said: str) -> None:
    assert short(seconds) == said


def test_numbers_are_short() -> None:
    assert [number(count) for count in (0, 999, 9_999, 12_345, 123_456, 1_234_567, 250_000_000, 3_000_000_000)] == [
        "0",
        "999",
        "9,999",
        "12.3k",
        "123k",
        "1.2M",
        "250M",
        "3.0G",
    ]
    assert [per_second(rate) for rate in (0, 0.2, 9.94, 12.4, 20_000)] == ["0", "0.2", "9.9", "12", "20.0k"]


def test_a_curve_shows_all_of_a_history_and_one_among_a_thousand() -> None:
    assert spark([0, 1, 2, 7], 4) == "▁▂▃█"
    assert spark([5], 3) == "▁▁▆"
    assert spark([1, *[0] * 57, 0, 1_000], 60)[0] == "▂"
    assert spark([1] * 60, 10) == "▇" * 10
    assert spark([0] * 59 + [9], 6) == "▁▁▁▁▁█"
    assert spark([], 3) == "▁▁▁"


def test_a_bar_is_as_full_as_a_part_of_a_whole() -> None:
    assert bar(0, 4, 4) == "░░░░"
    assert bar(2, 4, 4) == "██░░"
    assert bar(9, 4, 4) == "████"
    assert bar(1, 0, 4) == "░░░░"
    assert bar(5, 8, 4) == "██▌░"


def test_columns_share_what_is_left_and_the_least_needed_go_first() -> None:
    columns = (Column("A", 4, share=3), Column("B", 3, keep=1), Column("C", 4, 6, keep=2), Column("D", 4, share=1))
    rows = [Row("k", [("a", ""), ("bbbbb", ""), ("c" * 20, ""), ("d", "")])]
    assert widths(columns, rows, 45) == [19, 5, 6, 9]
    assert widths(columns, rows, 20) == [5, 0, 6, 5]
    assert widths(columns, rows, 12) == [5, 0, 0, 5]


def test_lines_are_as_wide_as_the_columns_whatever_stands_in_them() -> None:
    chance = random.Random(seed := random.randrange(10**6))
    letters = "abc画像処理…é "
    for _ in range(200):
        words = ["".join(chance.choices(letters, k=chance.randrange(60))) for _ in range(3)]
        line = QueueLine(words[0], words[1], lanes=1, waiting=chance.randrange(10**9), why=words[2])
        row, room = queue_row(line), chance.randrange(60, 200)
        sizes = widths(QUEUE_COLUMNS, [row], room)
        text = "".join(piece.text for piece in drawn(row, QUEUE_COLUMNS, sizes, Style()))
        assert cell_len(text) <= room, f"seed {seed}: {line}"


def test_panes_share_a_height_and_the_chosen_one_gets_twice_as_much() -> None:
    assert shared(20, [100, 100, 100, 100], 1) == [4, 8, 4, 4]
    assert shared(20, [3, 3, 3, 3], 0) == [3, 3, 3, 11]
    assert shared(20, [2, 100, 100, 2], 2) == [2, 5, 11, 2]
    assert shared(20, [100, 3], None) == [17, 3]
    assert shared(3, [9, 9, 9, 9], 3) == [1, 1, 0, 1]


def test_panes_fill_every_height_and_none_has_more_than_it_needs_while_another_lacks_lines() -> None:
    chance = random.Random(seed := random.randrange(10**6))
    for _ in range(500):
        room, needs = chance.randrange(1, 60), [chance.randrange(1, 40) for _ in range(4)]
        heights = shared(room, needs, chance.randrange(4))
        assert sum(heights) == room, f"seed {seed}: {room} {needs}"
        if any(height < need for height, need in zip(heights, needs, strict=True)):
            assert all(height <= need for height, need in zip(heights, needs, strict=True)), f"seed {seed}"
