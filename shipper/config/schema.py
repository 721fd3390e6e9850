"""Every setting there is, with its meaning, unit and default; what belongs to one subject stands in a file beside this one.

The structs are frozen and refuse unknown keys. Empty text means "not set" where a default is worked out at load time
(state directory and what lies in it), so that the finished `Config` a room sees has no open questions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from shipper.config.inputs import AuthoritiesPath, CertificatePath, KeyPath, SecretPath
from shipper.config.schema_ending import Drain, Notices
from shipper.config.schema_numbers import Deploys, Metrics, Requests, Verdicts
from shipper.config.schema_receivers import Receivers
from shipper.config.schema_routes import Fallback, Route
from shipper.config.schema_shape import Redact
from shipper.config.schema_sources import FileLimits, Files, Jobs, Journal, Services, Traces
from shipper.config.section import Section as Section
from shipper.config.units import Seconds, Size, Word

Role: TypeAlias = Literal["sidecar", "gateway"]
"""What this process is; some settings are demanded of one role only."""


MIB = 1 << 20


class Labels(Section, frozen=True):
    """Who this host is, where it is known better than it can be detected. Empty: detect it."""

    service: Annotated[str, Meta(description="service.name of what runs here.")] = ""
    release: Annotated[str, Meta(description="The release this host runs (service.version).")] = ""
    image: Annotated[str, Meta(description="The image it was born from: a digest, an AMI, a reference.")] = ""
    generation: Annotated[str, Meta(description="One deploy's set of hosts; a rollback makes a new one.")] = ""
    generation_started: Annotated[
        str, Meta(description="When that deploy began: RFC 3339, or seconds since the epoch.")
    ] = ""
    release_built: Annotated[
        str, Meta(description="When the release was built: RFC 3339, or seconds since the epoch.")
    ] = ""
    environment: Annotated[str, Meta(description="deployment.environment.name: production, staging, ...")] = ""
    host: Annotated[str, Meta(description="A name for this host that no other host has.")] = ""
    attributes: Annotated[dict[str, str], Meta(description="Further resource attributes put on every record.")] = (
        msgspec.field(default_factory=dict)
    )


class Destination(Section, frozen=True):
    """Where to send; what ``options`` may hold is the exporter's own matter, in the file they stand beside ``type``."""

    type: Annotated[str, Meta(description="The exporter, by its entry-point name.")] = "otlp"
    options: Annotated[dict[str, Any], Meta(description="The exporter's settings.")] = msgspec.field(
        default_factory=dict
    )


class Admin(Section, frozen=True):
    """How to ask this process how it is."""

    listen: Annotated[str, Meta(description="host:port for /metrics, /livez and /readyz over TCP; empty: off.")] = (
        "127.0.0.1:9477"
    )
    insecure: Annotated[
        bool, Meta(description="Allow an address that is not loopback: whoever reaches it can read the metrics.")
    ] = False
    socket: Annotated[str, Meta(description="Unix socket for shipper status and drain; <state_dir>/admin.sock.")] = ""


class Account(Section, frozen=True):
    """The account of this life that is kept off-host."""

    interval: Annotated[
        Seconds, Meta(description="How often it is stated to destinations that keep accounts.", ge=0.1)
    ] = 15.0


