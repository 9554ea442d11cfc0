"""Queries as they stand in the dashboard and on the page of the metrics, filled in as Grafana would."""

from __future__ import annotations

import re

from tests.support.scraping import PAGE, expressions

__all__ = ["of_dashboard", "of_page"]


def of_dashboard() -> list[str]:
    """Returns the queries of all panels, for everything that can be chosen and for the last minute."""
    panels = [one for one in expressions() if not one.startswith("label_values")]
    return [re.sub(r"\$\w+", ".*", one.replace("$__rate_interval", "1m")) for one in panels]


def of_page() -> list[str]:
    """Returns those of the table of questions."""
    table = PAGE.read_text(encoding="utf-8").split("## Questions")[1].split("## ")[0]
    return re.findall(r"\| `(.+)` \|$", table, re.MULTILINE)
