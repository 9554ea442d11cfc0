"""`grpcflow failed`: what is listed, shown, retried and purged, each end with its exit code; and how it looks."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from grpcflow import Grpcflow, Reject, chord
from grpcflow.cli import command_line
from grpcflow.cli.failed_screen import draw_list, draw_one
from grpcflow.cli.failed_story import told
from grpcflow.cli.invocation import Invocation
from grpcflow.failed_model import FailedCall
from grpcflow.testing import Cluster

Typed = Callable[..., Result]
app = Grpcflow("failed from the shell")
GOOD = False


@app.task(name="mails.send", bind=True, max_retries=1)
def send(self: object, name: str, *, tries: int = 1) -> str:
    if GOOD:
        return name
    raise ConnectionError(f"no route to {name}\nnor to anybody else")


@app.task(name="mails.total")
def total(names: list[str]) -> int:
    return len(names)


@app.task(name="mails.reject")
def reject() -> None:
    raise Reject("not mine")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(f"{__name__}.GOOD", False)
    with Cluster(app, queues=["default"]) as made:
        yield made


@pytest.fixture
def asked(cluster: Cluster) -> Typed:
    """Runs a command as typed; what is answered to its questions is given as `answer`."""

    def run(*words: str, answer: str = "") -> Result:
        typed = ["--coordinator", cluster.address, "failed", *words]
        return CliRunner().invoke(command_line, typed, input=answer, catch_exceptions=False)

    return run


def sent(*names: str) -> list[str]:
    """Has calls fail, one after the other, and returns their ids."""
    ids = []
    for name in names:
        result = send.delay(name, tries=2)
        result.get(timeout=40, propagate=False)
        ids.append(result.id)
    return ids


# list


def test_the_list_has_one_line_for_each_call_and_the_newest_first(asked: Typed, cluster: Cluster) -> None:
    first, second = sent("ann", "bob")
    result = asked("list")
    assert (result.exit_code, result.stderr) == (0, "")
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["WHEN", "TASK", "ID", "RETRIES", "WORKER", "ERROR"]
    assert [line.split()[3:5] for line in lines] == [["mails.send", second], ["mails.send", first]]
    assert lines[0].rstrip().endswith("ConnectionError: no route to bob nor to anybody else")


def test_the_list_may_be_cut_filtered_and_empty(asked: Typed, cluster: Cluster) -> None:
    assert asked("list").stdout == "Nothing that failed is on the list, or the filters let nothing pass.\n"
    assert asked("list", "--json").stdout == "[]\n"
    sent("ann", "bob", "cyd")
    assert asked("list", "--limit", "2").stdout.splitlines()[-1] == "The newest 2; --limit or --all for more."
    assert len(asked("list", "--all").stdout.splitlines()) == 4
    for words, count in (
        (("--task", "mails.*", "--type", "Conn*", "--queue", "default", "--since", "2h"), 3),
        (("--task", "letters.*"), 0),
        (("--queue", "other"), 0),
        (("--type", "Value*"), 0),
        (("--lost",), 0),
        (("--since", "2100-01-01"), 0),
    ):
        assert len(json.loads(asked("list", "--json", *words).stdout)) == count, words


def test_the_list_as_json_has_every_field(asked: Typed, cluster: Cluster) -> None:
    [id] = sent("ann")
    [entry] = json.loads(asked("list", "--json").stdout)
    assert datetime.fromisoformat(entry.pop("failed_at")).tzinfo is not None
    assert entry == {
        "id": id,
        "graph": id.replace("-", "")[:24],
        "task": "mails.send",
        "queue": "default",
        "type": "ConnectionError",
        "message": "no route to ann\nnor to anybody else",
        "reason": "",
        "retries": 0,
        "worker": cluster.workers[0].name,
    }


NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def entry(number: int, task: str, message: str, retries: int = 0, worker: str = "w1@green") -> FailedCall:
    """Returns an entry of the list."""
    return FailedCall(
        id=f"01890000-0000-7000-8000-{number:012x}",
        graph="01890000000070008000" + "0" * 4,
        task=task,
        queue="default",
        failed_at=NOW - timedelta(seconds=80 * number),
        type="ConnectionError",
        message=message,
        reason="",
        retries=retries,
        worker=worker,
    )


def drawn(width: int, *entries: FailedCall, most: int | None = None) -> list[str]:
    """Returns the lines of a list on a screen of some width."""
    written = io.StringIO()
    draw_list(entries, NOW, most, Console(file=written, width=width))
    return [line.rstrip() for line in written.getvalue().splitlines()]


ENTRIES = (
    entry(1, "proj.mail.send", "no route to the host\nthat was named, and to no other one", 3),
    entry(500, "proj.add", "", worker=""),
)


def test_at_140_columns_a_call_is_a_line_and_its_error_is_cut() -> None:
    assert drawn(140, *ENTRIES) == [
        "WHEN            TASK            ID                                    RETRIES  WORKER    ERROR",
        (
            "1 min 20 s ago  proj.mail.send  01890000-0000-7000-8000-000000000001        3  w1@green  "
            "ConnectionError: no route to the host that was nam…"
        ),
        "11 h 6 min ago  proj.add        01890000-0000-7000-8000-0000000001f4        0  -         ConnectionError",
    ]


def test_at_80_columns_a_call_is_three_lines_none_of_them_longer() -> None:
    assert drawn(80, *ENTRIES) == [
        "01890000-0000-7000-8000-000000000001  proj.mail.send",
        "  1 min 20 s ago on w1@green, 3 retries",
        "  ConnectionError: no route to the host that was named, and to no other one",
        "01890000-0000-7000-8000-0000000001f4  proj.add",
        "  11 h 6 min ago",
        "  ConnectionError",
    ]
    long = entry(2, "proj.a.rather.long.package.of.tasks.with.a.name.of.its.own", "x" * 4096)
    assert max(map(len, drawn(80, long))) <= 80


def test_a_list_that_was_cut_says_so_at_any_width() -> None:
    for width in (60, 80, 140, 200):
        assert drawn(width, *ENTRIES, most=2)[-1] == "The newest 2; --limit or --all for more."


# show


def test_show_tells_the_error_the_arguments_and_the_graph(asked: Typed, cluster: Cluster) -> None:
    result = chord([send.s("ann", tries=2), send.s("bob")], total.s()).delay()
    result.get(timeout=40, propagate=False)
    member = next(one.id for one in app.failed.list() if "bob" in one.message)
    shown = asked("show", member)
    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = [line.rstrip() for line in shown.stdout.splitlines()]
    assert lines[0] == f"{member}  FAILURE  mails.send"
    assert lines[1:3] == ["error     ConnectionError: no route to bob", "          nor to anybody else"]
    facts = dict(line.split(maxsplit=1) for line in lines[3:9])
    assert facts["failed"].endswith(f"on {cluster.workers[0].name}")
    assert facts["call"] == "mails.send('bob')"
    assert facts["attempts"] == "not retried"
    assert facts["queue"] == "default, priority 0"
    assert facts["graph"] == f"FAILURE, call 2 of 4: 4 FAILURE  (grpcflow graph {result.id})"
    assert facts["why"].startswith(f"Failed on {cluster.workers[0].name}")
    assert "Traceback (most recent call last):" in lines
    assert lines[-2:] == ["ConnectionError: no route to bob", "nor to anybody else"]


def test_show_as_json_has_every_field(asked: Typed, cluster: Cluster) -> None:
    [id] = sent("ann")
    found = json.loads(asked("show", id, "--json").stdout)
    assert (found["args"], found["kwargs"], found["retries"], found["losses"]) == (["ann"], {"tries": 2}, 0, 0)
    assert found["traceback"].startswith("Traceback")
    assert (found["graph"]["state"], found["explanation"]["code"]) == ("FAILURE", "FAILED")


def test_show_of_what_failed_because_of_another_names_it(asked: Typed, cluster: Cluster) -> None:
    result = (send.s("ann") | total.s()).delay()
    result.get(timeout=40, propagate=False)
    [first] = app.failed.list()
    assert f"(grpcflow failed show {first.id})" in asked("show", result.id).stdout


def test_show_of_what_was_rejected_and_of_arguments_that_are_gone(asked: Typed, cluster: Cluster) -> None:
    app.control.retention("mails.send", arguments=0)
    [id] = sent("ann")
    cluster.time.advance(5)
    assert "mails.send(...), arguments gone: they were kept for a shorter time" in asked("show", id).stdout
    assert json.loads(asked("show", id, "--json").stdout)["args"] is None
    rejected = reject.delay()
    cluster.settle()
    assert "Reject: not mine" in asked("show", rejected.id).stdout


def test_show_of_what_is_not_known_or_has_not_failed_is_exit_code_66(asked: Typed, cluster: Cluster) -> None:
    unknown = asked("show", "nobody")
    assert (unknown.exit_code, unknown.stdout) == (66, "")
    assert "does not know nobody" in unknown.stderr
    fine = total.delay([])
    fine.get(timeout=40)
    result = asked("show", fine.id)
    assert result.exit_code == 66
    assert "has not failed: it is SUCCESS" in result.stderr


def test_show_counts_retries_and_losses(cluster: Cluster) -> None:
    [id] = sent("ann")
    story = told(Invocation(coordinator=cluster.address), id)

    def attempts(retries: int, losses: int, reason: str = "") -> str:
        written = io.StringIO()
        node = replace(story.node, retries=retries, losses=losses)
        draw_one(replace(story, node=node, reason=reason), datetime.now(UTC), Console(file=written, width=140))
        return next(line for line in written.getvalue().splitlines() if line.startswith("attempts")).split(maxsplit=1)[
            1
        ]

    assert attempts(1, 2).rstrip() == "retried 1 time, lost with its worker 2 times"
    assert attempts(3, 0).rstrip() == "retried 3 times"
    assert attempts(0, 2, "WORKER_LOST").rstrip() == "not retried"


def test_show_reads_well_on_a_narrow_screen(cluster: Cluster) -> None:
    [id] = sent("ann")
    written = io.StringIO()
    story = told(Invocation(coordinator=cluster.address), id)
    draw_one(story, datetime.now(UTC), Console(file=written, width=80))
    assert max(map(len, written.getvalue().splitlines())) <= 80
    assert "mails.send('ann', tries=2)" in written.getvalue()


# retry


def test_a_retry_by_id_says_what_runs_again(asked: Typed, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = sent("ann", "bob")
    monkeypatch.setattr(f"{__name__}.GOOD", True)
    assert asked("retry", first).stdout == "Runs again: 1 task of 1 graph.\n"
    assert json.loads(asked("retry", second, "--json").stdout) == {
        "retried": 1,
        "graphs": 1,
        "unknown_tasks": [],
        "refused": [],
    }
    assert app.AsyncResult(first).get(timeout=40) == "ann"


def test_a_retry_of_all_asks_before(asked: Typed, cluster: Cluster) -> None:
    sent("ann", "bob")
    asking = asked("retry", "--all", answer="n\n")
    assert (asking.exit_code, len(list(app.failed.list()))) == (1, 2)
    assert "Run again what failed of 2 graphs, with 2 calls on the list? [y/N]" in asking.stderr
    assert asking.stderr.endswith("Nothing was done.\n")
    nobody = asked("retry", "--all", answer="")
    assert (nobody.exit_code, len(list(app.failed.list()))) == (130, 2)
    assert "Nothing was done; --yes does it without a question.\n" in nobody.stderr
    assert asked("retry", "--all", answer="y\n").stdout == "Runs again: 2 tasks of 2 graphs.\n"
    cluster.settle()
    assert asked("retry", "--task", "mails.*", "--all", "--yes").stdout == "Runs again: 2 tasks of 2 graphs.\n"


def test_what_is_not_retried_is_told_with_the_exit_code_of_its_kind(asked: Typed, cluster: Cluster) -> None:
    [id] = sent("ann")
    waits = chord([send.s("bob"), send.s("cyd").set(queue="nobody")], total.s()).delay()
    cluster.settle()
    for words, code, said in (
        (("nobody",), 66, "Not retried: nobody: there is no graph 'nobody'"),
        ((waits.id,), 75, "has not ended"),
        (("nobody", id), 1, "Not retried: nobody"),
    ):
        result = asked("retry", *words)
        assert result.exit_code == code, words
        assert said in result.stderr
    assert json.loads(asked("retry", "nobody", "--json").stdout)["refused"][0]["code"] == "UNKNOWN_GRAPH"


def test_tasks_that_nobody_knows_are_told(asked: Typed, cluster: Cluster) -> None:
    gone = app.send_task("mails.gone", queue="nobody")
    app.control.revoke(gone)
    assert "No connected worker knows mails.gone: those wait until one does." in asked("retry", gone.id).stdout


# purge


def test_a_purge_says_how_many_were_on_the_list(asked: Typed, cluster: Cluster) -> None:
    first, second, third = sent("ann", "bob", "cyd")
    assert asked("purge", first).stdout == "Taken off the list: 1 call.\n"
    partly = asked("purge", first, second)
    assert (partly.exit_code, partly.stdout) == (0, "Taken off the list: 1 call.\n")
    assert "1 of them was not on the list" in partly.stderr
    none = asked("purge", first)
    assert (none.exit_code, none.stdout) == (66, "")
    assert "None of them is on the list" in none.stderr
    asking = asked("purge", "--all", answer="n\n")
    assert asking.exit_code == 1
    assert "Take 1 call of 1 graph off the list? [y/N]" in asking.stderr
    assert json.loads(asked("purge", "--all", "--yes", "--json").stdout) == {"purged": 1}
    assert app.AsyncResult(third).state == "FAILURE"
    assert asked("purge", "--all").stdout.startswith("Nothing that failed is on the list")
    assert json.loads(asked("purge", "--all", "--json").stdout) == {"purged": 0}


# what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("retry",), "Name ids, or say --all"),
        (("purge",), "Name ids, or say --all"),
        (("retry", "x", "--all"), "Name ids, or say --all"),
        (("retry", "--task", "x"), "Name ids, or say --all"),
        (("purge", "x", "--task", "y"), "Filters go with --all"),
        (("list", "--since", "yesterday"), "neither an age such as 90s"),
        (("list", "--since", "90"), "neither an age such as 90s"),
        (("list", "--since", "1100000d"), "neither an age such as 90s"),
        (("list", "--since", "99999999d"), "neither an age such as 90s"),
        (("list", "--all", "--limit", "3"), "give one"),
        (("list", "--limit", "0"), "0 is not in the range"),
        (("show",), "Missing argument 'ID'"),
    ],
)
def test_wrong_usage_says_what_to_write(words: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(command_line, ["--coordinator", "127.0.0.1:1", "failed", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_filter_that_is_too_long_is_told(asked: Typed, cluster: Cluster) -> None:
    result = asked("list", "--task", "x" * 256)
    assert result.exit_code == 1
    assert "256 bytes" in result.stderr
