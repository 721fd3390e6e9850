"""What is said on a connection of the forward protocol: the handshake, and what acknowledges a message.

Forward protocol v1, "Handshake Messages" and "Response". A server without ``<security>`` says nothing before it acknowledges;
one that has it says HELO first, so a HELO where an acknowledgement is due means that a shared key is missing here.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from collections.abc import Mapping
from typing import Any

import msgpack

from shipper.errors import Retryable, Unusable
from shipper_exporters._forward.request import Message
from shipper_exporters._http.exchange import SecretFile, excerpt
from shipper_exporters._tcp.failures import stranger
from shipper_exporters._tcp.link import Broken, Link
from shipper_exporters._tcp.settings import Server

MOST = 64 << 10
"""Bytes of an answer, at most."""
PROTOCOL = "the forward protocol"
_BROKEN = (ValueError, TypeError, OverflowError, msgpack.UnpackException, RecursionError)
_SALT = 16


class Answers:
    """Reads MessagePack values from a connection, one at a time."""

    def __init__(self, link: Link, server: Server) -> None:
        self._link = link
        self._server = server
        self._seen = b""  # the beginning of what came
        self._fed = 0
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=MOST)

    async def next(self) -> Any:
        """The next value, its texts as bytes. Raises `Broken`, and `Unusable` for what is no MessagePack or too much."""
        while True:
            try:
                value = self._unpacker.unpack()
            except msgpack.OutOfData:
                pass
            except _BROKEN:
                raise self.strange() from None
            else:
                if not isinstance(value, list | dict):
                    raise self.strange()
                return value
            data = await self._link.read()
            self._seen = (self._seen + data)[:MOST]
            self._fed += len(data)
            try:
                self._unpacker.feed(data)
            except _BROKEN:
                raise self.strange() from None

    @property
    def read_all(self) -> bool:
        """Whether nothing is left of what came."""
        return bool(self._unpacker.tell() == self._fed)

    def strange(self) -> Unusable:
        """The error for an answer that is none."""
        return stranger(self._seen, str(self._server), PROTOCOL)


class Door:
    """Gets us in where the server has a shared key. Without one here it does nothing: then the server is not to have one."""

    def __init__(self, shared_key_file: str, username: str, password_file: str) -> None:
        self._key = SecretFile(shared_key_file, "shared key") if shared_key_file else None
        self._username = username
        self._password = SecretFile(password_file, "password") if password_file else None

    async def __call__(self, link: Link, server: Server) -> None:
        """The handshake. Raises `Unusable` when we are not let in, or by somebody who does not know the key."""
        if self._key is None:
            return
        key = self._key.read().encode()
        answers = Answers(link, server)
        match await answers.next():
            case [b"HELO", dict(option), *_]:
                nonce, auth = _bytes(option, b"nonce"), _bytes(option, b"auth")
            case [b"HELO", None, *_]:
                nonce = auth = b""
            case _:
                raise answers.strange()
        name, salt = socket.gethostname().encode(), os.urandom(_SALT).hex().encode()
        user, proof = self._user(auth, server)
        ping = ["PING", name.decode(), salt.decode(), _digest(salt, name, nonce, key), user, proof]
        await link.send(bytes(msgpack.packb(ping)))
        self._check(await answers.next(), (salt, nonce, key), server, answers)

    def _user(self, auth: bytes, server: Server) -> tuple[str, str]:
        if not auth or self._password is None:
            return "", ""
        password = self._password.read().encode()
        return self._username, _digest(auth, self._username.encode(), password)

    def _check(self, pong: Any, proof: tuple[bytes, bytes, bytes], server: Server, answers: Answers) -> None:
        salt, nonce, key = proof
        match pong:
            case [b"PONG", True, _, bytes(name), bytes(digest), *_]:
                if not hmac.compare_digest(digest, _digest(salt, name, nonce, key).encode()):
                    raise Unusable(f"{server}: does not prove that it knows the shared key")
            case [b"PONG", False, *rest]:
                reason = rest[0] if rest and isinstance(rest[0], bytes) else b""
                raise Unusable(f"{server}: does not let us in: {excerpt(reason) or 'it says no reason'}")
            case _:
                raise answers.strange()


async def deliver(link: Link, server: Server, messages: list[Message], acknowledged: set[str]) -> None:
    """Send messages and wait until each is acknowledged; ``acknowledged`` grows on the way, also when this fails.

    Servers acknowledge in the order in which they stored, which need not be that of sending. Raises `Broken`, `Retryable`
    for an acknowledgement that is of nothing sent here, and `Unusable`.
    """
    answers = Answers(link, server)
    waiting = {message.chunk for message in messages}
    try:
        for message in messages:
            await link.send(message.data)
    except Broken:
        if not link.left():
            raise
        # What came before it broke may tell why, or acknowledge the first of them.
    while waiting:
        chunk = _acknowledged(await answers.next(), server, answers)
        if chunk not in waiting:
            known = "twice" if chunk in acknowledged else "that was not sent"
            raise Retryable(f"{server}: acknowledged a chunk {known}: {excerpt(chunk, 60)}")
        waiting.remove(chunk)
        acknowledged.add(chunk)
    if not answers.read_all:
        link.close()  # what comes next would be read as the answer to something else


def _acknowledged(answer: Any, server: Server, answers: Answers) -> str:
    match answer:
        case {b"ack": bytes(chunk)}:
            return chunk.decode("utf-8", "replace")
        case [b"HELO", *_]:
            raise Unusable(f"{server}: asks for a shared key; give shared_key_file")
    raise answers.strange()


def _bytes(option: Mapping[Any, Any], key: bytes) -> bytes:
    value = option.get(key)
    return value if isinstance(value, bytes) else b""


def _digest(*parts: bytes) -> str:
    """SHA-512 in hexadecimal digits, as both sides send it."""
    return hashlib.sha512(b"".join(parts)).hexdigest()
