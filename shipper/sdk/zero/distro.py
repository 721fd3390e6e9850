"""``OTEL_PYTHON_DISTRO=shipper``: what `shipper.init` does, for a program that does not know of us.

OpenTelemetry takes the first distro it finds where none is named, in an order that nobody decides. So that the mere
presence of this package changes nothing, ours does then what OpenTelemetry's own would have done.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # it has no types

from shipper.sdk import voice

NAME = "shipper"
DISTRO = "OTEL_PYTHON_DISTRO"
CONFIGURATOR = "OTEL_PYTHON_CONFIGURATOR"


class ShipperDistro(BaseDistro):  # type: ignore[misc]
    """Chooses our configurator too, and loads instrumentations such that log records leave once."""

    def _configure(self, **kwargs: Any) -> None:
        if chosen():
            os.environ.setdefault(CONFIGURATOR, NAME)
            # that another configurator is installed and not used is nothing to be warned of at each start
            logging.getLogger("opentelemetry.instrumentation.auto_instrumentation._load").addFilter(_of_interest)
            return
        try:
            from opentelemetry.distro import OpenTelemetryDistro
        except ImportError:
            return
        OpenTelemetryDistro()._configure(**kwargs)  # type: ignore[no-untyped-call]

    def load_instrumentor(self, entry_point: Any, **kwargs: Any) -> None:
        """Activate an instrumentation; the one of `logging` without its handler, because ours is there."""
        if chosen() and entry_point.name == "logging":
            kwargs.setdefault("enable_log_auto_instrumentation", False)
        try:
            super().load_instrumentor(entry_point, **kwargs)
        except ImportError:
            raise  # its library is not installed: what loads us knows that
        except Exception as error:
            voice.fault(f"the OpenTelemetry instrumentation {entry_point.name!r}", error)


def _of_interest(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Configuration of %s not loaded")


def chosen() -> bool:
    """Whether somebody named our distro."""
    return os.environ.get(DISTRO, "").strip() == NAME
