"""Records as lines for people: time, severity, host, release, and what it says, as ``shipper cat`` prints them.

Where the lines may be counted or read again by a program, which is everywhere but on a terminal, each ends with the life that
it comes from. On a terminal colours say what is bad.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from shipper.contracts import Signal
from shipper.fleet.labels import LIFE
from shipper.fleet.lines import line
from shipper.otlp.decode import Record, records
from shipper.otlp.encode import AttributeValue
from shipper.otlp.rows import Envelope, LogBlock, log_blocks
from shipper_exporters._file.own_output import text_mark

_RED, _YELLOW, _GREY, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[90m", "\x1b[0m"
_ERROR, _WARN, _INFO = 17, 13, 9  # the first SeverityNumber of each
_STATUS_ERROR = 2


def readable(signal: Signal, payload: bytes, *, terminal: bool) -> list[bytes]:
    """The records of a request, a line each, without line ends. Raises `MalformedOtlp`."""
    blocks = log_blocks(payload) if signal is Signal.LOGS else []
    if blocks and all(block.lines is not None for block in blocks):
        return [one for block in blocks for one in _plain(block, terminal)]
    return [_one(record, terminal).encode() for record in records(signal, payload)]


def _one(record: Record, terminal: bool) -> str:
    said = line(record)
    return _coloured(record, said) if terminal else said + _life(record.resource)


def _coloured(record: Record, said: str) -> str:
    colour = ""
    if record.severity >= _ERROR or record.status == _STATUS_ERROR:
        colour = _RED
    elif record.severity >= _WARN:
        colour = _YELLOW
    elif 0 < record.severity < _INFO:
        colour = _GREY
    return f"{colour}{said}{_PLAIN}" if colour else said


def _plain(block: LogBlock, terminal: bool) -> Iterator[bytes]:
    """Plain lines: what stands around them is the same, and most have nothing in them that must be escaped."""
    lines = block.lines or []
    head, tail = _around(block.envelope, block.observed_ns, terminal)
    text = str(b"\n".join(lines), "utf-8")
    if text.count("\n") == len(lines) - 1 and text.replace("\n", "").replace("\t", "").isprintable():
        yield from (head + one + tail for one in lines)
    else:
        for row in block.rows():
            record = Record(Signal.LOGS, block.envelope.resource, "", {}, 0, row.observed_ns, body=row.body)
            yield _one(record, terminal).encode()


@lru_cache(256)
def _around(envelope: Envelope, observed_ns: int, terminal: bool) -> tuple[bytes, bytes]:
    empty = Record(Signal.LOGS, envelope.resource, envelope.scope, {}, 0, observed_ns, body="")
    return line(empty).encode(), (b"" if terminal else _life(envelope.resource).encode())


def _life(resource: Mapping[str, AttributeValue]) -> str:
    life = resource.get(LIFE)
    return text_mark(life) if isinstance(life, str) else ""
