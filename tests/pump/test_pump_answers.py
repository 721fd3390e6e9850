"""Every answer has its consequence, and no answer loses a record that was not counted."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import LedgerFull, Rejected, Retryable, TooLarge, Unusable
from shipper.ledger import Counts
from shipper.pump import Pump
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, healthy, lines_of


def counts(host: Host, stream: str = "a") -> Counts:
    """What the ledger says of a stream at the only destination."""
    return host.ledger.ledger.cursor("dest", stream).counts


def value(host: Host, name: str, **labels: str) -> float:
    """A metric's value, 0 when it never moved."""
    return host.metrics.registry.get_sample_value(name, labels) or 0.0


class Failing:
    """Raises the given errors one after the other, then takes everything."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.errors:
            raise self.errors.pop(0)
        return Accepted()


class Refusing:
    """Refuses requests that hold one of the given lines."""

    def __init__(self, *bad: bytes) -> None:
        self.bad = set(bad)

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.bad & set(lines_of(prepared)):
            raise Rejected("HTTP 400: I do not like one of these")
        return Accepted()


def numbered(count: int) -> bytes:
    """Lines ``line 0`` to ``line count-1``."""
    return b"".join(b"line %d\n" % n for n in range(count))


def test_a_retried_request_is_the_same_request(tmp_path: Path) -> None:
    """After failures the very same bytes go under the same id until they are taken; each retry is counted by cause."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Retryable("sink: HTTP 503")] * 5, *[Retryable("sink: cannot connect: refused")] * 2)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len({id(prepared) for prepared in exporter.attempts}) == 1
        assert len(exporter.attempts) == 8
        assert len(exporter.lines()) == 10
        assert value(host, "shipper_retried_requests_total", destination="dest", cause="http_503") == 5
        assert value(host, "shipper_retried_requests_total", destination="dest", cause="connection") == 2
        assert value(host, "shipper_requests_sent_total", destination="dest", outcome="accepted") == 1
        host.close()

    asyncio.run(story())


def test_a_destination_that_comes_back_after_a_long_outage_is_found_within_seconds(tmp_path: Path) -> None:
    """While there is nobody to connect to, attempts stay at most five seconds apart, however long that lasts."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Retryable("sink: cannot connect: refused")] * 50)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(1)))
        async with host.running(pump):
            while exporter.attempts == [] or not exporter.lines():
                tried = len(exporter.attempts)
                await host.clock.run(5.1)
                assert len(exporter.attempts) > tried
        host.close()

    asyncio.run(story())


def test_a_retry_blocks_no_other_request(tmp_path: Path) -> None:
    """While one request waits for its next attempt, others are sent."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            if b"poison" in lines_of(prepared):
                raise Retryable("sink: HTTP 503")
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            host.write(stream, b"poison\n")
            await host.clock.run(1)
            for n in range(5):
                host.write(stream, b"line %d\n" % n)
                await host.clock.run(1)
            assert exporter.lines() == [b"line %d" % n for n in range(5)]
        host.close()

    asyncio.run(story())


@pytest.mark.parametrize("wait", [1.0, 3600.0])
def test_retry_after_is_honoured(tmp_path: Path, wait: float) -> None:
    """Nothing at all is sent before the time that the destination named."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(Retryable("sink: HTTP 429", wait))
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            host.write(stream, b"one\n")
            await host.clock.run(wait / 2)
            host.write(stream, b"two\n")
            await host.clock.run(wait / 2 - 0.01)
            assert len(exporter.attempts) == 1
            await host.clock.run(0.02)
            assert sorted(exporter.lines()) == [b"one", b"two"]
        host.close()

    asyncio.run(story())


def test_a_drain_tries_once_more_before_its_deadline(tmp_path: Path) -> None:
    """A wish for an hour is granted in a drain only up to shortly before the deadline."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(Retryable("sink: HTTP 429", 3600.0))
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"one\n"))
        async with host.running(pump):
            await host.clock.run(60)
            pump.deadline = Deadline.after(host.clock, 20)
            pump.urgent(True)
            await host.clock.run(18.9)
            assert len(exporter.attempts) == 1
            assert await host.drained(pump, 20)
            assert exporter.lines() == [b"one"]
        host.close()

    asyncio.run(story())


