"""Records of loguru go through the log bridge: a sink that makes a `logging.LogRecord` of each.

``logger.remove()``, with which most services begin, takes all sinks away; this one comes back. A record that goes both ways,
from `logging` to loguru by an intercepting handler or from loguru to `logging` by a propagating one, is handed over once.
"""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

from shipper.sdk.later import when_imported
from shipper.sdk.logbridge import hook
from shipper.sdk.logbridge.bridge import ShipperHandler

_FAR = 16  # frames at most between the hook and the sink, when a handler of `logging` calls loguru


def install(handler: ShipperHandler) -> None:
    """Have loguru's records given to ``handler``, now or as soon as loguru is imported."""
    when_imported("loguru", lambda module: _install(module, handler))


def _install(module: ModuleType, handler: ShipperHandler) -> None:
    try:
        _Sink(module.logger, handler).stay()
    except Exception as error:  # a loguru that is not as this knows it
        handler.faults.count("the bridge to loguru could not be installed", error)


class _Sink:
    """What loguru calls with each message."""

    def __init__(self, logger: Any, handler: ShipperHandler) -> None:
        self._logger = logger
        self._handler = handler
        self._number = -1
        self._add()

    def _add(self) -> None:
        self._number = self._logger.add(self, level=0, format="{message}", backtrace=False, diagnose=False, catch=True)

    def stay(self) -> None:
        """Be added again whenever all sinks are removed."""
        kind = type(self._logger)
        remove = kind.remove

        def remove_others(logger: Any, handler_id: int | None = None) -> None:
            remove(logger, handler_id)
            if handler_id is None:
                self._add()

        remove_others.__doc__ = remove.__doc__
        kind.remove = remove_others

    def __call__(self, message: Any) -> None:
        entry = message.record
        if hook.installed() is not self._handler or _from_logging() or self._handler.was_given(entry["extra"]):
            return
        self._handler.handle_foreign(_record(entry), entry["extra"])


def _from_logging() -> bool:
    """Whether this is called by a handler of `logging`, whose record was handed over before any handler was called."""
    frame = sys._getframe(2)
    for _ in range(_FAR):
        if frame is None or frame.f_back is None:
            return False
        frame = frame.f_back
        if frame.f_code is hook.CODE:
            return hook.installed() is not None
    return False


def _record(entry: Any) -> logging.LogRecord:
    level, found = entry["level"], entry["exception"]
    info: Any = (found.type, found.value, found.traceback) if found is not None else None
    path, line = entry["file"].path, entry["line"]
    record = logging.LogRecord(
        entry["name"] or "", level.no, path, line, entry["message"], None, info, entry["function"]
    )
    record.levelname = level.name
    record.created = entry["time"].timestamp()
    record.thread, record.threadName = entry["thread"].id, entry["thread"].name
    for name, value in entry["extra"].items():
        record.__dict__.setdefault(str(name), value)
    return record
