"""The units are valid, say the order they promise, leave little exposed, and what they forbid is nothing the sidecar needs."""

from __future__ import annotations

import asyncio
import configparser
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.testing.platforms.logind import PrivateLogind
from shipper.testing.platforms.logind import why_not as why_no_logind
from shipper.testing.sink import Sink

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "packaging/systemd"
EXPOSURE = 2.4  # of systemd-analyze security; above all the network, capabilities and setgid are left
ANALYZE = shutil.which("systemd-analyze")
PATIENCE = 40.0
needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze here")


class Unit(configparser.RawConfigParser):
    """A unit file: keys may come again, and lists are joined."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit(name: str) -> Unit:
    parsed = Unit(strict=False, allow_no_value=True)
    parsed.read(UNITS / name)
    return parsed


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A file tree in which the units are installed and their programs exist."""
    system = tmp_path / "usr/lib/systemd/system"
    system.mkdir(parents=True)
    for program in ("opt/shipper/bin/shipper", "usr/bin/checkout"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    shutil.copy(UNITS / "shipper.service", system)
    for name in ("sysinit", "basic", "shutdown", "network-online", "nss-lookup", "multi-user"):
        (system / f"{name}.target").write_text("[Unit]\nDescription=a target\nDefaultDependencies=no\n")
    for name in ("dbus.socket", "dbus.service", "systemd-logind.service", "system.slice"):
        shutil.copy(f"/usr/lib/systemd/system/{name}", system) if Path(
            f"/usr/lib/systemd/system/{name}"
        ).exists() else None
    (system / "checkout.service").write_text("[Unit]\nDescription=a service\n[Service]\nExecStart=/usr/bin/checkout\n")
    drop_in = tmp_path / "etc/systemd/system/checkout.service.d/10-shipper.conf"
    drop_in.parent.mkdir(parents=True)
    shutil.copy(UNITS / "service-after-shipper.conf", drop_in)
    return tmp_path


@needs_analyze
def test_systemd_has_nothing_to_say_against_the_units(tree: Path) -> None:
    """`systemd-analyze verify` is silent about the sidecar, and about a service with the drop-in."""
    command = [str(ANALYZE), "verify", "--man=no", f"--root={tree}", "shipper.service", "checkout.service"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in answer.stderr.splitlines() if "shipper" in line or "checkout" in line]
    assert ours == []
    assert answer.returncode == 0


@needs_analyze
def test_the_sidecar_leaves_little_exposed() -> None:
    """`systemd-analyze security` gives no more than the level that is stated here."""
    command = [str(ANALYZE), "security", "--offline=true", "--no-pager", str(UNITS / "shipper.service")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    level = re.search(r"exposure level for shipper.service: ([\d.]+)", answer.stdout)
    assert level is not None, answer.stdout + answer.stderr
    assert float(level[1]) <= EXPOSURE


def test_the_sidecar_starts_after_the_network_and_before_what_runs_services() -> None:
    """Stopping is the reverse: services first, then the sidecar, then the network."""
    section = unit("shipper.service")["Unit"]
    assert {"network-online.target", "nss-lookup.target"} <= set(section["After"].split())
    assert "network-online.target" in section["Wants"].split()
    assert {"docker.service", "kubelet.service"} <= set(section["Before"].split())
    assert "DefaultDependencies" not in section  # so it is stopped when the system is
    drop_in = unit("service-after-shipper.conf")["Unit"]
    assert drop_in["After"] == drop_in["Wants"] == "shipper.service"


def test_our_delay_wins_over_those_that_distributions_set() -> None:
    """logind merges drop-ins by name, and the last counts."""
    names = ["zz-shipper.conf", "99-kubelet.conf", "unattended-upgrades-logind-maxdelay.conf"]
    assert sorted(names)[-1] == "zz-shipper.conf"
    assert unit("zz-shipper.conf")["Login"]["InhibitDelayMaxSec"] == "90"


@pytest.mark.skipif(bool(why_no_logind()), reason=why_no_logind())
def test_the_real_logind_takes_our_drop_in() -> None:
    """After a SIGHUP its limit is ours."""

    async def scenario() -> None:
        with tempfile.TemporaryDirectory(prefix="logind") as directory:
            async with PrivateLogind(Path(directory), longest_delay=5) as logind:
                logind.config.write_text((UNITS / "zz-shipper.conf").read_text())
                logind.reload()
                async with asyncio.timeout(PATIENCE):
                    while await logind.longest_delay() != 90:  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.02)

    asyncio.run(scenario())


# -- the confinement -----------------------------------------------------------------------------------------------------

_CONFINED = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(65, 1, 0, 0, 0) == 0  # PR_SET_MDWE: what MemoryDenyWriteExecute= does
os.umask(0o077)
os.execv(sys.executable, [sys.executable, "-m", "shipper", "run"])
"""


def why_not_confined() -> str:
    """What is missing to run a process as the unit does, without systemd."""
    if os.geteuid() != 0:
        return "only root can confine a process as systemd does"
    for tool in ("unshare", "setpriv"):
        if shutil.which(tool) is None:
            return f"there is no {tool} here"
    if ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) < 0:  # PR_GET_MDWE
        return "this kernel has no PR_SET_MDWE"
    return ""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may pass (pytest's own is private)."""
    with tempfile.TemporaryDirectory(prefix="confined") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.mark.skipif(bool(why_not_confined()), reason=why_not_confined())
def test_it_works_as_confined_as_the_unit_has_it(open_directory: Path) -> None:
    """As a user with the two capabilities of the unit, no new privileges, a read-only tree and no writable code, it ships
    a log that only another user may read, and waits for its writer.
    """
    service = unit("shipper.service")["Service"]
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_DAC_READ_SEARCH CAP_LEASE"
    capabilities = "-all,+dac_read_search,+lease"
    state, log = open_directory / "state", open_directory / "logs/app.log"
    state.mkdir()
    os.chown(state, 4242, 4242)
    os.chmod(state, int(service["StateDirectoryMode"], 8))
    log.parent.mkdir(mode=0o700)
    log.write_text("first words\n")
    os.chmod(log, 0o600)
    for path in (log.parent, log):
        os.chown(path, 5555, 5555)
    script = f"""
    mount --bind {state} {state}; mount -o remount,ro,bind /
    exec setpriv --reuid=4242 --regid=4242 --clear-groups --no-new-privs --inh-caps={capabilities} \\
        --ambient-caps={capabilities} --bounding-set={capabilities} "$@"
    """

    async def scenario() -> None:
        async with Sink() as sink:
            env = {
                "PATH": os.environ["PATH"],
                "SHIPPER_STATE_DIR": str(state),
                "SHIPPER_OTLP_ENDPOINT": sink.url,
                "SHIPPER_TAIL": str(log),
                "SHIPPER_ADMIN_LISTEN": "off",
                "SHIPPER_NOTICES_WATCH": "systemd",
                "SHIPPER_DRAIN_EPHEMERAL": "true",
                "SHIPPER_DRAIN_DEADLINE": "60s",
            }
            command = ["unshare", "--mount", "sh", "-ec", script, "sh", sys.executable, "-c", _CONFINED]
            shipper = await asyncio.create_subprocess_exec(*command, env=env, cwd=ROOT)
            try:
                async with asyncio.timeout(PATIENCE):
                    while "first words" not in _lines(sink):  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.02)
                    with open(log, "a") as writer:
                        shipper.terminate()
                        while not list(state.glob("spool/host.json")):  # noqa: ASYNC110 - another process
                            await asyncio.sleep(0.02)
                        await asyncio.sleep(0.05)
                        assert shipper.returncode is None
                        writer.write("last words\n")
                    assert await shipper.wait() == 0
            finally:
                if shipper.returncode is None:
                    shipper.kill()
                    await shipper.wait()
            assert "last words" in _lines(sink)
            assert (state / "spool").stat().st_mode & 0o7777 == 0o3733
            assert (state / "spool/host.json").stat().st_mode & 0o777 == 0o644

    asyncio.run(scenario())


