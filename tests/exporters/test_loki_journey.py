"""What becomes of entries that Loki does not take at once: late ones, too many, and those it will never take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shipper.contracts import Accepted
from shipper.errors import Rejected, Retryable, TooLarge, Unusable
from shipper.testing.clock import START_WALL_NS
from shipper.testing.sink import Answer, Received, Sink, raw, refuse
from shipper_exporters._loki.wire import Push
from shipper_exporters.loki import LokiExporter
from tests.exporters.loki_kit import at, exporting, payload, plain, request_of, send
from tests.exporters.loki_server import HOUR, SECOND, FakeLoki, lines_of

NOW = START_WALL_NS
Scenario = Callable[[FakeLoki, Sink, LokiExporter], Awaitable[None]]


def with_loki(scenario: Scenario, **settings: object) -> None:
    async def run() -> None:
        loki = FakeLoki(NOW)
        async with asyncio.timeout(60), loki.sink() as sink, exporting(sink.url, **settings) as exporter:
            await scenario(loki, sink, exporter)

    asyncio.run(run())


def test_late_entries_get_in() -> None:
    """What is older than its stream takes is stored in a stream for its hour, each once, however often it is sent."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        await send(exporter, request_of(at(NOW, "now")))
        backlog = request_of(*(at(NOW - n * HOUR, f"{n} hours ago", f"{n} hours ago, too") for n in (5, 4, 2)))
        for _ in range(2):
            assert await send(exporter, backlog) == Accepted()
        assert len(loki.stored) == 7
        late = {line.stream for line in loki.stored if "shipper_late" in line.stream}
        assert len(late) == 3
        assert '{deployment_environment_name="prod", service_name="checkout", shipper_late="2023-11-14T17"}' in late

    with_loki(scenario)


def test_some_of_a_push_are_late() -> None:
    """Only the entries that came too late are sent again, whether Loki names them all or only the first ten."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        await send(exporter, request_of(at(NOW, "now")))
        for count in (3, 300):
            request = request_of(
                at(NOW - 3 * HOUR, *(f"late {count} {n}" for n in range(count))),
                at(NOW + SECOND, *(f"in time {count} {n}" for n in range(40))),
            )
            assert await send(exporter, request) == Accepted()
            late = [line for line in loki.stored if f"late {count} " in line.line]
            assert len(late) == len(set(late)) == count
            assert all("shipper_late" in line.stream for line in late)
            timely = [line for line in loki.stored if f"in time {count} " in line.line]
            assert len(timely) == 40
            assert not any("shipper_late" in line.stream for line in timely)

    with_loki(scenario)


def test_entries_that_are_late_everywhere() -> None:
    """Where a stream of their own does not help either (a Loki that takes no entry out of order) they are lost and counted."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        loki.window = 0
        await send(exporter, request_of(at(NOW, "first")))
        assert await send(exporter, request_of(at(NOW - 60 * SECOND, "behind"))) == Accepted()
        with pytest.raises(Rejected, match="1 x too_far_behind"):
            await send(exporter, request_of(at(NOW - 120 * SECOND, "behind that")))
        answer = await send(exporter, request_of(at(NOW - 121 * SECOND, "and that"), at(NOW + 1, "next")))
        assert answer.rejected == 1
        assert loki.texts() == ["behind", "first", "next"]

    with_loki(scenario)


def test_too_fast_for_its_stream() -> None:
    """What exceeded a stream's rate is sent again later by itself, and of the rest nothing is there twice."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        loki.too_fast = {"line 3", "line 4"}
        request = plain([f"line {n}" for n in range(6)])
        with pytest.raises(Retryable, match="rate limit"):
            await send(exporter, request)
        assert loki.texts() == ["line 0", "line 1", "line 2", "line 5"]
        loki.too_fast.clear()
        assert await send(exporter, request) == Accepted()
        assert [line.line for line in loki.pushes[-2]] == ["line 3", "line 4"]
        assert loki.texts() == [f"line {n}" for n in range(6)]

    with_loki(scenario)


def test_one_slow_stream_holds_no_other() -> None:
    """While a stream is too fast the others of its request get through."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        loki.too_fast = {"slow"}
        other = payload({"body": "other", "time_unix_nano": NOW}, resource={"service.name": "other"})
        request = request_of(at(NOW, "slow"), other)
        for _ in range(2):
            with pytest.raises(Retryable):
                await send(exporter, request)
        assert loki.texts() == ["other"]
        assert sum("other" in [line.line for line in push] for push in loki.pushes) == 1

    with_loki(scenario)


