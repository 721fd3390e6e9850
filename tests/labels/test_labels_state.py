"""The state directory: writable, private, and held by one process at a time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shipper.errors import StateError, StateLocked, StateUnwritable
from shipper.labels.life import adopt_or_begin
from shipper.labels.state import lock_state, write_atomically
from shipper.labels.witness import witness
from shipper.testing.clock import FakeClock

HOLDER = """
import sys, time
from shipper.labels.state import lock_state
lock_state(sys.argv[1])
print('held', flush=True)
time.sleep(600)
"""
# what is needed is imported first: the interpreter may lie where nobody else may look
AS_NOBODY = """
import os, sys
from shipper.labels.state import lock_state
os.setuid(65534)
try:
    lock_state(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds a state directory, until killed."""
    started: list[subprocess.Popen[str]] = []

    def hold(path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_the_directory_is_made_so_that_nobody_else_can_read_it(tmp_path: Path) -> None:
    """Services of other users may pass it to their spool and see nothing of it; what was there keeps its mode."""
    with lock_state(str(tmp_path / "a" / "b")):
        assert os.stat(tmp_path / "a" / "b").st_mode & 0o777 == 0o711
        assert os.stat(tmp_path / "a" / "b" / "lock").st_mode & 0o777 == 0o600
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    shared.chmod(0o755)
    with lock_state(str(shared)):
        assert os.stat(shared).st_mode & 0o777 == 0o755


def test_a_second_process_is_refused_and_told_the_first_ones_pid(tmp_path: Path, holder) -> None:
    """Until the first is gone, in whatever way."""
    process = holder(tmp_path)
    with pytest.raises(StateLocked, match=f"pid {process.pid}"):
        lock_state(str(tmp_path))
    process.send_signal(signal.SIGKILL)
    process.wait()
    lock_state(str(tmp_path)).close()


def test_the_own_process_cannot_hold_it_twice(tmp_path: Path, holder) -> None:
    """POSIX locks would allow it, and the second close would silently free the first; both are prevented."""
    lock = lock_state(str(tmp_path))
    with pytest.raises(StateLocked, match="this process"):
        lock_state(str(tmp_path))
    refused = subprocess.run([sys.executable, "-c", HOLDER, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "StateLocked" in refused.stderr  # still held
    lock.close()
    lock.close()
    lock_state(str(tmp_path)).close()


def test_a_symbolic_link_as_directory_is_fine_as_lock_file_is_not(tmp_path: Path) -> None:
    """People link the state directory to another disk; a link inside it would make us write elsewhere."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    lock_state(str(tmp_path / "link")).close()
    (real / "lock").unlink()
    (real / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StateError, match="symbolic link"):
        lock_state(str(tmp_path / "link"))
    assert not (tmp_path / "victim").exists()


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    """A state directory that is a file, or lies below one, cannot be used and says so."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnwritable, match="not a directory"):
        lock_state(str(tmp_path / "file"))
    with pytest.raises(StateUnwritable, match="mount a writable directory at"):
        lock_state(str(tmp_path / "file" / "below"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_directory_of_somebody_else_names_the_mount_to_add(tmp_path: Path) -> None:
    """Without permission the error says what to mount, and where."""
    path = Path("/tmp") / f"shipper-test-{os.getpid()}"
    path.mkdir(mode=0o755)
    try:
        command = [sys.executable, "-c", AS_NOBODY, str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        path.rmdir()
    assert said.startswith("StateUnwritable")
    assert f"mountPath: {path}" in said
    assert "SHIPPER_STATE_DIR" in said


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare to mount")
@pytest.mark.parametrize(
    ("options", "what"), [("ro", "read-only file system"), ("size=4k,nr_inodes=2", "no space left")]
)
def test_a_read_only_or_full_file_system_is_one_sentence(tmp_path: Path, options: str, what: str) -> None:
    """A read-only root names the mount to add; a full disk says that room is needed."""
    script = (
        "import sys\nfrom shipper.errors import StateUnwritable\n"
        "from shipper.labels.life import *\nfrom shipper.labels.state import *\nfrom shipper.labels.witness import *\n"
        "from shipper.testing.clock import FakeClock\n"
        "try:\n lock_state(sys.argv[1]); adopt_or_begin(sys.argv[1], witness('/', {}), FakeClock())\n"
        "except StateUnwritable as error: print(error)\n"
    )
    mount = f'mount -t tmpfs -o {options} none {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount, script], capture_output=True, text=True, check=False)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert what in done.stdout, done.stderr
    assert str(tmp_path) in done.stdout


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare to mount")
def test_a_disk_that_is_full_at_a_restart_does_not_end_the_life(tmp_path: Path) -> None:
    """The disk filled by logs is just when a restarted sidecar must go on; the run is then not counted."""
    script = (
        "import os, sys\nfrom shipper.testing.clock import FakeClock\n"
        "from shipper.labels.life import *\nfrom shipper.labels.state import *\nfrom shipper.labels.witness import *\n"
        "d = sys.argv[1]; w = witness('/', {'SHIPPER_HOST': 'h'})\n"
        "with lock_state(d): first = adopt_or_begin(d, w, FakeClock())\n"
        "try:\n open(d + '/filler', 'wb').write(b'x' * (1 << 20))\nexcept OSError: pass\n"
        "with lock_state(d): again = adopt_or_begin(d, w, FakeClock())\n"
        "print(again.resumed, again.life == first.life, 'full' in again.reason, sorted(os.listdir(d)))\n"
    )
    mount = f'mount -t tmpfs -o size=64k none {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount, script], capture_output=True, text=True, check=False)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert done.stdout == "True True True ['filler', 'life.json', 'lock']\n", done.stderr


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves the old content and no draft behind."""
    path = str(tmp_path / "f")
    write_atomically(path, b"old")
    os.mkdir(tmp_path / "d")
    with pytest.raises(OSError, match="directory"):
        write_atomically(str(tmp_path / "d"), b"new")
    assert sorted(os.listdir(tmp_path)) == ["d", "f"]
    write_atomically(path, b"new", 0o644)
    assert (tmp_path / "f").read_bytes() == b"new"
    assert os.stat(path).st_mode & 0o777 == 0o644


def test_state_baked_into_an_image_is_set_aside_on_the_new_host(tmp_path: Path) -> None:
    """The builder's remains, copied byte for byte, do not become the new host's life."""
    builder = tmp_path / "builder"
    with lock_state(str(builder)):
        first = adopt_or_begin(str(builder), witness("/", {"SHIPPER_HOST": "builder"}), FakeClock())
    (builder / "ledger.db").write_text("x")
    shutil.copytree(builder, tmp_path / "host")
    with lock_state(str(tmp_path / "host")):
        second = adopt_or_begin(str(tmp_path / "host"), witness("/", {"SHIPPER_HOST": "web-1"}), FakeClock())
    assert second.life != first.life
    assert second.set_aside is not None
    assert "ledger.db" in os.listdir(second.set_aside)