def _lines(sink: Sink) -> list[str]:
    return [line for request in sink.kept() for line in request.lines()]


# -- the bake ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory away")
def test_baking_leaves_a_state_directory_of_the_sidecars_user_and_nothing_of_the_builder(tmp_path: Path) -> None:
    """`shipper-bake` writes release.json, wipes state, empties the machine-id, and gives the spool to the unit's user."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nshipper:x:998:997::/var/lib/shipper:/sbin/nologin\n"
    )
    (tmp_path / "etc/machine-id").write_text("f" * 32 + "\n")
    (tmp_path / "var/lib/shipper").mkdir(parents=True)
    (tmp_path / "var/lib/shipper/life.json").write_text("{}")
    shipper = tmp_path / "shipper"
    shipper.write_text(f'#!/bin/sh\nexec {sys.executable} -m shipper "$@"\n')
    shipper.chmod(0o755)
    env = {"PATH": os.environ["PATH"], "IMAGE_ROOT": str(tmp_path), "SHIPPER": str(shipper)}
    answer = subprocess.run(
        [UNITS / "shipper-bake", "--service", "checkout", "--release", "1.4.2"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert '"1.4.2"' in (tmp_path / "etc/shipper/release.json").read_text()
    assert (tmp_path / "etc/machine-id").read_text() == ""
    state = tmp_path / "var/lib/shipper"
    assert not (state / "life.json").exists()
    for path in (state, state / "spool"):
        assert (path.stat().st_uid, path.stat().st_gid) == (998, 997)
    assert (state / "spool").stat().st_mode & 0o7777 == 0o3733


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="there is no systemd-sysusers here")
def test_the_sidecars_user_is_made_by_sysusers(tmp_path: Path) -> None:
    """The file is valid: in a tree of its own, the user is there afterwards."""
    config = tmp_path / "usr/lib/sysusers.d/shipper.conf"
    config.parent.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    shutil.copy(UNITS / "shipper.sysusers", config)
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], check=True, capture_output=True)
    assert re.search(r"^shipper:.*:/var/lib/shipper:", (tmp_path / "etc/passwd").read_text(), re.M)