def test_a_drain_ends_a_long_backoff(tmp_path: Path) -> None:
    """A request that waits out a back-off is tried at once when the drain begins."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Retryable("sink: cannot connect")] * 12)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"one\n"))
        async with host.running(pump):
            while len(exporter.attempts) < 12:
                await host.clock.run(0.5)
            pump.deadline = Deadline.after(host.clock, 20)
            pump.urgent(True)
            await host.clock.settle()
            assert exporter.lines() == [b"one"]
        host.close()

    asyncio.run(story())


def test_an_expired_drain_leaves_the_request_open(tmp_path: Path) -> None:
    """When nothing goes through, waiting for idleness ends at the deadline and the ledger keeps what is open."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Retryable("sink: cannot connect")] * 1000)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"one\n"))
        async with host.running(pump):
            pump.deadline = Deadline.after(host.clock, 20)
            pump.urgent(True)
            assert not await host.drained(pump, 20)
            assert len(exporter.attempts) < 1000
        assert len(host.ledger.ledger.open_requests("dest")) == 1
        host.close()

    asyncio.run(story())


def test_an_unusable_destination_is_held_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A destination set up wrongly is tried every 5 to 30 seconds, said at most once a minute, and gets all in the end."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Unusable("HTTP 401: no such token")] * 12)
        pump = host.pump(exporter)
        begin = host.clock.monotonic()
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            host.write(stream, numbered(100))
            assert await host.drained(pump)
        assert len(exporter.attempts) == 13
        assert 4 + 8 + 16 + 9 * 24 <= host.clock.monotonic() - begin <= 5 + 10 + 20 + 9 * 30 + 1
        assert len(exporter.lines()) == 100
        said = [record for record in caplog.records if "401" in record.getMessage()]
        assert 4 <= len(said) <= 7
        host.close()

    asyncio.run(story())


def test_too_large_is_halved_until_it_fits(tmp_path: Path) -> None:
    """Requests over the destination's limit arrive in pieces, and later ones are cut smaller."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            if sum(len(got.payload) for got in prepared.body) > 70_000:
                raise TooLarge("HTTP 413")
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", (b"z" * 99 + b"\n") * 20_000))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.lines()) == 20_000
        assert value(host, "shipper_requests_sent_total", destination="dest", outcome="too_large") < 150
        assert host.quarantine.kept == []
        assert counts(host).acknowledged == 20_000
        host.close()

    asyncio.run(story())


def test_one_record_too_large_is_set_aside(tmp_path: Path) -> None:
    """A single record that the destination finds too large goes to quarantine; its neighbours arrive."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            if any(len(line) > 5_000 for line in lines_of(prepared)):
                raise TooLarge("HTTP 413")
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(50) + b"w" * 9_000 + b"\n" + numbered(50)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.lines()) == 100
        assert host.quarantine.lines() == [b"w" * 9_000]
        assert host.quarantine.kept[0][3] == "too_large"
        assert (counts(host).acknowledged, counts(host).quarantined) == (100, 1)
        host.close()

    asyncio.run(story())


@pytest.mark.parametrize("bad", [[0], [499], [250], [3, 4, 400, 77]])
def test_the_offender_is_isolated(tmp_path: Path, bad: list[int]) -> None:
    """Only the records that the destination refuses go to quarantine, everything beside them arrives once."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Refusing(*(b"line %d" % n for n in bad))
        pump = host.pump(exporter, batch_bytes=1000)
        stream = host.add(MemoryStream("a", numbered(500)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert sorted(host.quarantine.lines()) == sorted(b"line %d" % n for n in bad)
        assert sorted(exporter.lines()) == sorted(b"line %d" % n for n in range(500) if n not in bad)
        assert counts(host) == Counts(read=500, acknowledged=500 - len(bad), quarantined=len(bad))
        assert stream.released_to == stream.frontier()
        rejected = value(host, "shipper_quarantined_records_total", destination="dest", cause="rejected")
        assert rejected == len(bad)
        host.close()

    asyncio.run(story())


def test_a_destination_that_refuses_everything_is_not_flooded(tmp_path: Path) -> None:
    """When the whole content is refused, the search for an offender ends soon and all of it is set aside."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Refusing(*numbered(5000).splitlines())
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(5000)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.attempts) < 80
        assert sorted(host.quarantine.lines()) == sorted(numbered(5000).splitlines())
        assert counts(host).quarantined == 5000
        host.close()

    asyncio.run(story())


