"""Whose end is waited for: real processes, and control groups of both versions as files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shipper.drain import cgroups
from shipper.drain.endings import Endings, parse
from shipper.drain.state import State
from shipper.errors import ConfigError
from shipper.events import Metrics, Reporter
from shipper.testing.clock import FakeClock
from tests.drain.drainkit import LIFE, NOTICE, Stage

CONTAINER = "4f" * 32


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def endings(*entries: str, root: Path = Path("/"), clock: FakeClock | None = None) -> Endings:
    clock = clock or FakeClock()
    return Endings(entries, clock=clock, report=Reporter(clock, Metrics()), root=root)


def group_v2(root: Path, path: str, populated: bool) -> Path:
    """A control group of version 2 as the kernel shows it."""
    base = root / "sys/fs/cgroup"
    directory = base / path
    directory.mkdir(parents=True, exist_ok=True)
    (base / "cgroup.procs").touch()
    (directory / "cgroup.procs").touch()
    (directory / "cgroup.events").write_text(f"populated {int(populated)}\nfrozen 0\n")
    return directory


def group_v1(root: Path, path: str, *pids: int) -> Path:
    """A control group of version 1, in systemd's own tree."""
    base = root / "sys/fs/cgroup/systemd"
    directory = base / path
    directory.mkdir(parents=True, exist_ok=True)
    (base / "cgroup.procs").touch()
    (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    return directory


def remove(directory: Path) -> None:
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()


def test_a_process_has_ended_when_it_is_dead_and_not_before() -> None:
    """pid: is alive, then ended, also as a zombie that nobody has asked for yet."""
    with sleeper() as process:
        one = endings(f"pid:{process.pid}")
        assert one.ended() is False
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but not reaped
        assert one.ended() is True
    assert one.ended() is True


def test_a_number_that_was_given_away_again_is_not_the_process() -> None:
    """What was dead when it was first seen says nothing, whoever bears its number later."""
    with sleeper() as process:
        process.kill()
        process.wait()
        assert endings(f"pid:{process.pid}").ended() is None


def test_a_pidfile_is_followed_through_a_restart(tmp_path: Path) -> None:
    """Another number in the file is another process; a file that is gone says nothing while the process lives."""
    path = tmp_path / "app.pid"
    one = endings(f"pidfile:{path}")
    assert one.ended() is None
    with sleeper() as first, sleeper() as second:
        path.write_text(f"{first.pid}\n")
        assert one.ended() is False
        path.write_text(f" {second.pid} \n")
        first.kill()
        assert one.ended() is False
        path.unlink()
        assert one.ended() is False
        second.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, second.pid, os.WEXITED | os.WNOWAIT)
        assert one.ended() is True


@pytest.mark.parametrize("content", [b"", b"none\n", b"-1", b"99999999999999999999", b"\xff\xfe" * 100, b"0"])
def test_a_pidfile_with_anything_else_in_it_is_unknown(tmp_path: Path, content: bytes) -> None:
    """Nonsense in the file is neither an end nor a crash."""
    path = tmp_path / "app.pid"
    path.write_bytes(content)
    assert endings(f"pidfile:{path}").ended() is None


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("unit:app", "system.slice/app.service"),
        ("unit:app@1.service", "system.slice/system-app.slice/app@1.service"),
        ("cgroup:system.slice/app.service", "system.slice/app.service"),
        ("cgroup:/sys/fs/cgroup/system.slice/app.service", "system.slice/app.service"),
        (f"container:{CONTAINER[:12]}", f"system.slice/docker-{CONTAINER}.scope"),
        (f"container:{CONTAINER}", f"kubepods.slice/kubepods-pod1.slice/cri-containerd-{CONTAINER}.scope"),
    ],
)
def test_a_group_has_ended_when_nothing_runs_in_it(tmp_path: Path, entry: str, path: str) -> None:
    """Version 2: populated, then not, then removed by systemd."""
    directory = group_v2(tmp_path, path, populated=True)
    one = endings(entry, root=tmp_path)
    assert one.ended() is False
    group_v2(tmp_path, path, populated=False)
    assert one.ended() is True
    remove(directory)
    assert one.ended() is True


def test_version_1_is_understood_as_well(tmp_path: Path) -> None:
    """Without cgroup.events the processes of the group and of those below it count."""
    outer = group_v1(tmp_path, "system.slice/app.service")
    inner = group_v1(tmp_path, "system.slice/app.service/worker", 4711)
    one = endings("unit:app", root=tmp_path)
    assert one.ended() is False
    group_v1(tmp_path, "system.slice/app.service/worker")
    assert one.ended() is True
    remove(inner)
    remove(outer)
    assert one.ended() is True


