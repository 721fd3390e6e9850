"""Which field of the Elastic Common Schema an OpenTelemetry attribute is, and where the others go.

Names and types: https://www.elastic.co/docs/reference/ecs , and for the correspondence its page on semantic conventions and what
Elastic's APM Server makes of OTLP. The rest goes under ``labels`` (texts) and ``numeric_labels`` as APM Server has it: dots become
underscores, so that ``a`` and ``a.b`` never want to be a value and an object at once, which costs others whole documents.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from shipper.otlp.columns import Table
from shipper.otlp.encode import AttributeValue
from shipper.otlp.forms import FLOAT
from shipper.otlp.forms import TEXT as VALUE_TEXT
from shipper_exporters._elasticsearch.ecs_text import encode

TEXT, LONG, TEXTS, ADDRESSES = "text", "long", "texts", "addresses"
LIFE_LABEL = "shipper_life_id"
"""Under ``labels``, on every document: the life that a record is of, by which an audit counts."""

_SAME = """
    client.address cloud.account.id cloud.availability_zone cloud.provider cloud.region container.id container.image.name
    container.name container.runtime host.id host.name host.type http.request.method log.file.path process.command_line
    server.address service.name service.version url.domain url.fragment url.full url.original url.path url.query url.scheme
    user.email user.full_name user.hash user.id user.name user_agent.name user_agent.original user_agent.version
"""
_SAME_LONG = "client.port http.response.status_code process.pid server.port url.port"

FIELDS: Mapping[str, tuple[str, str]] = {
    **{name: (name, TEXT) for name in _SAME.split()},
    **{name: (name, LONG) for name in _SAME_LONG.split()},
    "process.parent_pid": ("process.parent.pid", LONG),
    "cloud.platform": ("cloud.service.name", TEXT),
    "code.file.path": ("log.origin.file.name", TEXT),
    "code.filepath": ("log.origin.file.name", TEXT),
    "code.function": ("log.origin.function", TEXT),
    "code.function.name": ("log.origin.function", TEXT),
    "code.line.number": ("log.origin.file.line", LONG),
    "code.lineno": ("log.origin.file.line", LONG),
    "container.image.repo_digests": ("container.image.hash.all", TEXTS),
    "container.image.tags": ("container.image.tag", TEXTS),
    "deployment.environment": ("service.environment", TEXT),
    "deployment.environment.name": ("service.environment", TEXT),
    "event.name": ("event.action", TEXT),
    "exception.message": ("error.message", TEXT),
    "exception.stacktrace": ("error.stack_trace", TEXT),
    "exception.type": ("error.type", TEXT),
    "host.arch": ("host.architecture", TEXT),
    "host.ip": ("host.ip", ADDRESSES),
    "host.mac": ("host.mac", TEXTS),
    "http.request.body.size": ("http.request.body.bytes", LONG),
    "http.response.body.size": ("http.response.body.bytes", LONG),
    "k8s.cluster.name": ("orchestrator.cluster.name", TEXT),
    "k8s.container.name": ("kubernetes.container.name", TEXT),
    "k8s.cronjob.name": ("kubernetes.cronjob.name", TEXT),
    "k8s.daemonset.name": ("kubernetes.daemonset.name", TEXT),
    "k8s.deployment.name": ("kubernetes.deployment.name", TEXT),
    "k8s.job.name": ("kubernetes.job.name", TEXT),
    "k8s.namespace.name": ("kubernetes.namespace", TEXT),
    "k8s.node.name": ("kubernetes.node.name", TEXT),
    "k8s.pod.name": ("kubernetes.pod.name", TEXT),
    "k8s.pod.uid": ("kubernetes.pod.uid", TEXT),
    "k8s.replicaset.name": ("kubernetes.replicaset.name", TEXT),
    "k8s.statefulset.name": ("kubernetes.statefulset.name", TEXT),
    "log.record.uid": ("event.id", TEXT),
    "network.protocol.name": ("network.protocol", TEXT),
    "os.description": ("host.os.full", TEXT),
    "os.name": ("host.os.name", TEXT),
    "os.type": ("host.os.platform", TEXT),
    "os.version": ("host.os.version", TEXT),
    "process.command_args": ("process.args", TEXTS),
    "process.executable.name": ("process.name", TEXT),
    "process.executable.path": ("process.executable", TEXT),
    "process.runtime.name": ("service.runtime.name", TEXT),
    "process.runtime.version": ("service.runtime.version", TEXT),
    "service.instance.id": ("service.node.name", TEXT),
    "thread.id": ("process.thread.id", LONG),
    "thread.name": ("process.thread.name", TEXT),
}
"""ECS field and its type by the name of the attribute."""

_PATHS: Mapping[str, tuple[tuple[str, ...], str]] = {
    name: (tuple(path.split(".")), kind) for name, (path, kind) in FIELDS.items()
}
_MAX_FLOAT = 3.4028234663852886e38
_MIN_LONG, _MAX_LONG = -(1 << 63), (1 << 63) - 1
NAMELESS = "_"
"""In place of a name of nothing but blanks, for which the whole document would be refused."""
_NESTING = 8  # of what is under labels; deeper is one text

Document = dict[str, Any]


def put(document: Document, path: tuple[str, ...], value: object) -> None:
    """Set a field, making the objects that it lies in."""
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = value


def attributes(document: Document, pairs: Iterable[tuple[str, AttributeValue]]) -> None:
    """Write attributes into a document, each where it belongs. What has another type than its ECS field is a label."""
    for name, value in pairs:
        known = _PATHS.get(name)
        if known is not None:
            fitting = value if known[1] == TEXT and isinstance(value, str) else _fit(known[1], value)
            if fitting is not None:
                put(document, known[0], fitting)
                continue
        _label(document, name.replace(".", "_") if name.strip() else NAMELESS, value, 0)


def steady(table: Table) -> bool:
    """Whether where the attributes of these records go depends on their names and types only."""
    for column in table.attributes:
        known = _PATHS.get(column.name)
        if column.kind == FLOAT and not all(map(_fits, column.values)):
            return False
        if known is not None and column.kind == VALUE_TEXT and known[1] in (LONG, ADDRESSES):
            return False
    return True


def plain_text(value: AttributeValue) -> str:
    """Any value as a text: maps and lists as JSON, bytes in Base64."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    return "" if value is None else encode(value).decode()