def test_without_isolation_the_whole_request_is_set_aside(tmp_path: Path) -> None:
    """A refusal that halving cannot help quarantines every batch of the request after one attempt."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(Rejected("HTTP 400: wrong tenant", isolate=False))
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        host.add(MemoryStream("b", numbered(10)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.attempts) == 1
        assert sorted(batch.stream for batch, *_ in host.quarantine.kept) == ["a", "b"]
        assert counts(host, "a").quarantined == counts(host, "b").quarantined == 10
        host.close()

    asyncio.run(story())


def test_a_full_quarantine_disk_keeps_the_request_pending(tmp_path: Path) -> None:
    """What cannot be set aside stays pending and is set aside later; it is never dropped."""

    async def story() -> None:
        host = Host(tmp_path)
        host.quarantine.fails = [OSError(errno.ENOSPC, "No space left on device")] * 5
        exporter = ScriptedExporter()
        exporter.answer = Refusing(b"line 1")
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(3)))
        async with host.running(pump):
            await host.clock.settle()
            assert not pump.idle()
            assert await host.drained(pump)
        assert host.quarantine.lines() == [b"line 1"]
        assert value(host, "shipper_problems_total", kind="quarantine") == 5
        host.close()

    asyncio.run(story())


@pytest.mark.parametrize("rejected", [3, 1000, -1])
def test_partial_success_is_counted(tmp_path: Path, rejected: int) -> None:
    """Records refused in a partial success are counted as rejected, never more than the request held."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            return Accepted(rejected, "too old")

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            assert await host.drained(pump)
        wanted = max(0, min(10, rejected))
        assert counts(host) == Counts(read=10, acknowledged=10 - wanted, rejected=wanted)
        assert value(host, "shipper_rejected_records_total", destination="dest") == wanted
        assert value(host, "shipper_acknowledged_records_total", destination="dest") == 10 - wanted
        host.close()

    asyncio.run(story())


def test_a_bug_in_an_exporter_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An exporter that raises anything else is said in one line without traceback, and tried again rarely."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.prepare_fails = 2
        exporter.answer = Failing(KeyError("oops"), ZeroDivisionError("division by zero"))
        pump = host.pump(exporter)
        begin = host.clock.monotonic()
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.lines()) == 10
        assert host.clock.monotonic() - begin > 4 + 8 + 16 + 32
        assert value(host, "shipper_problems_total", kind="exporter-bug") == 4
        assert any("a bug in prepare" in record.getMessage() for record in caplog.records)
        assert all(record.exc_info is None for record in caplog.records)
        host.close()

    asyncio.run(story())


def test_a_full_ledger_disk_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent that is not in the books; when there is room again everything goes on."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            await host.clock.settle()
            host.ledger.fails = [LedgerFull("ledger.db cannot be written: disk full")] * 90
            host.write(stream, numbered(10))
            await host.clock.run(80)
            assert exporter.attempts == []
            assert await host.drained(pump)
        assert len(exporter.lines()) == 10
        assert len([record for record in caplog.records if "disk full" in record.getMessage()]) == 2
        host.close()

    asyncio.run(story())


def test_an_acknowledgement_that_cannot_be_written_is_not_forgotten(tmp_path: Path) -> None:
    """When the ledger is full after the destination answered, the acknowledgement is written later, not sent again."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            host.ledger.fails = [LedgerFull("disk full")] * 3
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            await host.clock.settle()
            assert not pump.idle()
            assert await host.drained(pump)
        assert len(exporter.attempts) == 1
        host.close()

    asyncio.run(story())


def test_an_overloaded_destination_gets_fewer_requests_at_a_time(tmp_path: Path) -> None:
    """After 503 fewer requests are in flight at once, and more again as answers come."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=10_000)
        overloaded = True

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            await host.clock.sleep(0.1)
            if overloaded:
                raise Retryable("sink: HTTP 503", 5.0)
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", (b"z" * 99 + b"\n") * 4_000))
        async with host.running(pump):
            await host.clock.run(0.15)
            assert exporter.most_at_once == 4
            exporter.most_at_once = 0
            await host.clock.run(5.05)
            assert exporter.most_at_once == 1
            overloaded = False
            assert await host.drained(pump)
            assert exporter.most_at_once == 4
        host.close()

    asyncio.run(story())


def test_being_stopped_in_flight_leaves_the_books_right(tmp_path: Path) -> None:
    """A pump killed while a request is out leaves that request open, and nothing else."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            await host.clock.sleep(1e9)
            return Accepted()

        exporter.answer = answer
        pump: Pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            await host.clock.run(1)
        (request,) = host.ledger.ledger.open_requests("dest")
        assert sum(cut.records for _, cut in request.cuts) == 10
        assert exporter.answer is not healthy
        host.close()

    asyncio.run(story())