def test_a_unit_that_was_never_seen_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A typing error is said once and takes no unit that is not there for one that has ended."""
    group_v2(tmp_path, "system.slice/app.service", populated=True)
    one = endings("unit:ap", root=tmp_path)
    assert one.ended() is None
    assert one.ended() is None
    assert caplog.text.count("unit:ap was not seen alive here") == 1
    assert one.describe() == ["unit:ap (never seen)"]


def test_a_unit_that_starts_later_is_found(tmp_path: Path) -> None:
    """The sidecar starts before its services: they are searched for again."""
    clock = FakeClock()
    group_v2(tmp_path, "system.slice", populated=True)
    one = endings("unit:app", root=tmp_path, clock=clock)
    assert one.ended() is None
    directory = group_v2(tmp_path, "system.slice/app.service", populated=True)
    clock.advance(5)
    assert one.ended() is False
    remove(directory)
    assert one.ended() is True


def test_a_host_without_control_groups_says_nothing(tmp_path: Path) -> None:
    """Inside a container there may be no tree at all."""
    assert endings("unit:app", f"container:{CONTAINER}", "cgroup:x.slice", root=tmp_path).ended() is None


def test_all_of_them_have_to_end(tmp_path: Path) -> None:
    """One that lives keeps the drain waiting; one that cannot be told leaves it open."""
    group_v2(tmp_path, "a.service", populated=True)
    group_v2(tmp_path, "b.service", populated=True)
    both = endings("unit:a", "unit:b", root=tmp_path)
    both.ended()
    group_v2(tmp_path, "a.service", populated=False)
    assert both.ended() is False
    group_v2(tmp_path, "b.service", populated=False)
    assert both.ended() is True
    mixed = endings("unit:c", "unit:b", root=tmp_path)
    assert mixed.ended() is None
    assert endings().ended() is None


def test_the_kernel_shows_a_group_of_this_process() -> None:
    """The real tree of this machine is read: the root of it is populated, by ourselves at least."""
    trees = cgroups.hierarchies(Path("/"))
    if not trees:
        pytest.skip("no control groups are mounted here")
    assert any(cgroups.populated(tree) for tree in trees)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("", "names nobody"),
        ("unit:", "names nobody"),
        ("app.service", "names nobody"),
        ("process:12", "is not known"),
        ("unit:system.slice/app", "not the name of a unit"),
        ("pid:app", "not the number"),
        ("pid:0", "not the number"),
        ("pid:-5", "not the number"),
        ("pid:٣", "not the number"),
        ("pidfile:run/app.pid", "not an absolute path"),
        ("container:web", "not a container's id"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(entry: str, problem: str) -> None:
    """A clear sentence names the entry by its path in the configuration."""
    with pytest.raises(ConfigError, match=problem) as refused:
        parse(entry, "drain.wait_for[0]")
    assert refused.value.path == "drain.wait_for[0]"
    with pytest.raises(ConfigError, match=problem):
        endings("pid:1", entry)


# -- in a drain ----------------------------------------------------------------------------------------------------------


class Told(Endings):
    """Endings that a test decides."""

    def __init__(self, stage: Stage) -> None:
        super().__init__([], clock=stage.clock, report=stage.report)
        self.answer: bool | None = False

    def ended(self) -> bool | None:
        return self.answer


def told(stage: Stage) -> Told:
    """Let the drain of a stage wait for what the test says."""
    endings = Told(stage)
    make = stage.drain.__class__
    stage.drain = make(
        state=stage.state,
        sources=[stage.source],
        pumps=[stage.primary],
        farewell=stage._farewell,
        clock=stage.clock,
        report=stage.report,
        quiet_seconds=0.0,
        reserve_seconds=1.0,
        endings=endings,
    )
    return endings


def test_a_drain_waits_for_those_it_was_told_to_wait_for() -> None:
    """Silence of the files is not the end while a named service lives; its end is, also for a notice alone."""
    for order in (LIFE, NOTICE):
        stage = Stage(met=False)
        endings = told(stage)
        assert stage.carry_out(order, 60, (20.0, lambda e=endings: setattr(e, "answer", True))).state is State.DRAINED
        assert 20 < stage.farewells[0][1] < 20.1


def test_a_named_service_that_never_ends_does_not_outlast_the_deadline() -> None:
    """Waiting is bounded by the deadline."""
    stage = Stage()
    told(stage)
    assert stage.carry_out(LIFE, 10).state is State.EXPIRED
    assert stage.farewells[0][1] < 9.1


def test_one_that_cannot_be_told_leaves_it_to_quiet() -> None:
    """Unknown is not alive: a stop then goes by the usual quiet time."""
    stage = Stage()
    told(stage).answer = None
    assert stage.carry_out(LIFE, 60).state is State.DRAINED
    assert stage.farewells[0][1] < 0.1