class Log(Section, frozen=True):
    """Shipper's own log, on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="The least that is said.")] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="For people, or one JSON object a line.")] = "text"


class Quarantine(Section, frozen=True):
    """What destinations refuse for good is set aside on disk."""

    max_bytes: Annotated[
        Size, Meta(description="Disk space for it; beyond that, refused records are dropped and counted.")
    ] = 256 * MIB


class Gateway(Section, frozen=True):
    """The OTLP receiver of `shipper gateway`."""

    listen: Annotated[str, Meta(description="host:port or unix:/path to receive OTLP/HTTP on.")] = "127.0.0.1:4318"
    grpc: Annotated[str, Meta(description="host:port or unix:/path to receive OTLP/gRPC on; empty or off: none.")] = ""
    tls_cert: Annotated[CertificatePath, Meta(description="PEM file with the certificate chain.")] = ""
    tls_key: Annotated[KeyPath, Meta(description="PEM file with its private key.")] = ""
    token_file: Annotated[
        SecretPath, Meta(description="File whose first line is the bearer token that clients must send.")
    ] = ""
    insecure: Annotated[bool, Meta(description="Allow an address that is not loopback without TLS and a token.")] = (
        False
    )
    max_body: Annotated[Size, Meta(description="Largest request body as it comes over the wire.")] = 64 * MIB
    max_decompressed: Annotated[Size, Meta(description="Largest request body once decompressed.")] = 64 * MIB
    fsync: Annotated[
        Literal["always", "interval", "never"],
        Meta(description="When spooled data is forced to disk: before it is acknowledged, every 0.2 s, or by the OS."),
    ] = "always"
    spool_max: Annotated[Size, Meta(description="Disk space for what the destinations have not yet taken.")] = 4 << 30


class Node(Section, frozen=True):
    """The agent of a Kubernetes node (docs/kubernetes.md); read by `shipper node` only."""

    pods_dir: Annotated[str, Meta(description="Where the kubelet keeps the logs of pods.")] = "/var/log/pods"
    name: Annotated[str, Meta(description="The node's name; else NODE_NAME, else the host name.")] = ""
    api: Annotated[
        str, Meta(description="The API server: auto is the one of this cluster, off asks none, else its URL.")
    ] = "auto"
    token_file: Annotated[
        SecretPath, Meta(description="The token to show there; not set: that of the service account.")
    ] = ""
    ca_file: Annotated[
        AuthoritiesPath, Meta(description="Who vouches for it; not set: as for the service account.")
    ] = ""
    namespaces: Annotated[list[Word], Meta(description="Globs of namespaces whose pods are shipped; not set: all.")] = (
        msgspec.field(default_factory=list)
    )
    exclude_namespaces: Annotated[list[Word], Meta(description="Globs of namespaces that are left out.")] = (
        msgspec.field(default_factory=list)
    )
    wait: Annotated[
        Seconds, Meta(description="How long a new pod waits for the API server to say who it is.", ge=0)
    ] = 2.0
    quiet: Annotated[
        Seconds, Meta(description="How long nothing was written by a pod that is gone before its life ends.", ge=0)
    ] = 10.0


class Config(Section, frozen=True):
    """All settings of a sidecar or a gateway."""

    state_dir: Annotated[
        str, Meta(description="Ledger, life, quarantine; /var/lib/shipper, or the XDG state directory when not root.")
    ] = ""
    spool_dir: Annotated[str, Meta(description="Where services spool to; <state_dir>/spool.")] = ""
    adopt: Annotated[
        Literal["auto", "always", "never"],
        Meta(
            description="Ship what an earlier life (before a reboot, the pod before) left in state_dir under its own "
            "identity: if it surely was this host's, in any case, or never."
        ),
    ] = "auto"
    labels: Annotated[Labels, Meta(description="Who this host is.")] = Labels()
    node: Annotated[Node, Meta(description="Only read by shipper node.")] = Node()
    files: Annotated[list[Files], Meta(description="Log files to tail.")] = msgspec.field(default_factory=list)
    file_limits: Annotated[FileLimits, Meta(description="Bounds on tailing.")] = FileLimits()
    journal: Annotated[list[Journal], Meta(description="Journals of systemd to read.")] = msgspec.field(
        default_factory=list
    )
    destinations: Annotated[
        dict[str, Destination], Meta(description="Where everything goes, by a name of your choice.")
    ] = msgspec.field(default_factory=dict)
    routes: Annotated[
        list[Route], Meta(description="Which records go where; a destination that none names gets everything.")
    ] = msgspec.field(default_factory=list)
    fallback: Annotated[Fallback, Meta(description="Who stands in for destinations that are down.")] = Fallback()
    mode: Annotated[
        Literal["default", "low-exposure"],
        Meta(description="low-exposure: send at once, at the price of more and smaller requests."),
    ] = "default"
    drain: Annotated[Drain, Meta(description="How to end.")] = Drain()
    notices: Annotated[Notices, Meta(description="How to hear of the end.")] = Notices()
    admin: Annotated[Admin, Meta(description="Metrics, health, and the admin socket.")] = Admin()
    account: Annotated[Account, Meta(description="The account kept off-host.")] = Account()
    services: Annotated[Services, Meta(description="What services hand over by the SDK.")] = Services()
    receivers: Annotated[Receivers, Meta(description="What listens on this host.")] = Receivers()
    jobs: Annotated[Jobs, Meta(description="What runs under shipper exec.")] = Jobs()
    traces: Annotated[Traces, Meta(description="Which spans are shipped.")] = Traces()
    requests: Annotated[Requests, Meta(description="Requests and errors, from server spans.")] = Requests()
    metrics: Annotated[Metrics, Meta(description="The numbers shipped from this host.")] = Metrics()
    redact: Annotated[
        list[Redact], Meta(description="Secrets that are masked in everything that is shipped; [] masks nothing.")
    ] = msgspec.field(default_factory=list)
    log: Annotated[Log, Meta(description="Shipper's own log.")] = Log()
    quarantine: Annotated[Quarantine, Meta(description="What was refused for good.")] = Quarantine()
    deploys: Annotated[Deploys, Meta(description="Deploys and their series.")] = Deploys()
    verdicts: Annotated[Verdicts, Meta(description="Whether the newest generations are worse.")] = Verdicts()
    gateway: Annotated[Gateway, Meta(description="Only read by shipper gateway.")] = Gateway()

    @property
    def standby(self) -> str:
        """The destination that stands in for the others in need; empty: there is none."""
        return self.fallback.destination or self.drain.fallback
