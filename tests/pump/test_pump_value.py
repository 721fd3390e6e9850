"""When time is short: what goes first, how fast a destination is found to be, and when it counts as failing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared, StreamKind
from shipper.errors import Rejected, Retryable, Unusable
from shipper.pump.value import BLOCK
from tests.pump.pumpkit import Host, ScriptedExporter, ValuedStream, lines_of

LINE = b"line %06d " + b"." * 87 + b"\n"  # 100 bytes
SMALL = Limits(max_raw_bytes=50_000, max_in_flight=1, max_batches=4)


def lines(first: int, count: int, bad: int = -1) -> bytes:
    """Numbered lines, one of them perhaps bad."""
    made = [LINE % number for number in range(first, first + count)]
    if bad >= 0:
        made[bad - first] = made[bad - first].replace(b"line", b"bad ")
    return b"".join(made)


def at(prepared: Prepared) -> list[tuple[str, int]]:
    """Stream and first position of each batch of a request."""
    keys = [got.key.split("/")[1:] for got in prepared.body]
    return [(stream, int(span.split("-")[0])) for stream, span in keys]


def test_errors_go_first_then_the_last_words_then_the_rest(tmp_path: Path) -> None:
    """Birth and farewell, then ranges with errors of every stream, then each stream's newest 64 KiB, then from the oldest on."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = SMALL
        pump = host.pump(exporter)
        one = host.add(ValuedStream("one", lines(0, 5000, bad=2500)))
        two = host.add(ValuedStream("two", lines(0, 4000, bad=100)))
        host.add(ValuedStream("life", b"born\n", kind=StreamKind.LIFE))
        pump.urgent(True)
        pump.order_by_value(True)
        async with host.running(pump):
            assert await host.drained(pump, include_account=True)
        places = [place for prepared in exporter.attempts for place in at(prepared)]
        assert places[0] == ("life", 0)
        assert set(places[1:3]) == {("one", 250_000), ("two", 10_000)}
        newest = {("one", (one.frontier() - BLOCK) // 100 * 100), ("two", (two.frontier() - BLOCK) // 100 * 100)}
        assert newest <= set(places[3:7])
        assert sorted(exporter.lines()) == sorted([*bytes(one.data + two.data).splitlines(), b"born"])
        oldest = [place[1] for place in places[7:] if place[0] == "one"]
        assert oldest == sorted(oldest)
        host.close()

    asyncio.run(main())


def test_the_order_may_be_changed_at_any_time(tmp_path: Path) -> None:
    """Switched off in the middle, what is left goes from the oldest on, around what went first; nothing twice."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = SMALL

        async def switch(prepared: Prepared, deadline: Deadline) -> Accepted:
            await host.clock.sleep(1)
            pump.order_by_value(len(exporter.attempts) % 4 < 2)
            return Accepted()

        exporter.answer = switch
        pump = host.pump(exporter)
        stream = host.add(ValuedStream("one", lines(0, 8000, bad=4000)))
        pump.urgent(True)
        pump.order_by_value(True)
        async with host.running(pump):
            assert await host.drained(pump)
        assert sorted(exporter.lines()) == sorted(bytes(stream.data).splitlines())
        assert host.ledger.ledger.cursor("dest", "one").done.pairs() == [(0, stream.frontier())]
        host.close()

    asyncio.run(main())


def test_an_unfinished_last_line_does_not_hold_up_what_is_older(tmp_path: Path) -> None:
    """The newest range ends where the last event ends; its rest goes when it is due."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        stream = host.add(ValuedStream("one", lines(0, 3000) + b"half a line"))
        pump.urgent(True)
        pump.order_by_value(True)
        async with host.running(pump):
            await host.clock.run(5)
            assert sorted(exporter.lines()) == lines(0, 3000).splitlines()
            assert pump.backlog_bytes() == len(b"half a line")
            host.write(stream, b", and the rest\n")
            await host.clock.run(1)
            assert exporter.lines()[-1] == b"half a line, and the rest"
        host.close()

    asyncio.run(main())


def test_the_account_of_a_drain_cut_short_names_the_gaps(tmp_path: Path) -> None:
    """What was read, what is on its way and what was passed over are told apart, also by the run after."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = SMALL

        async def three(prepared: Prepared, deadline: Deadline) -> Accepted:
            if len(exporter.got) >= 3:
                await asyncio.Event().wait()
            return Accepted()

        exporter.answer = three
        pump = host.pump(exporter)
        stream = host.add(ValuedStream("one", lines(0, 9000, bad=4000)))
        pump.urgent(True)
        pump.order_by_value(True)
        async with host.running(pump):
            await host.clock.run(2)
        host.ledger.ledger.seen("one", stream.frontier())
        (account,) = host.ledger.ledger.account(["dest"])
        figures = account.destinations["dest"]
        size = stream.frontier()
        assert figures.read_to == size
        assert len(figures.skipped) >= 1
        gone = sum(end - start for start, end in figures.acknowledged)
        flying = sum(cut.end - cut.start for _, cut in host.ledger.ledger.open_requests("dest")[0].cuts)
        assert gone + flying + figures.unread == size
        assert figures.counts.read == figures.counts.acknowledged + figures.pending == (gone + flying) // 100
        sent = [got.payload for got in exporter.got]
        assert b"bad " in b"".join(sent)
        host.new_run()
        later = ScriptedExporter()
        pump = host.pump(later)
        host.hub.add(stream)
        async with host.running(pump):
            assert await host.drained(pump)
        assert later.attempts[0].request_id == exporter.attempts[-1].request_id
        assert lines_of(later.attempts[0]) == lines_of(exporter.attempts[-1])
        assert sorted([*exporter.lines(), *later.lines()]) == sorted(bytes(stream.data).splitlines())
        host.close()

    asyncio.run(main())


def test_the_rate_is_that_of_a_backlog(tmp_path: Path) -> None:
    """Small requests say nothing; what a backlog takes is measured within a tenth, and falls while nothing is answered."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=50_000, max_in_flight=4)
        line = asyncio.Lock()
        stuck = asyncio.Event()

        async def paced(prepared: Prepared, deadline: Deadline) -> Accepted:
            async with line:
                if stuck.is_set():
                    await asyncio.Event().wait()
                await host.clock.sleep(sum(len(got.payload) for got in prepared.body) / 1_000_000)
            return Accepted()

        exporter.answer = paced
        pump = host.pump(exporter)
        stream = host.add(ValuedStream("one"))
        async with host.running(pump):
            host.write(stream, lines(0, 10))
            await host.clock.run(3)
            assert pump.rate() == 0.0
            host.write(stream, lines(10, 50_000))
            await host.clock.run(2)
            assert pump.rate() == pytest.approx(1_000_000, rel=0.1)
            stuck.set()
            await host.clock.run(20)
            assert 0 < pump.rate() < 300_000
        host.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "fails"),
    [(Retryable("HTTP 503"), True), (Unusable("HTTP 401"), True), (Rejected("HTTP 400"), False), (None, False)],
)
def test_a_destination_fails_that_takes_no_decision(tmp_path: Path, error: Exception | None, fails: bool) -> None:
    """Refusing one request is an answer; failures in a row and a wrong set-up are failing, until there is an answer."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        answer: list[Exception | None] = [error]

        async def answers(prepared: Prepared, deadline: Deadline) -> Accepted:
            if answer[0] is not None:
                raise answer[0]
            return Accepted()

        exporter.answer = answers
        pump = host.pump(exporter)
        stream = host.add(ValuedStream("one"))
        async with host.running(pump):
            host.write(stream, lines(0, 10))
            assert not pump.failing()
            await host.clock.run(10)
            assert pump.failing() is fails
            answer[0] = None
            await host.clock.run(60)
            assert not pump.failing()
        host.close()

    asyncio.run(main())


def test_one_that_never_answers_fails_too(tmp_path: Path) -> None:
    """Some seconds after the request; while it only has nothing to do it does not."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def hung(prepared: Prepared, deadline: Deadline) -> Accepted:
            await asyncio.Event().wait()
            return Accepted()

        exporter.answer = hung
        pump = host.pump(exporter)
        stream = host.add(ValuedStream("one"))
        async with host.running(pump):
            await host.clock.run(100)
            assert not pump.failing()
            host.write(stream, lines(0, 10))
            await host.clock.run(2)
            assert not pump.failing()
            await host.clock.run(5)
            assert pump.failing()
        host.close()

    asyncio.run(main())
