"""Which platforms to listen to: those the configuration names, or those this host seems to run on.

``auto`` looks at what the firmware says (DMI) and at the environment, never at the network: asking a metadata service that is
not there costs seconds, and asking a wrong one may get an answer. What could be there beside a cloud (systemd, Kubernetes, a
touch file) is listened to as well: many hosts carry several clocks at once, and the earliest counts.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shipper.clock import Clock
from shipper.errors import ConfigError, ShipperError
from shipper.events import Problem, Reporter, Said
from shipper.labels.finding import Surroundings
from shipper.labels.platform import Recognised, recognise
from shipper.notice import Hold, NoticeWatcher
from shipper.notices.budgets import Budgets
from shipper.notices.times import Times


@dataclass(frozen=True, slots=True)
class Around:
    """What a platform may look at when its watchers are made. ``endpoints``: configured addresses by name."""

    clock: Clock
    report: Reporter
    times: Times
    surroundings: Surroundings
    endpoints: Mapping[str, str] = field(default_factory=dict)
    budgets: Budgets = field(default_factory=Budgets)
    touch_file: str = ""
    asg_hooks: Sequence[str] = ()

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of the sidecar."""
        return self.surroundings.env

    def cloud(self, name: str) -> Recognised | None:
        """What tells that this host runs on that platform of `shipper.labels.platform`; None when nothing does."""
        return next((one for one in recognise(self.surroundings, self.endpoints) if one.name == name), None)

    def endpoint(self, name: str, usual: str) -> str:
        """Where the platform's metadata service is asked: as configured, as its own variables say, else where it usually is."""
        found = self.cloud(name)
        return (found.endpoint if found is not None else "") or usual


@dataclass(frozen=True, slots=True)
class Platform:
    """What listens to one platform, and what can keep it waiting."""

    watchers: tuple[NoticeWatcher, ...] = ()
    holds: tuple[Hold, ...] = ()


Maker = Callable[[Around], Platform]
Sign = Callable[[Around], bool]


@dataclass(frozen=True, slots=True)
class Known:
    """A platform by name: how it shows without the network, and how its watchers are made (an import happens only then)."""

    here: Sign
    make: Maker


def choose(watch: list[str], around: Around, *, hold: bool) -> Platform:
    """The watchers and holds wanted. A part that is not installed is said and left out. Raises `ConfigError` for a name
    nobody knows.
    """
    names: list[str] = []
    for name in names_of(watch):
        if name == "auto":
            names += [known for known, platform in PLATFORMS.items() if platform.here(around)]
        else:
            names.append(name)
    watchers: list[NoticeWatcher] = []
    holds: list[Hold] = []
    for name in dict.fromkeys(names):
        try:
            made = PLATFORMS[name].make(around)
        except ShipperError as problem:
            around.report(Problem("notice-source", f"{name} is not listened to: {problem}", name))
            continue
        watchers += made.watchers
        holds += made.holds if hold else ()
    return Platform(tuple(watchers), tuple(holds))


