"""What the program writes, shown also where it would have gone without us: on our own standard output and error.

A reader that is slow or stands still holds up nobody but this thread: the program writes to its file.
"""

from __future__ import annotations

import os
import threading

LOOK_SECONDS = 0.05
_READ_BYTES = 64 << 10


class Copy:
    """Copies a file that grows to a descriptor, until `finish`."""

    def __init__(self, source: int, to: int) -> None:
        self._source = source
        self._to = to
        self._at = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"copy to {to}", daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> bool:
        """The program has ended: copy the rest. False when that takes longer than ``seconds``."""
        self._ended.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._ended.wait(LOOK_SECONDS):
                self._copy()
            self._copy()
        except OSError:
            return  # nobody reads it any more; the file has it all

    def _copy(self) -> None:
        while data := self._next():
            view = memoryview(data)
            while view:
                view = view[os.write(self._to, view) :]

    def _next(self) -> bytes:
        """What comes next, holes skipped: space of what was shipped is given back while the program runs."""
        try:
            self._at = os.lseek(self._source, self._at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing behind it
            return b""
        data = os.pread(self._source, _READ_BYTES, self._at)
        self._at += len(data)
        return data
