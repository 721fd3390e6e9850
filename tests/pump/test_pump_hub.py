"""The hub between sources and several destinations: what is let go, retired, and who gets the account."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared, StreamKind
from shipper.errors import Retryable
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, lines_of


async def down(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Nobody there."""
    raise Retryable("sink: cannot connect")


def test_only_what_all_have_is_let_go(tmp_path: Path) -> None:
    """A slow destination holds bytes, but no other destination."""

    async def story() -> None:
        host = Host(tmp_path)
        fast, slow = ScriptedExporter("fast"), ScriptedExporter("slow")
        slow.answer = down
        pumps = [host.pump(fast), host.pump(slow)]
        stream = host.add(MemoryStream("a", b"one\ntwo\n"))
        async with host.running(*pumps):
            assert await host.drained(pumps[0])
            assert fast.lines() == [b"one", b"two"]
            assert stream.released_to == 0

            async def up(prepared: Prepared, deadline: Deadline) -> Accepted:
                return Accepted()

            slow.answer = up
            assert await host.drained(pumps[1])
            assert stream.released_to == 8
        host.close()

    asyncio.run(story())


def test_a_finished_stream_is_retired_when_all_are_done(tmp_path: Path) -> None:
    """After the last acknowledgement a finished stream leaves hub and ledger; before, it stays."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        stream = host.add(MemoryStream("a", b"one\n"))
        host.add(MemoryStream("b", b"two\n"))
        async with host.running(pump):
            assert await host.drained(pump)
            assert {s.id for s in host.hub.streams()} == {"a", "b"}
            host.write(stream, b"three\n")
            stream.ended = True
            host.hub.finished(stream)
            assert await host.drained(pump)
            await host.clock.settle()
            assert {s.id for s in host.hub.streams()} == {"b"}
            assert [row.id for row in host.ledger.ledger.streams()] == ["b"]
            assert exporter.lines() == [b"one", b"two", b"three"]
            assert host.metrics.registry.get_sample_value("shipper_streams") == 1
            account = {a.stream.id: a for a in host.ledger.ledger.account(["dest"])}
            assert account["a"].stream.finished
            assert account["a"].destinations["dest"].counts.acknowledged == 2
        host.close()

    asyncio.run(story())


def test_a_finished_stream_is_retired_also_when_it_was_done_before(tmp_path: Path) -> None:
    """A stream that ends after everything was acknowledged is retired at once, an empty one too."""

    async def story() -> None:
        host = Host(tmp_path)
        pump = host.pump(ScriptedExporter())
        stream, empty = host.add(MemoryStream("a", b"one\n")), host.add(MemoryStream("empty"))
        async with host.running(pump):
            assert await host.drained(pump)
            host.hub.finished(stream)
            host.hub.finished(empty)
            await host.clock.settle()
            assert host.ledger.ledger.streams() == []
            assert pump.idle()
        host.close()

    asyncio.run(story())


def test_a_stream_announced_again_is_read_through_the_new_object(tmp_path: Path) -> None:
    """A source may replace a stream's object; nothing is sent twice."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"one\n"))
        async with host.running(pump):
            assert await host.drained(pump)
            again = MemoryStream("a", b"one\ntwo\n")
            again.released_to = 4
            host.hub.add(again)
            assert await host.drained(pump)
            assert exporter.lines() == [b"one", b"two"]
            assert again.released_to == 8
        host.close()

    asyncio.run(story())


def test_the_account_goes_only_to_those_who_keep_it(tmp_path: Path) -> None:
    """Account streams wait until a destination is known to keep accounts, go there, and hold up nobody elsewhere."""

    async def story() -> None:
        host = Host(tmp_path)
        keeper, other = ScriptedExporter("keeper"), ScriptedExporter("other")
        keeper.accounts_known = False
        pumps = [host.pump(keeper), host.pump(other)]
        account = host.add(MemoryStream("account", b"statement 1\n", kind=StreamKind.ACCOUNT))
        host.add(MemoryStream("life", b"birth\n", kind=StreamKind.LIFE))
        async with host.running(*pumps):
            await host.clock.run(1)
            assert keeper.lines() == other.lines() == [b"birth"]
            assert all(pump.idle() for pump in pumps)
            assert not pumps[0].idle(include_account=True)
            assert pumps[1].idle(include_account=True)
            assert pumps[0].backlog() == {}
            assert account.released_to == 0
            keeper.accounts_known = keeper.keeps_accounts = True
            host.write(account, b"statement 2\n")
            await host.clock.run(1)
            assert keeper.lines() == [b"birth", b"statement 1", b"statement 2"]
            assert other.lines() == [b"birth"]
            assert account.released_to == account.frontier()
            assert pumps[0].exposure().count == 0
        host.close()

    asyncio.run(story())


