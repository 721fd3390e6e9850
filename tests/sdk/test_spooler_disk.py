"""Disks that are full, limited, read-only or memory: records are counted, the service goes on, and so does writing later."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.handoff.frame import Kind, walk
from shipper.handoff.table import open_spans
from tests.sdk.spool_kit import all_bodies, make, make_root, only, processes, put, run, segments


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A root on a file system of 1 MiB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mounted], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this user cannot mount: {done.stderr.decode().strip()}")
    try:
        yield make_root(mounted)
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_never_reaches_the_service(small: Path) -> None:
    """ENOSPC costs records, counted by cause; what was accepted is whole, and writing resumes when there is room."""
    filler = small.parent / "filler"
    made = make(small)
    accepted = [b"%d" % index for index in range(20) if put(made.logs, b"%d" % index)]
    assert len(accepted) == 20
    fill(filler)
    results = [put(made.logs, b"full %d" % index + b"." * 3000) for index in range(50)]
    assert not results[-1]
    accepted += [b"full %d" % index + b"." * 3000 for index, ok in enumerate(results) if ok]
    filler.unlink()
    assert not put(made.logs, b"too soon to look again")
    made.now += 6
    assert put(made.logs, b"room again")
    lost = results.count(False) + 1
    assert made.spooler.dropped() == {"disk_full": lost}
    found = [frame for path in segments(only(small), "logs") for frame in walk(path.read_bytes()).frames]
    assert [frame.body for frame in found if frame.kind == Kind.LOG] == [*accepted, b"room again"]
    told = [json.loads(frame.body) for frame in found if frame.kind == Kind.DROPPED]
    assert told[-1] == {"disk_full": lost}
    assert {frame.seq for frame in found} == set(range(len(found)))
    assert len([line for line in made.said if "nearly" in line]) == 1


def test_without_room_for_the_table_there_is_none(small: Path) -> None:
    """Where the blocks of the table cannot be allocated, spans are handed over all the same and nothing is mapped."""
    with open(small.parent / "filler", "wb") as filler:
        filler.write(bytes(1000 << 10))
    made = make(small)
    assert put(made.traces, b"span", int(Kind.SPAN), slot=made.spooler.open_spans.begin(1, 1, 0, 1, 1, "s", 0, 0))
    assert made.spooler.open_spans.untracked == 1
    assert open_spans((only(small) / "alive").read_bytes()) == []
    assert any("open when the process dies" in line for line in made.said)


def test_a_disk_without_any_room_leaves_no_litter(small: Path) -> None:
    """Where not even a directory can be written, nothing half-made stays behind, and later it works."""
    filler = small.parent / "filler"
    fill(filler)
    made = make(small)
    assert not put(made.logs, b"x")
    assert not [path for directory in processes(small) for path in directory.iterdir() if path.name.startswith(".")]
    filler.unlink()
    made.now += 6
    assert put(made.logs, b"y")
    assert all_bodies(small) == [b"y"]
    assert made.spooler.dropped() == {"disk_full": 1}


def test_memory_has_a_smaller_limit_and_it_is_said(small: Path) -> None:
    """On tmpfs a process may put aside less, because those pages are its own memory."""
    made = make(small, tmpfs_bytes=300_000)
    for index in range(500):
        assert put(made.logs, b"%d" % index + b"." * 1000)
    assert sum(path.stat().st_size for path in segments(only(small), "logs")) <= 300_000
    assert made.spooler.dropped()["drop_oldest"] > 100
    assert [line for line in made.said if "in memory" in line]


def test_the_last_share_of_the_disk_is_left_alone(small: Path) -> None:
    """With less free than the reserve nothing is written, although there is room."""
    made = make(small, reserve=0.05)
    assert put(made.logs, b"x")
    with open(small.parent / "filler", "wb") as filler:
        filler.write(bytes(845 << 10))
    again = make(small, reserve=0.05)
    assert not put(again.logs, b"y")
    assert again.spooler.dropped() == {"disk_full": 1}
    assert len(processes(small)) == 1


def test_a_limit_on_the_size_of_files_ends_segments_sooner(root: Path) -> None:
    """RLIMIT_FSIZE below our segment size means more segments, not a lost record nor a SIGXFSZ."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
