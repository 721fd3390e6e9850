"""Where the name of a server leads, and what that means: elsewhere, to this host, to ourselves."""

from __future__ import annotations

import asyncio
import socket

import pytest

from shipper.clock import Deadline
from shipper.errors import ConfigError, Unusable
from shipper.testing.clock import FakeClock
from shipper_exporters._tcp.session import KEPT, Tcp
from shipper_exporters._tcp.settings import TcpSettings
from shipper_exporters._way.resolve import Names
from tests.exporters.tcp_desk import Host, ask, context
from tests.exporters.tcp_kit import serving


def test_a_name_is_asked_anew_and_its_last_addresses_are_kept() -> None:
    """When the resolver dies before the host does, connections go where they went before."""
    answers: list[object] = []

    def look_up(host: str, port: int) -> list[tuple[object, ...]]:
        answers.append(host)
        if len(answers) > 1:
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return list(socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM))

    async def run() -> None:
        clock, host = FakeClock(), Host()
        async with asyncio.timeout(60), serving(host) as port:
            tcp = Tcp("t", TcpSettings(endpoint=f"logs.example:{port}"), context(clock), port=1)
            tcp._names = Names(clock, look_up)
            tcp.open()
            assert not tcp.trusted
            await tcp.run(ask, Deadline(clock))
            await clock.run(KEPT + 1)
            await tcp.run(ask, Deadline(clock))
            assert (host.connections, answers) == (2, ["logs.example"] * 2)
            assert not tcp.trusted, "it leads to this host"
            await tcp.aclose()

    asyncio.run(run())


def test_a_name_that_leads_to_our_own_listener_is_refused() -> None:
    """Records would go round in a circle."""

    async def run() -> None:
        clock, host = FakeClock(), Host()
        async with asyncio.timeout(60), serving(host) as port:
            own = context(clock, ("0.0.0.0", port))
            with pytest.raises(ConfigError, match=r"destinations.t.endpoint: .*is our own listener"):
                Tcp("t", TcpSettings(endpoint=f"localhost:{port}"), own, port=1)
            tcp = Tcp("t", TcpSettings(endpoint=f"logs.example:{port}"), own, port=1)
            tcp._names = Names(clock, lambda _, port: socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM))
            tcp.open()
            with pytest.raises(Unusable, match="is our own listener"):
                await tcp.run(ask, Deadline(clock))
            assert not host.connections
            await tcp.aclose()

    asyncio.run(run())


def test_an_address_of_the_sixth_version() -> None:
    """It stands in brackets."""

    async def run() -> None:
        clock, host = FakeClock(), Host()
        async with asyncio.timeout(60), serving(host, host="::1") as port:
            tcp = Tcp("t", TcpSettings(endpoint=f"[::1]:{port}"), context(clock), port=1)
            tcp.open()
            await tcp.run(ask, Deadline(clock))
            assert tcp.describe() == f"[::1]:{port}"
            await tcp.aclose()

    asyncio.run(run())


def test_foreign_addresses_are_trusted_and_local_ones_when_told_to() -> None:
    """What a server on this host took ends with the host."""
    clock = FakeClock()
    assert Tcp("t", TcpSettings(endpoint="203.0.113.7"), context(clock), port=1).trusted
    assert not Tcp("t", TcpSettings(endpoint="127.0.0.1"), context(clock), port=1).trusted
    assert Tcp("t", TcpSettings(endpoint="127.0.0.1", trust_local=True), context(clock), port=1).trusted
