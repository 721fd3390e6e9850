"""What the table of files tells, without knowing to whom."""

from __future__ import annotations

from typing import Protocol

from shipper.sources.file.handles import TailedFile
from shipper.sources.file.stream import FileStream


class Announcer(Protocol):
    """Who wants to know."""

    def new_stream(self, file: TailedFile, size: int, head: bytes, start: int) -> FileStream | None:
        """Make a stream for ``file`` from position ``start``; None when its content is not to be read."""

    def grew(self, stream: FileStream) -> None:
        """There may be something new to cut."""

    def moved(self, stream: FileStream) -> None:
        """What is kept of it (path, head, size) changed."""

    def ended(self, stream: FileStream) -> None:
        """It will never grow again."""

    def follow(self, file: TailedFile) -> None:
        """Watch the file itself, where the directories of its names do not tell all."""

    def room(self) -> None:
        """A descriptor can be had for files that wait for one: call `FileTable.retry` soon."""

    def unfollow(self, file: TailedFile) -> None:
        """It needs no watch of its own."""
