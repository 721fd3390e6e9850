"""On which platforms this host seems to run, told from DMI and the environment alone; nothing is asked for that.

A cloud's metadata service is asked only where something names the cloud: elsewhere the same address may be anybody's, and
no answer costs seconds. The order of `PLATFORMS` is that of belief: what runs a task or a pod says more about it than the
cloud whose machine that lies on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shipper.labels.container import AMAZON_TASK_VARIABLES
from shipper.labels.finding import Surroundings

DMI = "/sys/class/dmi/id/"
HYPERVISOR_UUID = "/sys/hypervisor/uuid"
AZURE_CHASSIS = "7783-7084-3265-9085-8269-3286-77"  # the same on every virtual machine of Azure, and on no other
# product names and chassis tags of OpenStack clouds, also those sold under another name (as cloud-init knows them)
_OPENSTACK_PRODUCTS = {"OpenStack Nova", "OpenStack Compute"}
_OPENSTACK_CHASSIS = {
    "OpenTelekomCloud",
    "SAP CCloud VM",
    "Samsung Cloud Platform",
    "HUAWEICLOUD",
    *_OPENSTACK_PRODUCTS,
}
_EC2_INSTANCE = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?")
_NUMBER = re.compile(r"[0-9]{1,20}")


SECONDS = 2.0
"""How long shipping waits for what a platform says, at most, and once in the life of a host."""


@dataclass(frozen=True, slots=True)
class Network:
    """Leave to ask a metadata service. ``endpoints``: `notices.endpoints` of the configuration; ``seconds``: for all of it."""

    endpoints: Mapping[str, str] = field(default_factory=dict)
    seconds: float = SECONDS


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform we know. ``recognise`` gives what names it, or empty text.

    ``service``: where its metadata service is, unless a variable of ``overrides`` or `notices.endpoints` (by ``name`` or
    ``alias``) says otherwise; empty: nowhere. ``service_six``: the same by IPv6, where the variable ``mode`` says IPv6.
    ``off``: a variable that forbids asking. ``workload``: it runs a task, pod or function rather than a machine. ``alone``: the
    cloud below cannot be asked from within, or has nothing to add.
    """

    name: str
    recognise: Callable[[Surroundings], str]
    service: str = ""
    alias: str = ""
    service_six: str = ""
    mode: str = ""
    overrides: tuple[str, ...] = ()
    off: str = ""
    workload: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Recognised:
    """A platform this host seems to run on, and what says so (``evidence``).

    ``endpoint``: where its metadata service can be asked; empty where there is none or asking is forbidden (``note`` then
    says so). ``stated``: somebody stated the endpoint; ``seen``: the host itself looks like that platform.
    """

    platform: Platform
    evidence: str
    endpoint: str = ""
    stated: bool = False
    seen: bool = True
    note: str = ""

    @property
    def name(self) -> str:
        """The platform's name."""
        return self.platform.name


def recognise(around: Surroundings, endpoints: Mapping[str, str] | None = None) -> tuple[Recognised, ...]:
    """Every platform that something names, strongest first; ``endpoints`` is `notices.endpoints` of the configuration."""
    found = (_look(platform, around, endpoints or {}) for platform in PLATFORMS)
    return tuple(one for one in found if one is not None)


def to_ask(found: tuple[Recognised, ...]) -> Recognised | None:
    """The one whose metadata service is worth asking. An endpoint that somebody stated counts for more than DMI."""
    for one in found:
        if one.platform.alone:
            return one if one.endpoint else None
    machines = [one for one in found if one.endpoint]
    return max(machines, key=lambda one: (one.stated, one.seen), default=None)


def _look(platform: Platform, around: Surroundings, endpoints: Mapping[str, str]) -> Recognised | None:
    evidence = platform.recognise(around)
    asked = bool(platform.service or platform.overrides)  # else an endpoint of that name is no metadata service
    for name in filter(None, (platform.name, platform.alias)):
        if asked and endpoints.get(name, "").strip():
            says = evidence or f"notices.endpoints.{name} is set"
            return Recognised(platform, says, _url(endpoints[name]), True, bool(evidence))
    override = next((name for name in platform.overrides if around.variable(name)), "")
    if not evidence and (platform.workload or not override):
        return None
    if platform.off and around.variable(platform.off).lower() in ("true", "1", "yes", "on"):
        return Recognised(platform, evidence or f"{override} is set", note=f"not asked: {platform.off} is set")
    six = platform.mode and around.variable(platform.mode).lower() == "ipv6"
    usual = platform.service_six if six else platform.service
    endpoint = _url(around.variable(override)) if override else usual
    return Recognised(platform, evidence or f"{override} is set", endpoint, bool(override), bool(evidence))


