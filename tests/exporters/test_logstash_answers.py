"""What a server of the lumberjack protocol can answer, what that means, and what is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Prepared, Request
from shipper.errors import ConfigError, DeliveryError, Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper_exporters._http.exchange import NoAnswer
from shipper_exporters._logstash import lumberjack
from shipper_exporters.logstash import LogstashExporter, LogstashSettings
from tests.exporters.beats_server import Act, BeatsServer, ack, lose, part, say, slowly, take
from tests.exporters.log_kit import context, payload, request

Story = Callable[[LogstashExporter, BeatsServer, FakeClock], Awaitable[None]]


def lines(count: int) -> Request:
    """A request of so many lines."""
    return request(
        (payload([{"body": f"line {number}", "observed_time_unix_nano": 1} for number in range(count)]), count)
    )


def tell(story: Story, **options: Any) -> None:
    """Run a story with an exporter that sends to a server."""

    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), BeatsServer() as server:
            exporter = LogstashExporter(
                "logstash", LogstashSettings(endpoint=server.endpoint, **options), context(clock)
            )
            await exporter.start()
            try:
                await story(exporter, server, clock)
            finally:
                await exporter.aclose()

    asyncio.run(run())


async def fails(exporter: LogstashExporter, prepared: Prepared, clock: FakeClock) -> DeliveryError:
    """What a send ends with that fails."""
    with pytest.raises(DeliveryError) as caught:
        await exporter.send(prepared, Deadline(clock))
    return caught.value


async def arrived(condition: Callable[[], object]) -> None:
    """Wait for something that comes by a socket."""
    while not condition():  # noqa: ASYNC110 - it has no event of its own
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (say(ack(4)), Retryable, "acknowledged more than was sent"),
        (say(ack(1 << 31)), Retryable, "acknowledged more than was sent"),
        (say(b"1A\0\0\0\3"), Unusable, r"does not speak the lumberjack protocol .Beats input., version 2"),
        (say(b"2J\0\0\0\3"), Unusable, "does not speak the lumberjack protocol"),
        (say(b"HTTP/1.1 200 OK\r\n\r\n"), Unusable, "is a web server"),
        (say(b"\x15\x03\x03\x00\x02\x02\x46"), Unusable, "speaks TLS; with it the endpoint begins with tls://"),
        (say(b"{}"), Unusable, "does not speak the lumberjack protocol"),
        (say(b"2", go_on=False), Retryable, "closed the connection before it acknowledged"),
        (say(ack(0), go_on=False), Retryable, "closed the connection before it acknowledged"),
        (lose, Retryable, r"closed the connection before it acknowledged .if it always does: does it expect TLS"),
    ],
    ids=["more", "much more", "version 1", "another frame", "http", "tls", "json", "half", "busy, then gone", "gone"],
)
def test_what_comes_instead_of_an_acknowledgement(answer: Act, error: type[DeliveryError], words: str) -> None:
    """Only an acknowledgement of this window counts; what a person can mend holds everything."""

    async def story(exporter: LogstashExporter, server: BeatsServer, clock: FakeClock) -> None:
        server.script[0] = answer
        prepared = exporter.prepare(lines(3))
        with pytest.raises(error, match=words) as caught:
            await exporter.send(prepared, Deadline(clock))
        assert not getattr(caught.value, "unsent", False)
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        assert server.messages[-3:] == ["line 0", "line 1", "line 2"]

    tell(story)


def test_documents_are_acknowledged_in_parts() -> None:
    """A window is taken piece by piece, and signs of life in between count for nothing but patience."""

    async def story(exporter: LogstashExporter, server: BeatsServer, clock: FakeClock) -> None:
        server.script[0] = slowly(0, 1, 0, 1, 2)
        assert await exporter.send(exporter.prepare(lines(3)), Deadline(clock)) == Accepted()
        assert len(server.taken) == 1

    tell(story)


@pytest.mark.parametrize("compression", ["zlib", "none"])
def test_only_what_was_not_acknowledged_is_sent_again(compression: str) -> None:
    """Where the connection breaks within a window, the next attempt begins behind the last document that was taken."""

    async def story(exporter: LogstashExporter, server: BeatsServer, clock: FakeClock) -> None:
        server.script.update({0: part(2), 1: part(1)})
        prepared = exporter.prepare(lines(5))
        for _ in range(2):
            error = await fails(exporter, prepared, clock)
            assert isinstance(error, Retryable)
            assert not error.unsent
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        assert [[document["message"] for document in documents] for documents in server.taken] == [
            ["line 0", "line 1"],
            ["line 2"],
            ["line 3", "line 4"],
        ]

    tell(story, compression=compression)


def test_a_server_that_works_is_waited_for_and_one_that_is_silent_is_not() -> None:
    """A sign of life every few seconds holds the connection as long as it takes; thirty seconds without one end it."""

    async def story(exporter: LogstashExporter, server: BeatsServer, clock: FakeClock) -> None:
        writers: list[asyncio.StreamWriter] = []

        def hold(_server: BeatsServer, _documents: object, writer: asyncio.StreamWriter) -> bool:
            writers.append(writer)
            return True

        server.script.update({0: hold, 1: hold})
        send = asyncio.create_task(exporter.send(exporter.prepare(lines(1)), Deadline(clock)))
        await arrived(lambda: writers)
        for _ in range(10):
            await clock.run(20)
            assert not send.done()
            writers[0].write(ack(0))
            await clock.settle()  # on this host what was written is there at once
        writers[0].write(ack(1))
        assert await send == Accepted()
        send = asyncio.create_task(exporter.send(exporter.prepare(lines(1)), Deadline(clock)))
        await arrived(lambda: len(writers) == 2)
        await clock.run(31)
        with pytest.raises(NoAnswer, match="no acknowledgement for 30 s"):
            await send

    tell(story)


def test_two_windows_are_under_way_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next window is there when Logstash is done with one, and no more than that waits in it."""
    monkeypatch.setattr(lumberjack, "MOST_DOCUMENTS", 10)

    async def story(exporter: LogstashExporter, server: BeatsServer, clock: FakeClock) -> None:
        held: list[tuple[int, asyncio.StreamWriter]] = []

        def hold(_server: BeatsServer, documents: list[Any], writer: asyncio.StreamWriter) -> bool:
            held.append((len(documents), writer))
            return True

        server.script.update(dict.fromkeys(range(8), hold))
        prepared = exporter.prepare(lines(35))
        windows = len(prepared.body)
        send = asyncio.create_task(exporter.send(prepared, Deadline(clock)))
        for done in range(windows):
            due = min(done + 2, windows)
            await arrived(lambda due=due: len(held) == due)  # type: ignore[misc]
            await clock.settle()
            assert len(held) == due
            count, writer = held[done]
            writer.write(ack(count))
        assert await send == Accepted()
        assert windows > 3
        assert sum(count for count, _ in held) == 35

    tell(story)


