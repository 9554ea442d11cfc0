"""The benchmark: the floor, grpcflow and whoever is compared, in turn; medians, spreads and ratios.

    scripts/bench                      the table, five rounds
    scripts/bench --all                also what takes minutes: --backlog, --idle and --open-loop
    scripts/bench --only bulk,cpu      these rows only, of whatever family
    scripts/bench --compare celery     others beside it, in the same rounds
    scripts/bench --json run.jsonl --markdown
    scripts/bench --from run.jsonl --markdown --check      what earlier runs found, without measuring
    scripts/bench --from run.jsonl growth.jsonl --into docs/performance.md      the same into a page, with plots
    scripts/bench --small              a smoke run: a few tasks of everything, one round
    scripts/bench --backlog [N], --idle [N], --open-loop [SECONDS]
    scripts/bench --growth [LINE,...], --micro, --plots FOLDER
    scripts/bench --large, --pruning, --control, --mixed    measures with tables of their own

The machine's speed drifts, so that a figure alone says little: the ratio of two runs of the same minute is what to
quote. grpcflow's figures are of a durable coordinator (fsync on every commit) and one worker with two prefork children;
every value is awaited and checked. docs/performance.md tells the rest.
"""

from __future__ import annotations

import faulthandler
import json
import sys
from collections.abc import Sequence

from benchmarks import comparing, growth, machine, micro, page, peer_tables, plots, registry, report
from benchmarks.options import Options, parse
from benchmarks.rows import Verdict, as_record, from_record, judged, lines


def run_rounds(options: Options, journal: report.Journal) -> None:
    """Run all rounds of the chosen rows, and of whoever is compared, in turn."""
    rows = registry.chosen(options.only, options.families)
    measurements = registry.needed(rows)
    for number in range(1, options.rounds + 1):
        found = registry.run_round(measurements, options.sizes)
        peers = comparing.run_round(options.compare, options.sizes, comparing.steps_for(measurements))
        if peers:
            found["celery"] = comparing.celery(peers)
        facts = {"floor_per_second": found.get("floor bulk", {}).get("per_second")}
        journal.write(map(as_record, lines(rows, number, found, options.sizes)), **facts)
        figures = [{"kind": "figures", "name": name, "round": number, **each} for name, each in found.items()]
        journal.write(figures, **facts)
        journal.write(comparing.records(number, peers, found, options.sizes), **facts)
        print(f"round {number} of {options.rounds} is done", file=sys.stderr, flush=True)


def other_measures(options: Options) -> None:
    """Run what has a table of its own, and write what it found as one line of JSON."""
    from benchmarks import control, large, mixed, pruning

    scale = 0.01 if options.small else 1.0
    if options.other == "large":
        found: object = large.measure(scale)
    elif options.other == "control":
        found = control.measure(options.small)
    else:
        found = pruning.measure(scale) if options.other == "pruning" else mixed.measure(options.small, options.seed)
    if options.json is not None:
        options.json.write_text(json.dumps(found) + "\n")


def tell(options: Options, journal: report.Journal) -> bool:
    """Print the tables, or write them into a page; return whether every must that could be judged is kept."""
    records = journal.records
    of_kind = {
        kind: [record for record in records if record["kind"] == kind] for kind in ("row", "peer", "growth", "micro")
    }
    verdicts = judged(registry.ROWS.values(), list(map(from_record, of_kind["row"])))
    found = [report.ratios(verdicts, of_kind["row"][0]["machine"])] if verdicts else []
    found += peer_tables.tables(comparing.medians(of_kind["peer"]))
    further = report.points(of_kind["growth"] + of_kind["micro"])
    for table in (*found, *further):
        print(report.markdown(table)) if options.markdown else report.show(table)
    if options.into is not None:
        page.write(options.into, found, further, records)
    if options.plots is not None:
        for file in plots.draw(records, options.plots):
            print(f"drawn: {file}")
    if options.check:
        _say_what_is_missed(verdicts)
    return all(verdict.met is not False for verdict in verdicts)


def _say_what_is_missed(verdicts: Sequence[Verdict]) -> None:
    missed = [verdict.row.name for verdict in verdicts if verdict.met is False]
    not_judged = [verdict.row.name for verdict in verdicts if verdict.met is None and verdict.row.must is not None]
    not_there = [name for name in registry.ROWS if name not in {verdict.row.name for verdict in verdicts}]
    for what, names in (
        ("missed", missed),
        ("not judged, for want of what they are compared with", not_judged),
        ("not measured", not_there),
    ):
        if names:
            print(f"{what}: {', '.join(names)}", file=sys.stderr)


def run(options: Options) -> int:
    """Do what the options say; return the exit code."""
    if options.other:
        other_measures(options)
        return 0
    journal = report.Journal(machine.facts(), options.json)
    journal.records += report.read(options.read)
    if options.families or options.only:
        run_rounds(options, journal)
    if options.growth:
        for point in growth.measure(options.small, options.growth):
            journal.write([point])
    if options.micro:
        journal.write(micro.measure(options.small))
    return 1 if not tell(options, journal) and options.check else 0


def main() -> None:
    """Run the benchmark; end with 1 where --check was asked for and a must is missed, with 130 by Ctrl-C."""
    options = parse()
    faulthandler.enable()  # where one of the parts dies, it shall be known under which call
    try:
        with machine.scratch():
            code = run(options)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
