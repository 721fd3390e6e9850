"""What was cut before value decided, and only waits, gives way to what is worth more; nothing is lost or sent as what it is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared, Signal
from shipper.errors import Retryable
from shipper.pump import Pump
from tests.pump.pumpkit import Host, ScriptedExporter, ValuedStream, lines_of
from tests.pump.test_pump_value import lines

LIMITS = Limits(max_raw_bytes=40_000, max_in_flight=2, max_batches=4)  # small enough that no thread prepares a request
OUTAGE = 20.0


class Outage:
    """Refuses everything until it is over, with the certainty or the doubt that it was told to leave."""

    def __init__(self, host: Host, *, unsent: bool) -> None:
        self.host = host
        self.over = False
        self.unsent = unsent
        self.refused: list[tuple[float, Prepared]] = []

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if not self.over:
            self.refused.append((self.host.clock.monotonic(), prepared))
            raise Retryable("the connection broke", unsent=self.unsent)
        await self.host.clock.sleep(0.1)
        return Accepted()


def pump_in_an_outage(tmp_path: Path, *, unsent: bool) -> tuple[Host, ScriptedExporter, Outage, Pump, ValuedStream]:
    """A stream with an error in what is cut first, and another one far behind that."""
    host = Host(tmp_path)
    exporter = ScriptedExporter()
    exporter.limits = LIMITS
    outage = exporter.answer = Outage(host, unsent=unsent)
    pump = host.pump(exporter, batch_bytes=10_000)
    data = bytearray(lines(0, 20_000, bad=100))
    data[1_500_000:1_500_004] = b"bad "
    stream = ValuedStream("one", bytes(data))
    host.add(stream)
    return host, exporter, outage, pump, stream


def errors_in(prepared: Prepared) -> int:
    """How many lines of a request tell of errors."""
    return sum(line.startswith(b"bad") for line in lines_of(prepared))


def test_errors_go_before_what_was_cut_before(tmp_path: Path) -> None:
    """What the destination has nothing of is divided: the errors in it go as soon as those that were never cut."""

    async def main() -> None:
        host, exporter, outage, pump, stream = pump_in_an_outage(tmp_path, unsent=True)
        async with host.running(pump):
            await host.clock.run(OUTAGE)
            assert min(len(lines_of(prepared)) for _, prepared in outage.refused) > 300
            tried = len(exporter.attempts)
            outage.over = True
            pump.urgent(True)
            pump.order_by_value(True)
            assert await host.drained(pump)
        first = exporter.attempts[tried : tried + 4]
        assert sum(map(errors_in, first)) == 2
        assert max(len(lines_of(prepared)) for prepared in first if errors_in(prepared)) <= 100
        assert sorted(exporter.lines()) == sorted(bytes(stream.data).splitlines())
        host.close()

    asyncio.run(main())


def test_what_may_have_arrived_is_sent_again_unchanged(tmp_path: Path) -> None:
    """It gives way, but goes under its own id with the same bytes; the one with errors in it before the one without."""

    async def main() -> None:
        host, exporter, outage, pump, stream = pump_in_an_outage(tmp_path, unsent=False)
        async with host.running(pump):
            await host.clock.run(OUTAGE)
            before = {prepared.request_id: lines_of(prepared) for _, prepared in outage.refused}
            tried = len(exporter.attempts)
            outage.over = True
            pump.urgent(True)
            pump.order_by_value(True)
            assert await host.drained(pump)
        after = exporter.attempts[tried:]
        assert after[0].request_id not in before
        assert errors_in(after[0]) == 1
        again = [prepared for prepared in after if prepared.request_id in before]
        assert {prepared.request_id: lines_of(prepared) for prepared in again} == before
        assert [errors_in(prepared) for prepared in again] == [1, 0]
        assert sorted(exporter.lines()) == sorted(bytes(stream.data).splitlines())
        host.close()

    asyncio.run(main())


def test_who_takes_a_place_takes_its_patience_over(tmp_path: Path) -> None:
    """The order by value alone causes no attempt: hosts that failed together do not all try again when all are told to drain."""

    async def main() -> None:
        host, exporter, _, pump, _ = pump_in_an_outage(tmp_path, unsent=True)
        async with host.running(pump):
            await host.clock.run(OUTAGE)
            tried = len(exporter.attempts)
            pump.order_by_value(True)
            await host.clock.settle()
            assert len(exporter.attempts) == tried
            pump.urgent(True)
            await host.clock.settle()
            assert len(exporter.attempts) == tried + LIMITS.max_in_flight
        host.close()

    asyncio.run(main())


def test_what_is_on_the_wire_is_not_called_back(tmp_path: Path) -> None:
    """It keeps its place until it is answered; when that fails, it gives way."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=40_000, max_in_flight=1, max_batches=4)
        broken = asyncio.Event()

        async def hang(prepared: Prepared, deadline: Deadline) -> Accepted:
            if len(exporter.attempts) == 1:
                await broken.wait()
                raise Retryable("the connection broke")
            return Accepted()

        exporter.answer = hang
        pump = host.pump(exporter, batch_bytes=10_000)
        stream = host.add(ValuedStream("one", lines(0, 20_000, bad=15_000)))
        async with host.running(pump):
            await host.clock.settle()
            pump.urgent(True)
            pump.order_by_value(True)
            await host.clock.run(1)
            assert len(exporter.attempts) == 1
            broken.set()
            assert await host.drained(pump)
        assert exporter.most_at_once == 1
        assert errors_in(exporter.attempts[1]) == 1
        assert exporter.attempts[0].request_id in {prepared.request_id for prepared in exporter.attempts[2:]}
        assert sorted(exporter.lines()) == sorted(bytes(stream.data).splitlines())
        host.close()

    asyncio.run(main())


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_where_nothing_is_worth_more_it_goes_at_once(tmp_path: Path, share: float) -> None:
    """A backlog without errors, also one that was cut as a whole, is sent as fast as without an order."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = LIMITS
        outage = exporter.answer = Outage(host, unsent=True)
        pump = host.pump(exporter, batch_bytes=10_000)
        stream = host.add(ValuedStream("one", lines(0, int(800 / share))))
        async with host.running(pump):
            await host.clock.run(OUTAGE)
            outage.over = True
            pump.urgent(True)
            pump.order_by_value(True)
            assert await host.drained(pump, 0.1 * len(stream.data) / 80_000 + 1)
        assert sorted(exporter.lines()) == sorted(bytes(stream.data).splitlines())
        host.close()

    asyncio.run(main())


def test_an_earlier_run_s_requests_are_ordered_by_value_too(tmp_path: Path) -> None:
    """In a drain of the next run they go unchanged, after errors that were never cut."""

    async def main() -> None:
        host, _, outage, pump, stream = pump_in_an_outage(tmp_path, unsent=True)
        async with host.running(pump):
            await host.clock.run(OUTAGE)
        before = {prepared.request_id: lines_of(prepared) for _, prepared in outage.refused}
        host.new_run()
        later = ScriptedExporter()
        later.limits = LIMITS
        pump = host.pump(later, batch_bytes=10_000)
        host.hub.add(stream)
        pump.urgent(True)
        pump.order_by_value(True)
        async with host.running(pump):
            assert await host.drained(pump)
        assert errors_in(later.attempts[0]) == 1
        assert later.attempts[0].request_id not in before
        again = {one.request_id: lines_of(one) for one in later.attempts if one.request_id in before}
        assert again == before
        assert sorted(later.lines()) == sorted(bytes(stream.data).splitlines())
        host.close()

    asyncio.run(main())


def test_samples_are_never_overtaken(tmp_path: Path) -> None:
    """Who keeps samples refuses what comes late, so a waiting request of them keeps its place."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=40_000, max_in_flight=1, max_batches=4)
        outage = exporter.answer = Outage(host, unsent=True)
        pump = host.pump(exporter, batch_bytes=10_000)
        stream = ValuedStream("samples", lines(0, 20_000, bad=15_000))
        stream.signal = Signal.METRICS
        host.add(stream)
        async with host.running(pump):
            await host.clock.run(OUTAGE)
            outage.over = True
            pump.urgent(True)
            pump.order_by_value(True)
            assert await host.drained(pump)
        assert exporter.lines() == bytes(stream.data).splitlines()
        host.close()

    asyncio.run(main())
