"""What counting requests needs of a stream: frames of a service's traces, or the text of a log.

`shipper.sources` has such streams. A `Protocol`, because the rooms `measure` and `sources` stand beside each other and meet
only where a run is put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shipper.contracts import Signal
from shipper.handoff.frame import Frame


class MeasuredStream(Protocol):
    """A stream that is counted, on the event loop only; its source keeps what was not counted yet."""

    @property
    def id(self) -> str:
        """Unique within the life, the same in every run."""

    @property
    def start(self) -> int:
        """Its first position."""

    def measured(self, below: int) -> None:
        """Everything below is counted, and the count is on disk: counting does not need it any more."""


class TextStream(MeasuredStream, Protocol):
    """The text of a log."""

    @property
    def name(self) -> str:
        """The path it was found by."""

    def text(self, at: int, limit: int) -> tuple[bytes, int]:
        """Whole lines from position ``at`` on, about ``limit`` bytes of them, and the position behind; ``at`` when there are none.

        The last line counts as whole also without an end when nothing is appended to it any more. Raises OSError,
        `ShipperError`.
        """


class SpanStream(MeasuredStream, Protocol):
    """The frames that one process handed over, in the order of their positions."""

    @property
    def signal(self) -> Signal:
        """Only traces are read."""

    def frontier(self) -> int:
        """The position up to which there is something to read."""

    def frames(self, at: int, limit: int) -> tuple[list[Frame], int]:
        """Whole frames from position ``at`` on, about ``limit`` bytes of them, and the position behind the last.

        Frames of every kind: declarations too. The position is ``at`` itself when there is nothing new. It lies further
        than the frames reach when what stood there is damaged or gone. Raises OSError, `ShipperError`.
        """

    def resource_attributes(self, number: int) -> Mapping[str, object]:
        """The attributes of the resource of that number (0: none declared), those the host adds included."""

    def route(self, number: int) -> str:
        """The text of the route of that number; empty for 0."""
