"""How log records get to the bridge: behind `logging.Logger.callHandlers`, not as one more handler of the root logger.

A handler of the root logger is thrown away by ``basicConfig(force=True)``, ``dictConfig`` and every ``root.handlers = []``,
keeps ``basicConfig()`` from giving a service its console, takes `logging.lastResort` away from it, and does not see loggers
that do not propagate (uvicorn's). Here none of this happens; loggers, levels and filters of loggers count as ever.
"""

from __future__ import annotations

import logging
import sys
from types import FrameType
from typing import Any

_FAR = 6  # frames between OpenTelemetry's handler and a processor
_original: Any = None
_handler: logging.Handler | None = None


def install(handler: logging.Handler) -> None:
    """From now on every record that a logger lets pass goes to ``handler`` as well, and to one handler only."""
    global _original, _handler
    _handler = handler
    remove_twins()
    if _original is None:
        _original = logging.Logger.callHandlers
        logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign]


def uninstall() -> None:
    """As before `install`; where others wrapped ``callHandlers`` since, ours stays in the chain and does nothing."""
    global _original, _handler
    _handler = None
    if logging.Logger.callHandlers is _call_handlers:
        logging.Logger.callHandlers = _original  # type: ignore[method-assign]
        _original = None


def installed() -> logging.Handler | None:
    """The handler that records go to."""
    return _handler


def _call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
    handler = _handler
    if handler is not None and record.levelno >= handler.level:
        handler.handle(record)
    _original(self, record)


CODE = _call_handlers.__code__
"""To be recognised in a stack: whoever is called from here deals with a record that is handed over already."""


def is_twin(handler: object) -> bool:
    """Whether this is OpenTelemetry's own logging handler, which would hand every record over a second time."""
    return type(handler).__name__ == "LoggingHandler" and type(handler).__module__.startswith("opentelemetry.")


def from_twin() -> bool:
    """Whether the caller's caller was called by OpenTelemetry's own handler, for a record that `installed` was given."""
    if _handler is None:
        return False
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_FAR):
        if frame is None:
            return False
        if frame.f_code.co_qualname == "LoggingHandler.emit":
            return str(frame.f_globals.get("__name__")).startswith("opentelemetry.")
        frame = frame.f_back
    return False


def remove_twins() -> None:
    """Take OpenTelemetry's own handlers off the root logger."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if is_twin(handler):
            root.removeHandler(handler)
