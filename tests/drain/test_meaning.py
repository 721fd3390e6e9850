"""What a SIGTERM means is decided by what is known about the host, explicit words first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.drain.meaning import read_meaning


@pytest.mark.parametrize("explicit", [True, False])
def test_the_explicit_word_beats_all_evidence(tmp_path: Path, explicit: bool) -> None:
    """--ephemeral and --persistent decide, wherever the process runs."""
    meaning = read_meaning(explicit, container=True, env={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, root=tmp_path)
    assert meaning.ends_life is explicit


@pytest.mark.parametrize(
    ("env", "container"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
        ({"ECS_CONTAINER_METADATA_URI_V4": "http://x"}, False),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}, False),
        ({"K_REVISION": "checkout-00001"}, False),
        ({"CLOUD_RUN_JOB": "nightly"}, False),
        ({"FLY_MACHINE_ID": "148e"}, False),
        ({"NOMAD_ALLOC_ID": "5f1c"}, False),
        ({}, True),
    ],
)
def test_what_runs_a_workload_takes_its_disk_with_it(tmp_path: Path, env: dict[str, str], container: bool) -> None:
    """In a pod, a task, an allocation, a function or a plain container a stop ends the life."""
    assert read_meaning(None, container=container, env=env, root=tmp_path).ends_life


def test_on_a_host_that_stays_a_stop_ends_only_the_run(tmp_path: Path) -> None:
    """Without any sign that the host goes down, a SIGTERM is a restart."""
    assert not read_meaning(None, container=False, env={}, root=tmp_path).ends_life


def test_a_scheduled_shutdown_ends_the_life(tmp_path: Path) -> None:
    """When systemd has a shutdown scheduled, the stop is part of it."""
    (tmp_path / "run/systemd/shutdown").mkdir(parents=True)
    (tmp_path / "run/systemd/shutdown/scheduled").write_text("USEC=1\nMODE=poweroff\n")
    assert read_meaning(None, container=False, env={}, root=tmp_path).ends_life


@pytest.mark.parametrize(
    ("script", "ends_life"),
    [
        ("echo stopping; exit 1", True),
        ("echo running", False),
        ("echo degraded; exit 1", False),
        ("exec sleep 30", False),  # as unknown as no systemd, and waited for a quarter of a second only
    ],
)
def test_systemd_is_asked_whether_the_system_is_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, ends_life: bool
) -> None:
    """On a booted system its own word decides; one that does not answer is not waited for."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f"#!/bin/sh\n{script}\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    assert read_meaning(None, container=False, env={}, root=tmp_path).ends_life is ends_life
