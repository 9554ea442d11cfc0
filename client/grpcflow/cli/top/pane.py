"""A pane: a table under its head, with a cursor that stays on its line whatever comes and goes. Draws, asks nobody."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from grpcflow.cli.top.table import Column, Row, drawn, heads, widths

__all__ = ["Pane"]

_HEAD: Final = Style.parse("bold #aab2c0 on #2a303a")
_CHOSEN_HEAD: Final = Style.parse("bold #ffffff on #2f5d8c")
_CURSOR: Final = Style.parse("bold #ffffff on #34506e")
_NOTE: Final = Style.parse("italic #8b93a1 on #15181d")
_OLD: Final = Style.parse("#727a87 on #15181d")
_PLAIN: Final = Style.parse("#c8ced8 on #15181d")


class Pane(Widget, can_focus=True):
    """A table with a cursor.

    Args:
        number: Its key, also shown in its head.
        title: What it shows.
        columns: Its columns; the head of the first is the title.
        empty: What is said where it has no rows.

    Attributes:
        number: As given.
        rows: The lines.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
    ]

    class Moved(Message):
        """The cursor is on another line, or the pane has been chosen."""

    class Opened(Message):
        """A line was clicked on that the cursor was on already."""

    def __init__(self, number: int, title: str, columns: Sequence[Column], empty: str) -> None:
        super().__init__(id=f"pane{number}")
        self.number = number
        self.rows: Sequence[Row] = ()
        self._title = title
        self._columns = columns
        self._empty = empty
        self._said = ""
        self._old = False
        self._count = ""
        self._more = ""
        self._key: str | None = None
        self._at = 0
        self._top = 0

    # --- what it shows ------------------------------------------------------------------------------------

    def show(self, rows: Sequence[Row], count: str = "", more: str = "", *, empty: str = "", old: bool = False) -> None:
        """Show these lines; the cursor stays where it was, or near it where its line is gone.

        Args:
            rows: The lines.
            count: What stands in the head behind the title.
            more: What is said below the last one; empty: nothing.
            empty: What is said where there is none, in place of the usual words.
            old: True: they are no longer true, and look like it.
        """
        self.rows, self._count, self._more, self._old = rows, count, more, old
        self._said = empty or self._empty
        found = next((at for at, row in enumerate(rows) if row.key == self._key), None)
        self._at = max(0, min(self._at if found is None else found, len(rows) - 1))
        if found is None and self._key is not None:
            self._key = rows[self._at].key if rows else None
        self.refresh()

    @property
    def need(self) -> int:
        """Lines that all of it would take."""
        return 1 + max(1, len(self.rows)) + bool(self._more)

    @property
    def at(self) -> int:
        """Which line the cursor is on."""
        return self._at

    @property
    def chosen(self) -> Row | None:
        """The line that the cursor is on; None: there is none."""
        return self.rows[self._at] if self.rows else None

    # --- the cursor ---------------------------------------------------------------------------------------

    def action_move(self, lines: int) -> None:
        """Move the cursor."""
        if self.rows:
            self._at = max(0, min(self._at + lines, len(self.rows) - 1))
            # Until it is moved the cursor is on the first line, whichever that is.
            self._key = None if self._at == 0 else self.rows[self._at].key
            self.refresh()
            self.post_message(self.Moved())

    def action_page(self, pages: int) -> None:
        """Move the cursor by what is seen at once."""
        self.action_move(pages * max(1, self.size.height - 2))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move down."""
        event.stop()
        self.action_move(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move up."""
        event.stop()
        self.action_move(-1)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where it was clicked; where it is there already the line is opened."""
        at = self._top + event.y - 1
        if event.y >= 1 and at < len(self.rows):
            again = event.chain == 2
            self.action_move(at - self._at)
            if again:
                self.post_message(self.Opened())

    def on_focus(self) -> None:
        """Tell that it has been chosen."""
        self.post_message(self.Moved())

    # --- drawing ------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Return one line of the widget."""
        width, height = self.size
        room = max(1, width - 2)
        sizes = widths(self._columns, self.rows, room)
        if y == 0:
            return self._edged(self._head(sizes), width, _CHOSEN_HEAD if self.has_focus else _HEAD)
        seen = self._scrolled(height)
        at = self._top + y - 1
        if y == min(seen, len(self.rows)) + 1 and (note := self._note(seen)):
            return self._edged([Segment(note, _NOTE)], width, _NOTE)
        if not self.rows:
            return self._edged([Segment(self._said, _NOTE)] if y == 1 else [], width, _NOTE)
        if at >= min(len(self.rows), self._top + seen):
            return Strip.blank(width, _PLAIN)
        pointed = self.has_focus and at == self._at
        style = _CURSOR if pointed else _OLD if self._old else _PLAIN
        plain = pointed or self._old
        return self._edged(drawn(self.rows[at], self._columns, sizes, style, plain=plain), width, style)

    def _scrolled(self, height: int) -> int:
        """Bring the cursor into view; returns how many lines are seen."""
        seen = height - 1
        if len(self.rows) > seen or self._more:
            seen -= 1
        seen = max(1, seen)
        top = min(max(self._top, self._at - seen + 1), self._at)
        self._top = max(0, min(top, len(self.rows) - seen))
        return seen

    def _note(self, seen: int) -> str:
        """Return what is said on the last line: how much is not seen."""
        above, below = self._top, max(0, len(self.rows) - self._top - seen)
        if not (above or below or self._more):
            return ""
        parts = [f"{above} above"] * bool(above) + [f"{below} below"] * bool(below) + [self._more] * bool(self._more)
        return "… " + ", ".join(parts)

    def _head(self, sizes: Sequence[int]) -> list[Segment]:
        style = _CHOSEN_HEAD if self.has_focus else _HEAD
        title = Column(f"{self.number} {self._title} {self._count}".rstrip(), self._columns[0].least)
        return heads([title, *self._columns[1:]], sizes, style)

    @staticmethod
    def _edged(pieces: list[Segment], width: int, style: Style) -> Strip:
        """Return a line with a cell of room at both ends."""
        strip = Strip([Segment(" ", style), *pieces])
        return strip.adjust_cell_length(width, style)
