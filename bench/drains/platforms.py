"""All platforms whose way to end a host is measured."""

from __future__ import annotations

from collections.abc import Mapping

from bench.drains.containers import CloudRun, Docker, Ecs, Fly, Kubernetes, Lambda, Nomad
from bench.drains.ending import Platform
from bench.drains.machines import Asg, Azure, Ec2Spot, Gce, Logind, Systemd

PLATFORMS: Mapping[str, type[Platform]] = {
    one.name: one
    for one in (Ec2Spot, Asg, Ecs, Kubernetes, Gce, Azure, Logind, Systemd, Docker, Nomad, Fly, CloudRun, Lambda)
}