def test_an_account_nobody_keeps_is_let_go(tmp_path: Path) -> None:
    """When no destination keeps accounts, the statements take no space."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.accounts_known = False
        pump = host.pump(exporter)
        account = host.add(MemoryStream("account", b"statement 1\n", kind=StreamKind.ACCOUNT))
        async with host.running(pump):
            await host.clock.run(1)
            exporter.accounts_known = True
            host.write(account, b"statement 2\n")
            await host.clock.run(1)
            assert exporter.attempts == []
            assert account.released_to == account.frontier()
        host.close()

    asyncio.run(story())


def test_the_farewell_does_not_wait_behind_a_backlog(tmp_path: Path) -> None:
    """In a drain a record of the life goes in the very next request, alone."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=10_000, max_in_flight=2)

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            await host.clock.sleep(0.1)
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        life = host.add(MemoryStream("life", kind=StreamKind.LIFE))
        host.add(MemoryStream("a", (b"z" * 99 + b"\n") * 100_000))
        async with host.running(pump):
            await host.clock.run(1)
            pump.deadline = Deadline.after(host.clock, 2)
            pump.urgent(True)
            before = len(exporter.attempts)
            host.write(life, b"farewell\n")
            await host.clock.run(0.3)
            at = [lines_of(prepared) for prepared in exporter.attempts].index([b"farewell"])
            assert at <= before + 1
        host.close()

    asyncio.run(story())


def test_after_the_end_only_what_tells_of_the_life_is_sent(tmp_path: Path) -> None:
    """Data on its way is broken off when its time is up, no other follows, the farewell has the way to itself and is waited
    for; in the books everything but that is open."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=10_000, max_in_flight=2)

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            await host.clock.sleep(0.1 if lines_of(prepared) == [b"farewell"] else 3600)
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        life = host.add(MemoryStream("life", kind=StreamKind.LIFE))
        host.add(MemoryStream("a", (b"z" * 99 + b"\n") * 1000))
        async with host.running(pump):
            await host.clock.run(1)
            pump.deadline = Deadline.after(host.clock, 2)
            pump.urgent(True)
            async with host.clock.autojump():
                await pump.finish(Deadline.after(host.clock, 0.5))
            assert exporter.at_once == 0
            before = len(exporter.attempts)
            host.write(life, b"farewell\n")
            assert not pump.idle()
            assert await host.drained(pump, 1, include_account=True)
            assert [lines_of(prepared) for prepared in exporter.attempts[before:]] == [[b"farewell"]]
            assert exporter.lines() == [b"farewell"]
            assert pump.backlog_bytes() == 100_000
            host.write(host.streams["a"], b"more\n")
            await host.clock.run(1)
            assert len(exporter.attempts) == before + 1
        host.close()

    asyncio.run(story())


def test_requests_are_small_where_time_is_short(tmp_path: Path) -> None:
    """In a drain the requests on their way take an eighth of what is left at most, by the rate that was measured."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            await host.clock.sleep(prepared.wire_bytes / 100_000)
            return Accepted()

        exporter.answer = answer
        exporter.limits = Limits(max_raw_bytes=4 << 20)
        pump = host.pump(exporter)
        pump.deadline = Deadline.after(host.clock, 6.4)
        pump.urgent(True)
        host.add(MemoryStream("a", (b"z" * 99 + b"\n") * 300_000))
        async with host.running(pump):
            while exporter.at_once < 4:  # made ready in threads, for which no clock waits
                await host.clock.settle()
            await host.clock.run(5)
            while len(exporter.attempts) < 5:
                await host.clock.settle()
            sizes = [sum(len(got.payload) for got in prepared.body) for prepared in exporter.attempts]
            assert 1_800_000 < sizes[0] <= 2_000_000  # 10 MB/s are assumed
            assert sizes[-1] <= 256 << 10  # of four at 400 kB/s each, less would be all overhead
        host.close()

    asyncio.run(story())
