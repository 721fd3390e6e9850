"""What a crash or the disk can do to a spool's files, case by case, and what is left of them after opening."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.clock import SystemClock
from shipper.errors import StateLocked, StateUnwritable
from shipper.events import Reporter
from shipper.spool import Frame, Fsync, Spool
from shipper.spool.frame import FIXED

LENGTH = FIXED + 2 + 30  # of every frame in these tests
PER_SEGMENT = 3
SEGMENT = LENGTH * PER_SEGMENT


def open_spool(directory: Path, report: Reporter | None = None, **more: object) -> Spool:
    settings: dict[str, object] = {"fsync": Fsync.NEVER, "segment_bytes": SEGMENT, "max_bytes": 1 << 20, **more}
    return Spool.open(directory, name="t", report=report or Reporter(SystemClock()), **settings)  # type: ignore[arg-type]


def filled(directory: Path, frames: int = 7) -> list[Frame]:
    """A closed spool of three segments, the last with one frame; each payload is its number."""
    spool = open_spool(directory)
    for number in range(frames):
        spool.append(b"hd", b"%030d" % number)
    found = spool.frames(0, 1 << 20)
    spool.close()
    assert len(found) == frames
    return found


def read_all(spool: Spool) -> list[Frame]:
    found: list[Frame] = []
    at = 0
    while frames := spool.frames(at, 100):
        found += frames
        at = frames[-1].end
    return found


def segment(directory: Path, number: int) -> Path:
    return sorted(directory.glob("*.spool"))[number]


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def truncate(path: Path, size: int) -> None:
    os.truncate(path, size)


CASES: list[tuple[str, Callable[[Path], object], list[int], str]] = [
    ("magic of a first frame", lambda d: patch(segment(d, 0), 0, b"????"), [0], "damaged"),
    ("length in the middle", lambda d: patch(segment(d, 0), LENGTH + 12, b"\xff"), [1], "damaged"),
    ("payload of a segment's last frame", lambda d: patch(segment(d, 1), SEGMENT - 1, b"?"), [5], "damaged"),
    ("payload of the very last frame", lambda d: patch(segment(d, 2), LENGTH - 1, b"?"), [6], "damaged"),
    ("two stretches of a segment", lambda d: [patch(segment(d, 1), n, b"?") for n in (3, SEGMENT - 9)], [3, 5], "damaged"),
    ("length of the very last frame", lambda d: patch(segment(d, 2), 12, b"\xff"), [6], "damaged"),
    ("a whole segment of zeros", lambda d: patch(segment(d, 1), 0, bytes(SEGMENT)), [3, 4, 5], "damaged"),
    ("a whole segment of noise", lambda d: patch(segment(d, 0), 0, b"\xf5SHP" * (SEGMENT // 4)), [0, 1, 2], "damaged"),
    ("a full segment cut short", lambda d: truncate(segment(d, 0), SEGMENT - 5), [2], "damaged"),
    ("position of a frame", lambda d: patch(segment(d, 0), 16, b"\x07"), [0], "damaged"),
    ("unknown version", lambda d: patch(segment(d, 0), 4, b"\x09"), [0], "damaged"),
    ("last frame cut short", lambda d: truncate(segment(d, 2), LENGTH - 1), [6], "torn"),
    ("last frame cut within its head", lambda d: truncate(segment(d, 2), 5), [6], "torn"),
    ("last frame is zeros", lambda d: patch(segment(d, 2), 0, bytes(LENGTH)), [6], "torn"),
    ("zeros behind the last frame", lambda d: truncate(segment(d, 2), LENGTH + 4096), [], "torn"),
    ("last segment is empty", lambda d: truncate(segment(d, 2), 0), [6], ""),
    ("a segment was deleted", lambda d: segment(d, 1).unlink(), [3, 4, 5], ""),
    ("temporary file left over", lambda d: (d / "00000000000000000099.spool.tmp").write_bytes(b"x"), [], ""),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "lost", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_harm_costs_only_the_frames_it_hit(
    tmp_path: Path, harm: Callable[[Path], object], lost: list[int], said: str
) -> None:
    """Every intact frame before and behind the harm is read, and the next start finds nothing left to repair."""
    frames = filled(tmp_path)
    harm(tmp_path)
    report = Reporter(SystemClock())
    spool = open_spool(tmp_path, report)
    expected = [frame for number, frame in enumerate(frames) if number not in lost]
    assert read_all(spool) == expected
    assert _problems(report) == ({"damaged": {"spool_damaged"}, "torn": {"spool_torn_tail"}}.get(said, set()))
    start, _ = spool.append(b"hd", b"after")
    assert start >= expected[-1].end
    if said == "damaged":
        assert start == frames[-1].end
    spool.close()

    again = Reporter(SystemClock())
    spool = open_spool(tmp_path, again)
    assert read_all(spool)[:-1] == expected
    assert _problems(again) == set()
    spool.close()


def test_damaged_bytes_are_kept_in_quarantine_and_their_range_is_counted(tmp_path: Path) -> None:
    """Damage is set aside under its positions, and the bytes lost are counted once."""
    frames = filled(tmp_path)
    patch(segment(tmp_path, 0), LENGTH + 40, b"????")
    damaged = segment(tmp_path, 0).read_bytes()[LENGTH : 2 * LENGTH]
    report = Reporter(SystemClock())
    open_spool(tmp_path, report).close()
    kept = tmp_path / "quarantine" / f"{frames[1].start:020d}-{frames[1].end:020d}.damaged"
    assert kept.read_bytes() == damaged
    assert report.metrics.lost_bytes.labels("damaged")._value.get() == LENGTH


@pytest.mark.parametrize("steps", range(1, 9))  # the first is the lock file's
def test_recovery_interrupted_at_any_step_is_finished_by_the_next(
    tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between two file operations of a recovery loses nothing: the next opening completes it."""
    frames = filled(tmp_path)
    patch(segment(tmp_path, 0), LENGTH + 40, b"????")
    patch(segment(tmp_path, 1), 3, b"?")
    patch(segment(tmp_path, 1), SEGMENT - 9, b"?")
    left = iter(range(steps))
    for name in ("rename", "ftruncate", "unlink"):
        real = getattr(os, name)

        def dying(*args: object, real: Callable[..., None] = real, **more: object) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            real(*args, **more)

        monkeypatch.setattr(os, name, dying)
    with pytest.raises(KeyboardInterrupt):
        open_spool(tmp_path)
    monkeypatch.undo()
    spool = open_spool(tmp_path)
    assert read_all(spool) == [frames[n] for n in (0, 2, 4, 6)]
    spool.close()


