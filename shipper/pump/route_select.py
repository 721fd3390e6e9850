"""The part of a request that a route takes: whole envelopes where what records share decides, else single records.

What is taken keeps its envelopes and every byte of them. Where nothing is taken one resource is left, so that a range of which a
destination wants nothing can still be proved to have been looked at (decision 010).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from shipper.contracts import Batch, Signal, StreamKind
from shipper.otlp.scan import scan
from shipper.otlp.values import attributes_in, text_in
from shipper.otlp.wire import LENGTH, expect, field, fields, read_tag, skip
from shipper.pump.route_records import UNIT, may_hold, picked, run_at
from shipper.pump.route_rules import Condition, Shared, left_to_ask

ACCOUNT_SCOPE = "shipper.account"  # what tells of a life is never routed away, however it came
_ENVELOPES = 256  # resources and scopes whose answer is remembered

AnyOf = tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a route takes of a request: the bytes, and how many records (log records, spans or data points) they hold."""

    payload: bytes
    records: int


def take(any_of: AnyOf, batch: Batch) -> Batch:
    """The batch with nothing in it but records for which one of the conditions holds; the others count as filtered.

    Members of a gateway's batch stay where their bytes are, and those that tell of a life stay whole. Raises `MalformedOtlp`.
    """
    if batch.members:
        return _of_members(any_of, batch)
    taken = select(any_of, batch.signal, batch.payload, batch.cut.records)
    return _less(batch, taken)


def select(any_of: AnyOf, signal: Signal, data: bytes, records: int) -> Taken:
    """What is taken of a request that holds so many records. Raises `MalformedOtlp`."""
    if not records:
        return Taken(data, 0)
    walk = _Walk(any_of, signal, data)
    payload = walk.request()
    if payload is data:
        return Taken(data, records)
    kept = scan(signal, payload).records if signal is Signal.METRICS and payload else walk.kept()
    return Taken(payload, kept) if kept else Taken(walk.empty(), 0)


def _of_members(any_of: AnyOf, batch: Batch) -> Batch:
    pieces: list[bytes] = []
    members = []
    done = offset = records = 0
    for member in sorted(batch.members, key=lambda member: member.offset):
        between = _of_strangers(any_of, batch, done, member.offset)
        pieces.append(between.payload)
        offset += len(between.payload)
        records += between.records
        done = member.offset + member.length
        data = batch.payload[member.offset : member.offset + member.length]
        whole = member.kind is not StreamKind.DATA
        taken = Taken(data, member.records) if whole else select(any_of, batch.signal, data, member.records)
        pieces.append(taken.payload)
        left = member.filtered + member.records - taken.records
        members.append(replace(member, offset=offset, length=len(taken.payload), records=taken.records, filtered=left))
        offset += len(taken.payload)
        records += taken.records
    behind = _of_strangers(any_of, batch, done, len(batch.payload))
    if records + behind.records == batch.cut.records:
        return batch
    payload = b"".join([*pieces, behind.payload])
    return replace(_less(batch, Taken(payload, records + behind.records)), members=tuple(members))


def _of_strangers(any_of: AnyOf, batch: Batch, start: int, end: int) -> Taken:
    """Of what came between members from somebody who keeps no ranges, so that nothing need be left to prove one."""
    data = batch.payload[start:end]
    taken = select(any_of, batch.signal, data, scan(batch.signal, data).records)
    return taken if taken.records else Taken(b"", 0)


def _less(batch: Batch, taken: Taken) -> Batch:
    if taken.records == batch.cut.records:
        return batch
    left = batch.cut.records - taken.records
    cut = replace(batch.cut, records=taken.records, filtered=batch.cut.filtered + left)
    return replace(batch, cut=cut, payload=taken.payload)


@lru_cache(_ENVELOPES)
def _answer(any_of: AnyOf, resource: bytes, scope: bytes) -> AnyOf | bool:
    """What is left to ask of the records of a scope; ``resource`` and ``scope`` are the contents of the two messages."""
    name = text_in(scope, 1)
    return name == ACCOUNT_SCOPE or left_to_ask(any_of, Shared(attributes_in(resource), name))


