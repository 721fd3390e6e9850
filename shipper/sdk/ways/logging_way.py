"""Which way log records of `logging` take: one, whatever else is installed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from shipper.sdk import voice
from shipper.sdk.logbridge.hook import install, is_twin
from shipper.sdk.settings import Settings


def install_logging(settings: Settings, make_handler: Callable[[], logging.Handler], service: str) -> None:
    """Put our handler on the root logger, or only ids on the lines, or leave logging alone: ``logs`` decides."""
    if settings.logs == "off":
        return
    if settings.logs == "stdout":
        from shipper.sdk.logbridge.correlate import install as add_ids

        add_ids(service)
        return
    if foreign := foreign_handler():
        voice.inform(
            f"log records come through {type(foreign).__module__}.LoggingHandler, so no handler of ours is added"
        )
        return
    install(make_handler())


def foreign_handler() -> logging.Handler | None:
    """OpenTelemetry's own handler on the root logger: its records reach our processor through the provider already."""
    return next((handler for handler in logging.getLogger().handlers if is_twin(handler)), None)
