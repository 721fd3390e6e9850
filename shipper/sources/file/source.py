"""Tailing: finds files by pattern and makes a stream of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shipper.clock import Clock
from shipper.contracts import Hub, Source
from shipper.events import Reporter
from shipper.ledger import LedgerThread
from shipper.sources.file.settings import FileSettings


class FileSource(Source):
    """Tails the files of ``settings`` and announces a stream for each to ``hub``.

    ``resource``: content of the Resource message put on the records. ``destinations``: names whose cursors in the ledger
    tell, after a restart, what was read. ``remembered``: ids of streams of this life that a destination knows, so that
    files are recognised even when the ledger was lost.
    """

    name = "file"

    def __init__(
        self,
        settings: FileSettings,
        *,
        hub: Hub,
        ledger: LedgerThread,
        life: str,
        resource: bytes,
        clock: Clock,
        report: Reporter,
        destinations: Sequence[str] = (),
        remembered: Iterable[str] = (),
    ) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        raise NotImplementedError

    def stop_reading(self) -> None:
        raise NotImplementedError

    def silent(self, quiet_seconds: float) -> bool:
        raise NotImplementedError

    def close_events(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError
