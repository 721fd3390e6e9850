"""A destination that does not take every signal is owed only those it takes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared, Signal, StreamKind
from shipper.errors import Retryable, TooLarge
from shipper.pump.share import Share
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, ValuedStream, healthy, lines_of


def _metrics_only(name: str = "numbers") -> ScriptedExporter:
    exporter = ScriptedExporter(name)
    exporter.signals = frozenset({Signal.METRICS})
    return exporter


def _log(id: str = "log") -> MemoryStream:
    return MemoryStream(id, b"a\nb\n")


def _numbers(data: bytes = b"1\n2\n") -> MemoryStream:
    return MemoryStream("numbers", data, signal=Signal.METRICS)


def test_it_gets_only_what_it_takes(tmp_path: Path) -> None:
    """Only streams of its signals are sent there, neither logs nor birth and farewell, and the pump is idle without them."""
    host = Host(tmp_path)
    exporter = _metrics_only()
    pump = host.pump(exporter)

    async def scenario() -> None:
        host.add(_log())
        host.add(MemoryStream("life", b"birth\n", kind=StreamKind.LIFE))
        host.add(_numbers())
        async with host.running(pump):
            assert await host.drained(pump, include_account=True)
            assert exporter.lines() == [b"1", b"2"]
            assert pump.backlog() == {}
            assert pump.backlog_bytes() == 0
            await pump.finish(pump.deadline)
            assert pump.idle()

    asyncio.run(scenario())
    host.close()


def test_another_one_holds_back_no_stream_for_it(tmp_path: Path) -> None:
    """A stream is let go of and retired once those that take it are done with it."""
    host = Host(tmp_path)
    everything = ScriptedExporter("everything")
    pumps = [host.pump(everything), host.pump(_metrics_only())]

    async def scenario() -> None:
        log = host.add(_log())
        async with host.running(*pumps):
            assert await host.drained(pumps[0])
            assert log.released_to == 4
            log.ended = True
            host.hub.finished(log)
            await host.clock.settle()
            assert host.hub.streams() == []

    asyncio.run(scenario())
    host.close()


def test_what_nobody_takes_is_said_when_it_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once for each signal, by the name of what came; not where it was said before, nor of the account of the life."""
    host = Host(tmp_path)
    pump = host.pump(_metrics_only())
    host.hub.said_untaken.add(Signal.TRACES)

    async def scenario() -> None:
        async with host.running(pump):
            host.add(MemoryStream("life", b"born\n", kind=StreamKind.LIFE))
            assert "no destination takes" not in caplog.text
            host.add(_log())
            host.add(MemoryStream("second", b"line\n"))
            host.add(MemoryStream("spans", b"span\n", signal=Signal.TRACES))
            host.add(_numbers())
        said = [record.message for record in caplog.records if "no destination takes" in record.message]
        assert said == ["no destination takes logs: /logs/log is not shipped"]

    asyncio.run(scenario())
    host.close()


def test_what_nobody_takes_is_let_go(tmp_path: Path) -> None:
    """A stream of a signal that no destination takes holds nothing on disk: released as it grows, counted, and retired."""
    host = Host(tmp_path)
    pump = host.pump(_metrics_only())

    async def scenario() -> None:
        log = host.add(_log())
        async with host.running(pump):
            host.write(log, b"c\n")
            assert log.released_to == 6
            log.ended = True
            host.hub.finished(log)
            await host.clock.settle()
            assert host.hub.streams() == []
            assert host.metrics.registry.get_sample_value("shipper_not_taken_bytes_total", {"signal": "logs"}) == 6

    asyncio.run(scenario())
    host.close()


def test_the_account_does_not_speak_of_it(tmp_path: Path) -> None:
    """The figures of a stream are those of the destinations that take it."""
    host = Host(tmp_path)
    host.add(_log())
    host.add(_numbers())
    accounts = host.ledger.ledger.account(["all", "numbers"], signals={"numbers": frozenset({Signal.METRICS})})
    said = {account.stream.id: set(account.destinations) for account in accounts}
    assert said == {"log": {"all"}, "numbers": {"all", "numbers"}}
    host.close()


def test_samples_are_sent_in_order_in_a_drain_too(tmp_path: Path) -> None:
    """While value decides, a stream of metrics is still cut strictly forward, a stream of logs is not."""
    host = Host(tmp_path)
    exporter = ScriptedExporter()
    pump = host.pump(exporter, batch_bytes=1 << 15)
    lines = b"".join(b"%08d\n" % number for number in range(16_000))
    numbers = ValuedStream("numbers", lines, signal=Signal.METRICS)
    logs = ValuedStream("log", lines)

    async def scenario() -> None:
        host.add(numbers)
        host.add(logs)
        pump.order_by_value(True)
        pump.urgent(True)
        async with host.running(pump):
            assert await host.drained(pump)
        got = {signal: [] for signal in (Signal.METRICS, Signal.LOGS)}
        for prepared in exporter.attempts:
            got[prepared.signal] += [line for one in prepared.body for line in one.payload.splitlines()]
        assert got[Signal.METRICS] == sorted(got[Signal.METRICS])
        assert got[Signal.LOGS] != sorted(got[Signal.LOGS])

    asyncio.run(scenario())
    host.close()


