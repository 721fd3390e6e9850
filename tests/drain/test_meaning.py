"""What a SIGTERM means is decided by what is known about the host, explicit words first."""

from __future__ import annotations

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
        ({}, True),
    ],
)
def test_a_pod_a_task_and_a_container_take_their_disk_with_them(
    tmp_path: Path, env: dict[str, str], container: bool
) -> None:
    """In a pod, an ECS task or a plain container a stop ends the life."""
    assert read_meaning(None, container=container, env=env, root=tmp_path).ends_life


def test_on_a_host_that_stays_a_stop_ends_only_the_run(tmp_path: Path) -> None:
    """Without any sign that the host goes down, a SIGTERM is a restart."""
    assert not read_meaning(None, container=False, env={}, root=tmp_path).ends_life


def test_a_scheduled_shutdown_ends_the_life(tmp_path: Path) -> None:
    """When systemd has a shutdown scheduled, the stop is part of it."""
    (tmp_path / "run/systemd/shutdown").mkdir(parents=True)
    (tmp_path / "run/systemd/shutdown/scheduled").write_text("USEC=1\nMODE=poweroff\n")
    assert read_meaning(None, container=False, env={}, root=tmp_path).ends_life
