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
NOTICE_SHARE = 3  # but no more than this part of the time there is, which may be short
GONE_QUIET = (
    0.1  # seconds without a word that count where writers were seen and are gone: enough for one that only reopens
)


class Silence:
    """Looks at the sources. ``ended``: whether those to be waited for have ended; None: none are named, or it cannot be told."""

    def __init__(
        self,
        sources: Sequence[Source],
        ended: Callable[[], bool | None],
        quiet: float,
        clock: Clock,
        since: float,
        usable: float,
    ) -> None:
        """``since``: when the drain began. ``usable``: seconds it had then."""
        self._sources = sources
        self._ended = ended
        self._quiet = quiet
        self._clock = clock
        self._since = since
        self._unknown = max(quiet, min(NOTICE_QUIET, usable / NOTICE_SHARE))

    def reached(self, order: Order) -> bool:
        """True when nothing more is to be expected of any writer."""
        ended = self._ended()
        if ended is False:
            return False
        writers = [source.writers() for source in self._sources]
        if order.stop or ended:
            return self._silent_for([self._least(gone) for gone in writers])
        if True in writers:
            return False
        known = False in writers
        if not known and self._clock.monotonic() - self._since < self._unknown:
            return False
        return self._silent_for([self._least(gone) if gone is False else self._unknown for gone in writers])

    def _least(self, gone: bool | None) -> float:
        """Seconds of quiet that are the end after a stop, or where it is known that the writers are gone."""
        return min(self._quiet, GONE_QUIET) if gone is False else self._quiet

    def _silent_for(self, waits: Sequence[float]) -> bool:
        # All are asked, also behind one that is not silent: asking makes a source look, and what it sees is sent meanwhile.
        answers = [source.silent(wait) for source, wait in zip(self._sources, waits, strict=True)]
        return all(answers)