made = make(sys.argv[1])
for index in range(1000): assert put(made.logs, b"%d" % index + b"." * 1000), index
assert made.spooler.dropped() == {}, made.spooler.dropped()
"""
    run(code, root)
    found = [frame for path in segments(only(root), "logs") for frame in walk(path.read_bytes()).frames]
    assert [frame.body.rstrip(b".") for frame in found if frame.kind == Kind.LOG] == [b"%d" % n for n in range(1000)]
    assert len(segments(only(root), "logs")) > 4
    assert {frame.seq for frame in found} == set(range(len(found)))


def test_a_tiny_limit_on_files_costs_records_only(root: Path) -> None:
    """Where no segment can hold anything, records are counted and the program ends as it would."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
made = make(sys.argv[1])
print([put(made.logs, b"x" * 200) for _ in range(3)], made.spooler.dropped())
"""
    assert run(code, root).strip() == "[False, False, False] {'disk_full': 3}"


def test_no_descriptors_left_costs_no_record_that_can_be_written(root: Path) -> None:
    """At RLIMIT_NOFILE rotation has to wait, the current segment goes on, and rotates when there are descriptors again."""
    code = """
import resource
made = make(sys.argv[1], segment_bytes=50_000)
assert put(made.logs, b"first")
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
most = max(descriptors()) + 1
resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
taken = []
try:
    while True: taken.append(os.dup(1))
except OSError: pass
for index in range(80): assert put(made.logs, b"." * 1000), index
for number in taken: os.close(number)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
for index in range(80): assert put(made.logs, b"." * 1000), index
assert made.spooler.dropped() == {}
"""
    run(code, root)
    assert len(all_bodies(root)) == 161
    assert len(segments(only(root), "logs")) > 1


def test_a_read_only_file_system_is_said_once(tmp_path: Path) -> None:
    """A root that is mounted read-only is as none, and one sentence says why."""
    mounted = tmp_path / "ro"
    mounted.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this user cannot mount: {done.stderr.decode().strip()}")
    try:
        root = make_root(mounted)
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        made = make(root)
        assert [put(made.logs, b"x") for _ in range(5)] == [False] * 5
        assert not made.spooler.usable()
        assert len(made.said) == 1
        assert "read-only" in made.said[0]
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


def test_a_directory_that_was_removed_is_made_anew(root: Path) -> None:
    """A cleaner that deletes the process's directory costs what was in it, and nothing after."""
    made = make(root)
    put(made.logs, b"before")
    directory = only(root)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    assert put(made.logs, b"after")
    assert all_bodies(root) == [b"after"]
    assert made.spooler.taken == 1


def test_a_root_that_was_removed_and_made_again_is_found(root: Path) -> None:
    """With the root gone records are kept; when it is back they are written."""
    made = make(root)
    put(made.logs, b"before")
    directory = only(root)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    root.rmdir()
    assert not put(made.logs, b"kept")
    root.mkdir()
    made.now += 0.11
    assert put(made.logs, b"after")
    assert all_bodies(root) == [b"kept", b"after"]
    assert made.spooler.dropped() == {}


def test_a_service_that_changes_its_root_directory_goes_on(root: Path, tmp_path: Path) -> None:
    """After chroot the current segment is still written to, as far as it may grow without the next."""
    if os.geteuid() != 0:
        pytest.skip("only root can chroot")
    code = """
made = make(sys.argv[1], segment_bytes=20_000)
assert put(made.logs, b"before")
os.chroot(sys.argv[2])
results = [put(made.logs, b"." * 1000) for _ in range(100)]
print(results.count(True), made.spooler.dropped())
"""
    jail = tmp_path / "jail"
    jail.mkdir()
    written = int(run(code, root, jail).split()[0])
    assert 40 <= written < 100
    assert len(all_bodies(root)) == written + 1
