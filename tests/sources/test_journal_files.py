"""Journal files as they come: restarts, several sequences, copies, damage. Each entry arrives once or its range is told."""

from __future__ import annotations

import asyncio
import lzma
import random
import shutil
from pathlib import Path

import cramjam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.errors import RangeGone
from shipper.events import Unparsed
from shipper.sources.journal import compressed
from shipper.sources.journal.compressed import TooMuch, decompressed, zstd_size
from shipper.sources.journal.settings import Choice
from shipper.sources.journal.stream import JournalStream
from tests.sources.journal_kit import BOOT, OTHER_BOOT, Sink, attributes, needs_remote, reading, write

pytestmark = needs_remote


def lines(first: int, behind: int) -> list[str]:
    return [f"line {n}" for n in range(first, behind)]


def test_each_entry_arrives_once_over_restarts(tmp_path: Path) -> None:
    """Wherever a run ends, the next goes on behind what was acknowledged."""

    async def run() -> None:
        sink = Sink(limit=2_000)
        for turn in range(4):
            write(tmp_path / "j" / "a.journal", lines(turn * 50, turn * 50 + 50), first=turn * 50 + 1)
            async with reading(tmp_path, tmp_path / "j", sink=sink) as run:
                await run.look()
                write(tmp_path / "j" / "a.journal", ["more"], first=turn * 50 + 51)
                await run.look()
        assert [body for body in sink.bodies if body != "more"] == lines(0, 200)
        assert sink.bodies.count("more") == 4
        assert not sink.lost

    asyncio.run(run())


@pytest.mark.parametrize("compact", [True, False])
def test_a_batch_is_built_again_byte_for_byte(tmp_path: Path, compact: bool) -> None:
    """Reading a cut again gives the same bytes, and its halves hold the same records."""

    async def run() -> None:
        entries = [{"MESSAGE": text, "PRIORITY": str(n % 8)} for n, text in enumerate(lines(0, 300))]
        write(tmp_path / "j" / "a.journal", entries, compact=compact)
        async with reading(tmp_path, tmp_path / "j", sink=Sink(limit=2_000), choice=Choice(priority=5)) as run:
            await run.look()
            (stream,) = run.sink.streams.values()
            assert len(run.sink.batches) > 3
            for batch in run.sink.batches:
                assert stream.reread(batch.cut) == batch
                halves = stream.halve(batch.cut)
                assert halves is not None
                first, second = halves
                assert (first.start, first.end, second.end) == (batch.cut.start, second.start, batch.cut.end)
                parts = [stream.reread(half) for half in halves]
                assert [part.cut for part in parts] == [first, second]
                assert sum(part.cut.records for part in parts) == batch.cut.records
                assert sum(part.cut.filtered for part in parts) == batch.cut.filtered

    asyncio.run(run())


def test_errors_are_found_for_a_drain(tmp_path: Path) -> None:
    """What is worth most is known by its priority, and can be cut out of order."""

    async def run() -> None:
        entries = [{"MESSAGE": text, "PRIORITY": "3" if n in (4, 5, 9) else "6"} for n, text in enumerate(lines(0, 20))]
        write(tmp_path / "j" / "a.journal", entries)
        async with reading(tmp_path, tmp_path / "j", sink=Sink(open=False)) as run:
            await run.look()
            (stream,) = run.sink.streams.values()
            found = stream.valuable(stream.start, stream.frontier())
            assert found == [(5 * 1024, 7 * 1024), (10 * 1024, 11 * 1024)]
            batch = stream.cut_up_to(5 * 1024, 5 * 1024, 7 * 1024, 1 << 20, 1)
            assert batch is not None
            assert (batch.cut.start, batch.cut.end, batch.cut.records) == (5 * 1024, 7 * 1024, 2)

    asyncio.run(run())


