"""Standard output with readers that are slow, stop, or go away: no line is torn, nothing is lost, nobody is held up."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Request, Signal
from shipper.errors import ConfigError, Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE, log_batch, log_payload, log_request
from shipper_exporters._otlp.jsonlines import json_lines
from shipper_exporters.stdout import StdoutExporter, StdoutSettings
from tests.e2e.kit import until
from tests.exporters.loki_kit import payload, request_of
from tests.exporters.otlp_lines import lines_of


def writing_to(descriptor: int, clock: FakeClock | None = None, **settings: object) -> StdoutExporter:
    class Elsewhere(StdoutExporter):
        pass

    Elsewhere.descriptor = descriptor
    context = ExporterContext(clock or FakeClock(), LIFE, 1, "test")
    return Elsewhere("out", StdoutSettings(**settings), context)  # type: ignore[arg-type]


def lines(*texts: str) -> Request:
    return log_request(log_batch(texts))


async def send(exporter: StdoutExporter, request: Request) -> Accepted:
    return await exporter.send(exporter.prepare(request), Deadline(exporter._context.clock))


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        for descriptor in (read, write):
            with suppress(OSError):
                os.close(descriptor)


def read_all(read: int, into: bytearray) -> None:
    while data := os.read(read, 1 << 16):
        into += data


def said(data: bytes) -> list[str]:
    return [text for line in data.splitlines() for text in lines_of(Signal.LOGS, line)]


def test_more_than_a_pipe_holds() -> None:
    """A request far larger than the pipe arrives whole, while the reader reads and the event loop goes on."""
    texts = [f"{n} {'x' * 1000}" for n in range(2000)]
    with pipe() as (read, write):
        got = bytearray()
        reader = threading.Thread(target=read_all, args=(read, got))

        async def run() -> int:
            turns = 0
            sending = asyncio.create_task(send(writing_to(write), lines(*texts)))
            while not sending.done():
                await asyncio.sleep(0)
                turns += 1
                if turns == 5:
                    reader.start()
            assert sending.result() == Accepted()
            return turns

        assert asyncio.run(run()) > 10
        os.close(write)
        reader.join()
        assert said(bytes(got)) == texts
        assert max(map(len, got.splitlines())) < 17 << 10


@pytest.mark.parametrize("next_one", ["the same", "another"])
def test_a_line_that_broke_off_is_ended(next_one: str) -> None:
    """After a deadline in the middle of a line the same request goes on there, and another ends that line first."""
    big, small = lines("big " + "x" * 200_000), lines("small")
    with pipe() as (read, write):
        got = bytearray()

        async def run() -> None:
            clock = FakeClock()
            exporter = writing_to(write, clock)
            sending = asyncio.create_task(exporter.send(exporter.prepare(big), Deadline.after(clock, 5)))
            await until(lambda: exporter._broken_off is not None and exporter._broken_off[2] >= 1 << 16, "it is full")
            await clock.settle()
            await clock.run(6)
            with pytest.raises(Retryable, match="reads nothing"):
                await sending
            reader = threading.Thread(target=read_all, args=(read, got))
            reader.start()
            await send(exporter, big if next_one == "the same" else small)
            await send(exporter, small)
            os.close(write)
            await asyncio.to_thread(reader.join)

        asyncio.run(run())
        whole = ["big " + "x" * 200_000]
        assert said(bytes(got)) == [*whole, *(["small"] if next_one == "the same" else ["small", "small"])]


def test_nobody_reads_any_more() -> None:
    """A reader that is gone is for a person to mend; nothing is given up."""
    with pipe() as (read, write):
        os.close(read)
        with pytest.raises(Unusable, match="nobody reads it any more"):
            asyncio.run(send(writing_to(write), lines("x")))


def test_the_reader_goes_while_it_is_waited_for() -> None:
    """A reader that goes away while the pipe is full is noticed at once."""
    with pipe() as (read, write):

        async def run() -> None:
            exporter = writing_to(write)
            sending = asyncio.create_task(send(exporter, lines("x" * 200_000)))
            await until(lambda: exporter._broken_off is not None and exporter._broken_off[2] >= 1 << 16, "it is full")
            os.close(read)
            with pytest.raises(Unusable, match="nobody reads"):
                await sending

        asyncio.run(run())


def test_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a standard output there is nothing to write to, and no file that got its number is written instead."""
    with pytest.raises(Unusable, match="it is closed"):
        asyncio.run(send(writing_to(9999), lines("x")))
    monkeypatch.setattr(sys, "__stdout__", None)
    with pipe() as (_, write), pytest.raises(Unusable, match="it is closed"):
        asyncio.run(send(writing_to(write), lines("x")))


def test_a_file_in_its_place(tmp_path: Path) -> None:
    """Redirected to a file, it is appended where the shell is, and shared flags stay as they were."""
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as file:
        file.write(b"before\n")
        asyncio.run(send(writing_to(file.fileno()), lines("x")))
        file.write(b"after\n")
        assert os.get_blocking(file.fileno())
    first, middle, last = path.read_bytes().splitlines()
    assert (first, lines_of(Signal.LOGS, middle), last) == (b"before", ("x",), b"after")


def test_a_terminal_gets_text_with_colours() -> None:
    """On a terminal a person reads: text, in colour; never control characters out of a log."""
    master, slave = pty.openpty()
    try:
        exporter = writing_to(slave)
        asyncio.run(send(exporter, request_of(payload({"severity_number": 17, "body": "boom\x1b[2J"}))))
        shown = os.read(master, 4096)
    finally:
        os.close(master)
        os.close(slave)
    assert shown.startswith(b"\x1b[31m")
    assert b"boom\\x1b[2J" in shown
    assert b"life=" not in shown


def test_a_pipe_gets_json_or_text_as_told() -> None:
    """Elsewhere it is JSON, and text without colours, with the life, if told so."""
    with pipe() as (read, write):
        one = request_of(payload({"severity_number": 17, "body": "boom"}))
        asyncio.run(send(writing_to(write), one))
        assert os.read(read, 1 << 16).startswith(b'{"resourceLogs":[')
        asyncio.run(send(writing_to(write, format="text"), one))
        text = os.read(read, 1 << 16)
        assert text.endswith(f" boom life={LIFE}\n".encode())
        assert b"\x1b" not in text


def test_what_comes_back_ends_here() -> None:
    """Output that is collected as a log, and read by us, is left out and said: it does not grow for ever."""
    with pipe() as (read, write):
        exporter = writing_to(write)
        asyncio.run(send(exporter, request_of(payload({"body": "real"}))))
        back = os.read(read, 1 << 16).decode().splitlines()
        answer = asyncio.run(send(writing_to(write), request_of(log_payload([*back, "new"]), records=2)))
        assert answer.rejected == 1
        assert said(os.read(read, 1 << 16)) == ["new"]


def test_lines_are_short_enough_for_runtimes() -> None:
    """Container runtimes cut lines of 16 KiB: none is longer, but for one record that is."""
    texts = [f"{n} {'y' * 900}" for n in range(100)]
    made = json_lines(Signal.LOGS, log_payload(texts), StdoutExporter.most)
    assert max(map(len, made)) <= 16 << 10
    assert [text for line in made for text in lines_of(Signal.LOGS, line)] == texts


def test_it_proves_nothing() -> None:
    """What a pipe took is not off the host, unless somebody says that its reader sees to it."""
    with pipe() as (_, write):
        assert not writing_to(write).trusted()
        assert writing_to(write, trust_local=True).trusted()
        assert writing_to(write).describe() == "standard output"
        with pytest.raises(ConfigError, match="timeout"):
            writing_to(write, timeout=0)
