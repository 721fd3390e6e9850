"""Whether the services have said their last word. Reading stops last, and this decides when that is.

After a stop the services are being stopped, too, so quiet means the end. When only a notice stands, nobody has told them
yet: a quiet service will still write its shutdown messages. Then quiet counts at once only where writers were seen and are
gone, or where the configuration named whose end to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shipper.clock import Clock
from shipper.contracts import Source
from shipper.drain.order import Order

NOTICE_QUIET = 10.0  # seconds without a word that count as the end where nothing can be told about writers


class Silence:
    """Looks at the sources. ``ended``: whether those to be waited for have ended; None: none are named, or it cannot be told."""

    def __init__(
        self, sources: Sequence[Source], ended: Callable[[], bool | None], quiet: float, clock: Clock, since: float
    ) -> None:
        """``since``: when the drain began."""
        self._sources = sources
        self._ended = ended
        self._quiet = quiet
        self._clock = clock
        self._since = since

    def reached(self, order: Order) -> bool:
        """True when nothing more is to be expected of any writer."""
        ended = self._ended()
        if ended is False:
            return False
        if order.stop or ended:
            return self._all_silent(self._quiet)
        writers = [source.writers() for source in self._sources]
        if True in writers:
            return False
        known = False in writers
        if not known and self._clock.monotonic() - self._since < NOTICE_QUIET:
            return False
        waits = [self._quiet if gone is False else max(self._quiet, NOTICE_QUIET) for gone in writers]
        return self._silent_for(waits)

    def _all_silent(self, quiet: float) -> bool:
        return self._silent_for([quiet] * len(self._sources))

    def _silent_for(self, waits: Sequence[float]) -> bool:
        # All are asked, also behind one that is not silent: asking makes a source look, and what it sees is sent meanwhile.
        answers = [source.silent(wait) for source, wait in zip(self._sources, waits, strict=True)]
        return all(answers)
