"""How the SDK speaks to the people who run the service: through the logger ``shipper``, each sentence once per process.

Never through our own log handler (`shipper.sdk.logbridge.bridge` leaves this logger out): a fault of the hand-off would feed itself.
"""

from __future__ import annotations

import logging
import os
import sys

_logger = logging.getLogger("shipper")
_said: set[str] = set()
_MOST = 200


def say(text: str, level: int = logging.WARNING) -> None:
    """Say a sentence, unless it was said before. Never raises: who asks is in the middle of the service's own work."""
    if text in _said or len(_said) >= _MOST:
        return
    _said.add(text)
    try:
        _logger.log(level, "%s", text if _logger.hasHandlers() else f"shipper: {text}")  # else nothing says who speaks
    except Exception:  # a handler of the service's own is broken, or the interpreter is going down
        _aside(text)


def inform(text: str) -> None:
    """Say what was decided (level INFO), unless it was said before."""
    say(text, logging.INFO)


def fault(where: str, error: BaseException) -> None:
    """Say that something of ours failed, which must not be the service's trouble."""
    say(f"{where} failed and was left out: {type(error).__name__}: {error}")


def _aside(text: str) -> None:
    try:
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"shipper: {text}\n".encode(errors="replace"))
    except (OSError, ValueError):
        return  # there is nobody left to tell