def _fit(kind: str, value: AttributeValue) -> object:
    """The value as its field's type has it; None when it is of another."""
    if kind == TEXT:
        return value if isinstance(value, str) else None
    if kind == LONG:
        return _whole(value)
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) for item in items):
        return None
    if kind == ADDRESSES and not all(map(_is_address, items)):
        return None
    return items


def _whole(value: AttributeValue) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    return value if type(value) is int and _MIN_LONG <= value <= _MAX_LONG else None


def _is_address(item: AttributeValue) -> bool:
    try:
        ipaddress.ip_address(str(item))
    except ValueError:
        return False
    return True


def _fits(value: float) -> bool:
    """Whether it is a number that fields for numbers have room for: by default they are made for those of 32 bits."""
    return abs(value) <= _MAX_FLOAT


def _label(document: Document, name: str, value: AttributeValue, depth: int) -> None:
    if value is None:
        return
    if isinstance(value, Mapping) and depth < _NESTING:
        for inner, one in value.items():
            _label(document, f"{name}_{inner.replace('.', '_')}", one, depth + 1)
        return
    kind, written = "labels", value
    if type(value) is int or (isinstance(value, float) and _fits(value)):
        kind = "numeric_labels"
    elif isinstance(value, list):
        written = [plain_text(item) for item in value]
    else:
        written = plain_text(value)
    labels = document.setdefault(kind, {})
    while name in labels:  # "a.b" and "a_b" are both kept
        name += "_"
    labels[name] = written
