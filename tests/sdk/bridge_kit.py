"""A logger, and the bridge from it into a spool in memory."""

from __future__ import annotations

import logging
from typing import Any

from shipper.sdk.logbridge import bridge
from shipper.sdk.logbridge.bridge import ShipperHandler
from tests.sdk.memory_spool import MemorySeries, MemorySpool, attributes_of, nothing_stated, plain

CODE = ("code.file.path", "code.function.name", "code.line.number")
log = logging.getLogger("shop.orders")


def bridged(spool: MemorySpool | None = None, **options: Any) -> MemorySeries:
    """The series that records go to from now on."""
    spool = spool or MemorySpool()
    bridge.install(ShipperHandler(spool, nothing_stated, **options))
    return spool.series("logs")


def bodies(series: MemorySeries) -> list[Any]:
    """The bodies that were handed over, in order."""
    return [plain(message.body) for message in series.logs]


def extras(series: MemorySeries, index: int = -1) -> dict[str, Any]:
    """The attributes of a record besides its place in the code."""
    return {key: value for key, value in attributes_of(series.logs[index]).items() if key not in CODE}
