"""Puts the node agent together, beside the run of the agent itself."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from shipper import __version__
from shipper.build_destinations import own_addresses
from shipper.clock import Clock
from shipper.conductor import Conductor
from shipper.config import Config
from shipper.contracts import ExporterContext
from shipper.errors import ConfigError
from shipper.events import Problem, Reporter
from shipper.labels.cloud.kubernetes import VARIABLES
from shipper.labels.finding import Surroundings
from shipper.labels.machine import host_name
from shipper.node.agent import Node
from shipper.node.api import SERVICE_ACCOUNT, ApiServer, in_cluster
from shipper.node.exporters import Destinations
from shipper.node.places import is_of_pods
from shipper.node.watch import PodWatch
from shipper.parts import Parts

OFF, AUTO = "off", "auto"


def without_pods(config: Config) -> Config:
    """The configuration of the agent's own run: files of pods are not its own, and no service hands over to it.

    A service that did would arrive under the agent's name.
    """
    files = [group for group in config.files if not is_of_pods(group, config.node.pods_dir)]
    services = msgspec.structs.replace(config.services, enabled=False)
    return msgspec.structs.replace(config, files=files, services=services)


def make_node(
    config: Config, parts: Parts, conductor: Conductor, *, env: Mapping[str, str], clock: Clock, report: Reporter
) -> Node:
    """The pods, beside ``parts``. Raises `ShipperError`."""
    _allow_descriptors()
    context = ExporterContext(
        clock, parts.decision.life, parts.decision.run, f"Shipper/{__version__}", own_addresses(config, "sidecar")
    )
    watch = _watch(config, env=env, clock=clock, report=report)
    return Node(config, parts, conductor, Destinations(context, clock), watch, env=env, clock=clock, report=report)


def _allow_descriptors() -> None:
    """As many as the system lets us have: a pod takes a dozen, and many systems begin with 1024 for a process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _watch(config: Config, *, env: Mapping[str, str], clock: Clock, report: Reporter) -> PodWatch | None:
    settings = config.node
    if settings.api == OFF:
        return None
    url = in_cluster(env) if settings.api == AUTO else settings.api
    around = Surroundings("/", env)
    name = settings.name or around.variable(*VARIABLES["k8s.node.name"]) or host_name(around)
    if not url:
        report(Problem("kubernetes-api", "this is no pod, so nobody is asked who the pods are; set node.api", "none"))
        return None
    if not name:
        raise ConfigError("node.name", "nothing tells which node this is: set NODE_NAME from spec.nodeName")
    api = ApiServer(
        url,
        token_file=settings.token_file or str(SERVICE_ACCOUNT / "token"),
        ca_file=settings.ca_file or str(SERVICE_ACCOUNT / "ca.crt"),
        clock=clock,
    )
    return PodWatch(api, name, clock=clock, report=report)
