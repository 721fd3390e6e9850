"""Files of OTLP JSON lines, as a destination of type ``file`` and the Collector's file exporter write them, read back."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.fleet.archive import Damage
from shipper.otlp.decode import from_json

_MEMBERS = {b"resourceLogs": Signal.LOGS, b"resourceSpans": Signal.TRACES, b"resourceMetrics": Signal.METRICS}
_FIRST_MEMBER = re.compile(rb'\s*\{\s*"(resource(?:Logs|Spans|Metrics))"')
_GZIP = b"\x1f\x8b"


def requests_in(path: str, damaged: Callable[[Damage], None]) -> Iterator[tuple[Signal, bytes]]:
    """The requests in a file, gzipped or not, in order; lines that are none are reported. Raises OSError."""
    with open(path, "rb") as file:
        packed = file.read(2) == _GZIP
    number = 0
    with gzip.open(path, "rb") if packed else open(path, "rb") as lines:
        try:
            for number, line in enumerate(lines, 1):
                found = _request(line)
                if isinstance(found, str):
                    damaged(Damage(f"{path}, line {number}", found))
                elif found is not None:
                    yield found
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            damaged(Damage(f"{path}, behind line {number}", f"it cannot be unpacked: {error}"))


def _request(line: bytes) -> tuple[Signal, bytes] | str | None:
    """What a line holds, or why it holds nothing; None for a blank one."""
    if not line.strip():
        return None
    named = _FIRST_MEMBER.match(line)
    if named is None:
        return "it is no OTLP JSON line"
    signal = _MEMBERS[named[1]]
    try:
        return signal, from_json(signal, line)
    except MalformedOtlp as error:
        return str(error)
