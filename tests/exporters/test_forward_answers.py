"""What a server of the forward protocol can say, what that means, and what follows from it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper_exporters._http.exchange import NoAnswer
from shipper_exporters.forward import ForwardExporter, ForwardSettings
from tests.exporters.fluent_server import FluentServer
from tests.exporters.log_kit import HOST, context, payload, request
from tests.exporters.tcp_kit import serving

LINE = [{"body": "line"}]
Story = Callable[[ForwardExporter, FluentServer, FakeClock], Awaitable[None]]


def tell(story: Story, server: FluentServer | None = None, **options: Any) -> None:
    """Run a story with an exporter that sends to a server."""

    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), server or FluentServer() as listening:
            settings = ForwardSettings(endpoint=listening.endpoint, **options)
            exporter = ForwardExporter("fluentd", settings, context(clock))
            await exporter.start()
            try:
                await story(exporter, listening, clock)
            finally:
                await exporter.aclose()

    asyncio.run(run())


def three() -> Any:
    """A request of three services, which is three messages."""
    resources = [{**HOST, "service.name": name} for name in ("a", "b", "c")]
    return request(*((payload(LINE, resource=resource), 1) for resource in resources))


async def fails(exporter: ForwardExporter, prepared: Any, clock: FakeClock) -> DeliveryError:
    """What a send ends with that fails."""
    with pytest.raises(DeliveryError) as caught:
        await exporter.send(prepared, Deadline(clock))
    return caught.value


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (msgpack.packb({"ack": "another"}), Retryable, "acknowledged a chunk that was not sent: another"),
        (msgpack.packb({"ack": None}), Unusable, "does not speak the forward protocol"),
        (msgpack.packb({"nack": "x"}), Unusable, "does not speak the forward protocol"),
        (msgpack.packb([]), Unusable, "does not speak the forward protocol"),
        (msgpack.packb(None), Unusable, "does not speak the forward protocol"),
        (msgpack.packb(["HELO", {"nonce": b"x"}]), Unusable, "asks for a shared key; give shared_key_file"),
        (b"HTTP/1.1 200 OK\r\n\r\n", Unusable, "is a web server .HTTP/1.1 200 OK.*"),
        (b"\x15\x03\x03\x00\x02\x02\x46", Unusable, "speaks TLS; with it the endpoint begins with tls://"),
        (b"220 mail.example ESMTP\r\n", Unusable, "does not speak the forward protocol.*220 mail"),
        (b"\xc1", Unusable, "does not speak the forward protocol"),
        (b"\xdb\x7f\xff\xff\xff" + bytes(100_000), Unusable, "does not speak the forward protocol"),
        (msgpack.packb({("a", "b"): 1}), Unusable, "does not speak the forward protocol"),
    ],
)
def test_what_comes_instead_of_an_acknowledgement(answer: bytes, error: type[DeliveryError], words: str) -> None:
    """Only the chunk that was sent acknowledges; what a person can mend holds everything, and all is said in a sentence."""

    async def story(exporter: ForwardExporter, server: FluentServer, clock: FakeClock) -> None:
        server.script[0] = answer
        prepared = exporter.prepare(request((payload(LINE), 1)))
        with pytest.raises(error, match=words):
            await exporter.send(prepared, Deadline(clock))
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        assert server.connections == 2

    tell(story)


def test_an_acknowledgement_that_comes_as_bytes_counts() -> None:
    """Servers older than MessagePack's str type, and some of other languages, answer with bin."""

    async def story(exporter: ForwardExporter, server: FluentServer, clock: FakeClock) -> None:
        prepared = exporter.prepare(request((payload(LINE), 1)))
        server.script[0] = msgpack.packb({"ack": prepared.body.messages[0].chunk.encode(), "more": 1})
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()

    tell(story)


