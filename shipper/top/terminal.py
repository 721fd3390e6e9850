"""The terminal while a view is in it: taken, drawn on, and given back exactly as it was.

The few control sequences used here are those of every terminal since the VT100, and the alternate screen of xterm, which
those that lack it ignore.
"""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import tty
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

_ENTER = "\x1b[?1049h\x1b[?25l"  # alternate screen, no cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_LEAST = (20, 4)  # columns and lines; a terminal that says less does not know
_USUAL = (80, 24)


def can_be_drawn_on() -> bool:
    """Whether somebody sits at a terminal that understands where to draw."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Terminal:
    """Standard input and output as a screen. ``NO_COLOR`` is honoured."""

    def __init__(self) -> None:
        self.keys = sys.stdin.fileno()
        self._screen = sys.stdout.fileno()
        self._before: list[int | list[bytes | int]] | None = None
        self._drawn = ""

    def enter(self) -> None:
        """Take it: keys come one by one and are not shown; Ctrl-C stays a signal."""
        self._before = termios.tcgetattr(self.keys)
        tty.setcbreak(self.keys, termios.TCSADRAIN)
        self._drawn = ""
        self._write(_ENTER)

    def leave(self) -> None:
        """Give it back, if it is still there."""
        if self._before is not None:
            before, self._before = self._before, None
            with contextlib.suppress(OSError):
                self._write(_LEAVE)
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.keys, termios.TCSADRAIN, before)

    def size(self) -> tuple[int, int]:
        """Columns and lines now."""
        columns, lines = os.get_terminal_size(self._screen)
        if not (columns and lines):  # a serial line, or a pty that nobody told
            return _USUAL
        return max(columns, _LEAST[0]), max(lines, _LEAST[1])

    def draw(self, lines: Sequence[Text]) -> None:
        """Show these lines, nothing else; nothing is written where they are the same as before. Raises `OSError`."""
        columns, _ = self.size()
        drawn = f"{_REST_OF_LINE}\r\n".join(painted(lines, columns))
        if drawn != self._drawn:
            self._drawn = drawn
            self._write(f"{_HOME}{drawn}{_REST_OF_LINE}{_REST_OF_SCREEN}")

    def forget(self) -> None:
        """What was drawn is not there any more: its size has changed."""
        self._drawn = ""

    def _write(self, text: str) -> None:
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(self._screen, data) :]


def painted(lines: Sequence[Text], columns: int) -> list[str]:
    """Lines with their colours as control sequences, as far as this terminal has any."""
    console = Console(
        force_terminal=True, width=columns, legacy_windows=False, highlight=False, markup=False, emoji=False
    )
    out = []
    for line in lines:
        with console.capture() as capture:
            console.print(line, no_wrap=True, overflow="crop", end="")
        out.append(capture.get())
    return out
