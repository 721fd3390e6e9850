"""What receivers left that do not listen any more: switched off since, or of a life that is over. It is shipped all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shipper.contracts import Hub, Source
from shipper.spool import SpoolStream


class Leftover(Source):
    """Announces the streams of spools that nobody writes to; the spools stay the caller's to close."""

    name = "receivers"

    def __init__(self, streams: Sequence[SpoolStream], hub: Hub) -> None:
        for stream in streams:
            hub.add(stream)

    async def run(self) -> None:
        """See `Source.run`; there is nothing to watch."""
        await asyncio.get_running_loop().create_future()

    def stop_reading(self) -> None:
        """See `Source.stop_reading`; nothing is written any more."""

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`."""
        return True

    def close_events(self) -> None:
        """See `Source.close_events`; every frame is whole."""
