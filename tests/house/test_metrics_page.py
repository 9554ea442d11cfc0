"""The page of the metrics, the dashboard and the alerts name what is told, and all that is told; with no daemon."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import yaml
from tests.support.scraping import DASHBOARD, PAGE, RULES, described, expressions, in_rules, names_in

from grpcflow_coordinator.metrics import families as coordinator
from grpcflow_protos.metrics.figures import Family
from grpcflow_worker.metrics import families as worker

TOLD: dict[str, Family] = {family.name: family for family in (*coordinator.FAMILIES, *worker.FAMILIES)}
ROW = re.compile(r"^\| `(grpcflow_\w+)`( \*)? \|", re.MULTILINE)


def test_every_figure_has_its_row_with_its_kind_and_labels_and_no_other_has() -> None:
    rows = {name: found for name, found in described().items() if name.startswith("grpcflow_")}
    assert rows.keys() == TOLD.keys()
    starred = {name for name, star in ROW.findall(PAGE.read_text(encoding="utf-8")) if star}
    for name, (kind, labels) in rows.items():
        family = TOLD[name]
        everywhere = {"namespace"} if "namespace" in family.labels else set()
        assert (name, kind, labels | everywhere) == (name, family.kind, set(family.labels))
        of_coordinator = family in coordinator.FAMILIES
        assert (name in starred) is (of_coordinator and "namespace" not in family.labels), name


def test_names_end_in_their_unit_and_counters_in_total() -> None:
    for family in TOLD.values():
        assert re.fullmatch(r"grpcflow(_[a-z]+)+", family.name)
        assert family.name.endswith("_total") is (family.kind == "counter"), family.name
        assert family.help.endswith("."), family.name
    assert len(coordinator.FAMILIES) == len({family.name for family in coordinator.FAMILIES})
    assert len(worker.FAMILIES) == len({family.name for family in worker.FAMILIES})


def test_bounds_of_histograms_ascend() -> None:
    for bounds in (coordinator.WAITS, coordinator.COMMITS, coordinator.WRITES, worker.RUNS):
        assert all(low < high for low, high in pairwise(bounds))


def test_dashboard_and_alerts_name_what_is_told_and_leave_nothing_out() -> None:
    shown = set().union(*(names_in(text) for text in (*expressions(), *in_rules().values())))
    assert shown - described().keys() == set(), "these are named and not told"
    assert TOLD.keys() - shown == set(), "these are told and not shown"


def test_the_queries_of_the_page_name_what_is_told() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert names_in(page) - {"grpcflow_label"} - described().keys() == set()


def test_labels_in_queries_are_labels_of_what_is_asked_for() -> None:
    found = re.findall(r"\b(grpcflow_\w+?)(?:_bucket|_sum|_count)?\{([^}]*)\}", "\n".join(expressions()))
    assert len(found) > 40
    for name, selector in found:
        labels = set(re.findall(r"(\w+)(?==)", selector))
        assert labels - {"instance", "job"} <= set(TOLD[name].labels), (name, selector)


def test_the_dashboard_is_one_that_grafana_can_lay_out() -> None:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies upon another one"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    variables = {one["name"] for one in board["templating"]["list"]}
    used = {name for query in expressions() for name in re.findall(r"\$(\w+)", query)} - {"__rate_interval"}
    assert used <= variables


def test_every_alert_says_what_to_do_and_is_on_the_page() -> None:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        sentences = re.split(r"(?<=[.:;])\s", rule["annotations"]["summary"])
        assert len(sentences) >= 2, f"{rule['alert']} says what is wrong, and not what to do"
    listed = set(re.findall(r"^\| `(Grpcflow\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert {rule["alert"] for rule in rules} == listed
