"""Who may send: the shared key, and users with passwords where some are set.

Forward protocol v1, "Handshake Messages". The server says HELO with a nonce, the client proves with PING that it knows the
shared key (SHA-512 over its salt, its name, the nonce and the key), the server proves the same with PONG. A client that fails
gets its PONG with the reason, and the end of the connection.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgpack

from shipper.sources.forward.framing import BrokenMessage
from shipper.sources.forward.values import BROKEN, Value, text_of, unpacker

_SALT = 16
MOST_PING = 64 << 10
"""Bytes of a PING, at most."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a client has to know. ``hostname``: what the server calls itself."""

    hostname: str
    shared_key: bytes = b""
    users: Mapping[str, bytes] = field(default_factory=dict)


class Handshake:
    """One handshake."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._nonce = os.urandom(_SALT)
        self._salt = os.urandom(_SALT) if secrets.users else b""

    def helo(self) -> bytes:
        """What the server says first."""
        option = {"nonce": self._nonce, "auth": self._salt, "keepalive": True}
        return bytes(msgpack.packb(["HELO", option]))

    def pong(self, ping: bytes) -> tuple[bytes, str]:
        """The answer to a PING, and why the client is turned away (empty: it is let in). Raises `BrokenMessage`."""
        hostname, salt, digest, user, password = self._read(ping)
        key = self._secrets.shared_key
        reason = ""
        if not hmac.compare_digest(digest, _digest(salt, hostname, self._nonce, key)):
            reason = "shared_key mismatch"
        elif self._secrets.users and not self._knows(user, password):
            reason = "username/password mismatch"
        if reason:
            return bytes(msgpack.packb(["PONG", False, reason, "", ""])), reason
        own = self._secrets.hostname
        proof = _digest(salt, own.encode(), self._nonce, key).decode()
        return bytes(msgpack.packb(["PONG", True, "", own, proof])), ""

    def _knows(self, user: bytes, password: bytes) -> bool:
        # An unknown name costs the same time as a known one.
        expected = self._secrets.users.get(text_of(user))
        stated = _digest(self._salt, user, expected if expected is not None else os.urandom(_SALT))
        return hmac.compare_digest(password, stated) and expected is not None

    def _read(self, ping: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        try:
            said: Value = unpacker(ping).unpack()
        except BROKEN:
            said = None
        match said:
            case [b"PING", bytes(hostname), bytes(salt), bytes(digest), bytes(user), bytes(password), *_]:
                return hostname, salt, digest, user, password
        raise BrokenMessage("handshake", "a client that has to show the shared key sent something else than PING")


def _digest(*parts: bytes) -> bytes:
    """SHA-512 in hexadecimal digits, as both sides send it."""
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()