def instance_id(around: Surroundings) -> str:
    """What tells this machine from all others of its cloud, without asking it; empty where it cannot be told (so).

    Serial numbers may only be read by root; where they cannot, the metadata service or the hardware's UUID have to do.
    """
    vendor, serial = _dmi(around, "sys_vendor"), _dmi(around, "product_serial")
    if machine := around.variable("FLY_MACHINE_ID"):
        return machine
    if vendor == "Amazon EC2" and _EC2_INSTANCE.fullmatch(_dmi(around, "board_asset_tag")):
        return _dmi(around, "board_asset_tag")
    if (hypervisor := around.read_or_empty(HYPERVISOR_UUID).lower()).startswith("ec2"):
        return hypervisor
    if serial.startswith("GoogleCloud-") or (vendor in ("DigitalOcean", "Hetzner") and _NUMBER.fullmatch(serial)):
        return serial
    return ""


def _url(text: str) -> str:
    """``GCE_METADATA_HOST`` is a host with or without a port, the other variables are URLs."""
    text = text.strip().rstrip("/")
    return text if "://" in text else f"http://{text}"


def _dmi(around: Surroundings, name: str) -> str:
    return around.read_or_empty(DMI + name)


def _dmi_is(name: str, *values: str) -> Callable[[Surroundings], str]:
    def look(around: Surroundings) -> str:
        value = _dmi(around, name)
        return f"dmi {name} {value}" if value in values else ""

    return look


def _set(*variables: str) -> Callable[[Surroundings], str]:
    def look(around: Surroundings) -> str:
        return next((f"{name} is set" for name in variables if around.variable(name)), "")

    return look


def _ec2(around: Surroundings) -> str:
    for name in ("sys_vendor", "bios_vendor", "board_vendor"):  # Nitro, also bare metal
        if (value := _dmi(around, name)) == "Amazon EC2":
            return f"dmi {name} {value}"
    for path in (DMI + "product_uuid", HYPERVISOR_UUID):  # Xen
        if around.read_or_empty(path).lower().startswith("ec2") and _dmi(around, "sys_vendor") in ("Xen", ""):
            return f"{path} begins with ec2"
    return ""


def _gce(around: Surroundings) -> str:
    if _dmi(around, "product_serial").startswith("GoogleCloud-"):
        return "dmi product_serial GoogleCloud-..."
    return _dmi_is("product_name", "Google Compute Engine", "Google")(around)


def _openstack(around: Surroundings) -> str:
    by_product = _dmi_is("product_name", *_OPENSTACK_PRODUCTS)(around)
    return by_product or _dmi_is("chassis_asset_tag", *_OPENSTACK_CHASSIS)(around)


def _cloud_run(around: Surroundings) -> str:
    """Knative on a cluster sets the same variables (and `knative` reads them); there no Google service is to be asked."""
    if around.variable("KUBERNETES_SERVICE_HOST"):
        return ""
    return _set("K_SERVICE", "CLOUD_RUN_JOB")(around)


def _kubernetes(around: Surroundings) -> str:
    named = _set("KUBERNETES_SERVICE_HOST")(around)
    return named or ("/etc/podinfo is mounted" if around.exists("/etc/podinfo/labels") else "")


_LINK_LOCAL = "http://169.254.169.254"  # by number, also Google's: looking up a name has no time limit
PLATFORMS = (
    Platform("ecs", _set(*AMAZON_TASK_VARIABLES), overrides=AMAZON_TASK_VARIABLES, workload=True, alone=True),
    Platform("lambda", _set("AWS_LAMBDA_FUNCTION_NAME"), workload=True, alone=True),
    Platform("cloud_run", _cloud_run, _LINK_LOCAL, overrides=("GCE_METADATA_HOST",), workload=True, alone=True),
    Platform("fly", _set("FLY_MACHINE_ID", "FLY_ALLOC_ID"), workload=True, alone=True),
    Platform("kubernetes", _kubernetes, workload=True),
    Platform("nomad", _set("NOMAD_ALLOC_ID"), workload=True),
    Platform(
        "ec2",
        _ec2,
        _LINK_LOCAL,
        "aws",
        "http://[fd00:ec2::254]",
        mode="AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        overrides=("AWS_EC2_METADATA_SERVICE_ENDPOINT",),
        off="AWS_EC2_METADATA_DISABLED",
    ),
    Platform("gce", _gce, _LINK_LOCAL, "gcp", overrides=("GCE_METADATA_HOST",)),
    Platform("azure", _dmi_is("chassis_asset_tag", AZURE_CHASSIS), _LINK_LOCAL),
    Platform("openstack", _openstack, _LINK_LOCAL),
    Platform("digitalocean", _dmi_is("sys_vendor", "DigitalOcean"), _LINK_LOCAL),
    Platform("hetzner", _dmi_is("sys_vendor", "Hetzner"), _LINK_LOCAL),
    Platform("alibaba", _dmi_is("product_name", "Alibaba Cloud ECS"), "http://100.100.100.200"),
)
"""Every platform we know, in the order of belief."""
