"""A primary that is back while its fallback works for a drain: it gets the rest itself, and nothing twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import Retryable
from shipper.pump import Share
from tests.pump.answers import numbered
from tests.pump.pumpkit import ForgetfulStream, Host, ScriptedExporter, ValuedStream, healthy


async def down(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take nothing."""
    raise Retryable("connection refused")


class Draining:
    """A primary that is down, and a fallback that works for a drain beside it."""

    def __init__(self, directory: Path, stream: ForgetfulStream) -> None:
        self.host = Host(directory)
        self.first, self.rescue = ScriptedExporter("first"), ScriptedExporter("rescue")
        self.first.limits = self.rescue.limits = Limits(max_raw_bytes=400, max_in_flight=1)
        self.first.answer = down
        self.primary = self.host.pump(self.first, batch_bytes=200)
        self.fallback = self.host.pump(self.rescue, standby=True, batch_bytes=200)
        self.stream = self.host.add(stream)

    async def begin(self) -> None:
        """The primary was tried in vain; then the fallback takes what that is not sending."""
        await self.host.clock.run(10)
        for pump in (self.primary, self.fallback):
            pump.deadline = Deadline.after(self.host.clock, 100)
            pump.urgent(True)
        self.fallback.activate(Share([self.primary]))
        assert await self.host.drained(self.fallback)
        assert self.primary.idle()
        assert self.primary.backlog_bytes() == 0
        assert sum(self.primary.backlog().values()) == self.stream.frontier()


def test_it_gets_what_the_fallback_has_once(tmp_path: Path) -> None:
    """Whether it had been cut, was waiting, or was never looked at."""

    async def main(stream: ForgetfulStream, directory: Path) -> None:
        drain = Draining(directory, stream)
        async with drain.host.running(drain.primary, drain.fallback):
            await drain.begin()
            drain.first.answer = healthy
            await drain.host.clock.run(20)
            assert drain.primary.backlog(), "what the fallback has it need not send"
            drain.primary.repay(True)
            await drain.host.clock.run(5)
            assert drain.primary.backlog() == {}
        assert sorted(drain.first.lines()) == sorted(bytes(stream.data).splitlines())
        assert stream.released_to == stream.frontier()
        drain.host.close()

    for number, kind in enumerate((ValuedStream, ForgetfulStream)):
        directory = tmp_path / str(number)
        directory.mkdir()
        asyncio.run(main(kind("one", numbered(300)), directory))


def test_what_nobody_has_goes_first(tmp_path: Path) -> None:
    """A line that comes meanwhile does not wait behind what is safe."""

    async def main() -> None:
        drain = Draining(tmp_path, ValuedStream("one", numbered(300)))
        async with drain.host.running(drain.primary, drain.fallback):
            await drain.begin()
            drain.rescue.answer = down
            drain.first.answer = healthy
            await drain.host.clock.run(20)
            drain.first.got.clear()
            drain.host.write(drain.stream, b"new 1\nnew 2\n")
            drain.primary.repay(True)
            await drain.host.clock.run(5)
            assert drain.first.lines()[:2] == [b"new 1", b"new 2"]
            assert drain.primary.backlog() == {}
        drain.host.close()

    asyncio.run(main())


def test_it_is_left_to_the_fallback_again(tmp_path: Path) -> None:
    """Where the time gets short, or the drain is taken back and begins anew."""

    async def main() -> None:
        drain = Draining(tmp_path, ValuedStream("one", numbered(300)))
        async with drain.host.running(drain.primary, drain.fallback):
            await drain.begin()
            drain.primary.repay(True)
            drain.primary.repay(False)
            drain.first.answer = healthy
            await drain.host.clock.run(20)
            assert drain.primary.backlog()
            drain.fallback.stand_by()
            assert await drain.host.drained(drain.primary)
        assert len(drain.first.lines()) == len(set(drain.first.lines())) == 300
        drain.host.close()

    asyncio.run(main())
