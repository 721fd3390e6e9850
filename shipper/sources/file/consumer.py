"""The seam for whoever counts what the text of files tells of, beside its being shipped (requests, in `shipper.measure`)."""

from __future__ import annotations

from typing import Protocol

from shipper.sources.file.stream import FileStream


class TextConsumer(Protocol):
    """Is told of the streams of a file source. All calls are made on the event loop and return at once."""

    def wants(self, path: str) -> bool:
        """Whether the stream of a file found by this path is to be told of, and kept until it is `FileStream.measured`."""

    def add(self, stream: FileStream) -> None:
        """A stream exists."""

    def ready(self, stream: FileStream) -> None:
        """There may be something new to read."""

    def finished(self, stream: FileStream) -> None:
        """The stream will never grow again."""


class Nobody:
    """Wants none."""

    def wants(self, path: str) -> bool:
        """See `TextConsumer.wants`."""
        return False

    def add(self, stream: FileStream) -> None:
        """See `TextConsumer.add`."""

    def ready(self, stream: FileStream) -> None:
        """See `TextConsumer.ready`."""

    def finished(self, stream: FileStream) -> None:
        """See `TextConsumer.finished`."""
