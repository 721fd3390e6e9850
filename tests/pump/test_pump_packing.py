"""Requests of an exporter that prepares bit by bit: nobody keeps their bytes, and its mistakes lose nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shipper.contracts import Batch, Limits, Packing, Prepared, Request, Signal
from shipper.errors import Retryable
from tests.pump.answers import Failing, numbered
from tests.pump.pumpkit import Got, Host, MemoryStream, ScriptedExporter

LINES = numbered(30_000)
MOST = 150_000  # so that a request is of several batches, some of which are packed in a thread


class Together(Packing):
    """What `Packer` is filling."""

    def __init__(self, packer: Packer, signal: Signal) -> None:
        self._packer = packer
        self._signal = signal
        self._got: list[tuple[str, bytes]] = []

    def add(self, batch: Batch) -> None:
        if self._packer.fails:
            self._packer.fails -= 1
            raise RuntimeError("a bug in packing")
        self._packer.packed += 1
        self._got.append((batch.key, batch.payload))

    def prepared(self, request_id: str) -> Prepared:
        body = [Got(request_id, key, payload) for key, payload in self._got]
        return Prepared(request_id, self._signal, body, 100)


class Packer(ScriptedExporter):
    """Prepares bit by bit. ``fails``: how many batches it stumbles over first."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(max_raw_bytes=MOST, max_in_flight=2)
        self.fails = 0
        self.packed = 0

    def packing(self, signal: Signal) -> Packing:
        return Together(self, signal)

    def prepare(self, request: Request) -> Prepared:
        raise AssertionError("it is packed")


async def _shipped(host: Host, exporter: Packer, **options: Any) -> None:
    pump = host.pump(exporter, batch_bytes=70_000, **options)
    async with host.running(pump):
        assert await host.drained(pump)


def test_what_is_packed_arrives_like_everything_else(tmp_path: Path) -> None:
    """Every line, once, in requests of several batches."""

    async def story() -> None:
        host, exporter = Host(tmp_path), Packer()
        host.add(MemoryStream("a", LINES))
        await _shipped(host, exporter)
        assert sorted(exporter.lines()) == sorted(LINES.splitlines())  # threads may end in any order
        assert exporter.packed > len(exporter.attempts)
        host.close()

    asyncio.run(story())


def test_what_was_packed_is_packed_again_after_an_outage(tmp_path: Path) -> None:
    """Nothing is kept between attempts that are far apart, and the same ranges go under the same id."""

    async def story() -> None:
        host, exporter = Host(tmp_path), Packer()
        exporter.answer = Failing(*(Retryable("sink: HTTP 503") for _ in range(60)))
        host.add(MemoryStream("a", LINES))
        await _shipped(host, exporter)
        assert sorted(exporter.lines()) == sorted(LINES.splitlines())
        first = {prepared.request_id: [got.key for got in prepared.body] for prepared in reversed(exporter.attempts)}
        assert all([got.key for got in prepared.body] == first[prepared.request_id] for prepared in exporter.attempts)
        host.close()

    asyncio.run(story())


@pytest.mark.parametrize("fails", [1, 7])
def test_a_bug_in_packing_loses_nothing(tmp_path: Path, fails: int, caplog: pytest.LogCaptureFixture) -> None:
    """What it stumbled over is read and packed again; a bug that is still there is said."""

    async def story() -> None:
        host, exporter = Host(tmp_path), Packer()
        exporter.fails = fails
        host.add(MemoryStream("a", LINES))
        await _shipped(host, exporter)
        assert sorted(exporter.lines()) == sorted(LINES.splitlines())
        host.close()

    asyncio.run(story())
    assert ("a bug in packing" in caplog.text) == (fails > 1)


def test_what_has_no_records_is_not_packed(tmp_path: Path) -> None:
    """Ranges of which nothing is left to send are settled without a request."""

    async def story() -> None:
        host, exporter = Host(tmp_path), Packer()
        host.add(MemoryStream("a", b"# a comment\n" * 10))
        await _shipped(host, exporter)
        assert not exporter.attempts
        host.close()

    asyncio.run(story())
