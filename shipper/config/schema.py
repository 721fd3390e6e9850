"""Every setting there is, with its meaning, unit and default; the one place where a setting is added.

The structs are frozen and refuse unknown keys. Empty text means "not set" where a default is worked out at load time
(state directory and what lies in it), so that the finished `Config` a room sees has no open questions.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from shipper.config.schema_routes import Fallback, Route
from shipper.config.section import Section as Section
from shipper.config.units import Seconds, Size, Word

Role: TypeAlias = Literal["sidecar", "gateway"]
"""What this process is; some settings are demanded of one role only."""

MultilineKind: TypeAlias = Literal["preset", "start", "continuation", "indent"]
"""By what lines are joined to events."""

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


class Multiline(Section, frozen=True):
    """How the lines of a stack trace become one record. Exactly one of preset, start, continuation and indent is given."""

    shorthand: ClassVar[str] = "preset"

    preset: Annotated[
        Literal["", "java", "python", "go", "dotnet", "ruby"],
        Meta(description="Stack traces as this language writes them, joined to the line before."),
    ] = ""
    start: Annotated[str, Meta(description="A line in which this regular expression is found begins an event.")] = ""
    continuation: Annotated[
        str, Meta(description="A line in which this regular expression is found goes on with the event before.")
    ] = ""
    indent: Annotated[
        bool, Meta(description="A line that begins with a space or a tab, or is blank, goes on with the event before.")
    ] = False
    timeout: Annotated[
        Seconds, Meta(description="How long after the last growth of the file its last event counts as complete.", ge=0)
    ] = 0.5
    max_lines: Annotated[int, Meta(description="An event of more lines is split and its parts are marked.", ge=1)] = 500
    max_bytes: Annotated[
        Size, Meta(description="A larger event is split and its parts are marked; holds instead of `max_line_bytes`.")
    ] = MIB

    @property
    def kinds(self) -> list[MultilineKind]:
        """Which of the ways are given."""
        kinds: tuple[MultilineKind, ...] = ("preset", "start", "continuation", "indent")
        return [kind for kind in kinds if getattr(self, kind)]


SeverityName: TypeAlias = Literal["", "trace", "debug", "info", "warn", "error", "fatal"]
"""A border between severities; empty: none."""


class ShapeCondition(Section, frozen=True):
    """What records a rule is about: all that is given must hold. An entry may also be just an expression."""

    shorthand: ClassVar[str] = "match"
    one_a_line: ClassVar[bool] = True

    match: Annotated[str, Meta(description="A regular expression found in the text, or in the field.")] = ""
    field: Annotated[str, Meta(description="A field by name, dots lead into objects; alone it must only be there.")] = (
        ""
    )
    at_least: Annotated[SeverityName, Meta(description="The severity is this or worse.")] = ""
    below: Annotated[SeverityName, Meta(description="The severity is known and less than this.")] = ""


class Shape(Section, frozen=True):
    """What is understood of records, and which of them are shipped (docs/shapes.md)."""

    shorthand: ClassVar[str] = "parse"

    parse: Annotated[
        Literal["auto", "plain", "json", "logfmt", "regex", "common"],
        Meta(description="How a text is read; auto: JSON where it begins with {, else as a plain line."),
    ] = "auto"
    pattern: Annotated[str, Meta(description="For regex: an expression with a named group for each field.")] = ""
    fields: Annotated[
        list[Word],
        Meta(
            description="Fields that become attributes, by name; all; none. Not set: all for regex, common and "
            "`body: message`, else none."
        ),
    ] = msgspec.field(default_factory=list)
    body: Annotated[
        Literal["text", "message"],
        Meta(description="Whether the body is the text as it was written, or the message in it."),
    ] = "text"
    timezone: Annotated[
        str, Meta(description="Of times that name none: UTC, local, an offset such as +02:00, or a name.")
    ] = "UTC"
    time_format: Annotated[
        str, Meta(description="How times are written (strptime), where they are not recognised.")
    ] = ""
    drop: Annotated[list[ShapeCondition], Meta(description="Records for which one of these holds are left out.")] = (
        msgspec.field(default_factory=list)
    )
    keep: Annotated[
        list[ShapeCondition], Meta(description="If given, records for which none of these holds are left out.")
    ] = msgspec.field(default_factory=list)
    sample: Annotated[
        float, Meta(description="Share of the rest that is shipped, by trace or text; errors always are.", ge=0, le=1)
    ] = 1.0


class Files(Section, frozen=True):
    """A group of log files to tail."""

    include: Annotated[list[str], Meta(description="Globs of files to tail; ** crosses directories.", min_length=1)]
    exclude: Annotated[list[str], Meta(description="Globs of files to leave out.")] = msgspec.field(
        default_factory=list
    )
    start_at: Annotated[
        Literal["beginning", "end"], Meta(description="Where to begin in a file that exists at the first start.")
    ] = "beginning"
    max_line_bytes: Annotated[Size, Meta(description="A longer line is split and its parts are marked.")] = MIB
    hold: Annotated[Seconds, Meta(description="How long an unfinished last line may wait for its end.")] = 0.5
    format: Annotated[
        Literal["auto", "plain", "cri", "docker"],
        Meta(description="What writes the files; auto: a container's file is recognised by its lines and its place."),
    ] = "auto"
    encoding: Annotated[
        Literal["auto", "utf-8", "utf-16le", "utf-16be", "latin-1", "windows-1252"],
        Meta(description="Encoding of the text; auto: UTF-8, or UTF-16 where a file begins with its byte order mark."),
    ] = "auto"
    ignore_older: Annotated[
        Seconds,
        Meta(
            description="Of files not written to for so long when first seen, only what is appended is read; 0: all are.",
            ge=0,
        ),
    ] = 0.0
    attributes: Annotated[dict[str, str], Meta(description="Attributes put on every record of these files.")] = (
        msgspec.field(default_factory=dict)
    )
    when_full: Annotated[
        Literal["drop_oldest", "block"],
        Meta(
            description="When `file_limits.held_max` is reached: the oldest is given up, or nothing is, and no more is copied."
        ),
    ] = "drop_oldest"
    multiline: Annotated[
        Multiline | None, Meta(description="Join lines to events; not set: every line is a record.")
    ] = None
    shape: Annotated[
        Shape | None, Meta(description="Understand records; not set: each is shipped as it was written.")
    ] = None


class Journal(Section, frozen=True):
    """systemd's journal (docs/journald.md); `journal: {}` reads this machine's."""

    shorthand: ClassVar[str] = "directory"
    alone: ClassVar[bool] = True  # may stand by itself instead of in a list

    name: Annotated[
        Word, Meta(description="What its streams are called; of several journals, each needs another one.")
    ] = "journal"
    directory: Annotated[
        str,
        Meta(description="Where its files lie, as for journalctl -D; not set: where this machine's journal is kept."),
    ] = ""
    files: Annotated[list[str], Meta(description="Globs of journal files, instead of a directory.")] = msgspec.field(
        default_factory=list
    )
    namespace: Annotated[str, Meta(description="A namespace of this machine's journal (LogNamespace=).")] = ""
    boot: Annotated[
        Literal["current", "all"], Meta(description="Ship entries of the present boot only, or all that there are.")
    ] = "current"
    start_at: Annotated[
        Literal["beginning", "end"], Meta(description="Where to begin in what is there at the first start.")
    ] = "beginning"
    units: Annotated[
        list[Word], Meta(description="Ship only entries of these units; globs, .service need not be said.")
    ] = msgspec.field(default_factory=list)
    exclude_units: Annotated[list[Word], Meta(description="Leave out entries of these units.")] = msgspec.field(
        default_factory=list
    )
    identifiers: Annotated[list[str], Meta(description="Ship only entries with these syslog identifiers; globs.")] = (
        msgspec.field(default_factory=list)
    )
    exclude_identifiers: Annotated[list[str], Meta(description="Leave out entries with these.")] = msgspec.field(
        default_factory=list
    )
    priority: Annotated[
        Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"],
        Meta(description="The least urgent priority that is shipped."),
    ] = "debug"
    kernel: Annotated[
        Literal["auto", "true", "false"],
        Meta(description="Ship the kernel's messages; auto: unless units or identifiers are named."),
    ] = "auto"
    fields: Annotated[
        list[Word],
        Meta(description="Fields that become attributes by their own names, besides the usual ones: names, all, none."),
    ] = msgspec.field(default_factory=list)
    attributes: Annotated[dict[str, str], Meta(description="Attributes put on every record of this journal.")] = (
        msgspec.field(default_factory=dict)
    )
    service_from_unit: Annotated[
        bool, Meta(description="service.name is the unit of each entry, instead of that of the host.")
    ] = False
    max_message: Annotated[Size, Meta(description="A longer message is split and its parts are marked.")] = MIB
    shape: Annotated[
        Shape | None, Meta(description="Understand messages; not set: each is shipped as it was written.")
    ] = None


class FileLimits(Section, frozen=True):
    """Bounds on the tailing of files as a whole."""

    max_open_files: Annotated[
        int,
        Meta(description="Descriptors held open at most; 0: half of what the process may have, at most 1024.", ge=0),
    ] = 0
    poll_interval: Annotated[
        Seconds, Meta(description="How often to look where the kernel does not notify.", ge=0.01)
    ] = 1.0
    held_max: Annotated[
        Size,
        Meta(
            description="In an outage, what is unread of deleted and truncated files is copied to the state directory, up to so much.",
            ge=0,
        ),
    ] = 1 << 30


class Destination(Section, frozen=True):
    """Where to send; what ``options`` may hold is the exporter's own matter, in the file they stand beside ``type``."""

    type: Annotated[str, Meta(description="The exporter, by its entry-point name.")] = "otlp"
    options: Annotated[dict[str, Any], Meta(description="The exporter's settings.")] = msgspec.field(
        default_factory=dict
    )


