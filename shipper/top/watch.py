"""Keeps a view on the terminal up to date, and never worse than it was: what cannot be read again stays, with its age and why.

Reading and drawing are apart: while somebody takes long to answer, the view is still redrawn, resized and left at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field

from rich.text import Text

from shipper.errors import ShipperError
from shipper.top.layout import View, laid_out
from shipper.top.source import Source
from shipper.top.terminal import Terminal
from shipper.top.words import span

TICK = 1.0  # a redraw a second: ages go on
STALE = 2.5  # intervals without an answer until that is said


@dataclass(slots=True)
class State:
    """What there is to show. ``read_at``: when ``view`` was read, in monotonic seconds; ``problem``: why not since."""

    view: View | None = None
    read_at: float = 0.0
    problem: str = ""


def framed(state: State, source: Source, now: float, columns: int, lines: int) -> list[Text]:
    """All lines of the screen: a head that says how old the rest is, then the rest."""
    head = View()
    if state.view is None:
        head.say(f"shipper top {source.name}: waiting for the first answer; q quits", "dim")
        return laid_out(head, columns, lines)
    age = now - state.read_at
    if state.problem or age > STALE * source.interval:
        reason = state.problem or "no answer yet"
        head.say(f"shipper top {source.name}, {span(age)} old; q quits", "dim")
        head.say(f"NOT UP TO DATE: this is {span(age)} old: {reason}", "bold red")
    else:
        head.say(f"shipper top {source.name}; q quits", "dim")
    top = laid_out(head, columns, lines)
    return top + laid_out(state.view, columns, max(0, lines - len(top)))


@dataclass
class Watch:
    """One source on one terminal, until somebody quits."""

    source: Source
    terminal: Terminal
    _state: State = field(default_factory=State)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _quit: bool = False

    async def run(self) -> None:
        """Show it until ``q`` or a signal that ends programs. Raises what the first reading raises; later ones are shown."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGWINCH, self._resized)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(lambda _: self._changed.set())
        try:
            self.terminal.enter()
            loop.add_reader(self.terminal.keys, self._key)
            with contextlib.suppress(OSError):  # nobody looks any more
                await self._draw_until_done(reading)
        finally:
            loop.remove_reader(self.terminal.keys)
            self.terminal.leave()
            if not reading.done():
                reading.cancel()
            await asyncio.wait({reading})
            await self.source.aclose()
        if not reading.cancelled():
            reading.result()

    async def _draw_until_done(self, reading: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        while not (self._quit or reading.done()):
            columns, lines = self.terminal.size()
            self.terminal.draw(framed(self._state, self.source, loop.time(), columns, lines))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._changed.wait()
            self._changed.clear()

    async def _read(self) -> None:
        """Read again and again; ends only with the first reading, where that fails."""
        loop = asyncio.get_running_loop()
        state = self._state
        while True:
            begun = loop.time()
            try:
                state.view = await self.source.read()
                state.read_at, state.problem = loop.time(), ""
            except ShipperError as problem:
                if state.view is None:
                    raise
                state.problem = str(problem)
            self._changed.set()
            await asyncio.sleep(max(0.0, begun + self.source.interval - loop.time()))

    def _key(self) -> None:
        try:
            pressed = os.read(self.terminal.keys, 64)
        except OSError:
            pressed = b""
        if not pressed or b"q" in pressed.lower():  # nothing: the terminal is gone
            self._end()

    def _end(self) -> None:
        self._quit = True
        self._changed.set()

    def _resized(self) -> None:
        self.terminal.forget()
        self._changed.set()

    def _suspend(self) -> None:
        """Ctrl-Z: the shell gets its terminal back, and ``fg`` brings the view again."""
        self.terminal.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.terminal.enter()
        self._changed.set()
