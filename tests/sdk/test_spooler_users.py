"""Service and sidecar as different users without capabilities, in other PID namespaces, where strangers may write too.

Other users are forked children of the test that changed their user: they need not be able to reach this Python.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.handoff.prepare import prepare_root
from tests.sdk.spool_kit import REPOSITORY, all_bodies, bodies, lives, make, make_root, only, processes, put

SIDECAR, SERVICE, STRANGER = 61001, 61002, 61003


def become(uid: int) -> None:
    """Be that user for good; leaving root also leaves all capabilities."""
    os.umask(0o077)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


@contextmanager
def as_user(uid: int, work: Callable[[Callable[[], None]], Any]) -> Iterator[Any]:
    """Runs ``work(pause)`` as another user; the body runs while it pauses, and it ends with the body."""
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(to_child)
        status = 1
        try:
            become(uid)

            def pause() -> None:
                os.write(to_parent, b"\n")
                os.read(from_parent, 1)

            os.write(to_parent, json.dumps(work(pause)).encode())
            status = 0
        except BaseException as error:
            os.write(to_parent, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(status)
    os.close(to_parent)
    os.close(from_parent)
    try:
        yield from_child
    finally:
        os.close(to_child)
        said = b""
        while more := os.read(from_child, 1 << 16):
            said += more
        os.close(from_child)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == 0, said.decode()
        results.append(json.loads(said))


results: list[Any] = []


def answer(uid: int, work: Callable[[], Any]) -> Any:
    """What ``work`` returns as another user."""
    with as_user(uid, lambda _: work()):
        pass
    return results.pop()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory everybody can reach; pytest's own can be passed by its user only."""
    if os.geteuid() != 0:
        pytest.skip("only root can become other users")
    path = Path(tempfile.mkdtemp(prefix="shipper-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def root(place: Path) -> Path:
    """A root made by a sidecar that is not root."""
    state = place / "state"
    state.mkdir()
    os.chown(state, SIDECAR, SIDECAR)
    state.chmod(0o755)
    assert answer(SIDECAR, lambda: prepare_root(str(state / "spool"))) == ""
    return state / "spool"


def service(root: Path) -> Callable[[Callable[[], None]], None]:
    """A service that hands over, pauses, and hands over more."""

    def work(pause: Callable[[], None]) -> None:
        made = make(root)
        assert put(made.logs, b"of the service"), made.said
        assert made.spooler.usable()
        pause()
        assert all(put(made.logs, b"." * 200) for _ in range(100))
        assert made.spooler.dropped() == {}

    return work


def look(root: Path) -> tuple[bool, str]:
    directory = only(root)
    return lives(directory), bodies(directory)[0].decode()


def delete(root: Path) -> None:
    directory = only(root)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def refused(work: Callable[[], Any]) -> bool:
    try:
        work()
    except PermissionError:
        return True
    return False


def test_two_users_without_capabilities_hand_over(root: Path) -> None:
    """A service of another user hands over with umask 077; the sidecar's user sees it alive, reads, and deletes."""
    found = root.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o3733, SIDECAR, SIDECAR)
    with as_user(SERVICE, service(root)) as ready:
        assert os.read(ready, 1) == b"\n"
        directory = only(root)
        assert (directory.stat().st_uid, directory.stat().st_gid) == (SERVICE, SIDECAR)
        assert answer(SIDECAR, lambda: look(root)) == [True, "of the service"]
    assert answer(SIDECAR, lambda: look(root)) == [False, "of the service"]
    answer(SIDECAR, lambda: delete(root))
    assert processes(root) == []


def test_a_stranger_can_neither_read_nor_replace(root: Path) -> None:
    """A third user cannot list the root, nor enter, rename or remove another's directory although he knows its name."""
    with as_user(SERVICE, service(root)) as ready:
        assert os.read(ready, 1) == b"\n"
        directory = only(root)

        def try_all() -> list[bool]:
            return [
                refused(lambda: os.listdir(root)),
                refused(lambda: os.listdir(directory)),
                refused(lambda: (directory / "alive").open()),
                refused(lambda: directory.rename(f"{directory}x")),
                refused(directory.rmdir),
            ]

        assert answer(STRANGER, try_all) == [True] * 5


def test_names_that_a_stranger_made_before_do_not_matter(place: Path) -> None:
    """Links squatted in the root under names we might use change nothing for a service."""
    root = make_root(place)
    victim = place / "victim"
    victim.mkdir()
    for name in ("p1-0123456789abcdef", f"p{os.getpid()}-{0:016x}", f".p{os.getpid()}-{0:016x}", "host.json"):
        (root / name).symlink_to(victim)
    made = make(root)
    assert put(made.logs, b"x")
    assert list(victim.iterdir()) == []
    assert made.spooler.dropped() == {}


def test_a_directory_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    """Where its directory was moved away and a link put in its place, a process rotates into a new directory of its own."""
    root = make_root(tmp_path)
    made = make(root, segment_bytes=10_000)
    assert put(made.logs, b"before")
    directory, target = only(root), tmp_path / "target"
    target.mkdir()
    directory.rename(tmp_path / "moved")
    directory.symlink_to(target)
    assert all(put(made.logs, b"%d" % index + b"." * 500) for index in range(60))
    assert list(target.iterdir()) == []
    directory.unlink()
    assert len(bodies(tmp_path / "moved")) + len(all_bodies(root)) == 61
    assert made.spooler.dropped() == {}


def test_a_service_that_changes_its_user_begins_a_new_directory(place: Path) -> None:
    """After setuid the old directory takes no new segment: a new one is begun and nothing is lost."""
    root = make_root(place)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            made = make(root, segment_bytes=20_000)
            assert put(made.logs, b"as root")
            become(SERVICE)
            assert all(put(made.logs, b"%d" % index + b"." * 1000) for index in range(100))
            assert made.spooler.dropped() == {}
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(all_bodies(root)) == 101
    assert {path.stat().st_uid for path in processes(root)} == {0, SERVICE}


def test_liveness_is_seen_across_pid_namespaces(tmp_path: Path) -> None:
    """A process in a PID namespace of its own, pid 1 there, is seen alive from here, and dead when it was killed."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-p", "-f", "true"], capture_output=True, check=False).returncode:
        pytest.skip("PID namespaces are not permitted here")
    root = make_root(tmp_path)
    code = """
import sys, time
from tests.sdk.spool_kit import *
made = make(sys.argv[1])
put(made.logs, b"x")
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [unshare, "-p", "-f", "--kill-child", sys.executable, "-c", code, str(root)],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        directory = only(root)
        assert directory.name.startswith("p1-")
        assert lives(directory)
        program.kill()
        program.wait()
        give_up = time.monotonic() + 40
        while lives(directory):  # its end follows that of unshare
            assert time.monotonic() < give_up


def test_a_root_of_another_user_is_taken_with_a_group_in_common(place: Path) -> None:
    """An emptyDir with fsGroup (root's, setgid, our group) works; one without is refused with what to set."""
    shared = place / "shared"
    shared.mkdir()
    os.chown(shared, 0, SIDECAR)
    shared.chmod(0o2777)
    assert answer(SIDECAR, lambda: prepare_root(str(shared))) == ""
    with as_user(SERVICE, service(shared)):
        pass
    assert answer(SIDECAR, lambda: look(shared)) == [False, "of the service"]
    shared.chmod(0o777)
    assert f"fsGroup to {SIDECAR}" in answer(SIDECAR, lambda: prepare_root(str(shared)))


def test_a_root_that_cannot_be_reached_names_the_directory(place: Path) -> None:
    """Below a directory that only its owner may pass, the sentence says which, and how to open it."""
    (place / "private").mkdir(mode=0o700)
    said = prepare_root(str(place / "private" / "spool"))
    assert f"chmod o+x {place / 'private'}" in said