def test_a_window_that_broke_off_does_not_hide_what_was_acknowledged_before_it() -> None:
    """What came back before the connection broke still counts."""

    async def story(exporter: LogstashExporter, server: BeatsServer, clock: FakeClock) -> None:
        server.script[0] = part(1)
        prepared = exporter.prepare(
            request((payload([{"body": "x" * 1_000_000, "observed_time_unix_nano": 1}] * 9), 9))
        )
        assert len(prepared.body) > 2
        await fails(exporter, prepared, clock)
        assert await exporter.send(prepared, Deadline(clock)) == Accepted()
        assert sum(map(len, server.taken)) == 9

    tell(story, compression="none")


scripted = st.one_of(st.just(take), st.just(lose), st.builds(part, st.integers(0, 3)), st.builds(slowly, st.just(0)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.lists(scripted, max_size=12), st.sampled_from(["zlib", "none"]))
def test_whatever_breaks_every_document_arrives_and_in_order(count: int, script: list[Act], compression: str) -> None:
    """Documents are repeated only where an acknowledgement was lost, and none is left out."""
    stored: list[list[str]] = []

    async def story(exporter: LogstashExporter, server: BeatsServer, clock: FakeClock) -> None:
        server.script.update(dict(enumerate(script)))
        prepared = exporter.prepare(lines(count))
        for _ in range(len(script) + 1):
            try:
                assert await exporter.send(prepared, Deadline(clock)) == Accepted()
                break
            except Retryable:
                continue
        else:
            raise AssertionError("it never ends")
        stored.extend([document["message"] for document in documents] for documents in server.taken)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lumberjack, "MOST_DOCUMENTS", 7)
        tell(story, compression=compression)
    first_times = list(dict.fromkeys(line for some in stored for line in some))
    assert first_times == [f"line {number}" for number in range(count)]
    assert sum(map(len, stored)) - count <= 7 * script.count(lose)


def test_documents_carry_what_pipelines_of_beats_expect() -> None:
    """An id that is the same whenever it is sent again, and the index's name, under [@metadata]; ECS beside."""

    async def story(exporter: LogstashExporter, server: BeatsServer, clock: FakeClock) -> None:
        made = [request((payload([{"body": "a"}, {"body": "b"}]), 2), (payload([{"body": "c"}]), 1)) for _ in range(2)]
        for one in made:
            await exporter.send(exporter.prepare(one), Deadline(clock))
        ids = [[document["@metadata"]["_id"] for document in documents] for documents in server.taken]
        life = made[0].batches[0].life
        assert ids == [[f"{life}.file-1.0.0", f"{life}.file-1.0.1", f"{life}.file-1.200.0"]] * 2
        document = server.taken[0][0]
        assert document["@metadata"]["beat"] == "checkout-logs"
        assert document["@metadata"]["type"] == "_doc"
        assert document["service"]["name"] == "checkout"
        assert document["service"]["version"] == "2.4.1"
        assert document["service"]["environment"] == "production"
        assert document["labels"]["shipper_life_id"] == life

    tell(story, index="checkout-logs")


@pytest.mark.parametrize("index", ["", "Logs", "a b", "-a", "a/b"])
def test_an_index_that_cannot_be_is_refused(index: str) -> None:
    """It becomes the name of an index."""
    with pytest.raises(ConfigError, match=r"destinations.l.index: is no name of an index"):
        LogstashExporter("l", LogstashSettings(endpoint="a", index=index), context())
