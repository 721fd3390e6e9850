"""Settings that are each well-formed and yet cannot work, alone or together. Pure: looks at nothing but the settings."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from shipper.config.convert import Path, dotted, raise_all
from shipper.config.schema import Config, Role
from shipper.config.schema_numbers import LogRequests
from shipper.config.schema_receivers import ForwardReceiver, Receiver, SyslogReceiver
from shipper.config.schema_shape import Multiline
from shipper.config.validate_journal import journal_problems
from shipper.config.validate_redact import redact_problems
from shipper.config.validate_routes import fallback_problems, route_problems, route_warnings
from shipper.config.validate_shape import pattern_problem, shape_problems
from shipper.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_PORTS = range(65_536)
LEAST_OPEN_FILES = 8
_LEAST_LINE = 64
_LEAST_SPOOL = 1 << 20
_MOST_BUCKETS = 30
UNIX = "unix:"
_TOKEN_REMEDY = "set tls_cert, tls_key and token_file, or insecure: true"
_LEAST_MESSAGE = 480  # what every receiver must be able to take (RFC 5424, 6.1)
_KEY_REMEDY = "set tls_cert, tls_key and shared_key_file, or insecure: true"
_LONGEST_SOCKET = 107  # bytes of a path that the kernel takes (unix(7), less the final zero)
Problem = tuple[Path, str]


def validate(config: Config, role: Role | None = None, locate: Callable[[Path], str] = dotted) -> list[str]:
    """Check what cannot be seen from one value alone; returns warnings, raises `ConfigError` or `ConfigErrors`.

    With a ``role``, also what that role needs in order to run. ``locate`` names a path in an error.
    """
    problems = [
        *_labels(config),
        *_files(config),
        *_file_limits(config),
        *journal_problems(config.journal),
        *_destinations(config, role),
        *_drain(config),
        *route_problems(config),
        *fallback_problems(config),
        *_admin(config),
        *_gateway(config),
        *_receivers(config, role),
        *_services(config),
        *_requests(config),
        *_metrics(config),
        *_verdicts(config),
        *redact_problems(config),
    ]
    raise_all([ConfigError(locate(path), problem) for path, problem in problems])
    metrics = config.metrics
    if role == "sidecar" and not (
        config.files
        or config.journal
        or config.services.enabled
        or any(named_receivers(config))
        or metrics.scrape
        or metrics.multiprocess_dirs
    ):
        return [
            "there is nothing to ship: give files: (SHIPPER_TAIL, --tail), journal, receivers, metrics.scrape, or"
            " services.enabled: true"
        ]
    return list(route_warnings(config))


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port``; raises ValueError with a sentence for a person."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"'{text}': write an IPv6 address in brackets, such as [::1]:4318")
    if not colon or not host or not port.isdecimal() or int(port) not in _PORTS:
        raise ValueError(f"expected host:port such as 127.0.0.1:4318, got '{text}'")
    return host, int(port)


def unix_path(text: str) -> str:
    """The path in ``unix:/path``; empty for an address that is none. Raises ValueError with a sentence for a person."""
    if not text.startswith(UNIX):
        return ""
    path = text.removeprefix(UNIX)
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f"expected an absolute path such as unix:/run/shipper/otlp.sock, got '{text}'")
    if len(path.encode()) > _LONGEST_SOCKET:
        raise ValueError(f"'{path}' is longer than a socket's path may be ({_LONGEST_SOCKET} bytes)")
    return path


def named_receivers(config: Config) -> Iterator[tuple[str, Receiver]]:
    """The receivers that are switched on, by name."""
    for name in config.receivers.__struct_fields__:
        value = getattr(config.receivers, name)
        if isinstance(value, Receiver):
            yield name, value


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host``; any other name than ``localhost`` counts as reachable."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _labels(config: Config) -> Iterator[Problem]:
    for name in ("service", "release", "image", "generation", "environment", "host"):
        value = getattr(config.labels, name)
        if not value.isprintable() or len(value) > 256:
            yield ("labels", name), "must be printable text of at most 256 characters"


def _files(config: Config) -> Iterator[Problem]:
    for index, group in enumerate(config.files):
        for key, patterns in (("include", group.include), ("exclude", group.exclude)):
            for at, pattern in enumerate(patterns):
                if not pattern or "\0" in pattern:
                    yield ("files", index, key, at), "a glob must not be empty"
        if group.max_line_bytes < _LEAST_LINE:
            yield ("files", index, "max_line_bytes"), f"must be at least {_LEAST_LINE} bytes"
        if group.multiline is not None:
            yield from _multiline(group.multiline, ("files", index, "multiline"))
        if group.shape is not None:
            yield from shape_problems(group.shape, ("files", index, "shape"))


def _multiline(rule: Multiline, path: Path) -> Iterator[Problem]:
    if len(rule.kinds) != 1:
        given = " and ".join(rule.kinds) or "none"
        yield path, f"give exactly one of preset, start, continuation and indent: true, not {given}"
    for name in ("start", "continuation"):
        problem = pattern_problem(getattr(rule, name))
        if problem:
            yield (*path, name), problem
    if rule.max_bytes < _LEAST_LINE:
        yield (*path, "max_bytes"), f"must be at least {_LEAST_LINE} bytes"


def _file_limits(config: Config) -> Iterator[Problem]:
    if config.file_limits.max_open_files < LEAST_OPEN_FILES:
        yield ("file_limits", "max_open_files"), f"must be at least {LEAST_OPEN_FILES}"


def _destinations(config: Config, role: Role | None) -> Iterator[Problem]:
    for name in config.destinations:
        if not _NAME.fullmatch(name):
            yield ("destinations", name), "a destination's name is letters, digits, '-' and '_' only"
    if role is not None and not config.destinations:
        wanted = "SHIPPER_ARCHIVE or SHIPPER_OTLP_ENDPOINT" if role == "gateway" else "OTEL_EXPORTER_OTLP_ENDPOINT"
        yield ("destinations",), f"nowhere to send to: set {wanted}, or name a destination in the file"


def _drain(config: Config) -> Iterator[Problem]:
    if config.drain.deadline and config.drain.reserve >= config.drain.deadline:
        yield ("drain", "reserve"), f"must be less than drain.deadline ({config.drain.deadline:g} s)"


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
    if config.receivers.spool_max < _LEAST_SPOOL:
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


def _services(config: Config) -> Iterator[Problem]:
    services = config.services
    if services.process_max < _LEAST_SPOOL:
        yield ("services", "process_max"), "must be at least 1MiB"
    if services.host_max < services.process_max:
        yield ("services", "host_max"), "must not be less than services.process_max"


def _requests(config: Config) -> Iterator[Problem]:
    settings = config.requests
    for index, rule in enumerate(settings.logs):
        yield from _log_requests(("requests", "logs", index), rule)
    if settings.logs and not config.files:
        yield ("requests", "logs"), "no files are tailed: name them in files as well"
    edges = settings.buckets
    if not edges:
        return
    if len(edges) > _MOST_BUCKETS:
        yield ("requests", "buckets"), f"at most {_MOST_BUCKETS} buckets, each is a series"
    if not all(0 < edge < math.inf for edge in edges) or sorted(set(edges)) != edges:
        yield ("requests", "buckets"), "must be ascending numbers of seconds above zero"
    elif settings.objective not in edges:
        yield (
            ("requests", "buckets"),
            f"one of them must be requests.objective ({settings.objective:g} s), so that requests within it can be counted",
        )


def _log_requests(path: Path, rule: LogRequests) -> Iterator[Problem]:
    for index, pattern in enumerate(rule.files):
        if not pattern or "\0" in pattern:
            yield (*path, "files", index), "a glob must not be empty"
    if rule.format in ("common", "json"):
        return
    try:
        groups = re.compile(rule.format.encode()).groupindex
    except (re.error, UnicodeEncodeError) as problem:
        yield (*path, "format"), f"expected common, json or a regular expression: {problem}"
        return
    if slow := pattern_problem(rule.format):
        yield (*path, "format"), slow
    if rule.status not in groups and rule.level not in groups:
        yield (*path, "format"), f"has no group (?P<{rule.status}>...), so nothing tells which requests failed"


def _metrics(config: Config) -> Iterator[Problem]:
    settings = config.metrics
    seen: set[str] = set()
    for index, target in enumerate(settings.scrape):
        path: Path = ("metrics", "scrape", index, "url")
        problem = _scrape_problem(target.url, settings.allow_remote)
        if problem:
            yield path, problem
        elif target.url in seen:
            yield path, f"{target.url} stands there twice"
        seen.add(target.url)
        if 0 < target.interval < 1:
            yield ("metrics", "scrape", index, "interval"), "must be at least 1 second, or 0 for metrics.interval"
    for index, directory in enumerate(settings.multiprocess_dirs):
        if not os.path.isabs(directory) or "\0" in directory:
            yield ("metrics", "multiprocess_dirs", index), f"must be an absolute path, not {directory!r}"
    for key in ("max_body", "spool_max"):
        if getattr(settings, key) < 1 << 16:
            yield ("metrics", key), "must be at least 64KiB"


def _scrape_problem(url: str, allow_remote: bool) -> str:
    """What is wrong with a URL to scrape; empty: nothing."""
    if problem := _url_problem(url, "http://127.0.0.1:8000/metrics"):
        return problem
    host = urlsplit(url).hostname or ""
    if not allow_remote and not is_loopback(host):
        return f"{host} is not this host; set metrics.allow_remote: true if its numbers shall get this host's identity"
    return ""


def _verdicts(config: Config) -> Iterator[Problem]:
    settings = config.verdicts
    if settings.prometheus:
        if problem := _url_problem(settings.prometheus, "http://prometheus:9090"):
            yield ("verdicts", "prometheus"), problem
    elif settings.token_file:
        yield ("verdicts", "token_file"), "is for verdicts.prometheus, which is not given"


def _url_problem(url: str, example: str) -> str:
    """What is wrong with a URL; empty: nothing."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        return f"is no URL: {problem}"
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        return f"expected a URL such as {example}, got '{url}'"
    if parts.username or parts.password:
        return "a URL must not hold a user or a password: it is shown and shipped"
    return ""