def test_positions_go_on_where_they_were_after_everything_was_released(tmp_path: Path) -> None:
    """A spool that was emptied and opened again never gives a position away twice."""
    frames = filled(tmp_path, 6)
    spool = open_spool(tmp_path)
    spool.release(frames[-1].end)
    assert (spool.size(), spool.first(), spool.frontier()) == (0, frames[-1].end, frames[-1].end)
    spool.close()
    spool = open_spool(tmp_path)
    assert spool.append(b"hd", b"")[0] == frames[-1].end
    spool.close()


def test_skip_to_leaves_out_positions_that_a_ledger_saw(tmp_path: Path) -> None:
    """After a power cut took frames that were shipped already, their positions stay used, and the gap is reported."""
    report = Reporter(SystemClock())
    spool = open_spool(tmp_path, report)
    spool.append(b"hd", b"x")
    end = spool.frontier()
    spool.skip_to(end + 1000)
    spool.skip_to(end)
    assert spool.append(b"hd", b"y")[0] == end + 1000
    assert [frame.payload for frame in read_all(spool)] == [b"x", b"y"]
    assert report.metrics.problems.labels("spool_behind")._value.get() == 1
    spool.close()
    spool = open_spool(tmp_path)
    assert [frame.payload for frame in read_all(spool)] == [b"x", b"y"]
    spool.close()


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    """Two writers on one directory are impossible; the error names the process that holds it."""
    program = f"""
import sys
from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.spool import Spool
spool = Spool.open({str(tmp_path)!r}, name="t", fsync="never", report=Reporter(SystemClock()))
print("open", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        with pytest.raises(StateLocked, match=f"pid {owner.pid}"):
            open_spool(tmp_path)
        owner.kill()
    open_spool(tmp_path).close()


def test_files_are_private_and_links_are_not_followed(tmp_path: Path) -> None:
    """Nobody else can read a spool, and a link planted in its place is refused."""
    spool = open_spool(tmp_path / "spool")
    spool.append(b"hd", b"secret")
    spool.close()
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "spool").iterdir()} == {0o600}
    (tmp_path / "link").symlink_to(tmp_path / "spool")
    with pytest.raises(StateUnwritable):
        open_spool(tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnwritable):
        open_spool(tmp_path / "file" / "spool")


def _problems(report: Reporter) -> set[str]:
    kinds = ("spool_damaged", "spool_torn_tail", "spool_header", "spool_delete")
    return {kind for kind in kinds if report.metrics.problems.labels(kind)._value.get()}
