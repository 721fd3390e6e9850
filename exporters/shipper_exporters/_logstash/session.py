"""Windows on their way over one connection, and the acknowledgements that come back.

An acknowledgement is ``2A`` and a number: all documents of the window up to that one are taken. 0 says that Logstash is still
busy with it. Two windows are under way at a time, as Beats have it, so that Logstash need not wait for the next one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from shipper.errors import Retryable
from shipper_exporters._logstash.lumberjack import Window
from shipper_exporters._tcp.failures import stranger
from shipper_exporters._tcp.link import Broken, Link
from shipper_exporters._tcp.settings import Server

PROTOCOL = "the lumberjack protocol (Beats input), version 2"
UNDER_WAY = 2
"""Windows that are sent before the first of them is acknowledged; ``pipelining`` of Beats."""

_ACK = struct.Struct(">2sI")
_KIND = b"2A"


class Journey:
    """How far a request got; it outlives a failed attempt."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = windows
        self._done = [0] * len(windows)  # documents of each that are acknowledged

    @property
    def begun(self) -> bool:
        """Whether anything was acknowledged."""
        return any(self._done)

    async def go(self, link: Link, server: Server) -> None:
        """Send what is not acknowledged, and wait until all is. Raises `Broken`, `Retryable` and `Unusable`."""
        left = [number for number, window in enumerate(self._windows) if self._done[number] < window.count]
        already = list(self._done)
        answers = _Answers(link, server)
        sent = 0
        for position, number in enumerate(left):
            try:
                while sent < min(position + UNDER_WAY, len(left)):
                    await link.send(self._windows[left[sent]].rest(already[left[sent]]).data)
                    sent += 1
            except Broken:
                if not link.left():
                    raise
                # What came before it broke may tell why, or acknowledge what was sent before.
            while self._done[number] < self._windows[number].count:
                acknowledged = already[number] + await answers.next()
                if acknowledged > self._windows[number].count:
                    raise Retryable(f"{server}: acknowledged more than was sent")
                self._done[number] = max(self._done[number], acknowledged)
        if not answers.read_all:
            link.close()  # what comes next would be read as the answer to something else


class _Answers:
    """Reads acknowledgements from a connection, one at a time."""

    def __init__(self, link: Link, server: Server) -> None:
        self._link = link
        self._server = server
        self._held = b""

    @property
    def read_all(self) -> bool:
        """Whether nothing is left of what came."""
        return not self._held

    async def next(self) -> int:
        """How many documents of the window are taken. Raises `Broken`, and `Unusable` for what is no acknowledgement."""
        while len(self._held) < _ACK.size:
            self._held += await self._link.read()
            if not self._held.startswith(_KIND[: len(self._held)]):
                raise stranger(self._held, str(self._server), PROTOCOL)
        kind, count = _ACK.unpack_from(self._held)
        if kind != _KIND:
            raise stranger(self._held, str(self._server), PROTOCOL)
        self._held = self._held[_ACK.size :]
        return int(count)
