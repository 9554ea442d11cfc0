"""How the benchmark judges rows, what it prints and draws, and the core and store alone. No figure is judged here."""

import signal
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT / "scripts"))

from benchmarks import __main__ as bench  # noqa: E402
from benchmarks import comparing, growth, machine, micro, options, plots, registry, report, rows  # noqa: E402

LESS = rows.Row("wait", "a wait", "ms", ("ours", "ms"), "less", ("floor", "ms"), "floor", must=1.6, aim=1.2)
MORE = rows.Row("rate", "a rate", "tasks/s", ("ours", "rate"), "more", ("floor", "rate"), "floor", must=0.3)
FASTER = rows.Row("group", "a group", "ms", ("ours", "ms"), "less", ("celery", "ms"), "Celery", must=12, faster=True)
ALONE = rows.Row("memory", "{backlog:,} calls", "MB", ("ours", "mb"), "less", must=400)


def verdict(row: rows.Row, *rounds: dict[str, dict[str, float]]) -> rows.Verdict:
    """The verdict on a row after these rounds."""
    told = [line for number, found in enumerate(rounds, 1) for line in rows.lines([row], number, found, rows.Sizes())]
    [found] = rows.judged([row], told)
    return found


@pytest.mark.parametrize(
    ("row", "ours", "theirs", "ratio", "met"),
    [
        (LESS, {"ms": 1.6}, {"floor": {"ms": 1.0}}, 1.6, True),
        (LESS, {"ms": 1.7}, {"floor": {"ms": 1.0}}, 1.7, False),
        (MORE, {"rate": 30.0}, {"floor": {"rate": 100.0}}, 0.3, True),
        (MORE, {"rate": 29.0}, {"floor": {"rate": 100.0}}, 0.29, False),
        (FASTER, {"ms": 10.0}, {"celery": {"ms": 120.0}}, 12.0, True),
        (FASTER, {"ms": 10.0}, {"celery": {"ms": 119.0}}, 11.9, False),
        (FASTER, {"ms": 10.0}, {}, None, None),
        (ALONE, {"mb": 400.0}, {}, None, True),
        (ALONE, {"mb": 401.0}, {}, None, False),
    ],
)
def test_a_must_is_met_by_the_ratio_or_where_nothing_is_compared_by_the_value(
    row: rows.Row, ours: dict[str, float], theirs: dict[str, dict[str, float]], ratio: float | None, met: bool | None
) -> None:
    found = verdict(row, {"ours": ours, **theirs})
    assert (found.ratio, found.met) == (ratio, met)


def test_the_ratio_is_the_median_of_the_rounds_ratios_and_the_spread_theirs() -> None:
    pairs = [(10.0, 10.0), (20.0, 5.0), (90.0, 30.0)]
    found = verdict(LESS, *({"ours": {"ms": ours}, "floor": {"ms": floor}} for ours, floor in pairs))
    assert (found.rounds, found.value, found.compared, found.ratio, found.spread) == (3, 20.0, 10.0, 3.0, 1.0)


def test_every_row_shows_figures_that_a_measurement_or_celery_gives() -> None:
    parts = {part[0] for row in registry.ROWS.values() for part in (row.ours, row.compared) if part is not None}
    assert parts - registry.MEASUREMENTS.keys() == {"celery"}
    theirs = {row.compared[1] for row in registry.ROWS.values() if row.compared and row.compared[0] == "celery"}
    assert theirs <= comparing.OURS.keys()
    assert all(ours in registry.MEASUREMENTS for ours, _, _ in comparing.OURS.values())


def test_what_was_written_is_read_again_and_a_later_run_of_a_row_replaces_it(tmp_path: Path) -> None:
    for name, value in (("first", 1.0), ("second", 2.0)):
        journal = report.Journal({"cpus": 2}, tmp_path / name)
        found = {"ours": {"ms": value}, "floor": {"ms": 1.0}}
        kept = [MORE] if name == "first" else []
        found["ours"]["rate"] = found["floor"]["rate"] = 1.0
        journal.write(map(rows.as_record, rows.lines([LESS, *kept], 1, found, rows.SMALL)), floor_per_second=7.0)
    read = report.read([tmp_path / "first", tmp_path / "second"])
    assert [(rows.from_record(one).row, one["value"]) for one in read] == [("rate", 1.0), ("wait", 2.0)]
    assert all(one["machine"] == {"cpus": 2, "floor_per_second": 7.0} for one in read)


def test_a_table_names_the_must_and_whether_it_is_met_in_markdown_too() -> None:
    found = verdict(ALONE, {"ours": {"mb": 401.0}})
    cells = report.cells(found)
    assert cells == ["5,000,000 calls", "401 MB", "-", "-", "0%", "<= 400 MB", "NO", "-"]
    assert "| 5,000,000 calls | 401 MB | - | - | 0% | <= 400 MB | NO | - |" in report.markdown(
        "a title", report.COLUMNS, [cells]
    )