def test_a_fallback_that_takes_only_some(tmp_path: Path) -> None:
    """A fallback helps with the signals that it takes, and the drain goes on to wait for the others."""
    host = Host(tmp_path)
    primary, fallback = ScriptedExporter("primary"), _metrics_only("fallback")
    held = asyncio.Event()

    async def stuck(prepared, deadline):  # type: ignore[no-untyped-def]
        await held.wait()
        raise AssertionError

    primary.answer = stuck
    pumps = [host.pump(primary), host.pump(fallback, standby=True)]

    async def scenario() -> None:
        host.add(_log())
        host.add(_numbers())
        async with host.running(*pumps):
            share = Share(pumps[:1])
            pumps[1].activate(share)
            async with host.clock.autojump():
                while fallback.lines() != [b"1", b"2"]:
                    await host.clock.sleep(1)
            assert not pumps[0].idle()
            assert pumps[0].backlog_bytes() == 4

    asyncio.run(scenario())
    host.close()


def test_samples_that_wait_are_sent_in_order_in_a_drain_too(tmp_path: Path) -> None:
    """What waits for its next attempt when a drain begins is sent before what is newer, though last words are worth more."""
    host = Host(tmp_path)
    exporter = ScriptedExporter()
    exporter.limits = replace(Limits(), max_in_flight=1)
    pump = host.pump(exporter, batch_bytes=1 << 15)
    lines = b"".join(b"%08d\n" % number for number in range(60_000))
    numbers = ValuedStream("numbers", lines, signal=Signal.METRICS)

    async def down(prepared: Prepared, deadline: Deadline) -> Accepted:
        raise Retryable("cannot connect", unsent=True)

    async def scenario() -> None:
        host.add(numbers)
        exporter.answer = down
        async with host.running(pump):
            async with host.clock.autojump():
                while len(exporter.attempts) < 3:
                    await host.clock.sleep(1)
            pump.order_by_value(True)
            pump.urgent(True)
            exporter.answer = healthy
            assert await host.drained(pump)
        assert exporter.lines() == sorted(exporter.lines())
        assert len(exporter.lines()) == 60_000

    asyncio.run(scenario())
    host.close()


def test_one_request_of_samples_at_a_time(tmp_path: Path) -> None:
    """Newer samples wait until the older ones are answered, whatever happens to those; logs do not wait for them."""
    host = Host(tmp_path)
    exporter = ScriptedExporter()
    pump = host.pump(exporter)
    stuck = asyncio.Event()

    async def slow_for_samples(prepared: Prepared, deadline: Deadline) -> Accepted:
        if prepared.signal is Signal.METRICS and len(exporter.attempts) < 8:
            await stuck.wait()
            raise Retryable("cannot connect", unsent=True)
        return Accepted()

    async def scenario() -> None:
        numbers, logs = host.add(_numbers(b"1\n")), host.add(_log())
        host.add(MemoryStream("life", b"", signal=Signal.METRICS, kind=StreamKind.LIFE))
        exporter.answer = slow_for_samples
        async with host.running(pump), host.clock.autojump():
            for number in range(2, 9):
                host.write(numbers, b"%d\n" % number)
                host.write(logs, b"line %d\n" % number)
                await host.clock.sleep(15)
            host.write(host.streams["life"], b"9\n")
            assert exporter.lines() == [b"a", b"b", *(b"line %d" % number for number in range(2, 9))]
            stuck.set()
            while pump.backlog() or b"9" not in exporter.lines():
                await host.clock.sleep(1)
        samples = [line for line in exporter.lines() if line.isdigit()]
        assert samples == [b"%d" % number for number in range(1, 10)]

    asyncio.run(scenario())
    host.close()


def test_requests_of_samples_left_by_an_earlier_run(tmp_path: Path) -> None:
    """Open requests of samples are sent again one after the other, before new ones."""
    host = Host(tmp_path)
    exporter = ScriptedExporter()

    async def refuse(prepared: Prepared, deadline: Deadline) -> Accepted:
        if len(lines_of(prepared)) > 1:
            raise TooLarge("too large")
        raise Retryable("cannot connect")

    async def first() -> None:
        exporter.answer = refuse
        host.add(_numbers(b"1\n2\n"))
        async with host.running(host.pump(exporter)), host.clock.autojump():
            while len(exporter.attempts) < 2:
                await host.clock.sleep(1)

    async def second() -> None:
        host.new_run()
        exporter.answer = healthy
        pump = host.pump(exporter)
        numbers = host.add(_numbers(b"1\n2\n"))
        async with host.running(pump):
            host.write(numbers, b"3\n")
            assert await host.drained(pump)
        assert exporter.lines() == [b"1", b"2", b"3"]
        assert exporter.most_at_once == 1

    asyncio.run(first())
    asyncio.run(second())
    host.close()
