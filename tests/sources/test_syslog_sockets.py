"""The syslog receiver's sockets: what cannot wait, what is too long, what is in the way, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest

from shipper.errors import ConfigError
from shipper.sources.listen import ListenSettings
from shipper.sources.syslog import sockets
from shipper.testing.clock import FakeClock
from tests.sources.spooled_kit import counted, syslog, until


def test_datagrams_without_room_are_dropped_and_counted(tmp_path: Path) -> None:
    """With a full spool a sender of datagrams is not held up: each message is in the spool or counted as lost."""

    async def story() -> None:
        path = tmp_path / "log"
        async with syslog(tmp_path, socket=str(path), most=100_000, max_message=1000) as server:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(str(path))

                def send() -> None:
                    for number in range(500):
                        sender.send(b"<13>%d " % number + b"x" * 500)

                await asyncio.to_thread(send)
            stored = server.report.metrics.received
            await until(
                lambda: counted(stored, "syslog", "logs") + server.refused("full") == 500, "all are accounted for"
            )
            assert server.refused("full") > 0
            assert len(server.records()) == 500 - server.refused("full")

    asyncio.run(story())


def test_what_the_kernel_dropped_is_counted(tmp_path: Path) -> None:
    """Datagrams that the kernel had no room for are counted when the next one is read."""

    async def story() -> None:
        async with syslog(tmp_path) as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for number in range(40_000):  # while nobody reads
                    sender.sendto(b"<13>%d " % number + b"x" * 1000, server.udp)
                stored = server.report.metrics.received
                await until(lambda: counted(stored, "syslog", "logs") > 0, "some are read")
                await asyncio.sleep(0)
                arrived = 40_000

                def accounted() -> bool:
                    sender.sendto(b"<13>one more", server.udp)
                    nonlocal arrived
                    arrived += 1
                    return counted(stored, "syslog", "logs") + server.refused("kernel") >= arrived - 5

                await until(accounted, "all are accounted for")
                assert server.refused("kernel") > 0

    asyncio.run(story())


def test_a_stream_waits_for_room(tmp_path: Path) -> None:
    """With a full spool a TCP connection is not read: nothing is dropped, and all is there once there is room."""

    async def story() -> None:
        clock = FakeClock()
        async with syslog(tmp_path, most=300_000, clock=clock) as server:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(b"".join(b"<13>%06d " % number + b"x" * 100 + b"\n" for number in range(20_000)))
            await until(lambda: clock.sleeping() > 0, "it waits for room")
            assert not server.receiver.silent(0)
            seen: list[str] = []
            while len(seen) < 20_000:
                seen += [
                    body for record in server.records() if (body := str(record.body)[:6]) > (seen[-1] if seen else "")
                ]
                server.spool.release(server.spool.frontier())
                clock.advance(0.5)
                await asyncio.sleep(0.002)
            assert seen == [f"{number:06d}" for number in range(20_000)]
            assert server.refused("full") == 0
            writer.close()

    asyncio.run(story())


def test_long_messages_come_in_marked_parts(tmp_path: Path) -> None:
    """A message over the limit is several records with the header of the first, numbered; the stream goes on behind it."""

    async def story() -> None:
        async with syslog(tmp_path, max_message=1000) as server:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(b"<11>1 - web1 shop - - - " + b"a" * 2000 + b"\n<14>next\n")
            one, two, three, following = await server.holds(4)
            assert "".join(str(record.body) for record in (one, two, three)) == "a" * 2000
            for number, record in enumerate((one, two, three), 1):
                assert record.attributes["shipper.line.part"] == number
                assert record.attributes["shipper.line.last"] == (number == 3)
                assert (record.severity, record.attributes["syslog.appname"]) == (17, "shop")
            assert (following.body, following.attributes) == ("next", {"syslog.facility": "user"})
            writer.close()

    asyncio.run(story())


def test_what_is_not_understood_is_kept_and_counted(tmp_path: Path) -> None:
    """Messages without a priority, with a broken header or with other characters are records, and counted by cause."""

    async def story() -> None:
        async with syslog(tmp_path) as server:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(b"hello\n<13>1 broken\n<13>caf\xe9\n")
            plain, broken, latin = await server.holds(3)
            assert (plain.body, plain.severity) == ("hello", 0)
            assert plain.attributes == {"shipper.syslog.error": "it has no priority"}
            assert broken.body == "<13>1 broken"
            assert latin.body == "caf\N{REPLACEMENT CHARACTER}"
            assert latin.attributes["log.record.original"] == b"caf\xe9"
            assert (server.unparsed("priority"), server.unparsed("header")) == (1, 1)
            writer.close()

    asyncio.run(story())


def test_what_was_sent_before_the_end_is_stored(tmp_path: Path) -> None:
    """What lies in the sockets when the receiver stops reading is stored, an unfinished last line too."""

    async def story() -> None:
        async with syslog(tmp_path) as server:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(b"<13>first\n")
            await server.holds(1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(100):
                    sender.sendto(b"<13>datagram", server.udp)
            writer.write(b"<13>second\n<13>unfinished")
            server.receiver.stop_reading()
            await server.receiver.settled()
            bodies = [record.body for record in server.records()]
            assert sorted(str(body) for body in bodies) == ["datagram"] * 100 + ["first", "second", "unfinished"]
            writer.close()

    asyncio.run(story())


def test_a_counted_message_that_never_ends(tmp_path: Path) -> None:
    """What came of a counted message whose connection breaks off is kept, marked as incomplete."""

    async def story() -> None:
        async with syslog(tmp_path) as server:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(b"500 <13>half")
            writer.close()
            (record,) = await server.holds(1)
            assert (record.body, record.attributes["shipper.line.incomplete"]) == ("half", True)

    asyncio.run(story())


def test_in_a_gateway_messages_belong_to_their_hosts(tmp_path: Path) -> None:
    """In a gateway host and application of each message are its resource, and nothing of the gateway is added."""

    async def story() -> None:
        async with syslog(tmp_path, attributes={}) as server:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(b"<13>1 - web1 shop - - - a\n<13>1 - web2 cart - - - b\n<13>1 - web1 shop - - - c\n<13>d\n")
            records = await server.holds(4)
            assert {str(record.body): record.resource for record in records} == {
                "a": {"host.name": "web1", "service.name": "shop"},
                "b": {"host.name": "web2", "service.name": "cart"},
                "c": {"host.name": "web1", "service.name": "shop"},
                "d": {},
            }
            writer.close()

    asyncio.run(story())


def test_idle_and_too_many_connections(tmp_path: Path) -> None:
    """An idle connection ends where that is wanted, and one too many is not taken; both are counted."""

    async def story() -> None:
        async with syslog(tmp_path, idle=0.05, max_connections=1) as server:
            first, writer = await asyncio.open_connection(*server.address)
            second, other = await asyncio.open_connection(*server.address)
            with contextlib.suppress(ConnectionError):  # its end, said more rudely
                assert await second.read() == b""
            assert await first.read() == b""
            assert (server.refused("connections"), server.refused("idle")) == (1, 1)
            writer.close()
            other.close()

    asyncio.run(story())


def test_the_socket_s_path(tmp_path: Path) -> None:
    """A socket that nobody reads is replaced; one that is read, a link and a file are left alone, with a sentence."""
    path = tmp_path / "log"
    first = sockets.unix(str(path), "receivers.syslog")
    assert path.stat().st_mode & 0o777 == 0o666
    with pytest.raises(ConfigError, match="another process reads"):
        sockets.unix(str(path), "receivers.syslog")
    first.close()
    sockets.unix(str(path), "receivers.syslog").close()
    path.unlink()
    path.write_text("a file")
    with pytest.raises(ConfigError, match="no socket"):
        sockets.unix(str(path), "receivers.syslog")
    link = tmp_path / "link"
    os.symlink("/run/systemd/journal/dev-log", link)
    with pytest.raises(ConfigError, match="journald"):
        sockets.unix(str(link), "receivers.syslog")
    with pytest.raises(ConfigError, match="cannot listen"):
        sockets.unix(str(tmp_path / "none" / "log"), "receivers.syslog")


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    """An address that another process has is said at the start, for datagrams and for streams."""

    async def story() -> None:
        async with syslog(tmp_path / "one") as server:
            for taken in ({"udp": server.udp}, {"streams": (ListenSettings(port=server.address[1]),)}):
                with pytest.raises(ConfigError, match="cannot listen"):
                    async with syslog(tmp_path / "two", **taken):
                        pass

    asyncio.run(story())


def test_settings_come_from_the_configuration(tmp_path: Path) -> None:
    """The section becomes what the receiver wants; a zone that does not exist, or an authority's file, is said."""
    from shipper.config.schema_receivers import SyslogReceiver
    from shipper.sources.syslog.making import settings

    made = settings(SyslogReceiver(udp="127.0.0.1:5514", tcp="127.0.0.1:5514", stream_socket="/run/x", zone="UTC"))
    assert (made.udp, [where.path for where in made.streams]) == (("127.0.0.1", 5514), ["", "/run/x"])
    with pytest.raises(ConfigError, match="no time zone"):
        settings(SyslogReceiver(udp="127.0.0.1:5514", zone="Mars/Olympus"))
    with pytest.raises(ConfigError, match="reached by other machines"):
        settings(SyslogReceiver(tcp="0.0.0.0:5514"))