def test_more_than_a_stream_takes_in_a_second_is_sent_in_parts() -> None:
    """A push that is larger than the limit would never pass whole: it is halved, and again, until it does."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        def judge(received: Received) -> Answer:
            lines = lines_of(received.wire)
            size = sum(len(line.line) for line in lines)
            if size > 2000:
                limit = f"ingestion rate limit exceeded for user fake (limit: 2000 bytes/sec) while attempting '{len(lines)}'"
                return raw(429, limit.encode(), "text/plain")
            return loki.judge(received)

        sink.judge = judge
        request = plain(["x" * 100 + str(n) for n in range(100)])
        tries = 0
        while True:
            try:
                assert await send(exporter, request) == Accepted()
                break
            except Retryable:
                tries += 1
                assert tries < 60
        assert len(loki.stored) == 100

    with_loki(scenario)


def test_entries_that_break_limits_are_lost_alone() -> None:
    """Too long, too old, too new: each is counted by Loki's word for it; the others are stored."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        loki.max_line_size = 1000
        many = {f"a{n}": "x" for n in range(140)}
        request = request_of(
            at(NOW, "fine", "x" * 1001, "y" * 2000),
            at(NOW - 9 * 24 * HOUR, "old", "older"),
            at(NOW + HOUR, "tomorrow"),
            payload({"time_unix_nano": NOW, "body": "wide", "attributes": many}),
            at(NOW + 9, "fine too"),
        )
        answer = await send(exporter, request)
        assert answer.rejected == 6
        for why in (
            "2 x line_too_long",
            "2 x greater_than",
            "1 x too_far_in_future",
            "1 x structured_metadata_too_many",
        ):
            assert why in answer.message
        assert loki.texts() == ["fine", "fine too"]
        assert len(loki.pushes) == 1

    with_loki(scenario)


def test_an_unknown_refusal_is_isolated() -> None:
    """What is refused for a reason that is not understood is halved until the offenders are found."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        def judge(received: Received) -> Answer:
            if any("bad" in line.line for line in lines_of(received.wire)):
                return raw(400, b"entry of a kind that is not taken here", "text/plain")
            return loki.judge(received)

        sink.judge = judge
        lines = [f"bad {n}" if n in (7, 61) else f"good {n}" for n in range(100)]
        answer = await send(exporter, plain(lines))
        assert answer.rejected == 2
        assert "2 x refused: " in answer.message
        assert loki.texts() == [line for line in lines if "good" in line]

    with_loki(scenario)


def test_a_refusal_of_everything_is_found_out_soon() -> None:
    """Where nothing at all is taken, not every entry is tried by itself, and the request is set aside whole."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        sink.judge = None
        sink.answer = raw(400, b"no", "text/plain")
        with pytest.raises(Rejected, match="5000 x refused") as caught:
            await send(exporter, plain([f"line {n}" for n in range(5000)]))
        assert not caught.value.isolate
        assert len(sink.received) < 100

    with_loki(scenario)


def test_too_large_is_halved() -> None:
    """A push that is larger than Loki takes is sent in parts; an entry that is so by itself is lost alone."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        def judge(received: Received) -> Answer:
            size = sum(len(line.line) for line in lines_of(received.wire))
            return refuse(413) if size > 500 else loki.judge(received)

        sink.judge = judge
        answer = await send(exporter, plain(["a" * 100, "b" * 501, *("c" * 100 for _ in range(10))]))
        assert answer.rejected == 1
        assert "1 x too_large" in answer.message
        assert len(loki.stored) == 11
        with pytest.raises(TooLarge):
            await send(exporter, plain(["b" * 501]))
        sink.judge = lambda received: refuse(413)
        tries = len(sink.received)
        with pytest.raises(Rejected, match="5000 x too_large"):
            await send(exporter, plain([f"line {n}" for n in range(5000)]))
        assert len(sink.received) - tries < 100

    with_loki(scenario)


def test_a_request_goes_on_where_it_broke_off() -> None:
    """Pushes that were taken are not sent again when the next of the request failed; credentials revoked lose nothing."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        request = plain([f"{n:04}" + "x" * 1000 for n in range(10)])
        for answer, error in ((refuse(503), Retryable), (refuse(401), Unusable), (refuse(500), Retryable)):
            taken = loki.judge
            left = 2

            def judge(received: Received) -> Answer:
                nonlocal left
                left -= 1
                return answer if left < 0 else taken(received)  # noqa: B023 - called before the loop goes on

            sink.judge = judge
            with pytest.raises(error):
                await send(exporter, request)
        sink.judge = loki.judge
        assert await send(exporter, request) == Accepted()
        assert [line.line for push in loki.pushes for line in push] == [f"{n:04}" + "x" * 1000 for n in range(10)]

    with_loki(scenario, max_push_bytes=1024)


