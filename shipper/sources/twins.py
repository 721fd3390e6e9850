"""Notices that a service's logs arrive twice: handed over by the SDK, and as lines of a file that is tailed as well.

By sampling, so that it costs nothing that could be measured: a few texts a second are looked for in what the other side
brought at about the same time. Three of one service in one file are no accident.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from shipper.clock import Clock
from shipper.errors import MalformedOtlp
from shipper.events import Problem, Reporter
from shipper.otlp.wire import LENGTH, fields

ENOUGH = 3
EVERY = 0.25  # seconds between looks, on either side
_SHORTEST, _LONGEST = 16, 1000  # bytes of a text: shorter ones ("started") are in many places
_TEXTS = 16
_CHUNKS = 8
_CHUNK_BYTES = 64 << 10
_MOST_PAIRS = 256


class Twins:
    """Told by both sides, on the event loop. Warns once for each service."""

    def __init__(self, clock: Clock, report: Reporter) -> None:
        self._clock = clock
        self._report = report
        self._texts: deque[tuple[str, bytes]] = deque(maxlen=_TEXTS)  # service, text
        self._chunks: OrderedDict[str, bytes] = OrderedDict()  # file -> the end of what came of it last
        self._found: dict[tuple[str, str], set[bytes]] = {}
        self._warned: set[str] = set()
        self._next_text = self._next_chunk = float("-inf")

    def handed_over(self, service: str, record: bytes) -> None:
        """A service handed over a LogRecord (its content)."""
        now = self._clock.monotonic()
        if now < self._next_text or service in self._warned:
            return
        self._next_text = now + EVERY
        text = _text(record)
        if not _SHORTEST <= len(text) <= _LONGEST:
            return
        self._texts.append((service, text))
        for file, chunk in self._chunks.items():
            if text in chunk:
                self._twin(service, text, file)

    def tailed(self, file: str, payload: bytes) -> None:
        """Lines of a file were cut, as they are sent."""
        now = self._clock.monotonic()
        if now < self._next_chunk:
            return
        self._next_chunk = now + EVERY
        chunk = payload[-_CHUNK_BYTES:]
        self._chunks[file] = chunk
        self._chunks.move_to_end(file)
        if len(self._chunks) > _CHUNKS:
            self._chunks.popitem(last=False)
        for service, text in tuple(self._texts):
            if text in chunk:
                self._twin(service, text, file)

    def _twin(self, service: str, text: bytes, file: str) -> None:
        if service in self._warned or len(self._found) >= _MOST_PAIRS:
            return
        found = self._found.setdefault((service, file), set())
        found.add(text)
        if len(found) >= ENOUGH:
            self._warned.add(service)
            self._report(
                Problem(
                    "twins",
                    f"logs of {service or 'a service'} arrive twice, by the SDK and as lines of {file}: set "
                    "SHIPPER_LOGS=stdout for the service, or leave the file out (exclude: in files:)",
                    service,
                )
            )


def _text(record: bytes) -> bytes:
    """The body of a LogRecord where it is text; else nothing."""
    try:
        for number, wire, _, value, stop in fields(record, 0, len(record)):
            if number == 5 and wire == LENGTH:
                for inner, kind, _, start, end in fields(record, value, stop):
                    if inner == 1 and kind == LENGTH:
                        return record[start:end].strip()
    except MalformedOtlp:
        pass  # whoever takes it says so
    return b""
