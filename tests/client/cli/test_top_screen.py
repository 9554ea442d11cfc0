"""`grpcflow top` on a screen that is none: what is drawn, what keys do, what goes wrong. The source is in memory."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.client.cli.fake_top import GONE, NAP, FakeSource, busy
from textual._context import active_app
from textual.pilot import Pilot

from grpcflow.cli.top.app import Top
from grpcflow.cli.top.model import Listing, Running, View, WorkerLine

#: Rounds of the event loop in a row without a message, after which all is done that a key has started.
QUIET = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits until no message is left; textual's pilot waits until the processor is idle, which takes 40 ms for each key
    and never comes on a busy machine."""

    async def no_message_left(*_: float) -> None:
        app, quiet = active_app.get(), 0
        for _round in range(10_000):
            await asyncio.sleep(0)
            busy = any(pump.message_queue_size for pump in (app, *app._registry))
            quiet = 0 if busy else quiet + 1
            if quiet == QUIET:
                break

    monkeypatch.setattr("textual.pilot.wait_for_idle", no_message_left)
    monkeypatch.setattr("textual.app.wait_for_idle", no_message_left)


class Look:
    """An app that runs, and what is seen of it."""

    def __init__(self, app: Top, source: FakeSource, pilot: Pilot[int]) -> None:
        self.app, self.source, self.pilot = app, source, pilot

    async def press(self, *keys: str) -> str:
        """Presses keys, waits for what they have started, and returns the screen."""
        await self.pilot.press(*keys)
        await self.settled()
        return self.text()

    async def settled(self) -> None:
        acting = [worker for worker in self.app.workers if worker.name == "act"]
        if acting:
            await self.app.workers.wait_for_complete(acting)
        await self.pilot.pause()

    async def tell(self, view: View) -> str:
        self.source.tell(view)
        await self.pilot.pause()
        return self.text()

    def lines(self) -> list[str]:
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        return "\n".join(self.lines())


@asynccontextmanager
async def looking(view: View | None = None, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Look]:
    source = FakeSource(view)
    app = Top(source, 1.0)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield Look(app, source, pilot)


async def test_a_busy_cluster_fits_a_small_terminal() -> None:
    async with looking(busy()) as look:
        lines = look.lines()
        assert len(lines) == 24
        text = look.text()
        for wanted in (
            "127.0.0.1:50551",
            "finished   998/s",
            "failed   0.4/s",
            "submitted 1,020/s",
            "running 14 of 40",
            "1 WORKERS 5",
            "no reply",
            "64/64",
            "2 QUEUES 5",
            "paused: p resumes it",
            "3 RUNNING 1,246",
            "and 1,234 more",
            "4 FAILURES 9+",
            "KeyError: 'total'",
            "? help",
        ):
            assert wanted in text, wanted
        assert lines[-1].strip().endswith("q quit")


async def test_a_wide_terminal_has_two_columns_and_shows_ids_and_lanes() -> None:
    async with looking(busy(), (260, 45)) as look:
        heads = [line for line in look.lines() if "1 WORKERS" in line]
        assert "3 RUNNING" in heads[0]
        assert "└ proj.mail.send p5" in look.text()
        assert re.search(r"LOAD .* 7\.25 .* 0\.42 ", look.text(), re.DOTALL)
        assert NAP in look.text()
        await look.pilot.resize_terminal(80, 24)
        text = await until(look, lambda text: len(text.splitlines()) == 24)
        assert not [line for line in text.splitlines() if "1 WORKERS" in line and "3 RUNNING" in line]
        assert "3 RUNNING" in text


async def test_an_empty_cluster_says_so_and_one_that_was_not_asked_says_nothing() -> None:
    async with looking() as look:
        assert "asking …" in look.text()
        assert "no worker" not in look.text()
        text = await look.tell(View(asked=True))
        for wanted in ("no worker is connected", "nothing waits", "nothing runs", "nothing has failed for good"):
            assert wanted in text
        assert "asking" not in text


async def test_a_coordinator_that_is_gone_is_told_and_what_was_known_stays_until_it_is_back() -> None:
    async with looking(busy()) as look:
        text = await look.tell(replace(busy(), fault=str(GONE)))
        assert "Trying again: cannot be reached: nobody listens" in text
        assert "emails@green" in text
        assert "Trying again" not in await look.tell(busy())


async def test_markup_and_wide_letters_are_shown_as_they_are() -> None:
    name = "[bold red]画像[/bold red]"
    view = View(
        workers=Listing((WorkerLine(name, "live"),)),
        running=Listing((Running("id1", f"f({name!r})", name, 1.0),)),
        asked=True,
    )
    async with looking(view, (160, 24)) as look:
        assert f"f('{name}')" in look.text()
        await look.press("3")
        assert f"id1  f('{name}')  on {name}" in look.lines()[-2]
        assert name in await look.press("c")


async def test_the_cursor_stays_on_its_line_whatever_comes_and_goes() -> None:
    async with looking(busy()) as look:
        await look.press("3", "down", "down")
        chosen = look.lines()[-2].split()[0]
        assert chosen == NAP[:-2] + "02"
        fewer = busy()
        await look.tell(replace(fewer, running=Listing(fewer.running.lines[1:])))
        assert look.lines()[-2].split()[0] == chosen
        await look.tell(replace(fewer, running=Listing(fewer.running.lines[:1])))
        assert look.lines()[-2].split()[0] == NAP[:-2] + "00"
        await look.tell(replace(fewer, running=Listing()))
        await look.press("enter", "c")
        assert look.source.done == []


