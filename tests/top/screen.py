"""A terminal to run a program in: a pty of a known size, and what is on its screen by the last frame that was drawn."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.cells import cell_len

PATIENCE = 40.0  # a bound for a loaded machine, never a measure
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38)[0-9;]*m")
STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """``shipper`` with these arguments in a terminal of ``columns`` x ``lines``."""

    def __init__(
        self, *arguments: str, columns: int = 80, lines: int = 24, env: Mapping[str, str] | None = None
    ) -> None:
        self._arguments = arguments
        self._env = dict(env or {})
        self.columns, self.lines = columns, lines
        self.output = ""

    def __enter__(self) -> Screen:
        self._ours, self._theirs = pty.openpty()
        self.resize(self.columns, self.lines)
        self.before = termios.tcgetattr(self._theirs)
        os.set_blocking(self._ours, False)
        env = {k: v for k, v in os.environ.items() if not k.startswith("SHIPPER_") and k not in ("NO_COLOR", "COLUMNS")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "shipper", "top", *self._arguments],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=subprocess.PIPE,
            env=env | {"TERM": "xterm-256color"} | self._env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.hang_up()
        os.close(self._theirs)

    def hang_up(self) -> None:
        """The window is closed, or the connection is lost."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as dragging a window does."""
        self.columns, self.lines = columns, lines
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """What somebody types."""
        os.write(self._ours, keys)

    def frame(self) -> list[str]:
        """The lines of the last frame that is whole, without colours."""
        self._read()
        frames = self.output.split("\x1b[H")[1:]
        whole = [frame.partition("\x1b[J")[0] for frame in frames if "\x1b[J" in frame]
        return STYLE.sub("", whole[-1]).replace("\x1b[K", "").split("\r\n") if whole else []

    def fits(self) -> bool:
        """Whether the last frame lies within the terminal: no line wraps, none scrolls the others away."""
        frame = self.frame()
        return 0 < len(frame) <= self.lines and all(cell_len(line) <= self.columns for line in frame)

    async def shows(self, *words: str) -> str:
        """Wait until all of these are on the screen; the screen."""
        return await self.until(lambda: all(word in self.text() for word in words), f"{words} on the screen")

    async def until(self, condition: Callable[[], bool], what: str) -> str:
        """Wait until ``condition``; the screen."""
        deadline = time.monotonic() + PATIENCE
        while self._read() or not condition():
            assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}\n{self.text()}"
            assert self.process.poll() is None, f"it ended ({self.process.returncode}) before {what}: {self.said()}"
            await asyncio.sleep(0.02)
        return self.text()

    def text(self) -> str:
        """The last frame as one text."""
        return "\n".join(self.frame())

    def ended(self) -> int:
        """Wait for its end; the exit status."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text()
            self._read()
            time.sleep(0.01)
        self._read()
        return self.process.returncode

    def said(self) -> str:
        """What it said on standard error; after its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def as_it_was(self) -> bool:
        """Whether the terminal is in the state it was given in."""
        self._read()
        back = self.output.rfind(LEAVE) > self.output.rfind(ENTER) >= 0 and self.output.rstrip().endswith(LEAVE)
        return back and termios.tcgetattr(self._theirs) == self.before

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        self.process.send_signal(number)

    def _read(self) -> None:
        while self._ours >= 0:
            try:
                part = os.read(self._ours, 65536)
            except OSError:
                return
            if not part:
                return
            self.output += part.decode(errors="replace")
