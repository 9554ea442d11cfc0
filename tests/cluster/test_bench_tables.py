"""How the benchmark judges rows, what it prints and draws, and the core and store alone. No figure is judged here."""

import contextlib
import json
import signal
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT / "scripts"))

from benchmarks import __main__ as bench  # noqa: E402
from benchmarks import (  # noqa: E402
    comparing,
    growth,
    load,
    machine,
    micro,
    options,
    page,
    peer_tables,
    plots,
    registry,
    report,
    rows,
)
from benchmarks.peers import plan  # noqa: E402
from benchmarks.tasks import add  # noqa: E402

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
    assert theirs <= comparing.SHARED.keys()
    assert all(row.ours[0] in registry.MEASUREMENTS for row in comparing.SHARED.values())
    assert {measure: row.unit for measure, row in comparing.SHARED.items()} == plan.UNITS


def test_peers_run_the_steps_that_compare_with_what_is_measured() -> None:
    chosen = registry.needed(registry.chosen(("payloads", "cpu"), ()))
    assert comparing.steps_for(chosen) == ["bulk", "payloads"]
    assert comparing.steps_for(registry.needed(registry.chosen((), ("idle",)))) == []
    assert comparing.run_round(["celery"], rows.SMALL, []) == []


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


def test_a_table_names_the_must_and_whether_it_is_kept_in_markdown_too() -> None:
    found = verdict(ALONE, {"ours": {"mb": 401.0}})
    assert report.cells(found) == ["5,000,000 calls", "401 MB", "-", "-", "1", "-", "<= 400 MB", "NO", "-", "-"]
    text = report.markdown(report.ratios([found], {"cpus": 2, "python": "3.11", "grpcio": "1.80"}))
    assert text.startswith("Medians of the rounds, on 2 CPUs, Python 3.11, grpcio 1.80.")
    assert "| 5,000,000 calls | 401 MB | - | - | 1 | - | <= 400 MB | NO | - | - |" in text


def test_an_aim_is_told_beside_the_must() -> None:
    found = verdict(LESS, *({"ours": {"ms": ours}, "floor": {"ms": 1.0}} for ours in (1.3, 1.4, 1.5)))
    assert (found.met, found.reached) == (True, False)
    assert report.cells(found)[4:] == ["3", "14%", "<= 1.6 x", "yes", "<= 1.2 x", "NO"]


THEIRS: list[dict[str, Any]] = [
    {"peer": "celery", "measure": "chain", "value": 300.0, "durability": "none", "settings": "prefork"},
    {"peer": "celery", "measure": "bulk", "value": 700.0, "durability": "none", "settings": "prefork"},
    {"peer": "rq", "measure": "chain", "durability": "none", "left_out": "it has no chains", "settings": "a pool"},
    {"peer": "rq", "measure": "bulk", "value": 8_400.0, "durability": "none", "settings": "a pool"},
]


def test_systems_stand_beside_ours_of_the_same_round_and_beside_celery() -> None:
    ours = {"chain": {"ms": 100.0}, "bulk": {"per_second": 7_000.0}}
    found = comparing.records(1, THEIRS, ours, rows.Sizes())
    found += comparing.records(2, THEIRS, {"chain": {"ms": 50.0}}, rows.Sizes())
    assert comparing.celery(THEIRS) == {"chain": 300.0, "bulk": 700.0}
    middle = {(one["peer"], one["measure"]): one for one in comparing.medians(found)}
    assert [middle["grpcflow", name]["times_celery"] for name in ("chain", "bulk")] == [4.5, 10.0]
    assert middle["grpcflow", "chain"]["spread"] == pytest.approx(50 / 75)
    figures, systems = peer_tables.tables(list(middle.values()))
    assert figures.columns == ("measure", "grpcflow", "celery", "rq")
    bulk = "bulk: a group of 20,000 no-op tasks, first submit to all values, tasks/s"
    assert list(figures.rows) == [
        [bulk, "7,000 (10.0 x)", "700", "8,400 (12.0 x) *"],
        ["chain of 100, ms", "75.0 (4.50 x)", "300", "-"],
        ["largest spread of the rounds", "67%", "0%", "0%"],
    ]
    assert list(systems.rows)[1:] == [
        ["celery", "none", "prefork", "-"],
        ["rq", "none", "a pool", "chain: it has no chains"],
    ]
    assert peer_tables.tables([]) == []


