"""Files that lines are appended to: whole or not at all, once, set aside in time, and shared."""

from __future__ import annotations

import errno
import gzip
import multiprocessing
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shipper.testing.clock import START_WALL_NS
from shipper_exporters._file.rolling import Rolling, RollingFile

NOW = START_WALL_NS
DAY = 86_400
NEVER = Rolling()


def rolling(path: Path, how: Rolling = NEVER) -> RollingFile:
    return RollingFile(str(path), how, sync=True)


def others(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir() if one != path)


def test_lines_are_appended(tmp_path: Path) -> None:
    """Directories are made, the file is for its owner and group, and lines follow each other over closings."""
    path = tmp_path / "a" / "b" / "logs.jsonl"
    for lines in (b"1\n2\n", b"3\n"):
        file = rolling(path)
        file.append(lines, NOW)
        file.append(lines.upper(), NOW)
        file.close()
    assert path.read_bytes() == b"1\n2\n1\n2\n3\n3\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


@pytest.mark.parametrize("half", [b"4", b"x" * 3_000_000, b"\0\0"])
def test_a_half_line_of_a_crash_is_removed(tmp_path: Path, half: bytes) -> None:
    """What a crash left without its end is cut off before the next line."""
    path = tmp_path / "f"
    for whole in (b"", b"1\n2\n"):
        path.write_bytes(whole + half)
        rolling(path).append(b"5\n", NOW)
        assert path.read_bytes() == whole + b"5\n"


def test_set_aside_when_large(tmp_path: Path) -> None:
    """No file grows beyond its size by a second append; those set aside are named for the time, in order."""
    path = tmp_path / "logs.jsonl"
    file = rolling(path, Rolling(bytes=10))
    for number in range(4):
        file.append(b"%d2345\n" % number, NOW + number)
    file.append(b"x" * 30 + b"\n", NOW)  # larger than a file may be: one of its own; and the clock was set back
    aside = others(path)
    assert aside == [f"logs-20231114T221320.00000000{n}Z.jsonl" for n in (1, 2, 3, 4)]
    assert [(tmp_path / name).read_bytes()[:1] for name in aside] == [b"0", b"1", b"2", b"3"]
    assert path.read_bytes() == b"x" * 30 + b"\n"


def test_two_at_one_moment(tmp_path: Path) -> None:
    """Nothing set aside is ever overwritten by another."""
    file = rolling(tmp_path / "f", Rolling(bytes=3))
    for number in range(5):
        file.append(b"%d\n" % number, NOW)
        file.append(b"%d\n" % number, NOW)
    assert b"".join(
        one.read_bytes() for one in sorted(tmp_path.iterdir(), key=lambda p: (p.name == "f", p.name))
    ) == b"".join(b"%d\n" % n * 2 for n in range(5))


def test_set_aside_when_old(tmp_path: Path) -> None:
    """A new file begins with each span of time, also when it was begun by an earlier run."""
    path = tmp_path / "f.log"
    file = rolling(path, Rolling(seconds=DAY))
    file.append(b"1\n", NOW)
    file.append(b"2\n", NOW + 3600 * 10**9)
    file.append(b"3\n", NOW + DAY * 10**9)
    assert path.read_bytes() == b"3\n"
    assert len(others(path)) == 1
    os.utime(path, (NOW / 1e9, NOW / 1e9))
    rolling(path, Rolling(seconds=DAY)).append(b"4\n", NOW + 2 * DAY * 10**9)
    assert path.read_bytes() == b"4\n"
    assert len(others(path)) == 2


