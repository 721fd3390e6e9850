"""Where the SDK's own faults end: counted by cause and said once, never raised into the service."""

from __future__ import annotations

import logging
from collections.abc import Callable

_MOST_CAUSES = 64
_LOGGER = logging.getLogger("shipper")


def _warn(text: str) -> None:
    _LOGGER.warning(text)


class Faults:
    """Counts of what went wrong inside the SDK, by cause. The first fault of each cause is said through ``say``.

    ``say`` must not lead back into Shipper's own handler; the default is the logger ``shipper``, which the handler skips.
    """

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self._say = say or _warn
        self.counts: dict[str, int] = {}

    def count(self, cause: str, error: BaseException | None = None) -> None:
        """One more fault of this cause. Never raises, whatever ``error`` and ``say`` are like."""
        try:
            known = self.counts.get(cause)
            if known is None and len(self.counts) >= _MOST_CAUSES:
                return
            self.counts[cause] = (known or 0) + 1
            if known is None:
                what = f" ({type(error).__name__})" if error is not None else ""
                self._say(f"{cause}{what}; further ones are only counted")
        except Exception:  # ``say`` is broken, or the interpreter is going down
            self.counts["a fault could not be said"] = 1

    def settle(self, lost: int, drop: Callable[[str, int], None]) -> None:
        """Count through ``drop`` what could not be counted when it was lost: then the stack left no room for a call."""
        drop("stack exhausted", lost)
        self.count("the service's stack was exhausted where a record was to be handed over")
