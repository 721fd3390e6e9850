"""The directory of one process in the hand-off: made at first use, alive as long as the process, never shared with a child.

It is made under a name that the sidecar ignores and renamed when the lock is held, so that nobody ever sees it without.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shipper.handoff.liveness import lock_alive
from shipper.handoff.places import ALIVE, open_root, process_name
from shipper.sdk.writer.descriptors import clear_of_standard, same_file
from shipper.sdk.writer.open_spans import Table, make_table
from shipper.sdk.writer.room import Room
from shipper.sdk.writer.turn import Turn

DIRECTORY_MODE = 0o770
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Home:
    """A process directory that this process made. Raises OSError where it cannot be made or reached."""

    def __init__(self, root: str, room: Room, epoch: int) -> None:
        self.pid = os.getpid()
        self.epoch = epoch  # which of this object's directories it is: slots of another are not for its table
        self.room = room
        self.turn = Turn()  # for what concerns all series
        self.blocked = ""  # why nothing may be written
        self.look_at = 0.0  # when to look again, while blocked
        self.table: Table | None = None
        self._root = root
        self._name = process_name(self.pid)
        above = open_root(root)
        try:
            with clear_of_standard():
                self._make(above)
        finally:
            os.close(above)

    def _make(self, above: int) -> None:
        hidden = f".{self._name}"
        os.mkdir(hidden, 0o700, dir_fd=above)
        self.alive = -1
        try:
            os.chmod(hidden, DIRECTORY_MODE, dir_fd=above)  # whatever the umask is
            directory = os.open(hidden, _OPEN, dir_fd=above)
            try:
                made = os.fstat(directory)
                self._device, self._inode = made.st_dev, made.st_ino
                self._lock(directory)
            finally:
                os.close(directory)
            os.rename(hidden, self._name, src_dir_fd=above, dst_dir_fd=above)
        except BaseException:
            self._unmake(above, hidden)
            raise

    def _lock(self, directory: int) -> None:
        self.alive = os.open(ALIVE, _NEW, 0o600, dir_fd=directory)
        os.fchmod(self.alive, 0o644)
        self._alive_inode = os.fstat(self.alive).st_ino
        if not lock_alive(self.alive):
            raise OSError(errno.EBUSY, "the file in a directory made just now is locked")
        self.table = make_table(self.alive, self.epoch)

    def _unmake(self, above: int, hidden: str) -> None:
        if self.alive >= 0:
            os.close(self.alive)
        with suppress(FileNotFoundError):
            os.unlink(f"{hidden}/{ALIVE}", dir_fd=above)
        with suppress(OSError):  # then it is left, under a name that nobody looks at
            os.rmdir(hidden, dir_fd=above)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of the directory, for a moment: one that is kept could be closed by the service. Raises OSError."""
        above = open_root(self._root)
        try:
            directory = os.open(self._name, _OPEN, dir_fd=above)
        finally:
            os.close(above)
        try:
            found = os.fstat(directory)
            if (found.st_dev, found.st_ino) != (self._device, self._inode):
                raise FileNotFoundError(errno.ENOENT, f"{self._name} is another directory now")
            yield directory
        finally:
            os.close(directory)

    def ours(self) -> bool:
        """Whether this process still holds the lock, as far as it can know: its descriptor was not closed."""
        if self.pid != os.getpid() or not same_file(self.alive, self._device, self._alive_inode):
            return False
        return os.fstat(self.alive).st_nlink > 0  # else somebody deleted it

    def let_go(self) -> None:
        """Close what is still ours; the lock goes with it. In a forked child this does nothing to the parent."""
        if same_file(self.alive, self._device, self._alive_inode):
            os.close(self.alive)
        self.alive = -1