def test_what_is_dropped_beside_late_entries_is_counted() -> None:
    """Loki says only that entries came too late; those of the same push that it dropped for another reason are found out."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        loki.max_line_size = 1500
        await send(exporter, request_of(at(NOW, "now")))
        request = request_of(at(NOW - 3 * HOUR, "late"), at(NOW + 1, "x" * 2000, "fine", "fine, too"))
        answer = await send(exporter, request)
        assert answer.rejected == 1
        assert "line_too_long" in answer.message
        assert sorted(loki.texts()) == ["fine", "fine, too", "late", "now"]

    with_loki(scenario)


def test_what_is_dropped_beside_entries_that_come_too_fast_is_counted() -> None:
    """The same where the others have to wait."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        loki.max_line_size = 1500
        loki.too_fast = {"fast"}
        request = request_of(at(NOW + 1, "x" * 2000, "fine", "fast"))
        with pytest.raises(Retryable):
            await send(exporter, request)
        loki.too_fast.clear()
        answer = await send(exporter, request)
        assert answer.rejected == 1
        assert sorted(loki.texts()) == ["fast", "fine"]

    with_loki(scenario)


@pytest.mark.parametrize("status", [400, 429])
def test_times_that_no_entry_has(status: int) -> None:
    """Where Loki names times that were not sent, nothing is taken for stored that it did not say is."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        why = "entry too far behind" if status == 400 else "Per stream rate limit exceeded (limit: 1KB/sec) for stream"
        named = f"entry with timestamp 2001-01-01 00:00:00 +0000 UTC ignored, reason: '{why}',\n"
        said = f"{named}user 'fake', total ignored: 1 out of 2 for stream: {{}}\n"
        answers = [raw(status, said.encode(), "text/plain")]
        sink.judge = lambda received: answers.pop() if answers else loki.judge(received)
        request = request_of(at(NOW, "one", "two"))
        if status == 429:
            with pytest.raises(Retryable):
                await send(exporter, request)
        assert await send(exporter, request) == Accepted()
        assert sorted(loki.texts()) == ["one", "two"]

    with_loki(scenario)


def test_what_failed_behind_a_push_that_was_taken_was_sent() -> None:
    """A request of which Loki has a part is not one that certainly did not get there."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        request = plain(["x" * 2000, "y" * 2000])

        def judge(received: Received) -> Answer:
            asyncio.get_running_loop().create_task(sink.go_down())
            return loki.judge(received)

        sink.judge = judge
        with pytest.raises(Retryable) as caught:
            await send(exporter, request)
        assert loki.texts()
        assert not caught.value.unsent

    with_loki(scenario, max_push_bytes=1024)


def test_losses_before_a_failure_are_not_forgotten() -> None:
    """What was lost of a push before the next one failed is in the answer in the end."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        loki.max_line_size = 1500
        request = plain(["x" * 2000, "fine"])
        answers = [loki.judge, lambda _: refuse(503), loki.judge]
        sink.judge = lambda received: answers.pop(0)(received)
        with pytest.raises(Retryable):
            await send(exporter, request)
        answer = await send(exporter, request)
        assert answer.rejected == 1
        assert loki.texts() == ["fine"]

    with_loki(scenario, max_push_bytes=1024)


def test_each_push_is_of_one_stream() -> None:
    """Of several streams in one push Loki reports only the last, so there are never several."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        services = [payload({"body": "x", "time_unix_nano": NOW}, resource={"service.name": f"s{n}"}) for n in range(5)]
        await send(exporter, request_of(*services))
        assert [len({line.stream for line in push}) for push in loki.pushes] == [1] * 5

    with_loki(scenario)


def test_several_requests_that_wait() -> None:
    """Of each request that failed on its way it is known how far it got, whatever is sent in between."""

    async def scenario(loki: FakeLoki, sink: Sink, exporter: LokiExporter) -> None:
        requests = [plain([f"{at}{n}" + "x" * 1000 for n in range(2)]) for at in "abc"]
        for request in requests:
            sink.script(Answer(204, b""), refuse(503))
            with pytest.raises(Retryable):
                await send(exporter, request)
        sink.judge = loki.judge
        for request in requests:
            assert await send(exporter, request) == Accepted()
        assert sorted(line.line[:2] for line in loki.stored) == ["a1", "b1", "c1"]

    with_loki(scenario, max_push_bytes=1024)


def test_a_push_knows_what_is_in_it() -> None:
    """Parts of a push have its stream, and together its entries."""
    push = Push.of(b'{a="b"}', [])
    assert push.halves() is None
    assert (push.entries, push.size) == (0, 0)