async def test_tab_and_digits_choose_panes_and_z_shows_one_alone() -> None:
    async with looking(busy()) as look:
        assert "c cancel" in (await look.press("tab", "tab"))
        assert "p pause" in (await look.press("shift+tab"))
        text = await look.press("4", "z")
        assert "r retry" in text
        assert "WORKERS" not in text
        assert "1 WORKERS" in await look.press("z")
        assert "1 WORKERS" in await look.press("z", "1")


async def test_p_pauses_the_chosen_queue_and_resumes_one_that_is_paused() -> None:
    async with looking(busy()) as look:
        assert "p pauses a queue" in await look.press("p")
        assert "did pause reports False" in await look.press("2", "p")
        await look.press("down", "down", "down", "p")
        assert look.source.done == [("pause", "reports", False), ("pause", "default", True)]


@pytest.mark.slow
async def test_c_asks_before_it_cancels() -> None:
    async with looking(busy()) as look:
        await look.press("3")
        for key in ("n", "escape", "enter"):
            assert "Cancel?" in await look.press("c")
            assert "Cancel?" not in await look.press(key)
        assert look.source.done == []
        for key in "tTgG":
            await look.press("c", key)
        id = NAP[:-2] + "00"
        whats = (("revoke", False), ("revoke", True), ("cancel", False), ("cancel", True))
        assert look.source.done == [(what, id, terminate) for what, terminate in whats]
        assert f"did cancel {id} True" in look.text()


async def test_r_asks_before_it_retries_and_the_arrows_answer_too() -> None:
    async with looking(busy()) as look:
        assert "r runs a failure again" in await look.press("r")
        assert "Run it again?" in await look.press("4", "r")
        assert "did retry" in await look.press("down", "enter")
        assert look.source.done[0][0] == "retry"


async def test_what_cannot_be_done_is_said_and_is_no_traceback() -> None:
    async with looking(busy()) as look:
        look.source.error = GONE
        assert "cannot be reached: nobody listens" in await look.press("2", "p")


async def test_a_filter_is_told_as_it_is_typed_and_escape_ends_it() -> None:
    async with looking(busy()) as look:
        await look.press("slash", "q", "p")
        assert look.source.done == [("choose", "q"), ("choose", "qp")], "keys are letters meanwhile"
        assert "only 'qp', Esc shows all" in await look.press("enter")
        assert "nothing with 'qp' in it" in await look.tell(View(asked=True))
        await look.press("escape")
        assert look.source.done[-1] == ("choose", "")
        await look.tell(busy())
        await look.press("enter")
        assert look.source.done[-1] == ("choose", "emails@green")


async def test_space_freezes_what_is_seen() -> None:
    async with looking(busy()) as look:
        assert "FROZEN" in await look.press("space")
        assert "emails@green" in await look.tell(View(asked=True))
        text = await look.press("space")
        assert "FROZEN" not in text
        assert "no worker is connected" in text


@pytest.mark.slow
async def test_enter_looks_into_a_graph_and_keys_act_on_it() -> None:
    async with looking(busy()) as look:
        await look.press("3", "enter")
        text = await until(look, lambda text: "└─ proj.nap" in text)
        assert "w1 [2J" in text
        assert NAP[:-2] + "00" in await look.press("i")
        assert "did cancel" in await look.press("c", "G")
        assert "did retry" in await look.press("r", "y")
        assert "1 WORKERS" in await look.press("escape")
        look.source.error = GONE
        await look.press("enter")
        assert "cannot be reached" in await until(look, lambda text: "Trying" in text or "reached" in text)


async def until(look: Look, holds: Callable[[str], bool]) -> str:
    """Waits for what a thread brings; bounded."""
    for _ in range(200):
        if holds(look.text()):
            break
        await look.pilot.pause(0.01)
    return look.text()


async def test_the_help_tells_every_key_and_any_key_closes_it() -> None:
    async with looking(busy()) as look:
        text = await look.press("question_mark")
        for wanted in ("Tab, 1 to 4", "pause the chosen queue", "Ctrl-C", "at least so much"):
            assert wanted in text
        assert "Ctrl-C" not in await look.press("x")


@pytest.mark.parametrize(("keys", "code"), [(["q"], 0), (["3", "c", "ctrl+c"], 130)])
async def test_q_and_ctrl_c_end_it(keys: list[str], code: int) -> None:
    async with looking(busy()) as look:
        await look.pilot.press(*keys)
        await look.pilot.pause()
    assert look.app.return_value == code


async def test_a_fault_of_ours_ends_it_and_is_not_hidden() -> None:
    async with looking(busy()) as look:
        look.source.crash(ZeroDivisionError("a bug"))
        await look.pilot.pause()
    assert isinstance(look.app.crash, ZeroDivisionError)
    assert look.app.return_value == 1


async def test_without_colours_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with looking(busy()) as look:
        assert "no reply" in look.text()
        strips = look.app.screen._compositor.render_strips()
        colours = {
            piece.style.color.triplet
            for strip in strips
            for piece in strip.apply_filter(look.app._filters[-1], look.app.styles.background)
            if piece.style and piece.style.color and piece.style.color.triplet
        }
        assert colours
        assert all(len(set(colour)) == 1 for colour in colours)