def test_each_sequence_is_a_stream(tmp_path: Path) -> None:
    """Files of different machines, or of a journald that began to count anew, do not mix."""

    async def run() -> None:
        write(tmp_path / "j" / "a.journal", lines(0, 10))
        async with reading(tmp_path, tmp_path / "j") as run:
            await run.look()
            write(tmp_path / "j" / "b.journal", lines(10, 20))
            write(tmp_path / "j" / ("0" * 32) / "c.journal", lines(20, 30))
            await run.look()
            assert sorted(run.sink.bodies) == sorted(lines(0, 30))
            assert len(run.sink.streams) == 3

    asyncio.run(run())


def test_an_entry_that_lies_in_two_files_arrives_once(tmp_path: Path) -> None:
    """A copy of a file beside it, as a backup leaves it, adds nothing."""

    async def run() -> None:
        write(tmp_path / "j" / "a.journal", lines(0, 10))
        shutil.copy(tmp_path / "j" / "a.journal", tmp_path / "j" / "a@copy.journal")
        write(tmp_path / "j" / "a.journal", lines(10, 20), first=11)
        async with reading(tmp_path, tmp_path / "j") as run:
            await run.look()
            assert run.sink.bodies == lines(0, 20)

    asyncio.run(run())


def test_what_was_deleted_while_nobody_looked_is_a_range(tmp_path: Path) -> None:
    """Files that are gone after a restart: their unread entries are told by range, but not before they were looked for."""

    async def run() -> None:
        sink = Sink()
        write(tmp_path / "j" / "a.journal", lines(0, 10))
        async with reading(tmp_path, tmp_path / "j", sink=sink) as run:
            await run.look()
            sink.open = False
            write(tmp_path / "j" / "a.journal", lines(10, 20), first=11)
            await run.look()
            await run.source._books.flush()
        (tmp_path / "j" / "a.journal").unlink()
        async with reading(tmp_path, tmp_path / "j", sink=sink) as run:
            (stream,) = sink.streams.values()
            at = sink.at[stream.id][0]
            with pytest.raises(OSError, match="not all files of the journal can be opened yet"):
                stream.cut(at, at, 1 << 20, 1)
            for _ in range(10):
                await run.look()
            sink.take_all()
            assert sink.bodies == lines(0, 10)
            assert sink.lost == [(stream.id, at, 21 * 1024)]

    asyncio.run(run())


def test_a_file_that_is_removed_is_read_to_its_end(tmp_path: Path) -> None:
    """Somebody else's rm does not empty a file: what was not acknowledged is still read."""

    async def run() -> None:
        write(tmp_path / "j" / "a.journal", lines(0, 10))
        async with reading(tmp_path, tmp_path / "j", sink=Sink(open=False)) as run:
            await run.look()
            (tmp_path / "j" / "a.journal").unlink()
            await run.look()
            run.sink.take_all()
            assert run.sink.bodies == lines(0, 10)
            assert not run.sink.lost

    asyncio.run(run())


def test_where_to_begin(tmp_path: Path) -> None:
    """start_at: end leaves out what is there at the very first start, and nothing later."""

    async def run() -> None:
        sink = Sink()
        write(tmp_path / "j" / "a.journal", lines(0, 10))
        async with reading(tmp_path, tmp_path / "j", sink=sink, from_beginning=False) as run:
            await run.look()
            write(tmp_path / "j" / "a.journal", lines(10, 12), first=11)
            await run.look()
        write(tmp_path / "j" / "a.journal", lines(12, 14), first=13)
        write(tmp_path / "j" / "b.journal", ["new"])
        async with reading(tmp_path, tmp_path / "j", sink=sink, from_beginning=False) as run:
            await run.look()
        assert sorted(sink.bodies) == sorted([*lines(10, 14), "new"])

    asyncio.run(run())


