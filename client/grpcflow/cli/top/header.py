"""The head of the screen: where, rates with their curves, and the cluster in numbers, or what is wrong. Draws only."""

from datetime import datetime
from typing import Final

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from grpcflow.cli.top.colours import ACCENT, BAD, COOL, DIM, GOOD, WARN, state_colour
from grpcflow.cli.top.model import Rate, View
from grpcflow.cli.top.text import number, per_second, short, spark

__all__ = ["Header"]

#: Cells of a figure behind its name, so that what follows does not move.
_FIGURE: Final = 6


class Header(Widget):
    """Three lines.

    Args:
        address: Where the coordinator is.
        began: When the screen was opened, for the title.

    Attributes:
        view: What is shown.
        frozen: True: the screen stands still.
        now: The time that is shown.
    """

    def __init__(self, address: str, now: datetime) -> None:
        super().__init__(id="header")
        self._address = address
        self._began = now
        self.view = View()
        self.frozen = False
        self.now = now

    def show(self, view: View, now: datetime, *, frozen: bool) -> None:
        """Show another view."""
        self.view, self.now, self.frozen = view, now, frozen
        self.refresh()

    def render(self) -> Text:
        """Return the lines."""
        width = max(20, self.size.width - 2)
        lines = (self._title(width), self._rates(width), self._numbers())
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        whole = Text("\n").join(lines)
        whole.no_wrap = True
        return whole

    def _title(self, width: int) -> Text:
        line = Text.assemble(("grpcflow top", ACCENT), "  ", (self._address, COOL))
        if not self.view.asked:
            line.append("  asking …" if not self.view.fault else "", DIM)
        end = Text()
        if self.frozen:
            end.append(" FROZEN ", "bold #1d2026 on #e5c07b")
            end.append("  ")
        end.append(f"watching {short((self.now - self._began).total_seconds())}  ", DIM)
        end.append(f"{self.now:%H:%M:%S}")
        line.append(" " * max(2, width - cell_len(line.plain) - cell_len(end.plain)))
        return line.append_text(end)

    def _rates(self, width: int) -> Text:
        view = self.view
        parts = (
            ("finished", view.finished, GOOD),
            ("failed", view.failed, BAD if view.failed.per_second else DIM),
            ("submitted", view.submitted, COOL),
        )
        least = "≥" if view.missed else ""
        taken = sum(len(name) + 1 + _FIGURE + 3 for name, _, _ in parts) + 4
        curve = max(4, min(60, (width - taken) // 3))
        line = Text()
        for name, rate, colour in parts:
            line.append("  " if line.plain else "").append_text(_rate(name, rate, colour, curve, least))
        return line

    def _numbers(self) -> Text:
        view = self.view
        if view.fault:
            return Text(f"Trying again: {view.fault.removeprefix(f'the coordinator at {self._address} ')}", BAD)
        if not view.asked:
            return Text("")
        told = view.summary
        more = "+" if told.more_failures else ""
        line = Text()
        for name, figure, colour in (
            ("running", f"{number(told.running)} of {number(told.places)}", ""),
            ("waiting", number(told.waiting), WARN if told.waiting else ""),
            ("for later", number(told.scheduled), ""),
            ("failures", f"{number(told.failures)}{more}", BAD if told.failures else ""),
        ):
            if figure != "0" or name == "waiting":
                line.append(f"{name} ", DIM).append(figure, colour).append("  ")
        states = [Text(f"{count} {state}", state_colour(state)) for state, count in told.workers.items()]
        return line.append("workers ", DIM).append_text(Text(", ").join(states or [Text("none", WARN)]))


def _rate(name: str, rate: Rate, colour: str, curve: int, least: str) -> Text:
    figure = f"{least}{per_second(rate.per_second)}/s".rjust(_FIGURE + 2)
    return Text.assemble((name, DIM), (figure, colour), " ", (spark(rate.history, curve), colour))
