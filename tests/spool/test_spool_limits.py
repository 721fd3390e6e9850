"""Limits of a spool: its own, the disk's, and what each policy does at them."""

import os
import resource
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from shipper.clock import SystemClock
from shipper.errors import SpoolFull, StateUnwritable
from shipper.events import Reporter
from shipper.spool import Fsync, Policy, Spool
from shipper.spool.frame import FIXED

LENGTH = 100
PAYLOAD = b"x" * (LENGTH - FIXED)


def open_spool(
    directory: Path, *, report: Reporter | None = None, policy: Policy = "refuse", keep_free_bytes: int = 0
) -> Spool:
    return Spool.open(
        directory,
        name="t",
        fsync=Fsync.NEVER,
        segment_bytes=2 * LENGTH,
        max_bytes=5 * LENGTH,
        keep_free_bytes=keep_free_bytes,
        policy=policy,
        report=report or Reporter(SystemClock()),
    )


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Inside, the kernel refuses to let a file grow beyond ``size``, as a full disk would, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    """At the limit nothing is accepted and nothing lost; what is released makes room."""
    spool = open_spool(tmp_path)
    spans = [spool.append(b"", PAYLOAD) for _ in range(5)]
    with pytest.raises(SpoolFull, match="500 bytes is reached"):
        spool.append(b"", b"")
    assert len(spool.frames(0, 10_000)) == 5
    spool.release(spans[1][1])
    spool.append(b"", PAYLOAD)
    assert spool.first() == spans[2][0]
    spool.close()


def test_a_released_spool_takes_a_frame_as_large_as_its_limit(tmp_path: Path) -> None:
    """When everything was shipped, the last segment makes room too."""
    spool = open_spool(tmp_path)
    spool.release(spool.append(b"", PAYLOAD)[1])
    spool.append(b"", bytes(5 * LENGTH - FIXED))
    with pytest.raises(SpoolFull, match="larger than its limit"):
        spool.append(b"", bytes(5 * LENGTH - FIXED + 1))
    assert len(spool.frames(0, 10_000)) == 1
    spool.close()


def test_dropping_the_oldest_is_counted_by_range(tmp_path: Path) -> None:
    """With drop_oldest whole old segments go, and only bytes that were not released count as lost."""
    report = Reporter(SystemClock())
    spool = open_spool(tmp_path, report=report, policy="drop_oldest")
    spans = [spool.append(b"", PAYLOAD) for _ in range(5)]
    spool.release(spans[0][1])
    last = spool.append(b"", PAYLOAD)
    assert spool.first() == spans[2][0]
    assert spool.frames(0, 10_000)[-1].start == last[0]
    assert report.metrics.lost_bytes.labels("dropped to make room")._value.get() == LENGTH
    spool.append(b"", bytes(5 * LENGTH - FIXED))
    assert len(spool.frames(0, 10_000)) == 1
    spool.close()


def test_the_disk_reserve_is_left_alone(tmp_path: Path) -> None:
    """A spool never takes the last bytes of a disk, and gives nothing up where that would not help."""
    disk = os.statvfs(tmp_path)
    everything = disk.f_bavail * disk.f_frsize * 2
    for policy in ("refuse", "drop_oldest"):
        spool = open_spool(tmp_path / policy)
        spool.append(b"", PAYLOAD)
        spool.close()
        spool = open_spool(tmp_path / policy, policy=policy, keep_free_bytes=everything)  # type: ignore[arg-type]
        with pytest.raises(SpoolFull, match="left on the disk"):
            spool.append(b"", PAYLOAD)
        assert len(spool.frames(0, 10_000)) == 1
        spool.close()


def test_a_frame_half_written_to_a_full_disk_is_undone(tmp_path: Path) -> None:
    """When the disk fills in the middle of a frame, the frame is refused, cut off, and the next one fits in its place."""
    spool = open_spool(tmp_path)
    spool.append(b"", PAYLOAD)
    with largest_file(LENGTH + 40), pytest.raises(SpoolFull, match="File too large"):
        spool.append(b"", PAYLOAD)
    assert (tmp_path / f"{0:020d}.spool").stat().st_size == LENGTH
    assert spool.append(b"", PAYLOAD) == (LENGTH, 2 * LENGTH)
    spool.close()
    report = Reporter(SystemClock())
    spool = open_spool(tmp_path, report=report)
    assert len(spool.frames(0, 10_000)) == 2
    assert not report.metrics.problems.labels("spool_torn_tail")._value.get()
    spool.close()


def test_a_half_written_frame_that_cannot_be_undone_blocks_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spool never writes behind a half-written frame; it refuses until the half is cut off."""
    spool = open_spool(tmp_path)
    spool.append(b"", PAYLOAD)

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with largest_file(LENGTH + 40), pytest.raises(SpoolFull):
        spool.append(b"", PAYLOAD)
    with pytest.raises(SpoolFull, match="cannot be cut off"):
        spool.append(b"", PAYLOAD)
    monkeypatch.undo()
    assert spool.append(b"", PAYLOAD) == (LENGTH, 2 * LENGTH)
    spool.close()


def test_a_segment_that_somebody_deleted_is_skipped_and_said(tmp_path: Path) -> None:
    """Frames of a vanished file are gone; those of the others are still read."""
    report = Reporter(SystemClock())
    spool = open_spool(tmp_path, report=report)
    spans = [spool.append(b"", PAYLOAD) for _ in range(5)]
    (tmp_path / f"{spans[2][0]:020d}.spool").unlink()
    found = [frame.start for frame in spool.frames(0, 10_000)]
    found += [frame.start for frame in spool.frames(spans[1][1], 10_000)]
    assert sorted(set(found)) == [spans[n][0] for n in (0, 1, 4)]
    assert report.metrics.problems.labels("spool_damaged")._value.get() == 1
    spool.release(spans[-1][1])
    assert report.metrics.problems.labels("spool_delete")._value.get() == 1
    spool.close()


def test_a_reader_is_not_held_up_by_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a large frame is being written in a thread, what is there can be read and released."""
    spool = open_spool(tmp_path)
    first = spool.append(b"", PAYLOAD)
    writing, go_on = threading.Event(), threading.Event()
    real = os.pwritev

    def held(descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
        writing.set()
        go_on.wait(10)
        return real(descriptor, pieces, offset)

    monkeypatch.setattr(os, "pwritev", held)
    writer = threading.Thread(target=spool.append, args=(b"", PAYLOAD))
    writer.start()
    writing.wait(10)
    assert [frame.start for frame in spool.frames(0, 10_000)] == [0]
    spool.release(first[1])
    assert spool.frontier() == first[1]
    go_on.set()
    writer.join()
    assert [frame.start for frame in spool.frames(first[1], 10_000)] == [first[1]]
    spool.close()


def test_damage_is_not_touched_while_there_is_no_room_to_set_it_aside(tmp_path: Path) -> None:
    """Recovery on a full disk changes nothing and says what it needs; with room it does its work."""
    spool = open_spool(tmp_path)
    for _ in range(4):
        spool.append(b"", PAYLOAD)
    spool.close()
    path = tmp_path / f"{0:020d}.spool"
    damaged = bytearray(path.read_bytes())
    damaged[50] ^= 1
    path.write_bytes(damaged)
    with largest_file(20), pytest.raises(StateUnwritable, match="room"):
        open_spool(tmp_path)
    assert path.read_bytes() == damaged
    assert list((tmp_path / "quarantine").iterdir()) == []
    spool = open_spool(tmp_path)
    assert len(spool.frames(0, 10_000)) == 3
    spool.close()
