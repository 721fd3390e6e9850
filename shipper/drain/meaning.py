"""What a SIGTERM means: the end of a run (restart, upgrade; the disk stays) or the end of a life (the disk goes too).

Nearly every shipper takes the first for granted and so leaves its buffers on a disk that then disappears. On a host
that is not going down the first is right, and waiting for writers to leave would only make restarts slow.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Seconds that systemd gets to say whether it is going down. This runs in the event loop: systemctl answers within 10 ms
# (measured), and one that needs longer is not waited for while there is a drain to begin.
SYSTEM_STOPPING_TIMEOUT = 0.25

ENDS_WITH: tuple[tuple[str, str], ...] = (
    ("KUBERNETES_SERVICE_HOST", "a pod's disk goes with it"),
    ("ECS_CONTAINER_METADATA_URI_V4", "a task's disk goes with it"),
    ("ECS_CONTAINER_METADATA_URI", "a task's disk goes with it"),
    ("AWS_LAMBDA_RUNTIME_API", "a Lambda environment is not started again"),
    ("K_REVISION", "a Cloud Run instance is not started again"),
    ("CLOUD_RUN_JOB", "a Cloud Run task is not started again"),
    ("FLY_MACHINE_ID", "a Fly machine's root file system is made anew at each start"),
    ("NOMAD_ALLOC_ID", "an allocation's directory is removed with it"),
)
"""Variables by which a platform shows itself, and why a stop there is the end of a life."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Whether the stop ends the life, and the evidence, for the farewell."""

    ends_life: bool
    why: str


def read_meaning(ephemeral: bool | None, *, container: bool, env: Mapping[str, str], root: Path = Path("/")) -> Meaning:
    """Decide what a stop signal means now. ``ephemeral`` is the explicit setting (None: find out)."""
    if ephemeral is not None:
        return Meaning(ephemeral, "said by --ephemeral" if ephemeral else "said by --persistent")
    for variable, why in ENDS_WITH:
        if variable in env:
            return Meaning(True, why)
    if container:
        return Meaning(True, "a container's disk goes with it")
    if (root / "run/systemd/shutdown/scheduled").exists():
        return Meaning(True, "a shutdown is scheduled")
    if _system_is_stopping(root):
        return Meaning(True, "the system is stopping")
    return Meaning(False, "the host stays")


def _system_is_stopping(root: Path) -> bool:
    if not (root / "run/systemd/system").is_dir():
        return False
    try:
        answer = subprocess.run(
            ["systemctl", "is-system-running"],
            capture_output=True,
            text=True,
            timeout=SYSTEM_STOPPING_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        # systemd that cannot answer in time is as unknown as no systemd: a run's end is the safe reading,
        # since the state stays and a later run (or the next notice) takes it up.
        return False
    return answer.stdout.strip() == "stopping"
