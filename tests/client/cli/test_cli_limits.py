"""`grpcflow limit`, `retention`, `control rate_limit` and `graph list --unfinished`: what they do, say and refuse."""

import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from grpcflow import Grpcflow, errors
from grpcflow.cli import command_line
from grpcflow.cli.invocation import Invocation
from grpcflow.cli.limits import draw_limits
from grpcflow.cli.retention import draw_retention
from grpcflow.limit_model import Keep, Limit, LimitInfo, Retention
from grpcflow.limits import Rate
from grpcflow.testing import Cluster

Typed = Callable[..., Result]
app = Grpcflow("limits from the shell")


@app.task(name="bounds.mail", rate_limit="10/m", concurrency_limit=3)
def mail(number: int) -> int:
    return number


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(app, queues=["default"]) as made:
        yield made


@pytest.fixture
def asked(cluster: Cluster) -> Typed:
    """Runs a command as typed."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(command_line, ["--coordinator", cluster.address, *words], catch_exceptions=False)

    return run


def lines(result: Result) -> list[str]:
    """Returns what a command printed, without blanks at the ends of lines."""
    assert (result.exit_code, result.stderr) == (0, "")
    return [line.rstrip() for line in result.stdout.splitlines()]


# limit


def test_limits_are_set_listed_and_cleared(asked: Typed) -> None:
    assert lines(asked("limit", "set", "task", "bounds.mail", "--rate", "10/s", "--concurrency", "5")) == [
        "Task bounds.mail: 10/s, 5 at once."
    ]
    assert lines(asked("limit", "set", "queue", "mail", "--rate", "100/m")) == ["Queue mail: 100/m."]
    assert lines(asked("limit", "list")) == [
        "LIMIT ON          RATE   RUNNING  FROM  WAITING  NEXT START",
        "task bounds.mail  10/s   0 of 5   set   -        now",
        "queue mail        100/m  0        set   -        now",
    ]
    assert lines(asked("limit", "set", "task", "bounds.mail", "--rate", "0")) == ["Task bounds.mail: 5 at once."]
    assert lines(asked("limit", "clear", "task", "bounds.mail")) == [
        "Task bounds.mail: 10/m, 3 at once, as its code says."
    ]
    assert lines(asked("limit", "clear", "queue", "mail")) == ["Queue mail: no limit, as its code says."]


def test_limits_as_json(asked: Typed) -> None:
    done = asked("limit", "set", "queue", "mail", "--concurrency", "2", "--json")
    assert json.loads(done.stdout) == {"scope": "queue", "name": "mail", "rate": None, "concurrency": 2}
    [of_code, was_set] = json.loads(asked("limit", "list", "--json").stdout)
    counts = {"running": 0, "waiting_lines": 0, "next_in": 0.0}
    named = {"scope": "task", "name": "bounds.mail", "rate": "10/m", "concurrency": 3, "set": False}
    assert of_code == named | counts
    assert (was_set["set"], was_set["concurrency"]) == (True, 2)
    cleared = asked("limit", "clear", "queue", "mail", "-j")
    assert json.loads(cleared.stdout) == {"scope": "queue", "name": "mail", "rate": None, "concurrency": None}


def test_a_limit_that_was_lifted_is_listed_as_such(asked: Typed) -> None:
    asked("limit", "set", "task", "bounds.mail", "--rate", "0", "--concurrency", "0")
    assert lines(asked("limit", "list")) == [
        "LIMIT ON          RATE  RUNNING  FROM  WAITING  NEXT START",
        "task bounds.mail  any   0        set   -        now",
    ]


def test_no_limits_and_no_retention_are_said(asked: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    draw_limits([])
    assert capsys.readouterr().out == "There are no limits.\n"
    assert lines(asked("retention", "list")) == ["Nothing is set: all is kept as its call or the coordinator says."]
    assert asked("retention", "list", "--json").stdout == "[]\n"


def test_rate_limit_stands_where_celery_has_it(asked: Typed) -> None:
    assert lines(asked("control", "rate_limit", "bounds.mail", "20/m")) == ["Task bounds.mail: 20/m, 3 at once."]
    assert lines(asked("ctl", "control", "rate_limit", "bounds.mail", "0")) == ["Task bounds.mail: 3 at once."]
    named = asked("control", "-d", "w1", "rate_limit", "bounds.mail", "20/m")
    assert named.exit_code == 2
    assert "--destination does not apply" in named.stderr


LIMITS = (
    LimitInfo("task", "proj.tasks.mail.send", Limit(Rate(10, 1000), 5), True, 5, 3, timedelta(0)),
    LimitInfo("queue", "bulk", Limit(Rate(3, 3_600_000)), False, 1_200, 1, timedelta(seconds=754)),
    LimitInfo("key", "account-1", Limit(None, 1), False, 1, 1, timedelta(0)),
)


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_of_limits_reads_well_at_any_width(width: int) -> None:
    written = io.StringIO()
    draw_limits(LIMITS, Console(file=written, width=width))
    assert [line.rstrip() for line in written.getvalue().splitlines()] == [
        "LIMIT ON                   RATE  RUNNING  FROM  WAITING  NEXT START",
        "task proj.tasks.mail.send  10/s  5 of 5   set   3 lines  when one ends",
        "queue bulk                 3/h   1,200    code  1 line   in 12 min 34 s",
        "key account-1              any   1 of 1   code  1 line   when one ends",
    ]


# retention


def test_retention_is_set_listed_and_cleared(asked: Typed) -> None:
    words = ("--results", "1h", "--failures", "30d", "--keep", "10000", "--keep-failures", "1000", "--arguments", "10m")
    assert lines(asked("retention", "set", "queue", "mail", *words)) == [
        "Queue mail: results 1 h, the newest 10,000; failures 30 d, the newest 1,000; arguments 10 min."
    ]
    assert lines(asked("retention", "set", "task", "bounds.mail", "--results", "0", "--keep-arguments", "7")) == [
        "Task bounds.mail: results not at all; arguments the newest 7."
    ]
    assert lines(asked("retention", "set", "queue", "mail", "--results", "1w", "--keep", "0")) == [
        "Queue mail: results 7 d; failures 30 d, the newest 1,000; arguments 10 min."
    ]
    assert lines(asked("retention", "list")) == [
        "ON     NAME         RESULTS     FAILURES                ARGUMENTS",
        "queue  mail         7 d         30 d, the newest 1,000  10 min",
        "task   bounds.mail  not at all  -                       the newest 7",
    ]
    assert lines(asked("retention", "clear", "queue", "mail")) == [
        "Queue mail: kept as its calls or the coordinator say."
    ]
    assert [one["name"] for one in json.loads(asked("retention", "list", "--json").stdout)] == ["bounds.mail"]


def test_retention_as_json_has_seconds(asked: Typed) -> None:
    done = asked("retention", "set", "queue", "mail", "--failures", "1h30m", "--keep-failures", "3", "--json")
    nothing = {"age": None, "count": None}
    assert json.loads(done.stdout) == {
        "scope": "queue",
        "name": "mail",
        "results": nothing,
        "failures": {"age": 5400.0, "count": 3},
        "arguments": nothing,
    }


def test_the_table_of_retention_fits_80_columns() -> None:
    keep = Keep(timedelta(days=30), 10_000)
    written = io.StringIO()
    found = (Retention("task", "proj.tasks.mail.send", keep, keep, keep),)
    draw_retention(found, Console(file=written, width=80))
    assert max(map(len, written.getvalue().splitlines())) <= 80
    assert "".join(written.getvalue().split()).count("30d,") == 3


# what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("limit", "set", "task", "t"), "Say --rate, --concurrency, or both."),
        (("limit", "set", "task"), "Missing argument 'NAME'"),
        (("limit", "set", "tusk", "t", "--rate", "1/s"), "'tusk' is not one of 'task', 'queue'"),
        (("limit", "set", "task", "", "--rate", "1/s"), "The name of the task is empty"),
        (("limit", "set", "task", "t", "--rate", "fast"), 'write "10/s"'),
        (("limit", "set", "task", "t", "--rate", "10/y"), 'write "10/s"'),
        (("limit", "set", "task", "t", "--rate", "0.00001/h"), "cannot be kept"),
        (("limit", "set", "task", "t", "--concurrency", "-1"), "-1 is not in the range"),
        (("limit", "clear", "queue", ""), "The name of the queue is empty"),
        (("control", "rate_limit", "t", "often"), 'write "10/s"'),
        (("retention", "set", "queue", "q"), "Say what to keep: --results"),
        (("retention", "set", "queue", "q", "--results", "soon"), "'soon' is no length of time; write 90s"),
        (("retention", "set", "queue", "q", "--results", "-1s"), "'-1s' is no length of time"),
        (("retention", "set", "queue", "q", "--results", "9999999d"), "is too long a time"),
        (("retention", "set", "queue", "q", "--keep", "many"), "'many' is not a valid integer"),
        (("retention", "clear", "task", ""), "The name of the task is empty"),
        (("schedule", "add", "s", "t", "--every", "soon"), "'soon' is no length of time; write 90s"),
    ],
)
def test_wrong_usage_of_limits_and_retention_says_what_to_write(words: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(command_line, ["--coordinator", "127.0.0.1:1", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize("words", [("limit", "set", "--rate", "1/s"), ("retention", "set", "--keep", "1")])
def test_a_name_that_is_too_long_is_told(asked: Typed, words: tuple[str, ...]) -> None:
    result = asked(*words, "queue", "x" * 256)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "256 bytes" in result.stderr


class Unreachable:
    """A connection to nobody."""

    def __getattr__(self, name: str) -> object:
        raise errors.CoordinatorUnavailable("the coordinator at h:1 cannot be reached")


@pytest.mark.parametrize("words", [("limit", "list"), ("retention", "list"), ("failed", "list")])
def test_no_coordinator_is_exit_code_69_for_lists(words: tuple[str, ...]) -> None:
    said = Invocation(connect=lambda _addresses: Unreachable())  # type: ignore[arg-type, return-value]
    result = CliRunner().invoke(command_line, [*words], obj=said)
    assert result.exit_code == 69
    assert "cannot be reached" in result.stderr


# graph list


def test_unfinished_graphs_are_listed_the_oldest_first_with_their_age(asked: Typed, cluster: Cluster) -> None:
    waiting = [mail.apply_async((number,), queue="nobody") for number in range(3)]
    cluster.time.advance(3_700)
    mail.delay(1).get(timeout=40)
    head, *rows = lines(asked("graph", "list", "--unfinished", "--oldest", "--limit", "2"))
    assert head.split() == ["ID", "STATE", "DONE", "AGE", "TOOK", "TASK"]
    assert [row.split()[:5] for row in rows[:2]] == [[one.id, "PENDING", "0", "of", "1"] for one in waiting[:2]]
    assert rows[2] == "The oldest 2; --limit or --all for more."
    newest = json.loads(asked("graph", "list", "--unfinished", "--json").stdout)
    assert [one["id"] for one in newest] == [one.id for one in waiting[::-1]]
