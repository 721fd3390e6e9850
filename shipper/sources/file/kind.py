"""What kind of file a content is: plain text, or what a container runtime wrote of a container's two outputs.

It is decided once, from the first bytes and the path, and kept in the ledger with what is known of the container: a file
is read again after a restart as it was read before, whatever was configured or deleted since.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shipper.clock import Clock
from shipper.otlp.encode import AttributeValue, scope
from shipper.otlp.encode import resource as encoded
from shipper.otlp.wire import fields, read_length
from shipper.shape import containers
from shipper.sources.file.containers import ContainerForm
from shipper.sources.file.content import Content
from shipper.sources.file.encoded import EncodedForm, unit_of
from shipper.sources.file.form import EventForm, Form, LineForm
from shipper.sources.file.settings import FileGroup
from shipper.sources.file.stream import FileStream, Labelled

SCOPE = "shipper.file"
IOSTREAM = "log.iostream"  # https://opentelemetry.io/docs/specs/semconv/registry/attributes/log/
META = "container"
ENCODING = "encoding"
REPLACED = (
    "container.",
    "k8s.pod.",
    "k8s.container.",
    "k8s.namespace.",
)  # not those of the host, where a file says its own


@dataclass(frozen=True, slots=True)
class Kind:
    """``format``: how a container runtime wrote the file; none: plain text. ``attributes``: of the container.

    ``encoding``: of plain text that is not UTF-8.
    """

    format: containers.Format | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    encoding: str = ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """One stream is made for each; a plain file's has no name."""
        return ("",) if self.format is None else containers.OUTPUTS

    def meta(self, output: str) -> dict[str, Any]:
        """What a stream's row keeps of this."""
        if self.format is None:
            return {ENCODING: self.encoding} if self.encoding else {}
        return {META: {"format": self.format.name, "output": output, "attributes": dict(self.attributes)}}


PLAIN_TEXT = Kind()


def kind_of(meta: Mapping[str, Any]) -> Kind:
    """The kind that a row tells of."""
    kept = meta.get(META)
    if kept is None:
        return Kind(encoding=meta[ENCODING]) if ENCODING in meta else PLAIN_TEXT
    return Kind(containers.FORMATS[kept["format"]], kept["attributes"])


def output_of(meta: Mapping[str, Any]) -> str:
    """Of which output the stream of a row is; empty for a plain file's."""
    kept = meta.get(META)
    return "" if kept is None else str(kept["output"])


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all streams of a source have in common. ``resource``: content of the host's Resource message."""

    life: str
    resource: bytes
    clock: Clock
    suspicious: Callable[[Content], None]
    idle: Callable[[Content], None]
    seen: Callable[[str, bytes], None] | None = None
    skipped: Callable[[FileStream, int, int], None] = lambda stream, start, end: None
    unparsed: Callable[[FileStream, Mapping[str, int]], None] = lambda stream, causes: None


def make_content(
    names: Mapping[str, str], path: str, start: int, group: FileGroup, kind: Kind, around: Surroundings
) -> Content:
    """A content with its streams, not yet on any file. ``names``: the id of each stream to be made, by its output."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    content = Content(
        base_id(next(iter(names.values()))),
        name=shown,
        start=start,
        kind=kind,
        clock=around.clock,
        suspicious=around.suspicious,
        idle=around.idle,
    )
    content.path = path
    for output, id in names.items():
        FileStream(
            id,
            content,
            _form(output, start, group, kind),
            output=output,
            life=around.life,
            labelled=_labelled(shown, path, output, group, kind, around.resource),
            hold=group.hold,
            clock=around.clock,
            shape=group.shape,
            seen=around.seen,
            skipped=around.skipped,
            unparsed=around.unparsed,
        )
    return content


def _form(output: str, start: int, group: FileGroup, kind: Kind) -> Form:
    if kind.format is not None:
        return ContainerForm(
            kind.format, output, start=start, limit=group.max_line_bytes, hold=group.hold, rule=group.multiline
        )
    rule = group.multiline
    if not kind.encoding:
        return LineForm(group.max_line_bytes) if rule is None else EventForm(rule)
    inner = LineForm(group.max_line_bytes // unit_of(kind.encoding)) if rule is None else EventForm(rule)
    return EncodedForm(inner, kind.encoding, joins=rule is not None)


def _labelled(shown: str, path: str, output: str, group: FileGroup, kind: Kind, of_host: bytes) -> Labelled:
    attributes = {"log.file.path": shown, "log.file.name": os.path.basename(shown)}
    if output or group.output:
        attributes[IOSTREAM] = output or group.output
    resource = group.resource_of(path) if group.resource_of is not None else None
    replaced = tuple(
        kind.attributes
    )  # what is said of the file itself may know its container better than the path does
    if resource is None:
        resource = of_host if group.resource is None else group.resource
        replaced = REPLACED
    if kind.attributes:
        resource = _without(resource, replaced) + encoded(kind.attributes)
    return Labelled(resource, scope(SCOPE, attributes=attributes))


def _without(resource: bytes, replaced: tuple[str, ...]) -> bytes:
    """The content of a Resource message without the attributes that begin so."""
    kept = []
    for _, _, start, value, end in fields(resource, 0, len(resource)):
        key_start, key_end = read_length(resource, value + 1, end)  # a KeyValue begins with its key
        if not resource[key_start:key_end].decode().startswith(replaced):
            kept.append(resource[start:end])
    return b"".join(kept)


def ids_of(base: str, kind: Kind) -> dict[str, str]:
    """The ids of a content's streams by output, when its own is ``base``."""
    return {output: f"{base}-{output}" if output else base for output in kind.outputs}


def base_id(id: str) -> str:
    """The id of a content, given that of one of its streams."""
    base, dash, output = id.rpartition("-")
    return base if dash and output in containers.OUTPUTS else id


def base_ids(ids: Iterable[str]) -> set[str]:
    """These ids, and those of their contents: neither is given again."""
    return {*ids, *map(base_id, ids)}
