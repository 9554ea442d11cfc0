"""Metrics as who scrapes them sees them, and where they are named: on their page, in the dashboard, in the rules."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.support.tree import ROOT

__all__ = ["Scrape", "answered", "described", "expressions", "in_rules", "names_in", "scrape"]

PAGE: Final = ROOT / "docs" / "metrics.md"
DASHBOARD: Final = ROOT / "deploy" / "grafana" / "grpcflow.json"
RULES: Final = ROOT / "deploy" / "prometheus" / "grpcflow.rules.yml"

#: Seconds that an answer may take.
BOUND: Final = 30.0

#: What histograms have behind their names.
_PARTS: Final = re.compile(r"_(?:bucket|sum|count)$")


class Scrape:
    """What one scrape told.

    Attributes:
        kinds: what each figure is, by its name.
        labels: the names of its labels.
        values: its samples by name and labels; those of a histogram by the names of its parts.
    """

    def __init__(self, text: str) -> None:
        self.kinds: dict[str, str] = {}
        self.labels: dict[str, set[str]] = {}
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            self.kinds[name] = family.type
            for sample in family.samples:
                self.labels.setdefault(name, set()).update(set(sample.labels) - {"le"})
                self.values[sample.name, frozenset(sample.labels.items())] = sample.value

    def value(self, name: str, **labels: str) -> float:
        """Returns the one sample that has these labels among its own."""
        found = self.several(name, **labels)
        assert len(found) == 1, f"{name} {labels}: {found}"
        return found[0]

    def several(self, name: str, **labels: str) -> list[float]:
        """Returns all samples that have these labels among their own."""
        return [
            value for (known, has), value in self.values.items() if known == name and set(labels.items()) <= set(has)
        ]


def answered(
    url: str, token: str = "", *, context: ssl.SSLContext | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes, Mapping[str, str]]:
    """Returns status, body and headers of an answer."""
    sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    request = urllib.request.Request(url, headers=sent)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=BOUND) as response:
            return response.status, response.read(), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def scrape(url: str, token: str = "", *, context: ssl.SSLContext | None = None) -> Scrape:
    """Returns what is told there."""
    status, body, _ = answered(url, token, context=context)
    assert status == 200, body
    return Scrape(body.decode())


def names_in(text: str) -> set[str]:
    """Returns the figures that a query, or a text with some, names."""
    return {_PARTS.sub("", name) for name in re.findall(r"\b(?:grpcflow|process)_\w*[a-z]", text)}


def described(page: Path = PAGE) -> dict[str, tuple[str, set[str]]]:
    """Returns kind and labels of every figure that has a row in a table of the page."""
    found: dict[str, tuple[str, set[str]]] = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        name = re.match(r"`((?:grpcflow|process)_\w+)`", cells[0])
        if name is not None:
            labels = set(re.findall(r"`(\w+)`", cells[2])) if len(cells) > 3 else set()
            found[name[1]] = (cells[1], labels | found.get(name[1], ("", set()))[1])
    return found


def expressions() -> list[str]:
    """Returns every query of the dashboard."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return queries + [one["definition"] for one in board["templating"]["list"] if one["type"] == "query"]


def in_rules() -> dict[str, str]:
    """Returns the query of every alert by its name."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}
