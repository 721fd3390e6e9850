"""A file that is there or not: the notice that a script, a cloud-init hook or a person without any API can give.

``touch /run/shipper/drain`` begins a drain, ``echo 20s kernel update > /run/shipper/drain`` states time and reason, removing it
takes the notice back. It is polled rather than watched: one system call four times a second works on every file system, and
in directories that do not exist yet.
"""

from __future__ import annotations

import os
import stat

from shipper.clock import Clock
from shipper.notice import NoticeBoard, NoticeWatcher
from shipper.notices.by_hand import Flag

LOOK_SECONDS = 0.25
MAX_BYTES = 4096


class TouchFileWatcher(NoticeWatcher):
    """Watches the file at ``path``. Also counts when it is there from the start: whoever put it there wants a drain."""

    name = "touch-file"

    def __init__(self, *, clock: Clock, path: str) -> None:
        self._clock = clock
        self._path = path
        self._complaint = ""
        self._flag = Flag(source=self.name, key=path, what=f"the file {path}", clock=clock)

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        while True:
            self.look(board)
            await self._clock.sleep(LOOK_SECONDS)

    def look(self, board: NoticeBoard) -> None:
        """Look once, and say what is there."""
        try:
            kind = os.stat(self._path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            self._gone(board)
            return
        except (OSError, ValueError) as problem:  # ValueError: a path with a null byte
            self._complain(board, f"{self._path}: {_why(problem)}")
            return
        if not stat.S_ISREG(kind):
            what = "a directory" if stat.S_ISDIR(kind) else "no regular file"
            self._complain(board, f"{self._path} is {what}; a drain begins with a file, so there is none because of it")
            return
        self._complaint = ""
        board.notice(self._flag.notice(self._text()))

    def _complain(self, board: NoticeBoard, why: str) -> None:
        """Said when it is new: what is looked at four times a second would otherwise be counted as often."""
        if why != self._complaint:
            self._complaint = why
            board.unknown(self.name, why)

    def _gone(self, board: NoticeBoard) -> None:
        self._complaint = ""
        board.seen(self.name)
        if self._flag.is_set:
            self._flag.clear()
            board.withdrawn(self.name, self._path, f"the file {self._path} was removed")

    def _text(self) -> str:
        """What the file says. One that cannot be read is there all the same: that is enough, and is said."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as problem:
            return f"(what it says cannot be read: {_why(problem)})"
        try:
            return os.read(descriptor, MAX_BYTES).decode("utf-8", "replace")
        except OSError as problem:
            return f"(what it says cannot be read: {_why(problem)})"
        finally:
            os.close(descriptor)


def _why(problem: Exception) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