class Drain(Section, frozen=True):
    """What happens on SIGTERM, SIGINT, `shipper drain`, or a notice."""

    deadline: Annotated[
        Seconds,
        Meta(description="Time a drain may take after a stop signal; 0: what the platform usually gives.", ge=0),
    ] = 0.0
    quiet: Annotated[
        Seconds, Meta(description="Silence that counts as the end, once no writer is left as far as that can be told.")
    ] = 0.25
    reserve: Annotated[Seconds, Meta(description="Time kept before the deadline for the farewell.")] = 1.0
    ephemeral: Annotated[
        Literal["auto", "true", "false"],
        Meta(description="Whether a SIGTERM ends the life of the host (true), or only this run (false)."),
    ] = "auto"
    fallback: Annotated[
        str,
        Meta(description="A destination that is used only in a drain whose other destinations fail or are too slow."),
    ] = ""
    services_grace: Annotated[
        Seconds,
        Meta(
            description="How long a hold waits, with nothing left to send, for services that are still writing.", ge=0
        ),
    ] = 30.0
    wait_for: Annotated[
        list[Word],
        Meta(
            description="Whose end a drain waits for: unit:NAME, cgroup:PATH, pid:NUMBER, pidfile:PATH, container:ID."
        ),
    ] = msgspec.field(default_factory=list)


