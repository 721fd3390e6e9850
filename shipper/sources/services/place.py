"""A process's directory as strangers may have made it: opened without following links, believed only where it fits."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Strange(Exception):
    """An entry that is not what the hand-off makes; the text says what it is instead."""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory directly below the root, known by its inode; ``uid`` owns it, and what is in it is said by that user."""

    root: str
    name: str
    uid: int
    inode: tuple[int, int]

    @property
    def path(self) -> str:
        """For people, and for watches."""
        return os.path.join(self.root, self.name)

    @classmethod
    def at(cls, root: str, name: str) -> Place:
        """The directory of that name. Raises `Strange` for anything else, OSError when it cannot be opened."""
        descriptor = _open_directory(os.path.join(root, name))
        try:
            found = os.fstat(descriptor)
            return cls(root, name, found.st_uid, (found.st_dev, found.st_ino))
        finally:
            os.close(descriptor)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of it. Raises `Strange` when another directory is there now, OSError as the kernel says."""
        descriptor = _open_directory(self.path)
        try:
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino, found.st_uid) != (*self.inode, self.uid):
                raise Strange("it was replaced by another directory")
            yield descriptor
        finally:
            os.close(descriptor)

    def open_file(self, directory: int, name: str) -> int:
        """A regular file in it that belongs to its owner or to us, and to no other name.

        Raises `Strange` for anything else, OSError as the kernel says.
        """
        descriptor = os.open(name, os.O_RDONLY | FLAGS, dir_fd=directory)
        try:
            self.check(os.fstat(descriptor))
        except Strange:
            os.close(descriptor)
            raise
        return descriptor

    def check(self, found: os.stat_result) -> None:
        """Raise `Strange` unless it is the status of a file that may be read."""
        if not stat.S_ISREG(found.st_mode):
            raise Strange("it is not a regular file")
        if found.st_nlink != 1:
            raise Strange("it has another name, too")
        if found.st_uid not in (self.uid, os.geteuid()):
            raise Strange(f"it belongs to uid {found.st_uid}, its directory to uid {self.uid}")


def _open_directory(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | FLAGS)
    except NotADirectoryError:
        raise Strange("it is not a directory") from None
    except OSError as error:
        if os.path.islink(path):
            raise Strange("it is a symbolic link") from None
        raise error
