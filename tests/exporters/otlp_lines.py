"""Reading OTLP JSON lines in tests."""

from __future__ import annotations

from shipper.contracts import Signal
from shipper.otlp.decode import Record, from_json, records


def records_of(signal: Signal, line: bytes) -> list[Record]:
    """The records of one line."""
    return list(records(signal, from_json(signal, line)))


def lines_of(signal: Signal, line: bytes) -> tuple[str, ...]:
    """What the records of one line say: the body of a log record, the attribute ``line`` of a data point."""
    found = records_of(signal, line)
    return tuple(str(one.body if signal is Signal.LOGS else one.attributes["line"]) for one in found)