def test_a_server_that_never_acknowledges_is_given_up_on_in_time() -> None:
    """A server that stores and does not acknowledge, as without chunks or before Fluentd 0.14, never moves a cursor."""

    async def story(exporter: ForwardExporter, server: FluentServer, clock: FakeClock) -> None:
        server.script[0] = "mute"
        prepared = exporter.prepare(request((payload(LINE), 1)))
        send = asyncio.create_task(exporter.send(prepared, Deadline(clock)))
        while not server.taken:  # noqa: ASYNC110 - it comes by a socket and has no event of its own
            await asyncio.sleep(0)
        await clock.run(29.9)
        assert not send.done()
        await clock.run(0.2)
        with pytest.raises(NoAnswer, match="no acknowledgement for 30 s"):
            await send
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        assert [taken.chunk for taken in server.taken] == [prepared.body.messages[0].chunk] * 2

    tell(story)


def test_each_service_is_a_message_and_only_those_without_an_acknowledgement_are_sent_again() -> None:
    """Where the connection breaks after the first of three messages, the next attempt sends the other two."""

    async def story(exporter: ForwardExporter, server: FluentServer, clock: FakeClock) -> None:
        prepared = exporter.prepare(three())
        assert [message.chunk[-2:] for message in prepared.body.messages] == [".0", ".1", ".2"]
        server.script[1] = "drop"
        error = await fails(exporter, prepared, clock)
        assert isinstance(error, Retryable)
        assert not error.unsent
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        assert [taken.tag for taken in server.taken] == ["a.logs", "b.logs", "c.logs"]

    tell(story)


def test_what_was_stored_but_not_acknowledged_is_sent_again_under_the_same_chunk() -> None:
    """A lost acknowledgement costs a repeat, which a receiver that remembers chunks can tell."""

    async def story(exporter: ForwardExporter, server: FluentServer, clock: FakeClock) -> None:
        prepared = exporter.prepare(three())
        server.script[2] = "lose"
        assert isinstance(await fails(exporter, prepared, clock), Retryable)
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        chunks = [taken.chunk for taken in server.taken]
        assert chunks == [message.chunk for message in prepared.body.messages] + [prepared.body.messages[2].chunk]

    tell(story)


def test_acknowledgements_may_come_in_another_order_but_not_twice() -> None:
    """Each chunk is acknowledged once, in any order; one that comes again is a fault of the connection."""

    async def story(exporter: ForwardExporter, server: FluentServer, clock: FakeClock) -> None:
        prepared = exporter.prepare(three())
        acks = [msgpack.packb({"ack": message.chunk}) for message in prepared.body.messages]
        server.script.update({0: b"", 1: acks[1] + acks[2], 2: acks[0]})
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        again = exporter.prepare(three())
        first = msgpack.packb({"ack": again.body.messages[0].chunk})
        server.script.update({3: first * 2})
        with pytest.raises(Retryable, match="acknowledged a chunk twice"):
            await exporter.send(again, Deadline(clock))

    tell(story)


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    """A server that closes an idle connection costs no attempt."""

    async def story(exporter: ForwardExporter, server: FluentServer, clock: FakeClock) -> None:
        one, other = (exporter.prepare(request((payload(LINE), 1))) for _ in range(2))
        await exporter.send(one, Deadline(clock))
        await exporter.send(one, Deadline(clock))
        assert server.connections == 1
        server.script[2] = "drop"  # it reads, and closes without having stored
        assert await exporter.send(other, Deadline(clock)) == Accepted()
        assert (server.connections, len(server.taken)) == (2, 3)
        server.hang_up()
        assert await exporter.send(other, Deadline(clock)) == Accepted()
        assert server.connections == 3

    tell(story)


HELO: dict[str, Any] = {"nonce": b"n", "auth": b"", "keepalive": True}


def pong(key: str) -> Callable[[list[Any]], bytes]:
    """The answer of somebody who knows ``key``."""

    def answer(ping: list[Any]) -> bytes:
        digest = hashlib.sha512(ping[2].encode() + b"srv" + b"n" + key.encode()).hexdigest()
        return bytes(msgpack.packb(["PONG", True, "", "srv", digest]))

    return answer


