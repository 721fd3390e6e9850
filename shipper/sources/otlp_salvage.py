"""Saving what is sound of a request in which records are broken, such as by text that is not UTF-8.

Rare, and slow: each record is given to the protobuf library by itself. Where an envelope, a resource or a scope is broken
there is nothing that could be saved.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.messages import points, request_class
from shipper.otlp.scan import scan
from shipper.otlp.wire import field, fields
from shipper.sources.otlp_check import Held

_MOST = 4 << 20  # bytes of a request that is looked into: some tenths of a second


def salvage(signal: Signal, data: bytes) -> tuple[bytes, Held, int] | None:
    """The request without its broken records, what it holds, and how many were left out; None: it is broken as a whole.

    For metrics a whole metric is left out, and counted as one.
    """
    if len(data) > _MOST:
        return None
    try:
        scan(signal, data)
        saving = _Saving(signal, data)
        saved = saving.level(0, len(data), (1, 2))
    except MalformedOtlp:
        return None
    if not saving.broken or not saving.units:  # it is not records that something is wrong with, or nothing is left
        return None
    return saved, Held(saving.records, saving.units), saving.broken


class _Saving:
    """One walk through a request."""

    def __init__(self, signal: Signal, data: bytes) -> None:
        self.records = 0
        self.units = 0
        self.broken = 0
        self._signal = signal
        self._data = data
        self._kind = _unit_class(signal)

    def level(self, at: int, end: int, below: tuple[int, ...]) -> bytes:
        """The fields of one envelope, those of number ``below[0]`` rebuilt."""
        out: list[bytes] = []
        for number, _, start, value, stop in fields(self._data, at, end):
            if number != below[0]:
                out.append(self._data[start:stop])
            elif len(below) > 1:
                out.append(field(number, self.level(value, stop, below[1:])))
            else:
                out.append(field(number, self._units(value, stop)))
        return b"".join(out)

    def _units(self, at: int, end: int) -> bytes:
        out: list[bytes] = []
        for number, _, start, value, stop in fields(self._data, at, end):
            if number == 2 and not self._sound(value, stop):
                self.broken += 1
            else:
                out.append(self._data[start:stop])
        return b"".join(out)

    def _sound(self, at: int, end: int) -> bool:
        try:
            unit = self._kind.FromString(self._data[at:end])
        except DecodeError:
            return False
        self.units += 1
        self.records += len(points(unit)) if self._signal is Signal.METRICS else 1
        return True


def _unit_class(signal: Signal) -> Any:
    """The message class of a log record, a span or a metric."""
    descriptor = request_class(signal).DESCRIPTOR
    for number in (1, 2, 2):
        descriptor = descriptor.fields_by_number[number].message_type
    return GetMessageClass(descriptor)
