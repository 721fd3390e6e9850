"""How the forward protocol is received, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.sources.forward.handshake import Secrets
from shipper.sources.listen import ListenSettings


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """``listen``: TCP addresses and unix sockets. ``heartbeat``: answer UDP heartbeats on the same host and port.

    ``secrets``: what clients have to know; None: they are let in as they are. ``body``: the keys of which the first that a
    record has is its text. ``max_message``: bytes of one message, as sent and once decompressed. ``idle``: seconds after
    which a silent connection is closed, 0 for never. ``handshake``: seconds that a client may take to prove itself.
    ``in_flight``: bytes of unfinished messages, all connections together.
    """

    listen: tuple[ListenSettings, ...]
    heartbeat: bool = True
    secrets: Secrets | None = None
    body: tuple[str, ...] = ("log", "message", "msg")
    max_message: int = 32 << 20
    max_connections: int = 512
    idle: float = 0.0
    handshake: float = 10.0
    in_flight: int = 128 << 20
