"""What a series appends, as frames: the record itself, declarations, and the account of what was dropped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import time_ns
from typing import NamedTuple

from shipper.handoff.frame import Kind, pack

_RECORDS = frozenset({int(Kind.SPAN), int(Kind.LOG), int(Kind.REQUEST)})


class Record(NamedTuple):
    """The arguments of `Series.append`, in order. ``records``: how many are in the body."""

    kind: int
    body: bytes
    time_ns: int
    flags: int = 0
    resource: int = 0
    scope: int = 0
    route: int = 0
    severity: int = 0
    records: int = 1
    duration_ns: int = 0
    trace: int = 0
    slot: int = -1

    @property
    def worth(self) -> int:
        """How many records are lost with it: a note is none."""
        return self.records if self.kind in _RECORDS else 0

    def frame(self, number: int) -> bytes:
        """The frame. Raises struct.error for a value that does not fit its field."""
        return pack(
            self.kind,
            number,
            self.body,
            time_ns=self.time_ns,
            flags=self.flags,
            resource=self.resource,
            scope=self.scope,
            route=self.route,
            severity=self.severity,
            count=self.records,
            duration_ns=self.duration_ns,
            trace=self.trace,
        )


def declaration(number: int, kind: int, identity: int, body: bytes) -> bytes:
    """A frame that declares a resource, scope or route."""
    if kind == Kind.RESOURCE:
        return pack(kind, number, body, resource=identity)
    if kind == Kind.SCOPE:
        return pack(kind, number, body, scope=identity)
    return pack(kind, number, body, route=identity)


def dropped(number: int, totals: Mapping[str, int]) -> bytes:
    """A frame that says how many records were dropped so far, by cause."""
    return pack(Kind.DROPPED, number, json.dumps(totals).encode(), time_ns=time_ns())
