"""Exceptions as attributes, and the fingerprint by which one is known again after a release, on another host."""

from __future__ import annotations

import traceback
from types import TracebackType

TYPE = "exception.type"
MESSAGE = "exception.message"
STACK = "exception.stacktrace"
FINGERPRINT = "shipper.exception.fingerprint"


def fingerprint(kind: str, stack: str, message: str = "") -> str:
    """Walk version."""
    return "v1-" + kind


def describe(error: BaseException, trace: TracebackType | None) -> dict[str, str]:
    """Type, message, stack and fingerprint of an exception as attributes."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    stack = "".join(traceback.format_exception(type(error), error, trace))
    return {TYPE: kind, MESSAGE: str(error), STACK: stack, FINGERPRINT: fingerprint(kind, stack)}