def test_of_a_long_history_only_the_present_boot_is_read(tmp_path: Path) -> None:
    """The stream begins at the first entry of the boot, so that the history before is not even looked at."""

    async def run() -> None:
        write(tmp_path / "j" / "a.journal", lines(0, 500), boot=OTHER_BOOT)
        write(tmp_path / "j" / "a.journal", lines(500, 510), first=501, boot=BOOT)
        async with reading(tmp_path, tmp_path / "j", choice=Choice(boot=bytes.fromhex(BOOT))) as run:
            await run.look()
            (stream,) = run.sink.streams.values()
            assert stream.start == 501 * 1024
            assert run.sink.bodies == lines(500, 510)

    asyncio.run(run())


@given(seed=st.integers(0, 1 << 30), flips=st.integers(1, 200), cut=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_costs_entries_and_never_the_stream(tmp_path: Path, seed: int, flips: int, cut: bool) -> None:
    """Whatever bytes a file has, reading ends at its end, and entries between two good ones are told by range."""
    whole = tmp_path / "whole.journal"
    if not whole.exists():
        write(whole, [{"MESSAGE": text + "x" * (n * 7 % 900), "N": str(n)} for n, text in enumerate(lines(0, 60))])
    made = random.Random(seed)
    data = bytearray(whole.read_bytes())
    used = len(bytes(data).rstrip(b"\0"))
    for _ in range(flips):
        data[made.randrange(made.choice((0, 256)), used)] = made.randrange(256)
    directory = tmp_path / f"{seed}-{flips}-{cut}"
    directory.mkdir(exist_ok=True)
    (directory / "a.journal").write_bytes(data[: made.randrange(256, used)] if cut else data)

    async def run() -> None:
        async with reading(directory, directory) as run:
            await run.look()
            for stream in run.sink.streams.values():
                assert run.sink.at[stream.id][0] == stream.frontier()
                for batch in run.sink.batches:
                    assert stream.reread(batch.cut) == batch
                stream.valuable(stream.start, stream.frontier())

    asyncio.run(run())
    shutil.rmtree(directory)


def test_a_damaged_entry_costs_that_entry(tmp_path: Path) -> None:
    """Entries around a damaged one arrive, and its place is told as lost."""

    async def run() -> None:
        path = tmp_path / "j" / "a.journal"
        write(path, lines(0, 9))
        async with reading(tmp_path, tmp_path / "j", sink=Sink(open=False)) as run:
            await run.look()
            (stream,) = run.sink.streams.values()
            assert isinstance(stream, JournalStream)
            (file,) = stream.chain.files.values()
            file.index(1)
            place = file._offsets[4]
            with open(path, "r+b") as broken:
                broken.seek(place)
                broken.write(b"\0" * 16)
            file._window = (0, b"")
            run.sink.take_all()
            assert run.sink.bodies == lines(0, 4) + lines(5, 9)
            assert run.sink.lost == [(stream.id, 5 * 1024, 6 * 1024)]

    asyncio.run(run())


def test_a_damaged_field_costs_that_field(tmp_path: Path) -> None:
    """The record comes without it, says so, and it is counted."""

    async def run() -> None:
        path = tmp_path / "j" / "a.journal"
        write(path, [{"MESSAGE": "m", "TAG": "t", "OTHER": "o"}])
        data = path.read_bytes()
        place = data.index(b"TAG=t") - 72  # the object that it lies in
        path.write_bytes(data[:place] + b"\7" + data[place + 1 :])
        async with reading(tmp_path, tmp_path / "j", fields=("TAG", "OTHER")) as run:
            assert await run.look() == ["m"]
            assert attributes(run.found()[0]) == {"journald.OTHER": "o", "journald.damaged": True}
            assert [event.records for event in run.report.said if isinstance(event, Unparsed)] == [1]

    asyncio.run(run())


def test_a_file_that_is_no_journal_is_said_and_passed_by(tmp_path: Path) -> None:
    """Foreign files, files of a later version, and files that may not be opened do not keep others from being read."""

    async def run() -> None:
        write(tmp_path / "j" / "a.journal", lines(0, 3))
        (tmp_path / "j" / "foreign.journal").write_bytes(b"hello" * 100)
        later = bytearray((tmp_path / "j" / "a.journal").read_bytes())
        later[12] |= 0x80
        (tmp_path / "j" / "later.journal").write_bytes(later)
        async with reading(tmp_path, tmp_path / "j") as run:
            for _ in range(12):
                await run.look()
            assert run.sink.bodies == lines(0, 3)
            said = "\n".join(run.report.problems("journal"))
            assert "foreign.journal cannot be read: it is no journal file" in said
            assert "later.journal cannot be read: it is in a format newer than this version knows" in said

    asyncio.run(run())


def test_a_missing_directory_is_said_and_waited_for(tmp_path: Path) -> None:
    """A journal that is mounted later is read then."""

    async def run() -> None:
        async with reading(tmp_path, tmp_path / "j") as run:
            await run.look()
            assert "no journal can be read: No such file or directory" in run.report.problems("journal")[0]
            write(tmp_path / "j" / "a.journal", lines(0, 3))
            await run.look()
            assert run.sink.bodies == lines(0, 3)

    asyncio.run(run())


def test_every_compression_of_journald_is_read() -> None:
    """XZ, LZ4 and zstd; what would be larger than allowed is refused before it is unpacked."""
    text = b"MESSAGE=" + b"0123456789" * 500
    packed = {
        compressed.XZ: lzma.compress(text, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE),
        compressed.LZ4: len(text).to_bytes(8, "little") + bytes(cramjam.lz4.compress_block(text, store_size=False)),
        compressed.ZSTD: bytes(cramjam.zstd.compress(text)),
    }
    for flag, payload in packed.items():
        if flag == compressed.ZSTD:
            continue  # cramjam leaves the size out of the header, which journald never does
        assert decompressed(payload, flag, 1 << 20) == text
        with pytest.raises(TooMuch):
            decompressed(payload, flag, 1000)


@given(st.binary(max_size=80), st.sampled_from([compressed.XZ, compressed.LZ4, compressed.ZSTD]))
def test_payloads_that_are_no_such_thing_are_refused(payload: bytes, flag: int) -> None:
    """Any bytes instead of a compressed field give a plain answer."""
    for data in (payload, b"\x28\xb5\x2f\xfd" + payload, b"\xfd7zXZ\x00" + payload, b"\x20" + bytes(7) + payload):
        try:
            decompressed(data, flag, 1 << 16)
            zstd_size(data)
        except (ValueError, TooMuch):
            continue


def test_the_size_of_a_zstd_frame_is_in_its_header() -> None:
    """As RFC 8878 has it, for each width of the field."""
    for descriptor, field, size in (
        (0x20, bytes([200]), 200),
        (0x60, (1000 - 256).to_bytes(2, "little"), 1000),
        (0xA0, (70_000).to_bytes(4, "little"), 70_000),
        (0xE0, (1 << 33).to_bytes(8, "little"), 1 << 33),
    ):
        assert zstd_size(b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + field + bytes(12)) == size
    with pytest.raises(ValueError, match="not said"):
        zstd_size(b"\x28\xb5\x2f\xfd" + bytes(12))


def test_a_range_that_is_no_longer_whole_is_not_sent_as_if_it_were(tmp_path: Path) -> None:
    """A batch of which entries are gone cannot be built again under its old name."""

    async def run() -> None:
        path = tmp_path / "j" / "a.journal"
        write(path, lines(0, 9))
        async with reading(tmp_path, tmp_path / "j") as run:
            await run.look()
            (stream,) = run.sink.streams.values()
            (batch,) = run.sink.batches
            assert isinstance(stream, JournalStream)
            (file,) = stream.chain.files.values()
            with open(path, "r+b") as broken:
                broken.seek(file._offsets[4])
                broken.write(b"\0" * 16)
            file._window = (0, b"")
            with pytest.raises(RangeGone):
                stream.reread(batch.cut)

    asyncio.run(run())
