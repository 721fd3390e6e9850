"""What an earlier run committed and never heard about: sent again unchanged, before anything new."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from shipper.clock import Clock
from shipper.contracts import Signal
from shipper.events import Problem, Reporter
from shipper.ledger import OpenRequest
from shipper.pump.gather import Parcel
from shipper.pump.lane import Lane, Piece

GRACE = 5.0  # seconds that a source has after the start to announce the streams it had before


class Resends:
    """Open requests in the order they were committed; each waits until all of its streams are known again."""

    def __init__(self, destination: str, clock: Clock, report: Reporter) -> None:
        self._destination = destination
        self._clock = clock
        self._report = report
        self._waiting: deque[OpenRequest] = deque()
        self._until = clock.monotonic() + GRACE
        self._said = False

    def load(self, requests: list[OpenRequest], shaping: str) -> None:
        """Take over what the ledger holds; ``shaping`` is the hash of the configuration now."""
        self._waiting.extend(requests)
        self._until = self._clock.monotonic() + GRACE
        changed = [request for request in requests if request.shaping != shaping]
        if changed:
            self._report(
                Problem(
                    "shaping-changed",
                    f"{self._destination}: {len(changed)} unanswered requests were shaped by another configuration; "
                    f"they are sent again as shaped now, and a receiver may count them twice",
                )
            )

    def next(self, lanes: Mapping[str, Lane], held_back: Callable[[Signal], bool]) -> Parcel | None:
        """The first request that is not ``held_back``, and all of whose streams are known, as a parcel under its old id."""
        for request in self._waiting:
            if not held_back(request.signal) and all(stream in lanes for stream, _ in request.cuts):
                self._waiting.remove(request)
                pieces = [Piece(lanes[name], cut, lanes[name].since(cut.start)) for name, cut in request.cuts]
                parcel = Parcel(request.id, request.signal, pieces, self._clock.monotonic())
                parcel.unsent = False  # nobody wrote down how far it got
                return parcel
        return None

    def wait(self) -> float:
        """Seconds until those still waiting are no longer waited for; inf when there is nothing to wait for."""
        return max(0.0, self._until - self._clock.monotonic()) if self._waiting and not self._said else float("inf")

    def hopeful(self) -> bool:
        """True while something waits whose streams may still be announced. Says it once when that is over."""
        if not self._waiting:
            return False
        if self._clock.monotonic() < self._until:
            return True
        if not self._said:
            self._said = True
            streams = sorted({name for request in self._waiting for name, _ in request.cuts})
            self._report(
                Problem(
                    "stream-unknown",
                    f"{self._destination}: {len(self._waiting)} unanswered requests stay pending, because no source "
                    f"has announced their streams ({', '.join(streams[:5])}{', ...' if len(streams) > 5 else ''}); "
                    f"if they are files, was a pattern removed from the configuration?",
                )
            )
        return False
