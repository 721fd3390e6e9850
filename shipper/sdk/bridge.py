"""From `logging` to the hand-off: a record is encoded where it is logged, not through OpenTelemetry's Logger.

Its handler holds no lock: the append is atomic by itself, and a lock held over I/O stops every thread of a service.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import get_current_span

from shipper.handoff.frame import ERROR, Kind
from shipper.sdk.exceptions import describe
from shipper.sdk.faults import Faults
from shipper.sdk.log_encode import LogEncoder, trace
from shipper.sdk.seam import Declared, Handoff, ResourceOf, named_scope

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


class ShipperHandler(logging.Handler):
    """The handler for the root logger: to the spool with ``spooler``, else to an OpenTelemetry logger ``provider``.

    ``resource`` is asked for the resource that records belong to (a provider's, or None), once per process.
    """

    def __init__(
        self,
        spooler: Handoff | None = None,
        resource_of: ResourceOf | None = None,
        *,
        resource: Callable[[], Resource | None] = lambda: None,
        provider: Any = None,
        level: int = logging.NOTSET,
        encoder: LogEncoder | None = None,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(level)
        self._encoder = encoder or LogEncoder()
        self.faults = faults or self._encoder.texts.faults
        self._series = spooler.series("logs") if spooler is not None else None
        self._resource = resource


def install(handler: ShipperHandler) -> None:
    """Put the handler on the root logger, to stay there through ``basicConfig(force=True)``, ``dictConfig``, ``fileConfig``."""
    root = logging.getLogger()
    if handler not in root.handlers:
        root.addHandler(handler)


def uninstall(handler: ShipperHandler) -> None:
    """Take the handler off the root logger again."""
    logging.getLogger().removeHandler(handler)
