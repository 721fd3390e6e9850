"""An exception as attributes: type, message, stack, and a fingerprint by which it is known again.

The stack is that of the standard library's `traceback`, causes and contexts, cycles and exception groups included, cut in
its middle when it is very long. The fingerprint is made from that text (see `shipper.sdk.emit.fingerprint`), so that a span's
exception event, OpenTelemetry's ``Logger.emit(exception=...)`` and a logged exception come to the same one.
"""

from __future__ import annotations

import traceback
from types import TracebackType

from shipper.sdk.emit.fingerprint import FINGERPRINT, fingerprint
from shipper.sdk.emit.values import as_text

TYPE = "exception.type"
MESSAGE = "exception.message"
STACK = "exception.stacktrace"

MAX_STACK = 60_000
"""Characters of a stack; the middle of a longer one is left out."""
_HEAD = 12_000
_MAX_CHAIN = 32  # exceptions that caused each other, formatted together
_MAX_FRAMES = 64  # of each, where there are more of them than that


def describe(
    error: BaseException | None, trace: TracebackType | None = None, kind: type[BaseException] | None = None
) -> dict[str, str]:
    """The attributes of an exception. ``trace`` and ``kind`` as in ``sys.exc_info()``; never raises for an Exception."""
    found: type[BaseException] = kind or (BaseException if error is None else type(error))
    name = type_name(found)
    stack = _stack(found, error, trace)
    message = as_text(error) if error is not None else ""
    return {TYPE: name, MESSAGE: message, STACK: shorten(stack), FINGERPRINT: fingerprint(name, stack, message)}


def type_name(kind: type) -> str:
    """The qualified name of an exception's type, as OpenTelemetry writes it: without ``builtins.``."""
    module, name = getattr(kind, "__module__", None), getattr(kind, "__qualname__", "?")
    return f"{module}.{name}" if isinstance(module, str) and module and module != "builtins" else str(name)


def _stack(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> str:
    try:
        if error is None:
            return "".join(traceback.format_tb(trace)) + kind.__name__
        chain = _chain(error)
        if len(chain) <= _MAX_CHAIN:
            return "".join(traceback.format_exception(kind, error, trace))
        return "\n".join(_alone(one) for one in reversed(chain[:_MAX_CHAIN]))
    except Exception as broken:  # an exception whose own methods raise
        return f"{type_name(kind)}: [its traceback could not be formatted: {type(broken).__name__}]"


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and those that led to it, nearest first, none twice, one more than are wanted at most."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and len(found) <= _MAX_CHAIN and not any(one is other for other in found):
        found.append(one)
        one = one.__cause__ if one.__cause__ is not None or one.__suppress_context__ else one.__context__
    return found


def _alone(error: BaseException) -> str:
    """One exception without those it came from, whose number makes formatting them together too slow."""
    frames = traceback.format_tb(error.__traceback__, -_MAX_FRAMES)
    head = "Traceback (most recent call last):\n" if frames else ""
    return f"{head}{''.join(frames)}{type_name(type(error))}: {as_text(error)}\n"


def shorten(stack: str) -> str:
    """A stack of at most about `MAX_STACK` characters: where it begins, and more of where it ends."""
    if len(stack) <= MAX_STACK:
        return stack
    tail = MAX_STACK - _HEAD
    return f"{stack[:_HEAD]}\n  … [{len(stack) - MAX_STACK} characters left out] …\n{stack[-tail:]}"
