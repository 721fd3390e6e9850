"""What a view is made from: somewhere to ask again and again, and the errors that are a reason to show, not to stop."""

from __future__ import annotations

from typing import Protocol

from shipper.errors import ShipperError
from shipper.top.layout import View


class NotKnown(ShipperError):
    """Whoever was asked gave no answer that can be used; the text says who and why."""


class Source(Protocol):
    """Where a view comes from. ``interval``: seconds from one reading to the next."""

    name: str
    interval: float

    async def read(self) -> View:
        """How it is now, within a bounded time. Raises a `ShipperError`."""

    async def aclose(self) -> None:
        """No more readings."""