def test_systems_are_told_without_celery_too() -> None:
    found = comparing.records(1, THEIRS[2:], {"bulk": {"per_second": 7_000.0}}, rows.Sizes())
    figures, _ = peer_tables.tables(comparing.medians(found))
    assert [row[1:] for row in figures.rows] == [["7,000", "8,400 *"], ["-", "-"], ["-", "-"]]


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
    assert options.parse(["--compare", "rq", "--micro", "--idle"]).families == ("rounds", "idle")
    assert options.parse(["--compare", "rq", "--only", "chain"]).families == ()
    assert options.parse(["--all"]).families == ("rounds", "backlog", "idle", "open-loop")
    assert [row.name for row in registry.chosen(("chain", "backlog_memory"), ())] == ["chain", "backlog_memory"]
    with pytest.raises(SystemExit, match="there is no row nothing; there are: bulk"):
        registry.chosen(("nothing",), ())


def test_a_system_that_nobody_knows_is_refused_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse(["--compare", "carrot"])
    assert "no peer is called carrot; there are: celery, " in capsys.readouterr().err


def test_a_server_of_another_user_reaches_its_own_folder_among_the_scratch_files() -> None:
    with machine.scratch() as folder:
        assert folder.stat().st_mode & 0o777 == 0o711
    assert not folder.exists()


def test_what_takes_too_long_is_given_up() -> None:
    with pytest.raises(SystemExit, match=r"the wait took more than 0\.01 s"), machine.deadline(0.01, "the wait"):
        signal.pause()
    with machine.deadline(1_000, "the wait"):
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1_000
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


class Forthcoming:
    """A result that comes when the loop has its next turn."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def aget(self, timeout: float) -> int:
        return self._number + 1


def test_an_open_load_that_is_not_kept_up_with_ends_early_and_gives_its_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def submitted(number: int, _: int) -> Forthcoming:
        return Forthcoming(number)

    monkeypatch.setattr(load, "app", contextlib.nullcontext())
    monkeypatch.setattr(add, "adelay", submitted)
    monkeypatch.setattr(load, "NEWS", 0.0)
    monkeypatch.setattr(load, "MOST_UNDER_WAY", 10)
    offered = load.Load(rate=1e6, seconds=3_600.0)
    figures = offered.run()
    told = capsys.readouterr().err
    assert "open load: 0 of 3600 s, 0 of " in told
    assert "the cluster does not keep up with this load" in told
    assert figures["per_second"] > 0
    assert len(offered.waits) > 10
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]


def test_the_core_and_the_store_are_measured_alone() -> None:
    found = {str(record["name"]): record for record in micro.measure(small=True)}
    assert {
        "single calls",
        "groups of 500",
        "commits of 1",
        "commits of 1,000 beside a busy loop",
        "commits of 1 without the journal",
    } <= found.keys()
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


def test_a_page_gets_tables_and_plots_between_its_marks_and_keeps_what_was_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    parts = [f"<!-- {name}: begin -->\nold {name}\n<!-- {name}: end -->\n" for name in ("table", "points", "plots")]
    path.write_text("above\n" + "between\n".join(parts) + "below\n")
    journal = report.Journal({"cpus": 2}, tmp_path / "figures")
    told = rows.lines([registry.ROWS["backlog_memory"]], 1, {"backlog": {"mb": 45.0}}, rows.Sizes())
    journal.write(map(rows.as_record, told))
    words = ["--from", str(tmp_path / "figures"), "--into", str(path)]
    assert bench.run(options.parse(words)) == 0
    text = path.read_text()
    assert "| 5,000,000 queued: anonymous memory | 45.0 MB |" in text
    assert "old table" not in text
    assert all(kept in text for kept in ("above\n", "between\n", "below\n", "old points", "old plots"))
    point = {"kind": "growth", "line": "graph", "name": "10", "x": 10, "us_a_task": 50.0}
    with (tmp_path / "figures").open("a") as figures:
        figures.write(json.dumps(point) + "\n")
    bench.run(options.parse(words))
    text = path.read_text()
    assert "![Cost of a task by the size of its graph](pictures/cost-graph.svg)" in text
    assert "| 10 | 50.0 |" in text
    assert (tmp_path / "pictures" / "cost-graph.svg").is_file()
    bench.run(options.parse(words))
    assert path.read_text() == text


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("nothing\n")
    with pytest.raises(SystemExit, match="has no lines <!-- table: begin --> and <!-- table: end -->"):
        page.write(path, [report.Table("t", ("a",), [["b"]])], [], [])
    assert path.read_text() == "nothing\n"
    with pytest.raises(SystemExit, match="cannot be read: No such file"):
        page.write(tmp_path / "none.md", [], [], [])


def test_what_is_compared_is_measured_one_after_the_other() -> None:
    needed = registry.needed(registry.chosen((), ("rounds",)))
    order = [one.name for one in registry.in_turn(needed)]
    assert sorted(order) == sorted(one.name for one in needed)
    assert order[order.index("latency") - 1] == "floor latency"
    assert order[order.index("threads") - 1] == "floor threads"
    assert order.index("floor bulk") + 1 == order.index("bulk") == order.index("loop") - 1