@pytest.mark.parametrize(
    ("helo", "answer", "words"),
    [
        (["HELO", HELO], ["PONG", False, "shared_key mismatch", "", ""], "does not let us in: shared_key mismatch"),
        (["HELO", HELO], ["PONG", False, "username/password mismatch", "", ""], "username/password mismatch"),
        (["HELO", HELO], ["PONG", False, "anonymous source host '10.0.0.1' denied", None, None], "anonymous source"),
        (["HELO", HELO], ["PONG", False], "does not let us in: it says no reason"),
        (["HELO", HELO], pong("another"), "does not prove that it knows the shared key"),
        (["HELO", HELO], ["PONG", True, "", "srv", ""], "does not prove"),
        (["HELO", HELO], ["PONG", True], "does not speak the forward protocol"),
        (["HELO", HELO], {"ack": "x"}, "does not speak the forward protocol"),
        (["OLEH", {}], None, "does not speak the forward protocol"),
        ({"ack": "x"}, None, "does not speak the forward protocol"),
        (["HELO", None], ["PONG", False, "no", "", ""], "does not let us in: no"),
    ],
)
def test_a_handshake_that_fails_is_for_a_person_to_mend(tmp_path: Path, helo: Any, answer: Any, words: str) -> None:
    """Whoever does not let us in, or does not know the key itself, gets no record."""
    (tmp_path / "key").write_text("k1\n")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(msgpack.packb(helo))
        unpacker = msgpack.Unpacker()
        while data := await reader.read(1 << 16):
            unpacker.feed(data)
            for ping in unpacker:
                writer.write(answer(ping) if callable(answer) else msgpack.packb(answer))

    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), serving(serve) as port:
            settings = ForwardSettings(endpoint=f"127.0.0.1:{port}", shared_key_file=str(tmp_path / "key"))
            exporter = ForwardExporter("fluentd", settings, context(clock))
            await exporter.start()
            with pytest.raises(Unusable, match=words):
                await exporter.send(exporter.prepare(request((payload(LINE), 1))), Deadline(clock))
            await exporter.aclose()

    asyncio.run(run())


def test_a_key_without_a_server_that_asks_for_it_is_waited_for_in_vain(tmp_path: Path) -> None:
    """A server without security says nothing first; that ends after ten seconds, and nothing was sent."""
    (tmp_path / "key").write_text("k1\n")

    async def story(exporter: ForwardExporter, server: FluentServer, clock: FakeClock) -> None:
        send = asyncio.create_task(exporter.send(exporter.prepare(request((payload(LINE), 1))), Deadline(clock)))
        while not server.connections:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        await clock.until_sleeping()
        await clock.run(10.1)
        with pytest.raises(NoAnswer, match="no answer to a new connection") as caught:
            await send
        assert caught.value.unsent
        assert not server.messages

    tell(story, shared_key_file=str(tmp_path / "key"))


def test_secrets_are_read_again_when_they_change(tmp_path: Path) -> None:
    """A key that is revoked holds everything, and the new one in the same file lets us in; neither is ever said."""
    key = tmp_path / "key"
    key.write_text("old\n")

    async def story(exporter: ForwardExporter, server: FluentServer, clock: FakeClock) -> None:
        prepared = exporter.prepare(request((payload(LINE), 1)))
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        server.key = "new-secret"
        server.hang_up()
        error = await fails(exporter, prepared, clock)
        assert isinstance(error, Unusable)
        assert "old" not in str(error)
        key.write_text("new-secret\n")
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        assert "new-secret" not in exporter.describe()
        key.unlink()
        server.hang_up()
        with pytest.raises(Unusable, match="cannot read the shared key"):
            await exporter.send(prepared, Deadline(clock))

    tell(story, FluentServer(key="old"), shared_key_file=str(key))
