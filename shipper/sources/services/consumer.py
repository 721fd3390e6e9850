"""The seam for whoever wants to see every frame before sampling: the measures derived from spans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shipper.contracts import Signal
from shipper.handoff.frame import Frame


class FrameStream(Protocol):
    """A stream as a consumer sees it. Positions are those of the stream; a consumer keeps a cursor of its own."""

    id: str
    signal: Signal
    name: str
    start: int

    @property
    def finished(self) -> bool:
        """True when nothing will ever be appended again."""

    def frontier(self) -> int:
        """The position up to which there is something to read."""

    def frames(self, at: int, limit: int) -> tuple[list[Frame], int]:
        """Frames of every kind from ``at`` on, of about ``limit`` bytes, and where to go on; the same position: nothing now.

        What is gone or damaged is stepped over. Raises OSError when it cannot be read now.
        """

    def resource_attributes(self, number: int) -> Mapping[str, str]:
        """The textual attributes of a resource as they are shipped; those of the host for one never declared."""

    def route(self, number: int) -> str:
        """A declared route; empty for 0 and for one never declared."""

    def measured(self, below: int) -> None:
        """The consumer is done with all positions below ``below``, durably: segments that end there may be deleted."""


class Consumer(Protocol):
    """Gets every stream of the services' source. All calls are made on the event loop and return at once."""

    def add(self, stream: FrameStream) -> None:
        """A stream exists; from now on its segments are kept until they are `FrameStream.measured`."""

    def ready(self, stream: FrameStream) -> None:
        """There may be something new to read."""

    def finished(self, stream: FrameStream) -> None:
        """The stream will never grow again."""
