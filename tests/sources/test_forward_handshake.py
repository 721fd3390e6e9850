"""Who may send by the forward protocol: shared key, users, TLS."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import ConfigError
from shipper.sources.forward.handshake import Secrets
from shipper.sources.listen import ListenSettings
from tests.sources.certificates import make
from tests.sources.forward_wire import Client, client, message, pack
from tests.sources.spooled_kit import forward

KEY, SALT, NAME = b"secret", b"\x01\x02salt", b"web-1"
SECRETS = Secrets("collector", KEY)
USERS = Secrets("collector", KEY, {"ann": b"pa:ss"})
RECORD = message("t", 1, {"log": "x"}, {"chunk": "c"})


def sha(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


async def shake(sender: Client, key: bytes = KEY, user: bytes = b"", password: bytes = b"") -> Any:
    """The client's side; returns PONG."""
    said, option = await sender.answer()
    assert said == "HELO"
    assert option["keepalive"] is True
    proof = sha(SALT, NAME, option["nonce"], key)
    secret = sha(option["auth"], user, password) if option["auth"] else ""
    await sender.send(pack(["PING", NAME.decode(), SALT, proof, user.decode(), secret]))
    pong = await sender.answer()
    if pong[1]:
        assert pong[3:] == ["collector", sha(SALT, b"collector", option["nonce"], KEY)]
    return pong


def test_who_knows_the_key_is_let_in(tmp_path: Path) -> None:
    """With the shared key both sides prove that they know it, and then records are taken and acknowledged."""

    async def story() -> None:
        async with forward(tmp_path, secrets=SECRETS) as server, client(*server.address) as sender:
            assert (await shake(sender))[:3] == ["PONG", True, ""]
            assert await sender.ack(RECORD) == "c"
            assert server.bodies() == ["x"]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("secrets", "key", "user", "password", "reason"),
    [
        (SECRETS, b"guess", b"", b"", "shared_key mismatch"),
        (USERS, b"guess", b"ann", b"pa:ss", "shared_key mismatch"),
        (USERS, KEY, b"ann", b"guess", "username/password mismatch"),
        (USERS, KEY, b"bob", b"pa:ss", "username/password mismatch"),
        (USERS, KEY, b"", b"", "username/password mismatch"),
        (USERS, KEY, b"ann", b"pa:ss", ""),
    ],
)
def test_who_does_not_is_turned_away(
    tmp_path: Path, secrets: Secrets, key: bytes, user: bytes, password: bytes, reason: str
) -> None:
    """A wrong key, user or password gets PONG with the reason and the end of the connection; it is counted."""

    async def story() -> None:
        async with forward(tmp_path, secrets=secrets) as server, client(*server.address) as sender:
            pong = await shake(sender, key, user, password)
            assert pong[:3] == ["PONG", not reason, reason]
            assert await sender.ack(RECORD) == (None if reason else "c")
            assert server.refused("handshake") == bool(reason)
            assert server.bodies() == ([] if reason else ["x"])

    asyncio.run(story())


@pytest.mark.parametrize(
    "ping",
    [
        RECORD,
        pack(None),
        pack(["PING"]),
        pack(["PING", 1, 2, 3, 4, 5]),
        pack(["PONG", "a", "b", "c", "d", "e"]),
        pack({"PING": 1}),
        b"\xc1",
        pack(["PING", "x" * 100_000, "b", "c", "d", "e"]),
        b"",
    ],
)
def test_what_is_no_ping_ends_the_connection(tmp_path: Path, ping: bytes) -> None:
    """A client that sends records, or anything else, before it has shown the key is not listened to."""

    async def story() -> None:
        async with forward(tmp_path, secrets=SECRETS) as server, client(*server.address) as sender:
            assert (await sender.answer())[0] == "HELO"
            await sender.send(ping)
            if not ping:
                sender.writer.write_eof()
            assert await sender.answer() is None
            assert sum(server.refused(cause) for cause in ("handshake", "malformed", "too_large")) == 1
            assert server.records() == []

    asyncio.run(story())


def test_a_client_that_says_nothing_has_its_time(tmp_path: Path) -> None:
    """A client that does not answer HELO in time loses its connection, so that silence does not hold all of them."""

    async def story() -> None:
        async with forward(tmp_path, secrets=SECRETS, handshake=0.05) as server, client(*server.address) as sender:
            assert (await sender.answer())[0] == "HELO"
            assert await sender.answer() is None
            assert server.refused("handshake") == 1

    asyncio.run(story())


def test_tls(tmp_path: Path) -> None:
    """By TLS the same is sent and acknowledged, with the handshake inside; who speaks plainly to it gets nothing."""

    async def story() -> None:
        made = make(tmp_path / "pki")
        where = ListenSettings("127.0.0.1", 0, str(made.cert), str(made.key))
        async with forward(tmp_path, where, secrets=SECRETS) as server:
            async with client(*server.address, ssl=made.trusting()) as sender:
                assert (await shake(sender))[1] is True
                assert await sender.ack(RECORD) == "c"
            async with client(*server.address) as sender:
                await sender.send(RECORD)
                assert await sender.answer() is None
            assert server.bodies() == ["x"]

    asyncio.run(story())


def test_an_address_that_others_reach_needs_more(tmp_path: Path) -> None:
    """Settings that would let in anybody from anywhere are refused, as are files that hold no secret."""
    from shipper.config.schema_receivers import ForwardReceiver
    from shipper.sources.forward.making import settings

    with pytest.raises(ConfigError, match="reached by other machines"):
        settings(ForwardReceiver(tcp="0.0.0.0:24224"))
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for wrong in (ForwardReceiver(shared_key_file=str(empty)), ForwardReceiver(users_file=str(empty))):
        with pytest.raises(ConfigError, match="is empty"):
            settings(wrong)
    with pytest.raises(ConfigError, match="cannot read"):
        settings(ForwardReceiver(shared_key_file=str(tmp_path / "none")))
    empty.write_text("ann:pa:ss\nbob\n")
    with pytest.raises(ConfigError, match="no name:password"):
        settings(ForwardReceiver(users_file=str(empty)))
    empty.write_text("ann:pa:ss\n")
    secrets = settings(ForwardReceiver(users_file=str(empty))).secrets
    assert secrets is not None
    assert secrets.users == {"ann": b"pa:ss"}
