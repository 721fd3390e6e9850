"""What listens: receivers, the gateway and the admin page, and whether strangers could talk to it."""

from __future__ import annotations

from collections.abc import Iterator

from shipper.config.addresses import UNIX, is_loopback, split_address, unix_path
from shipper.config.convert import Path
from shipper.config.schema import Config, Role
from shipper.config.schema_receivers import ForwardReceiver, Receiver, SyslogReceiver

LEAST_SPOOL = 1 << 20
_TOKEN_REMEDY = "set tls_cert, tls_key and token_file, or insecure: true"
_LEAST_MESSAGE = 480  # what every receiver must be able to take (RFC 5424, 6.1)
_KEY_REMEDY = "set tls_cert, tls_key and shared_key_file, or insecure: true"
Problem = tuple[Path, str]


def named_receivers(config: Config) -> Iterator[tuple[str, Receiver]]:
    """The receivers that are switched on, by name."""
    for name in config.receivers.__struct_fields__:
        value = getattr(config.receivers, name)
        if isinstance(value, Receiver):
            yield name, value


def listener_problems(config: Config, role: Role | None) -> Iterator[Problem]:
    """What is wrong with what listens, in the order of the sections."""
    yield from _admin(config)
    yield from _gateway(config)
    yield from _receivers(config, role)


def _listener(path: Path, text: str, *, unix: bool) -> tuple[str, list[Problem]]:
    """The host of an address to listen on, empty for a socket of a path where that may be (``unix``); and what is wrong."""
    try:
        return ("", []) if unix and unix_path(text) else (split_address(text)[0], [])
    except ValueError as problem:
        return "", [(path, str(problem))]


def _guarded(path: Path, text: str, *, safe: bool, remedy: str) -> Iterator[Problem]:
    """An address that others can reach has to be ``safe``; ``remedy``: what makes it so."""
    host, problems = _listener(path, text, unix=True)
    yield from problems
    if host and not safe and not is_loopback(host):
        yield path, f"{host} can be reached from other machines: {remedy}"


def _pair(path: Path, cert: str, key: str) -> Iterator[Problem]:
    if bool(cert) != bool(key):
        yield (*path, "tls_key" if cert else "tls_cert"), "tls_cert and tls_key belong together"


def _admin(config: Config) -> Iterator[Problem]:
    admin = config.admin
    if admin.listen:
        host, problems = _listener(("admin", "listen"), admin.listen, unix=False)
        yield from problems
        if not problems and not is_loopback(host) and not admin.insecure:
            yield (
                ("admin", "listen"),
                f"{host} can be reached from other machines; set admin.insecure: true if that is meant",
            )


def _gateway(config: Config) -> Iterator[Problem]:
    gateway = config.gateway
    yield from _pair(("gateway",), gateway.tls_cert, gateway.tls_key)
    safe = gateway.insecure or bool(gateway.tls_cert and gateway.token_file)
    for key in ("listen", "grpc"):
        if key == "listen" or gateway.grpc:
            yield from _guarded(("gateway", key), getattr(gateway, key), safe=safe, remedy=_TOKEN_REMEDY)
    if gateway.max_decompressed < gateway.max_body:
        yield ("gateway", "max_decompressed"), "must not be less than gateway.max_body"
    for key in ("max_body", "spool_max"):
        if getattr(gateway, key) < 1 << 16:
            yield ("gateway", key), "must be at least 64KiB"


def _receivers(config: Config, role: Role | None) -> Iterator[Problem]:
    for name, receiver in named_receivers(config):
        yield from _pair(("receivers", name), receiver.tls_cert, receiver.tls_key)
    if config.receivers.spool_max < LEAST_SPOOL:
        yield ("receivers", "spool_max"), "must be at least 1MiB"
    if config.receivers.forward is not None:
        yield from _forward(config, config.receivers.forward)
    if config.receivers.syslog is not None:
        yield from _syslog(config, config.receivers.syslog)
    otlp = config.receivers.otlp
    if otlp is None:
        return
    path: Path = ("receivers", "otlp")
    if role == "gateway":
        yield path, "a gateway receives OTLP where gateway.listen and gateway.grpc say"
    if not otlp.http and not otlp.grpc:
        yield path, "has neither http nor grpc, so it would listen nowhere"
    safe = otlp.insecure or bool(otlp.tls_cert and otlp.token_file)
    for key in ("http", "grpc"):
        if getattr(otlp, key):
            yield from _guarded((*path, key), getattr(otlp, key), safe=safe, remedy=_TOKEN_REMEDY)
    if otlp.max_decompressed < otlp.max_body:
        yield (*path, "max_decompressed"), "must not be less than receivers.otlp.max_body"
    if otlp.max_body < 1 << 16:
        yield (*path, "max_body"), "must be at least 64KiB"
    if otlp.max_decompressed > config.receivers.spool_max:
        yield (*path, "max_decompressed"), "must not be more than receivers.spool_max, where it has to fit"


def _forward(config: Config, forward: ForwardReceiver) -> Iterator[Problem]:
    path: Path = ("receivers", "forward")
    safe = forward.insecure or bool(forward.tls_cert and (forward.shared_key_file or forward.users_file))
    if not forward.tcp and not forward.socket:
        yield path, "has neither tcp nor socket, so it would listen nowhere"
    if forward.tcp:
        host, problems = _listener((*path, "tcp"), forward.tcp, unix=False)
        yield from problems
        if host and not safe and not is_loopback(host):
            yield (*path, "tcp"), f"{host} can be reached from other machines: {_KEY_REMEDY}"
    yield from _socket((*path, "socket"), forward.socket)
    if not (1 << 16) <= forward.max_message <= config.receivers.spool_max:
        yield (
            (*path, "max_message"),
            "must be at least 64KiB, and not more than receivers.spool_max, where it has to fit",
        )


def _syslog(config: Config, syslog: SyslogReceiver) -> Iterator[Problem]:
    path: Path = ("receivers", "syslog")
    if not (syslog.udp or syslog.tcp or syslog.tls or syslog.socket or syslog.stream_socket):
        yield path, "listens nowhere: give udp, tcp, tls, socket or stream_socket"
    known = syslog.insecure or bool(syslog.tls_client_ca)
    for key, safe in (("udp", syslog.insecure), ("tcp", syslog.insecure), ("tls", known)):
        if address := getattr(syslog, key):
            host, problems = _listener((*path, key), address, unix=False)
            yield from problems
            if host and not safe and not is_loopback(host):
                remedy = "set tls_client_ca, or insecure: true" if key == "tls" else "use tls, or insecure: true"
                yield (*path, key), f"{host} can be reached from other machines: {remedy}"
    if syslog.tls and not syslog.tls_cert:
        yield (*path, "tls_cert"), "receivers.syslog.tls needs a certificate"
    for key in ("socket", "stream_socket"):
        yield from _socket((*path, key), getattr(syslog, key))
    if not _LEAST_MESSAGE <= syslog.max_message <= config.receivers.spool_max // 2:
        yield (*path, "max_message"), "must be at least 480 bytes, and not more than half of receivers.spool_max"


def _socket(path: Path, name: str) -> Iterator[Problem]:
    try:
        if name:
            unix_path(UNIX + name)
    except ValueError as problem:
        yield path, str(problem)
