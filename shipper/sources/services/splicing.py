"""Frames to a request without decoding a record: bodies get a tag and a length, and envelopes around them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.handoff.frame import Frame, Kind
from shipper.otlp.scan import scan
from shipper.otlp.splice import join
from shipper.otlp.wire import field, fields, varint
from shipper.sources.services.declared import Declared

_WANTED = {Signal.LOGS: Kind.LOG, Signal.TRACES: Kind.SPAN, Signal.METRICS: Kind.REQUEST}
BODY_KIND = {signal: int(kind) for signal, kind in _WANTED.items()}
"""The kind of frame that carries the records of a signal."""


@lru_cache(8192)
def _head(length: int) -> bytes:
    """What stands in front of a record of ``length`` bytes in its scope envelope (field 2)."""
    return b"\x12" + varint(length)


def request(signal: Signal, frames: Sequence[Frame], declared: Declared) -> tuple[bytes, int]:
    """The Export<Signal>ServiceRequest of ``frames`` (all of the signal's own kind), and how many records it holds."""
    if signal is Signal.METRICS:
        return _requests(signal, frames, declared)
    groups: dict[int, dict[int, list[bytes]]] = {}
    keys = {(frame.resource, frame.scope) for frame in frames}
    if len(keys) == 1:
        ((resource, scope),) = keys
        groups = {resource: {scope: [frame.body for frame in frames]}}
    else:
        for frame in frames:
            scopes = groups.get(frame.resource)
            if scopes is None:
                scopes = groups[frame.resource] = {}
            bodies = scopes.get(frame.scope)
            if bodies is None:
                bodies = scopes[frame.scope] = []
            bodies.append(frame.body)
    return b"".join([_resource(number, scopes, declared) for number, scopes in groups.items()]), len(frames)


def _resource(number: int, scopes: dict[int, list[bytes]], declared: Declared) -> bytes:
    parts = [field(1, declared.resource(number))]
    parts += [field(2, _scope(scope, bodies, declared)) for scope, bodies in scopes.items()]
    return field(1, b"".join(parts))


def _scope(number: int, bodies: list[bytes], declared: Declared) -> bytes:
    pieces = [b""] * (2 * len(bodies) + 1)
    pieces[0] = field(1, declared.scope(number))
    pieces[1::2] = map(_head, map(len, bodies))
    pieces[2::2] = bodies
    return b"".join(pieces)


def _requests(signal: Signal, frames: Sequence[Frame], declared: Declared) -> tuple[bytes, int]:
    """Whole requests, labelled and joined; one that is not valid is left out (and was counted when it was first seen)."""
    parts: list[bytes] = []
    records = 0
    for frame in frames:
        count = points(signal, frame.body)
        if count:
            parts.append(_labelled(frame, declared))
            records += count
    return join(parts), records


def points(signal: Signal, body: bytes) -> int:
    """How many records a whole request holds; 0 for one that is not valid."""
    try:
        return scan(signal, body).records
    except MalformedOtlp:
        return 0


def _labelled(frame: Frame, declared: Declared) -> bytes:
    """The request with each of its resources merged with what the host knows, and with what the frame's own one guesses."""
    data, out = frame.body, list[bytes]()
    for number, _, start, value, stop in fields(data, 0, len(data)):
        out.append(_relabelled(data, value, stop, frame.resource, declared) if number == 1 else data[start:stop])
    return b"".join(out)


def _relabelled(data: bytes, at: int, end: int, guesses: int, declared: Declared) -> bytes:
    stated: list[bytes] = []
    rest: list[bytes] = []  # of the resource: whatever else than attributes it has
    others: list[bytes] = []
    for number, _, start, value, stop in fields(data, at, end):
        if number != 1:
            others.append(data[start:stop])
            continue
        for inner, _, inner_start, _, inner_stop in fields(data, value, stop):
            (stated if inner == 1 else rest).append(data[inner_start:inner_stop])
    resource = declared.merge(b"".join(stated), guesses) + b"".join(rest)
    return field(1, field(1, resource) + b"".join(others))


def envelope(declared: Declared) -> bytes:
    """A request that holds no record: what stands for a range in which there is none to ship."""
    return field(1, field(1, declared.fallback))
