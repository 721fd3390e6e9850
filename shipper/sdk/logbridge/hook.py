"""How log records get to the bridge: behind `logging.Logger.callHandlers`, not as one more handler of the root logger.

A handler of the root logger is thrown away by ``basicConfig(force=True)``, ``dictConfig`` and every ``root.handlers = []``,
keeps ``basicConfig()`` from giving a service its console, takes `logging.lastResort` away from it, and does not see loggers
that do not propagate (uvicorn's). Here none of this happens; loggers, levels and filters of loggers count as ever.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_FAR = 6  # frames between OpenTelemetry's handler and a processor


class _State:
    """Who gets the records, and whether logging leads here. Not in globals of this module: those are gone before the last
    record of an ending interpreter."""

    handler: logging.Handler | None = None
    hooked: Callable[[logging.Logger, logging.LogRecord], None] | None = None
    original: Any = None


_state = _State()


def _hook(state: _State, original: Any) -> Callable[[logging.Logger, logging.LogRecord], None]:
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        handler = state.handler
        if handler is not None:
            handler.handle(record)
        original(self, record)

    return call_handlers


CODE = _hook(_state, None).__code__
"""To be recognised in a stack: whoever is called from here deals with a record that is handed over already."""


def install(handler: logging.Handler) -> None:
    """From now on every record that a logger lets pass goes to ``handler.handle``, and to one handler only."""
    _state.handler = handler
    remove_twins()
    if _state.hooked is None:
        _state.original = logging.Logger.callHandlers
        _state.hooked = _hook(_state, _state.original)
        logging.Logger.callHandlers = _state.hooked  # type: ignore[method-assign, assignment]


def uninstall() -> None:
    """As before `install`; where others wrapped ``callHandlers`` since, ours stays in the chain and does nothing."""
    _state.handler = None
    if logging.Logger.callHandlers is _state.hooked:
        logging.Logger.callHandlers = _state.original  # type: ignore[method-assign]
        _state.hooked = None


def installed() -> logging.Handler | None:
    """The handler that records go to."""
    return _state.handler


def is_twin(handler: object) -> bool:
    """Whether this is OpenTelemetry's own logging handler, which would hand every record over a second time."""
    return type(handler).__name__ == "LoggingHandler" and type(handler).__module__.startswith("opentelemetry.")


def from_twin() -> bool:
    """Whether the caller's caller was called by OpenTelemetry's own handler, for a record that `installed` was given."""
    if _state.handler is None:
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