class _Walk:
    """One walk through a request."""

    def __init__(self, any_of: AnyOf, signal: Signal, data: bytes) -> None:
        self._kept = 0  # units of which each was looked at
        self._whole: list[tuple[int, int]] = []  # where scope envelopes are of which all was taken
        self._any_of = any_of
        self._signal = signal
        self._data = data

    def request(self) -> bytes:
        """The request with what is taken; the very same bytes where that is all of it."""
        data = self._data
        out: list[bytes] = []
        whole = True
        for number, wire, at, value, stop in fields(data, 0, len(data)):
            if number == 1:
                expect(wire, LENGTH, "a resource envelope", at)
                inner = self._resource_envelope(value, stop)
                if inner is not None:
                    whole = False
                    out.append(field(1, inner) if inner else b"")
                    continue
            out.append(data[at:stop])
        return data if whole else b"".join(out)

    def kept(self) -> int:
        """How many units were taken."""
        return self._kept + sum(self._units(at, end) for at, end in self._whole)

    def empty(self) -> bytes:
        """The first resource, and nothing below it."""
        for number, _, _, value, stop in fields(self._data, 0, len(self._data)):
            if number == 1:
                return field(1, field(1, _first_message(self._data, value, stop)))
        return b""

    def _resource_envelope(self, at: int, end: int) -> bytes | None:
        """Its content with what is taken, empty when that is nothing; None when it stays as it is."""
        data = self._data
        resource = _first_message(data, at, end)
        out: list[bytes] = []
        whole, kept = True, False
        for number, wire, start, value, stop in fields(data, at, end):
            piece = data[start:stop]
            if number == 2:
                expect(wire, LENGTH, "a scope envelope", start)
                inner = self._scope_envelope(resource, value, stop)
                if inner is not None:
                    whole = False
                    piece = field(2, inner) if inner else b""
                kept = kept or bool(piece)
            out.append(piece)
        return None if whole else b"".join(out) if kept else b""

    def _scope_envelope(self, resource: bytes, at: int, end: int) -> bytes | None:
        """The same for a scope and its records."""
        behind = at
        if at < end and self._data[at] == UNIT:  # a scope that is not named, or named last
            behind = run_at(self._data, self._signal, at, end).stop
        answer = _answer(self._any_of, resource, _first_message(self._data, behind, end))
        if answer is True:
            self._whole.append((at, end))
            return None
        return self._records(at, end, answer) if answer and may_hold(self._data, at, end, answer) else b""

    def _records(self, at: int, end: int, any_of: AnyOf) -> bytes | None:
        data = self._data
        out: list[bytes] = []
        there = taken = 0
        while at < end:
            if data[at] == UNIT:
                run = run_at(data, self._signal, at, end)
                there += len(run.starts)
                at = run.stop
                indexes = picked(run, any_of)
                taken += len(indexes)
                out.extend(run.pieces(indexes))
                continue
            _, wire, behind = read_tag(data, at, end)
            stop = skip(data, wire, behind, end)[1]
            out.append(data[at:stop])
            at = stop
        self._kept += taken
        return None if taken == there else b"".join(out) if taken else b""

    def _units(self, at: int, end: int) -> int:
        """How many units a scope envelope has."""
        data = self._data
        there = 0
        while at < end:
            if data[at] == UNIT:
                run = run_at(data, self._signal, at, end)
                there += len(run.starts)
                at = run.stop
            else:
                _, wire, behind = read_tag(data, at, end)
                at = skip(data, wire, behind, end)[1]
        return there


def _first_message(data: bytes, at: int, end: int) -> bytes:
    """The message in field 1 of an envelope. What comes in parts counts as joined, as in any parser."""
    found = b""
    for number, wire, _, value, stop in fields(data, at, end):
        if number == 1:
            expect(wire, LENGTH, "a resource or scope", at)
            found += data[value:stop]
        elif found:
            break  # nearly always it stands first, and there may be thousands of records behind
    return found