def names_of(watch: Sequence[str]) -> Sequence[str]:
    """The same names, when all of them are known; else raises `ConfigError`."""
    for name in watch:
        if name != "auto" and name not in PLATFORMS:
            near = difflib.get_close_matches(name, [*PLATFORMS, "auto"], n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError("notices.watch", f"no platform {name!r}; {hint}known are: auto, {', '.join(PLATFORMS)}")
    return watch


# -- the platforms ---------------------------------------------------------------------------------------------------


def _gce(around: Around) -> Platform:
    from shipper.notices.gce import ENDPOINT, GceWatcher

    return Platform(
        (GceWatcher(clock=around.clock, times=around.times, endpoint=around.endpoint("gce", ENDPOINT)),),
    )


def _azure(around: Around) -> Platform:
    from shipper.notices.azure import ENDPOINT, AzureWatcher, ScheduledEvents
    from shipper.notices.azure_hold import AzureHold

    events = ScheduledEvents(clock=around.clock, endpoint=around.endpoint("azure", ENDPOINT))
    return Platform(
        (AzureWatcher(clock=around.clock, times=around.times, events=events),),
        (AzureHold(clock=around.clock, report=around.report, events=events),),
    )


def _alibaba(around: Around) -> Platform:
    from shipper.notices.alibaba import ENDPOINT, AlibabaWatcher

    return Platform(
        (AlibabaWatcher(clock=around.clock, times=around.times, endpoint=around.endpoint("alibaba", ENDPOINT)),)
    )


def _digitalocean(around: Around) -> Platform:
    from shipper.notices.digitalocean import ENDPOINT, DigitalOceanWatcher

    return Platform((DigitalOceanWatcher(clock=around.clock, endpoint=around.endpoint("digitalocean", ENDPOINT)),))


def _lambda(around: Around) -> Platform:
    from shipper.notices.lambda_extension import LambdaWatcher

    api = around.endpoints.get("lambda") or around.env.get("AWS_LAMBDA_RUNTIME_API", "")
    if not api:
        raise ConfigError("notices.watch", "names lambda, but AWS_LAMBDA_RUNTIME_API is not set: this is no extension")
    return Platform(
        (LambdaWatcher(clock=around.clock, report=around.report, times=around.times, runtime_api=api),),
    )


def _ec2(around: Around) -> Platform:
    from shipper.notices.asg import LifecycleLook
    from shipper.notices.asg_hold import AsgHold
    from shipper.notices.ec2 import Ec2Watcher
    from shipper.notices.ec2_rebalance import RebalanceLook
    from shipper.notices.ec2_scheduled import ScheduledLook
    from shipper.notices.ec2_spot import SpotLook
    from shipper.notices.imds import ENDPOINT, Imds, version_1_allowed

    found = around.cloud("ec2")
    if found is not None and found.note:
        around.report(Said(f"ec2 is not listened to: {found.note}"))
        return Platform()
    clock, endpoint = around.clock, around.endpoint("ec2", ENDPOINT)
    imds = Imds(clock=clock, endpoint=endpoint, version_1=version_1_allowed(around.env))
    group = LifecycleLook()
    spot, scheduled = SpotLook(clock=clock, times=around.times), ScheduledLook(times=around.times)
    hold = AsgHold(
        clock=clock,
        report=around.report,
        imds=imds,
        look=group,
        hooks=around.asg_hooks,
        endpoint=around.endpoints.get("autoscaling", ""),
        imds_endpoint=endpoint,
    )
    return Platform((Ec2Watcher(clock=clock, imds=imds, looks=(spot, group, RebalanceLook(), scheduled)),), (hold,))


def _ecs(around: Around) -> Platform:
    from shipper.notices.ecs import EcsWatcher, seconds_of
    from shipper.notices.ecs_hold import EcsHold

    metadata = around.endpoint("ecs", "")
    if not metadata:
        raise ConfigError("notices.watch", "ecs: ECS_CONTAINER_METADATA_URI_V4 does not say where to ask")
    stop_timeout = seconds_of(around.surroundings.variable("ECS_CONTAINER_STOP_TIMEOUT"))
    agent = around.surroundings.variable("ECS_AGENT_URI")
    return Platform(
        (EcsWatcher(clock=around.clock, metadata_uri=metadata, stop_timeout=stop_timeout),),
        (EcsHold(clock=around.clock, report=around.report, agent_uri=agent),) if agent else (),
    )


def _is_ec2_machine(around: Around) -> bool:
    """Fargate and Lambda look like EC2 machines, but have none of their metadata."""
    inside = around.surroundings.variable("AWS_EXECUTION_ENV")
    return around.cloud("ec2") is not None and inside != "AWS_ECS_FARGATE" and not inside.startswith("AWS_Lambda")


def _touch_file(around: Around) -> Platform:
    from shipper.notices.touch_file import TouchFileWatcher

    if not around.touch_file:
        raise ConfigError("notices.touch_file", "is empty, and notices.watch names touch-file: say which file")
    return Platform((TouchFileWatcher(clock=around.clock, path=around.touch_file),))


def _systemd(around: Around) -> Platform:
    from shipper.notices.sd_notify import ServiceManager
    from shipper.notices.shutdown_file import ShutdownFileWatcher
    from shipper.notices.systemd_hold import SystemdHold

    manager = ServiceManager(env=around.env, report=around.report)
    watcher = ShutdownFileWatcher(clock=around.clock, times=around.times, root=around.surroundings.root)
    return Platform((watcher,), (SystemdHold(clock=around.clock, manager=manager),) if manager.listens else ())


def _logind(around: Around) -> Platform:
    from shipper.notices.logind import LogindHold, LogindWatcher
    from shipper.notices.logind_bus import Logind

    stop_seconds = 0.0
    # A unit is stopped only after the delay; how long the machine then lasts is its cloud's.
    if around.env.get("INVOCATION_ID"):
        budget = next((name for cloud, name in _MACHINE_STOPS.items() if around.cloud(cloud)), "systemd")
        stop_seconds = around.budgets.seconds(budget)
    in_pod = "KUBERNETES_SERVICE_HOST" in around.env
    logind = Logind(address=around.endpoints.get("logind", "") or around.env.get("DBUS_SYSTEM_BUS_ADDRESS", ""))
    return Platform(
        (LogindWatcher(clock=around.clock, logind=logind, stop_seconds=stop_seconds, in_pod=in_pod),),
        (LogindHold(clock=around.clock, report=around.report, logind=logind),),
    )


_MACHINE_STOPS = {"ec2": "ec2-shutdown", "gce": "gce-stop", "openstack": "openstack"}


def _booted_by_systemd(around: Around) -> bool:
    return around.surroundings.exists("/run/systemd/system")  # sd_booted(3)


def _cloud(name: str) -> Sign:
    return lambda around: around.cloud(name) is not None


PLATFORMS: Mapping[str, Known] = {
    "ec2": Known(_is_ec2_machine, _ec2),
    "ecs": Known(_cloud("ecs"), _ecs),
    "gce": Known(_cloud("gce"), _gce),
    "azure": Known(_cloud("azure"), _azure),
    "alibaba": Known(_cloud("alibaba"), _alibaba),
    "digitalocean": Known(_cloud("digitalocean"), _digitalocean),
    "systemd": Known(lambda around: _booted_by_systemd(around) or bool(around.env.get("NOTIFY_SOCKET")), _systemd),
    "logind": Known(lambda around: _booted_by_systemd(around) or "logind" in around.endpoints, _logind),
    "lambda": Known(lambda around: bool(around.env.get("AWS_LAMBDA_RUNTIME_API")), _lambda),
    "touch-file": Known(lambda around: bool(around.touch_file), _touch_file),
}
"""By name, in the order they are shown. What a platform needs is imported only where it is listened to."""