def test_peers_stand_beside_ours_of_the_same_round_and_those_left_out_say_why() -> None:
    told: list[dict[str, Any]] = [
        {"peer": "celery", "measure": "chain_100_ms", "value": 300.0, "unit": "ms", "durability": "none"},
        {"peer": "celery", "measure": "bulk", "value": 700.0, "unit": "tasks/s", "durability": "none"},
        {"peer": "rq", "measure": "chain_100_ms", "durability": "none", "left_out": "it has no chains"},
    ]
    ours = {"chain": {"ms": 100.0}, "bulk": {"per_second": 7_000.0}}
    found = comparing.records(1, told, ours) + comparing.records(2, told, {"chain": {"ms": 50.0}})
    assert comparing.celery(told) == {"chain_100_ms": 300.0, "bulk": 700.0}
    middle = comparing.medians(found)
    assert [(one["peer"], one["ours"], one["better"]) for one in middle] == [
        ("celery", 75.0, 4.5),
        ("celery", 7_000.0, 10.0),
        ("rq", None, None),
    ]
    assert report.peer_cells(middle[2])[3] == "it has no chains"


@pytest.mark.parametrize(("megabytes", "code"), [(400.0, 0), (401.0, 1)])
def test_a_run_that_is_to_check_ends_with_one_where_a_must_is_missed(
    megabytes: float, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = report.Journal({"cpus": 2}, tmp_path / "figures")
    found = {"backlog": {"mb": megabytes}, "chain": {"ms": 1.0}}
    told = rows.lines([registry.ROWS["backlog_memory"], registry.ROWS["chain"]], 1, found, rows.Sizes())
    journal.write(map(rows.as_record, told))
    assert bench.run(options.parse(["--from", str(tmp_path / "figures"), "--check", "--markdown"])) == code
    printed = capsys.readouterr()
    assert f"| 5,000,000 queued: anonymous memory | {megabytes:.0f} MB |" in printed.out
    assert ("missed: backlog_memory" in printed.err) == bool(code)
    assert "not judged, for want of what they are compared with: chain" in printed.err


def test_the_options_choose_rows_and_sizes() -> None:
    assert options.parse([]).families == ("rounds",)
    assert options.parse(["--idle", "--backlog", "1000"]).families == ("backlog", "idle")
    assert options.parse(["--backlog", "1000"]).sizes.backlog == 1_000
    assert options.parse(["--small", "--backlog"]).sizes == rows.SMALL
    assert options.parse(["--micro"]).families == options.parse(["--from", "x", "--markdown"]).families == ()
    assert options.parse(["--growth"]).growth == options.parse(["--plots", "x"]).growth == tuple(growth.LINES)
    assert options.parse(["--growth", "load"]).growth == ("load",)
    assert options.parse(["--all"]).families == ("rounds", "backlog", "idle", "open-loop")
    assert [row.name for row in registry.chosen(("chain", "backlog_memory"), ())] == ["chain", "backlog_memory"]
    with pytest.raises(SystemExit, match="there is no row nothing; there are: bulk"):
        registry.chosen(("nothing",), ())


def test_what_takes_too_long_is_given_up() -> None:
    with pytest.raises(SystemExit, match=r"the wait took more than 0\.01 s"), machine.deadline(0.01, "the wait"):
        signal.pause()
    with machine.deadline(1_000, "the wait"):
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1_000
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_core_and_the_store_are_measured_alone() -> None:
    found = {str(record["name"]): record for record in micro.measure(small=True)}
    assert {"single calls", "groups of 500", "commits of 1", "commits of 1,000 beside a busy loop"} <= found.keys()
    figures = ("calls_per_second", "writes_per_second")
    assert all(float(str(record[name])) > 0 for record in found.values() for name in figures if name in record)


def test_plots_are_drawn_from_what_a_run_wrote_and_are_the_same_each_time(tmp_path: Path) -> None:
    costs = [{"kind": "growth", "line": "graph", "x": 10**power, "us_a_task": 50.0} for power in (1, 3, 2)]
    loads = [
        {"kind": "growth", "line": "load", "x": x, "p50_ms": 1.0, "p99_ms": 2.0, "per_second": x}
        for x in (100.0, 200.0)
    ]
    drawn = plots.draw([{"kind": "row"}, *costs, *loads], tmp_path / "one")
    assert [file.name for file in drawn] == ["cost-graph.svg", "load-latency.svg", "load-throughput.svg"]
    again = plots.draw([*costs, *loads], tmp_path / "two")
    assert [file.read_bytes() for file in drawn] == [file.read_bytes() for file in again]
    texts = {element.text for element in xml.etree.ElementTree.parse(drawn[0]).iter() if element.text}
    assert "Cost of a task by the size of its graph" in texts
    with pytest.raises(SystemExit, match="there is nothing to draw"):
        plots.draw([{"kind": "row"}], tmp_path)