def test_the_oldest_go_and_others_are_compressed(tmp_path: Path) -> None:
    """As many are kept as told; all but the newest are compressed, and nothing else in the directory is touched."""
    path = tmp_path / "logs.jsonl"
    (tmp_path / "logs-mine.jsonl").write_text("keep")
    (tmp_path / "other-20231114T221320.000000000Z.jsonl").write_text("keep")
    file = rolling(path, Rolling(bytes=1, keep=3, gzip=True))
    for number in range(6):
        file.append(b"%d\n" % number, NOW + number)
    names = [name for name in others(path) if name.startswith("logs-2")]
    assert [name[-8:] for name in names] == ["jsonl.gz", "jsonl.gz", "5Z.jsonl"]
    assert [gzip.decompress((tmp_path / name).read_bytes()) for name in names[:2]] == [b"2\n", b"3\n"]
    assert stat.S_IMODE((tmp_path / names[0]).stat().st_mode) & 0o137 == 0
    assert len(others(path)) == 5


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    """In doubt only lines that are missing are added, be the others here or in the file just set aside."""
    path = tmp_path / "f"
    file = rolling(path, Rolling(bytes=8, gzip=True))
    file.append(b"one\ntwo\n", NOW)
    file.append(b"two\nthree\nfour\n", NOW, doubt=True)
    assert path.read_bytes() == b"three\nfour\n"
    again = rolling(path, Rolling(bytes=1000))
    again.append(b"one\ntwo\nthree\nfour\nfive\nour\n", NOW, doubt=True)
    assert path.read_bytes() == b"three\nfour\nfive\nour\n"
    again.append(b"one\n", NOW)
    assert path.read_bytes() == b"three\nfour\nfive\nour\none\n"


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_somebody_else_moves_the_file(tmp_path: Path, how: str) -> None:
    """A file that was removed, or set aside by logrotate, is begun anew."""
    path = tmp_path / "f"
    file = rolling(path)
    file.append(b"1\n", NOW)
    if how == "removed":
        path.unlink()
    else:
        path.rename(tmp_path / "f.1")
    file.append(b"2\n", NOW)
    assert path.read_bytes() == b"2\n"


def _write(path: str, number: int) -> None:
    file = RollingFile(path, Rolling(bytes=4000), sync=False)
    for line in range(200):
        file.append(b"%d-%d %s\n" % (number, line, b"x" * 50), NOW + line)


def test_several_writers(tmp_path: Path) -> None:
    """Processes that share a file lose no line, tear none, and set it aside once."""
    path = tmp_path / "f"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(str(path), number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [line for one in tmp_path.iterdir() for line in one.read_bytes().splitlines()]
    assert sorted(lines) == sorted(b"%d-%d %s" % (n, line, b"x" * 50) for n in range(3) for line in range(200))
    assert all(one.stat().st_size <= 4000 for one in tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "device"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    """A link is not followed, and nothing but a regular file is written."""
    path = tmp_path / "f"
    if kind == "link":
        (tmp_path / "target").touch()
        path.symlink_to(tmp_path / "target")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = Path("/dev/full")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number tells
        rolling(path).append(b"1\n", NOW)
    assert caught.value.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR)


_FULL = """
import resource, sys
from shipper_exporters._file.rolling import Rolling, RollingFile
file = RollingFile(sys.argv[1], Rolling(), sync=True)
file.append(b"first\\n", 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    file.append(b"x" * 1000 + b"\\n", 0)
except OSError as error:
    print(error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.append(b"last\\n", 0)
"""


def test_what_does_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    """When a write stops in the middle, what it wrote is taken back, and later ones follow the last whole line."""
    path = tmp_path / "f"
    done = subprocess.run([sys.executable, "-c", _FULL, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(errno.EFBIG)]
    assert path.read_bytes() == b"first\nlast\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


_MOUNTED = """
mount -t tmpfs -o size=64k none "$1" && exec "$2" - "$1/f" <<'END'
import sys
from shipper_exporters._file.rolling import Rolling, RollingFile
file = RollingFile(sys.argv[1], Rolling(), sync=True)
file.append(b"first\\n", 0)
for _ in range(2):
    try:
        file.append(b"x" * 100_000 + b"\\n", 0)
    except OSError as error:
        print(error.errno, open(sys.argv[1], "rb").read())
END
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """On a disk that is full nothing of what does not fit stays, so that the rest of the host has the room."""
    command = ["unshare", "-rm", "sh", "-c", _MOUNTED, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()[:80]}")
    assert done.stdout.splitlines() == [f"{errno.ENOSPC} {b'first' + bytes([10])!r}"] * 2
