"""What the table of files tells, without knowing to whom."""

from __future__ import annotations

from typing import Protocol

from shipper.sources.file.content import Content
from shipper.sources.file.handles import TailedFile


class Announcer(Protocol):
    """Who wants to know."""

    def new_stream(self, file: TailedFile, size: int, head: bytes, start: int) -> Content | None:
        """Make a stream for ``file`` from position ``start``; None when its content is not to be read."""

    def missed(self, file: TailedFile, size: int) -> None:
        """``file``, of ``size`` bytes, was gone before it could be opened."""

    def grew(self, content: Content) -> None:
        """There may be something new to cut."""

    def moved(self, content: Content) -> None:
        """What is kept of it (path, head, size) changed."""

    def ended(self, content: Content) -> None:
        """It will never grow again."""

    def endangered(self, content: Content) -> None:
        """A copy of it appeared beside it: its file is about to be truncated."""

    def kept(self, content: Content, beyond: int) -> TailedFile | None:
        """What was read ahead of a content that parted with its file; None where that does not reach ``beyond`` a position."""

    def follow(self, file: TailedFile) -> None:
        """Watch the file itself, where the directories of its names do not tell all."""

    def room(self) -> None:
        """A descriptor can be had for files that wait for one: call `FileTable.retry` soon."""

    def unfollow(self, file: TailedFile) -> None:
        """It needs no watch of its own."""
