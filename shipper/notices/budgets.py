"""How long a host has where nobody says so: what each platform is known to give, less what is lost on the way.

Nominal values, their sources and what is usually left when a notice is seen stand in docs/notices.md. Each budget has a name,
by which ``notices.budgets`` overrides it: whoever raised ``stopTimeout`` or ``terminationGracePeriodSeconds`` says so there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from shipper.errors import ConfigError

BUDGETS: Mapping[str, float] = {
    "ec2-spot": 60.0,  # the time is stated; this is for one that lies in the past while the host still lives
    "ec2-spot-hibernate": 5.0,
    "ec2-asg": 30.0,  # the shortest legal HeartbeatTimeout; a heartbeat restarts it
    "ec2-shutdown": 25.0,
    "ec2-scheduled": 60.0,
    "ecs": 28.0,
    "kubernetes": 25.0,  # SIGTERM to an ordinary container
    "kubernetes-prestop": 27.0,  # told by preStop at the pod's deletion: the whole grace less 3 s
    "kubernetes-sidecar": 2.0,  # SIGTERM to a native sidecar that got no preStop: what is left may be the minimum
    "kubernetes-node": 10.0,
    "gce-spot": 22.0,
    "gce-stop": 80.0,
    "gce-maintenance": 50.0,  # the key changes 60 s before
    "azure-preempt": 20.0,
    "azure-terminate": 240.0,
    "azure-reboot": 240.0,
    "azure-started": 5.0,
    "nomad": 4.0,
    "fly": 4.0,
    "cloud-run": 8.0,
    "lambda": 1.2,
    "docker": 8.0,
    "systemd": 85.0,
    "logind": 4.5,
    "openstack": 45.0,
    "alibaba-spot": 240.0,
    "by-hand": 25.0,
    "unknown": 10.0,
}
"""Seconds by name: the column "assume if not stated" of the table in docs/notices.md."""


class Budgets:
    """`BUDGETS` with what the configuration says in its place. Raises `ConfigError` for a name that nobody would ask for."""

    def __init__(self, overrides: Mapping[str, float] | None = None) -> None:
        for name in overrides or {}:
            if name not in BUDGETS:
                near = difflib.get_close_matches(name, BUDGETS, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ConfigError("notices.budgets", f"no budget {name!r}; {hint}known are: {', '.join(BUDGETS)}")
        self._seconds = {**BUDGETS, **(overrides or {})}

    def seconds(self, name: str) -> float:
        """The budget of that name; of a name nobody knows, the one for unknown platforms."""
        return self._seconds.get(name, self._seconds["unknown"])
