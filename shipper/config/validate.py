"""Settings that are each well-formed and yet cannot work, alone or together. Pure: looks at nothing but the settings."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from shipper.config.addresses import is_loopback, url_problem
from shipper.config.convert import Path, dotted, raise_all
from shipper.config.schema import Config, Role
from shipper.config.schema_numbers import LogRequests
from shipper.config.schema_shape import Multiline
from shipper.config.validate_journal import journal_problems
from shipper.config.validate_listeners import LEAST_SPOOL, Problem, listener_problems, named_receivers
from shipper.config.validate_redact import redact_problems
from shipper.config.validate_routes import fallback_problems, route_problems, route_warnings
from shipper.config.validate_shape import pattern_problem, shape_problems
from shipper.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
LEAST_OPEN_FILES = 8
_LEAST_LINE = 64
_MOST_BUCKETS = 30


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
        *listener_problems(config, role),
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


def _services(config: Config) -> Iterator[Problem]:
    services = config.services
    if services.process_max < LEAST_SPOOL:
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
    if problem := url_problem(url, "http://127.0.0.1:8000/metrics"):
        return problem
    host = urlsplit(url).hostname or ""
    if not allow_remote and not is_loopback(host):
        return f"{host} is not this host; set metrics.allow_remote: true if its numbers shall get this host's identity"
    return ""


def _verdicts(config: Config) -> Iterator[Problem]:
    settings = config.verdicts
    if settings.prometheus:
        if problem := url_problem(settings.prometheus, "http://prometheus:9090"):
            yield ("verdicts", "prometheus"), problem
    elif settings.token_file:
        yield ("verdicts", "token_file"), "is for verdicts.prometheus, which is not given"
