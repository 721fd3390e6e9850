"""Docker's json-file: ``{"log":"text\\n","stream":"stdout","attrs":{...},"time":"<RFC3339Nano>"}``; see `shipper.shape.containers`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, repeat
from operator import itemgetter

import msgspec

from shipper.otlp.encode import log_attribute
from shipper.shape.container_format import OUTPUTS, UNKNOWN, Format, Unit, Whole, lines_of, other_of
from shipper.shape.runtime_times import any_stamps_of, stamps_of

ATTRIBUTES = "docker.attrs."  # what ``--log-opt tag|labels|env`` adds to each line
_BEGUN, _END = b'{"log":"', b'"}\n'
_TEXT_OF, _BETWEEN_OF, _STAMP_OF = itemgetter(0), itemgetter(1), itemgetter(2)
_QUOTES = 12  # in a line, without those of its text
_ESCAPES = [
    (rb"\"", b'"'),
    (rb"\t", b"\t"),
    (rb"\r", b"\r"),
    (rb"\u003c", b"<"),
    (rb"\u003e", b">"),
    (rb"\u0026", b"&"),
    (rb"\u001b", b"\x1b"),
]


class _DockerLine(msgspec.Struct, gc=False):
    log: str
    stream: str
    time: str = ""
    attrs: msgspec.Raw = msgspec.Raw()


class _NothingElse(_DockerLine, forbid_unknown_fields=True):
    """A line of Docker's own, with all that it has."""


class Docker(Format):
    """What Docker's json-file driver writes."""

    name = "docker"
    growth = 6  # \u0000

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_DockerLine)
        self._strict = msgspec.json.Decoder(_NothingElse)

    def whole(self, chunk: bytes, output: str) -> Whole | None:
        """See `Format.whole`."""
        if output != UNKNOWN and b'"%s"' % output.encode() not in chunk:
            return Whole([], [])
        return _unescaped(chunk, output) or self._decoded(chunk, output)

    def _decoded(self, chunk: bytes, output: str) -> Whole | None:
        other = other_of(output).encode()
        try:
            lines = self._decoder.decode_lines(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if len(lines) != chunk.count(b"\n"):
            return None
        if b'"%s"' % other in chunk or any(line.stream != output for line in lines):
            if any(line.stream not in OUTPUTS for line in lines):
                return None
            lines = [line for line in lines if line.stream == output]
        logs = [line.log for line in lines]
        joined = "".join(logs).encode()
        texts = joined.split(b"\n")
        if texts.pop() or len(texts) != len(logs) or not all(map(str.endswith, logs, repeat("\n"))):
            return None
        return Whole(texts, _times([line.time for line in lines]), _extra([line.attrs for line in lines]))

    def units(self, chunk: bytes, output: str) -> Iterator[Unit]:
        """See `Format.units`."""
        for start, end, line in lines_of(chunk):
            try:
                found = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                found = None
            if found is None or found.stream not in OUTPUTS:
                if output == UNKNOWN:
                    yield Unit(start, end, line, 0, end > start + len(line), True)
            elif found.stream == output:
                (time,) = _times([found.time])
                ends = found.log.endswith("\n")
                text = found.log[:-1] if ends else found.log
                yield Unit(start, end, text.encode(), time, ends, False, _attributes(bytes(found.attrs)))

    def unfinished(self, chunk: bytes, output: str) -> int | None:
        """See `Format.unfinished`."""
        stream = b'","stream":"%s"' % output.encode()
        if chunk.count(b"\\n" + stream) == chunk.count(stream):
            return None
        began = None
        for unit in self.units(chunk, output):
            if unit.ends:
                began = None
            elif began is None:
                began = unit.start
        return began

    def last(self, data: bytes, output: str) -> int:
        """See `Format.last`."""
        return data.find(b"\n", data.rfind(b'"%s"' % output.encode())) + 1 or len(data)

    def recognises(self, line: bytes) -> bool:
        """See `Format.recognises`."""
        try:
            found = self._strict.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return line.startswith(_BEGUN) and found.stream in OUTPUTS and _times([found.time]) != [0]

    def may_become(self, begun: bytes) -> bool:
        """See `Format.may_become`."""
        return begun.startswith(_BEGUN) or _BEGUN.startswith(begun)


def _times(stamps: Sequence[str]) -> list[int]:
    encoded = [stamp.encode() for stamp in stamps]
    times = stamps_of(encoded)
    return any_stamps_of(encoded) if times is None else times


def _unescaped(chunk: bytes, output: str) -> Whole | None:
    """The lines of a chunk that are all of one output, without attributes and with the usual escapes: without a JSON parser."""
    between = b'\\n","stream":"%s","time":"' % output.encode()
    if not chunk.startswith(_BEGUN) or not chunk.endswith(_END):
        return None
    pieces = chunk[len(_BEGUN) : -len(_END)].split(_END + _BEGUN)
    escaped = chunk.count(b"\\") != len(pieces)  # but for the line ends
    if escaped and b"\\\\" in chunk:
        return None
    quoted = chunk.count(b'\\"') if escaped else 0
    if chunk.count(b"\n") != len(pieces) or chunk.count(b'"') - quoted != _QUOTES * len(pieces):
        return None
    parts = list(map(bytes.rpartition, pieces, repeat(between)))
    if set(map(_BETWEEN_OF, parts)) != {between}:
        return None
    texts, stamps = list(map(_TEXT_OF, parts)), list(map(_STAMP_OF, parts))
    if escaped:
        joined = b"\n".join(texts)
        for escape, text in _ESCAPES:
            joined = joined.replace(escape, text)
        if b"\\" in joined:
            return None
        texts = joined.split(b"\n")
    times = stamps_of(stamps)
    return Whole(texts, any_stamps_of(stamps) if times is None else times)


def _extra(attrs: Sequence[msgspec.Raw]) -> dict[int, bytes] | None:
    """What to add to which line."""
    if not any(attrs):
        return None
    encoded = {raw: _attributes(raw) for raw in set(map(bytes, attrs))}
    given = [encoded[bytes(raw)] for raw in attrs]
    return dict(compress(enumerate(given), given)) or None


def _attributes(raw: bytes) -> bytes:
    """The ``attrs`` of a line as fields of a record."""
    if not raw:
        return b""
    try:
        found = msgspec.json.decode(raw, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""
    return b"".join(log_attribute(ATTRIBUTES + key, value) for key, value in found.items())