class Notices(Section, frozen=True):
    """Word that the host will die (docs/notices.md)."""

    watch: Annotated[
        list[Word], Meta(description="Platforms to listen to by name; auto: those that this host seems to run on.")
    ] = msgspec.field(default_factory=lambda: ["auto"])
    endpoints: Annotated[
        dict[str, str],
        Meta(description="Where metadata services are, by name (aws, gce, azure, ...), if not where usual."),
    ] = msgspec.field(default_factory=dict)
    budgets: Annotated[
        dict[str, Seconds], Meta(description="Time assumed where a platform states none, by name of the budget.")
    ] = msgspec.field(default_factory=dict)
    lead: Annotated[
        Seconds, Meta(description="How long before its time a scheduled notice begins a drain, at least.", ge=1)
    ] = 120.0
    touch_file: Annotated[
        str, Meta(description="A drain begins when this file appears, and is taken back when it goes; empty: off.")
    ] = ""
    asg_hooks: Annotated[
        list[Word],
        Meta(
            description="Auto Scaling terminate hooks to complete when empty; none: the only one, or one named *shipper*."
        ),
    ] = msgspec.field(default_factory=list)
    hold: Annotated[
        bool, Meta(description="Keep platforms waiting that let themselves, while there is something to save.")
    ] = True


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
    tls_cert: Annotated[str, Meta(description="PEM file with the certificate chain.")] = ""
    tls_key: Annotated[str, Meta(description="PEM file with its private key.")] = ""
    token_file: Annotated[
        str, Meta(description="File whose first line is the bearer token that clients must send.")
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


class Receiver(Section, frozen=True):
    """What receivers have in common. Loopback and unix sockets are safe; other addresses need what their protocol has."""

    tls_cert: Annotated[str, Meta(description="PEM file with the certificate chain.")] = ""
    tls_key: Annotated[str, Meta(description="PEM file with its private key.")] = ""
    insecure: Annotated[
        bool, Meta(description="Allow an address that is not loopback without TLS and without knowing the clients.")
    ] = False


class OtlpReceiver(Receiver, frozen=True):
    """OTLP from services on this host, by stock OpenTelemetry SDKs; `otlp: {}` is enough. Only read by shipper run."""

    http: Annotated[str, Meta(description="host:port or unix:/path for OTLP/HTTP; empty or off: none.")] = (
        "127.0.0.1:4318"
    )
    grpc: Annotated[str, Meta(description="host:port or unix:/path for OTLP/gRPC; empty or off: none.")] = (
        "127.0.0.1:4317"
    )
    token_file: Annotated[
        str, Meta(description="File whose first line is the bearer token that clients must send.")
    ] = ""
    max_body: Annotated[Size, Meta(description="Largest request as it comes over the wire.")] = 16 * MIB
    max_decompressed: Annotated[Size, Meta(description="Largest request once decompressed.")] = 64 * MIB


class ForwardReceiver(Receiver, frozen=True):
    """The forward protocol of Fluentd, Fluent Bit and their loggers; `forward: {}` is enough."""

    tcp: Annotated[str, Meta(description="host:port for TCP, with TLS where tls_cert is given; empty: off.")] = (
        "127.0.0.1:24224"
    )
    socket: Annotated[str, Meta(description="Path of a unix socket; empty: off.")] = ""
    shared_key_file: Annotated[
        str, Meta(description="File whose first line is the key that clients must know (shared_key, Shared_Key).")
    ] = ""
    users_file: Annotated[
        str, Meta(description="File of name:password lines; clients must then be one of these users as well.")
    ] = ""
    hostname: Annotated[
        str, Meta(description="What clients see as this server's name; not set: the name of the machine.")
    ] = ""
    body: Annotated[
        list[str], Meta(description="The first of these keys that a record has is its text; the rest are attributes.")
    ] = msgspec.field(default_factory=lambda: ["log", "message", "msg"])
    max_message: Annotated[Size, Meta(description="Largest message (a chunk), also once decompressed.")] = 32 * MIB
    max_connections: Annotated[int, Meta(description="Connections at once.", ge=1)] = 512
    idle: Annotated[
        Seconds, Meta(description="Close a connection on which nothing came for so long; 0: never.", ge=0)
    ] = 0.0


class SyslogReceiver(Receiver, frozen=True):
    """Syslog of RFC 5424 and RFC 3164; listens where an address or a path is given."""

    udp: Annotated[str, Meta(description="host:port for datagrams; empty: off.")] = ""
    tcp: Annotated[str, Meta(description="host:port for plain TCP; empty: off.")] = ""
    tls: Annotated[str, Meta(description="host:port for TLS (RFC 5425), with tls_cert and tls_key; empty: off.")] = ""
    socket: Annotated[str, Meta(description="Path of a unix socket for datagrams, such as /dev/log; empty: off.")] = ""
    stream_socket: Annotated[str, Meta(description="Path of a unix socket for streams; empty: off.")] = ""
    tls_client_ca: Annotated[
        str, Meta(description="PEM file of the authorities that must have signed the certificates of TLS clients.")
    ] = ""
    zone: Annotated[
        str, Meta(description="Zone of times that name none: local, UTC, an offset such as +02:00, or Europe/Berlin.")
    ] = "local"
    max_message: Annotated[Size, Meta(description="A longer message is split, and its parts are marked.")] = 64 << 10
    max_connections: Annotated[int, Meta(description="Connections at once.", ge=1)] = 512
    idle: Annotated[
        Seconds, Meta(description="Close a connection on which nothing came for so long; 0: never.", ge=0)
    ] = 0.0


class Receivers(Section, frozen=True):
    """What listens for services that do not use the SDK (docs/receivers.md); all are off unless named."""

    otlp: Annotated[OtlpReceiver | None, Meta(description="OTLP/HTTP and OTLP/gRPC.")] = None
    forward: Annotated[ForwardReceiver | None, Meta(description="The Fluent forward protocol.")] = None
    syslog: Annotated[SyslogReceiver | None, Meta(description="Syslog.")] = None
    fsync: Annotated[
        Literal["always", "interval", "never"],
        Meta(description="When received data is forced to disk: before it is acknowledged, every 0.2 s, or by the OS."),
    ] = "interval"
    spool_max: Annotated[
        Size, Meta(description="Disk space for each signal of a receiver that the destinations have not yet taken.")
    ] = 1 << 30
    when_full: Annotated[
        Literal["refuse", "drop_oldest"],
        Meta(description="Then: refuse, so that clients wait and try again, or drop the oldest and count it."),
    ] = "refuse"


class Services(Section, frozen=True):
    """Services that hand over by the SDK, below spool_dir (docs/handoff.md)."""

    enabled: Annotated[bool, Meta(description="Make the spool directory, and ship what services put there.")] = True
    process_max: Annotated[
        Size, Meta(description="Disk space for what one process put aside; beyond, it drops its oldest and counts.")
    ] = 64 * MIB
    host_max: Annotated[
        Size,
        Meta(description="Disk space for what all processes put aside; beyond, the oldest is dropped and counted."),
    ] = 512 * MIB


class Jobs(Section, frozen=True):
    """What programs write that run under `shipper exec` (docs/exec.md)."""

    multiline: Annotated[
        Multiline | None, Meta(description="Join lines to events; not set: every line is a record.")
    ] = None
    shape: Annotated[
        Shape | None, Meta(description="Understand records; not set: each is shipped as it was written.")
    ] = None


class Traces(Section, frozen=True):
    """Which of the services' spans are shipped. Requests are counted before, from all of them."""

    keep: Annotated[
        float, Meta(description="Share of traces shipped, 0 to 1, by a hash of the trace id.", ge=0, le=1)
    ] = 1.0
    slow: Annotated[
        Seconds,
        Meta(description="A span that took so long keeps its trace, like an error does; 0: only errors do.", ge=0),
    ] = 0.0


class LogRequests(Section, frozen=True):
    """Requests of a service that only its log tells of; an entry may also be just a glob, of files in the common format."""

    shorthand: ClassVar[str] = "files"

    files: Annotated[list[str], Meta(description="Globs of tailed files.", min_length=1)]
    format: Annotated[
        str, Meta(description="common (access logs, combined too), json, or a regular expression with named groups.")
    ] = "common"
    status: Annotated[
        str, Meta(description="Field, or group, of the HTTP status; 500 and above is an error.", min_length=1)
    ] = "status"
    level: Annotated[
        str, Meta(description="Field, or group, of the severity; ERROR and worse is an error.", min_length=1)
    ] = "level"
    duration: Annotated[
        str, Meta(description="Field, or group, of how long it took; may have its unit.", min_length=1)
    ] = "duration"
    unit: Annotated[Literal["s", "ms", "us", "ns"], Meta(description="Of a duration that has none.")] = "s"
    route: Annotated[
        str, Meta(description="Field, or group, of the route, where `requests.routes` is on.", min_length=1)
    ] = "route"
    service: Annotated[str, Meta(description="service.name of what writes them; not set: that of the host.")] = ""
    besides_spans: Annotated[
        bool, Meta(description="Count also where the service hands over spans of its requests: they are counted twice.")
    ] = False


class Requests(Section, frozen=True):
    """Requests and errors, counted from the server spans that services hand over, or from logs (docs/requests.md)."""

    logs: Annotated[list[LogRequests], Meta(description="Where requests are counted from logs.")] = msgspec.field(
        default_factory=list
    )

    objective: Annotated[
        Seconds, Meta(description="A request should take no longer than this; one bucket ends here.", ge=0.001)
    ] = 0.5
    buckets: Annotated[
        list[Seconds],
        Meta(description="Where latency buckets end; not set: at a tenth, 0.4, 1, 2 and 10 times the objective."),
    ] = msgspec.field(default_factory=list)
    routes: Annotated[bool, Meta(description="Count each route by itself: ten more series a route.")] = False
    max_routes: Annotated[
        int, Meta(description="Routes of one service; requests of further ones are counted as 'other'.", ge=1)
    ] = 50
    max_services: Annotated[
        int,
        Meta(
            description="Services (name, release, generation, environment); further ones are counted as 'other'.", ge=1
        ),
    ] = 6


class Scrape(Section, frozen=True):
    """A Prometheus endpoint to read; an entry may also be just its URL."""

    shorthand: ClassVar[str] = "url"

    url: Annotated[str, Meta(description="Such as http://127.0.0.1:8000/metrics.")]
    service: Annotated[str, Meta(description="service.name of what answers there; not set: that of the host.")] = ""
    interval: Annotated[Seconds, Meta(description="How often to read it; 0: every `metrics.interval`.", ge=0)] = 0.0


class Metrics(Section, frozen=True):
    """The numbers shipped from this host: its own, requests, and what is read from services' own Prometheus clients."""

    own: Annotated[bool, Meta(description="Ship what Shipper says of this host and of itself (docs/metrics.md).")] = (
        True
    )
    interval: Annotated[Seconds, Meta(description="How often numbers are read and shipped.", ge=1)] = 15.0
    scrape: Annotated[list[Scrape], Meta(description="Endpoints on this host to read.")] = msgspec.field(
        default_factory=list
    )
    multiprocess_dirs: Annotated[
        list[str], Meta(description="PROMETHEUS_MULTIPROC_DIR of services: counters of killed workers are kept.")
    ] = msgspec.field(default_factory=list)
    timeout: Annotated[Seconds, Meta(description="Time for one endpoint to answer.", ge=0.1)] = 5.0
    max_body: Annotated[Size, Meta(description="A larger answer is not taken.")] = 8 * MIB
    max_samples: Annotated[int, Meta(description="An answer with more samples is not taken.", ge=1)] = 10_000
    allow_remote: Annotated[
        bool, Meta(description="Allow endpoints that are not on loopback: their numbers get this host's identity.")
    ] = False
    spool_max: Annotated[
        Size, Meta(description="Disk space for numbers that no destination has taken yet; the oldest go first.")
    ] = 16 * MIB


class Deploys(Section, frozen=True):
    """What a gateway does with deploys that it is told of, or infers (docs/deploys.md). Only read by shipper gateway."""

    keep: Annotated[Seconds, Meta(description="How long the series of a deploy are kept alive.", ge=60)] = 14 * 86400.0
    keeper: Annotated[
        Literal["auto", "always", "never"],
        Meta(
            description="Who writes these series: auto: one gateway of all that share an archive, by a lease in it, or the "
            "only one where there is no archive; always, never: this one."
        ),
    ] = "auto"
    lease: Annotated[
        Seconds, Meta(description="How long the lease lasts without being renewed; the same on all gateways.", ge=3)
    ] = 45.0


class Verdicts(Section, frozen=True):
    """The verdict on every newest generation, computed by a gateway (docs/verdict.md). Only read by shipper gateway."""

    prometheus: Annotated[
        str, Meta(description="Base URL of the Prometheus to ask, such as http://prometheus:9090; empty: none.")
    ] = ""
    token_file: Annotated[str, Meta(description="File whose first line is a bearer token for it.")] = ""
    every: Annotated[Seconds, Meta(description="How often each service is looked at.", ge=5)] = 60.0
    services: Annotated[list[Word], Meta(description="Which services; none given: all of them.")] = msgspec.field(
        default_factory=list
    )
    environments: Annotated[list[Word], Meta(description="Which environments; none given: all of them.")] = (
        msgspec.field(default_factory=list)
    )
    objective: Annotated[
        Seconds, Meta(description="A request should take no longer; a bucket of the histogram ends here.", ge=0.001)
    ] = 0.5


class Redact(Section, frozen=True):
    """Secrets to mask (docs/redaction.md): a kind, or a pattern with a name. An entry may also be just a kind."""

    shorthand: ClassVar[str] = "kind"

    kind: Annotated[
        Literal["", "tokens", "keys", "passwords", "cards", "email", "iban", "ssn"],
        Meta(description="Secrets that are known."),
    ] = ""
    name: Annotated[str, Meta(description="What a pattern of your own is counted as.")] = ""
    pattern: Annotated[str, Meta(description="A regular expression as RE2 reads it.")] = ""
    group: Annotated[int, Meta(description="The group of it that is masked; 0: all that it matches.", ge=0)] = 0


class Node(Section, frozen=True):
    """The agent of a Kubernetes node (docs/kubernetes.md); read by `shipper node` only."""

    pods_dir: Annotated[str, Meta(description="Where the kubelet keeps the logs of pods.")] = "/var/log/pods"
    name: Annotated[str, Meta(description="The node's name; else NODE_NAME, else the host name.")] = ""
    api: Annotated[
        str, Meta(description="The API server: auto is the one of this cluster, off asks none, else its URL.")
    ] = "auto"
    token_file: Annotated[str, Meta(description="The token to show there; not set: that of the service account.")] = ""
    ca_file: Annotated[str, Meta(description="Who vouches for it; not set: as for the service account.")] = ""
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
