"""What the screen asks, and its help: boxes above it that take one key. They do nothing but answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from grpcflow.cli.top.colours import ACCENT, COOL, DIM

__all__ = ["Answer", "Help", "Question"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the answers.

    Attributes:
        key: The letter that gives it.
        text: What it does.
        value: What the question is answered with; empty: nothing is to be done.
    """

    key: str
    text: str
    value: str


NOTHING: Final = Answer("n", "leave it as it is", "")


class Question(ModalScreen[str]):
    """Asks before something is done; the answer that does nothing is chosen at first, and Escape gives it.

    Args:
        title: What would be done.
        about: What it would be done to.
        answers: What can be answered; leaving it as it is comes before them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", show=False)]

    def __init__(self, title: str, about: str, answers: Sequence[Answer]) -> None:
        super().__init__()
        self._title = title
        self._about = about
        self._answers = (NOTHING, *answers)

    def compose(self) -> ComposeResult:
        """Build the box."""
        options = (
            Option(Text.assemble((f" {answer.key} ", f"reverse {COOL}"), "  ", answer.text)) for answer in self._answers
        )
        with Vertical(id="box"):
            yield Static(Text(self._title, ACCENT))
            yield Static(Text(self._about, DIM), id="about")
            yield OptionList(*options, id="answers")
            yield Static(Text("a letter answers; or the arrows and Enter", DIM))

    def on_key(self, event: events.Key) -> None:
        """Answer with a letter."""
        for answer in self._answers:
            if event.character == answer.key:
                event.stop()
                self.dismiss(answer.value)
                return

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer with the line that is chosen."""
        self.dismiss(self._answers[event.option_index].value)

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss("")


#: Keys and what they do, for the help.
_KEYS: Final = (
    ("Tab, 1 to 4", "choose a pane; Shift-Tab goes back"),
    ("arrows, j k", "choose a line; also PgUp PgDn Home End"),
    ("z", "the chosen pane alone, and back"),
    ("/", "only lines with a text, in all panes; Esc shows all"),
    ("Enter", "a task's or failure's graph; only what is a worker's"),
    ("p", "pause the chosen queue, or resume it"),
    ("c", "cancel the chosen task or its graph; asks first"),
    ("r", "run the chosen failure's graph again; asks first"),
    ("space", "freeze the screen, and go on"),
    ("q, Ctrl-C", "quit"),
)

_WORDS: Final = (
    ("RUNNING", "tasks that run, of the places there are"),
    ("HELD", "tasks the worker has taken, of as many as it may"),
    ("no reply", "connected, but did not answer in time"),
    ("OLDEST", "how long the oldest call waits; - is not known"),
    ("IN/S OUT/S", "submitted and ended a second, of the last five"),
    ("≥", "more happened than is kept: at least so much"),
)


class Help(ModalScreen[None]):
    """What the keys do and the words mean; any key closes it."""

    def compose(self) -> ComposeResult:
        """Build the box."""
        with VerticalScroll(id="help"):
            yield Static(_listed("Keys", _KEYS))
            yield Static(_listed("Words", _WORDS))

    def on_key(self, event: events.Key) -> None:
        """Close, but let the arrows scroll."""
        if event.key not in {"up", "down", "pageup", "pagedown", "home", "end", "ctrl+c"}:
            event.stop()
            self.dismiss(None)


def _listed(title: str, lines: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), title=Text(title, ACCENT), title_justify="left", show_header=False)
    table.add_column(style=COOL, width=11)
    table.add_column()
    for name, meaning in lines:
        table.add_row(Text(name), Text(meaning))
    return table
