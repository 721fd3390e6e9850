"""The bytes of a span: what `SpanEncoder` makes is, decoded, what OpenTelemetry's own ``encode_spans`` gives.

It reads the SDK's private fields (a property and a copy for each cost more than encoding it) and, where a span does not
have them as they are known here, the public ones: see `View`.
Field numbers: opentelemetry-proto ``trace/v1/trace.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import SpanKind, Status, StatusCode

from shipper.otlp.wire import field, fixed64_field, text, varint, varint_field
from shipper.sdk.emit.attributes import Attributes
from shipper.sdk.emit.exceptions import MESSAGE, STACK, TYPE
from shipper.sdk.emit.fingerprint import FINGERPRINT, fingerprint
from shipper.sdk.emit.redact import Texts, cut
from shipper.sdk.emit.values import MAX_ROOM, as_text, key_text

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, SpanContext

MAX_BODY = 1 << 20
"""Bytes of one span. What would be larger is made smaller: texts cut first, events and links dropped next."""
_TIGHT, _TIGHT_ROOM = 1024, 4096  # characters of a text, and of all texts in an attribute, then
_NAME = 1024
_CACHED = 2048
_LOW = (1 << 64) - 1
_IDS = struct.Struct(">2sQQ2sQ").pack
_PARENT = struct.Struct(">2sQ").pack
_TIMES = struct.Struct("<BQBQ").pack
_HAS_REMOTE = (1 << 8).to_bytes(4, "little")  # SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_IS_REMOTE = (3 << 8).to_bytes(4, "little")
_LOCAL, _REMOTE = (
    tuple(varint_field(6, kind.value + 1) + varint(16 << 3 | 5) + flags for kind in SpanKind)
    for flags in (_HAS_REMOTE, _IS_REMOTE)
)
"""Kind and flags by SpanKind. By its value, as the hash of an Enum is computed in Python."""
_STATUS = tuple(field(15, varint_field(3, code.value) if code.value else b"") for code in StatusCode)


class SpanEncoder:
    """Makes the content of Span messages. ``texts`` redacts names, status messages and the texts in attributes.

    ``limit``: characters of one text; None leaves that to the limits the SDK's own provider was given, below `MAX_TEXT`.
    ``room``: characters of all texts in one attribute.
    """

    def __init__(self, texts: Texts | None = None, limit: int | None = None, room: int = MAX_ROOM) -> None:
        self.texts = texts or Texts()
        self._attributes = Attributes(9, self.texts, limit, room)
        self._of_events = Attributes(3, self.texts, limit, room)
        self._of_links = Attributes(4, self.texts, limit, room)
        self._names = _Names(self.texts)
        self._tight = SpanEncoder(self.texts, _TIGHT, _TIGHT_ROOM) if room == MAX_ROOM else None

    def encode(self, span: Any, whole: bool = True) -> bytes:
        """The content of a Span message of at most `MAX_BODY` bytes, of an SDK's span or a `View` of another.

        ``whole``: with its events and links. Raises one of `OTHER_MAKE` for a span that has not the fields that are read here.
        """
        context, parent, attributes, status = span._context, span._parent, span._attributes, span._status
        trace_id = context[0]
        out = [
            _IDS(b"\x0a\x10", trace_id >> 64, trace_id & _LOW, b"\x12\x08", context[1]),
            self._names[span._name],
            _TIMES(0x39, span._start_time or 0, 0x41, span._end_time or 0),
        ]
        put = out.append
        if context[4]:
            put(_trace_state(context[4]))
        if parent is None:
            put(_LOCAL[span._kind._value_])
        else:
            put(_PARENT(b"\x22\x08", parent[1]))
            put((_REMOTE if parent[2] else _LOCAL)[span._kind._value_])
        members = attributes._dict
        if members:
            self._attributes.put(put, members.items())
        if attributes.dropped:
            put(varint_field(10, attributes.dropped))
        if status._description:
            put(self._status(status))
        else:
            put(_STATUS[status._status_code._value_])
        events, links = span._events, span._links
        if events._dq or events.dropped:
            self._list(put, (11, 12), events, self._event, whole)
        if links._dq or links.dropped:
            self._list(put, (13, 14), links, self._link, whole)
        body = b"".join(out)
        if len(body) > MAX_BODY and self._tight is not None:
            body = self._tight.encode(span)
            if len(body) > MAX_BODY:
                body = self._tight.encode(span, False)
        return body

    def _status(self, status: Any) -> bytes:
        code = varint_field(3, status._status_code.value) if status._status_code.value else b""
        return field(15, field(2, text(cut(self.texts.clean(as_text(status._description))))) + code)

    def _list(
        self,
        put: Callable[[bytes], None],
        numbers: tuple[int, int],
        items: Any,
        one: Callable[[Any], bytes],
        whole: bool,
    ) -> None:
        """Events or links: their field number and that of the count of those that were dropped."""
        dropped = items.dropped
        if whole:
            for item in list(items._dq):
                put(field(numbers[0], one(item)))
        else:
            dropped += len(items._dq)
        if dropped:
            put(varint_field(numbers[1], dropped))

    def _event(self, event: Event) -> bytes:
        members, dropped = members_of(event.attributes)
        out = [fixed64_field(1, event.timestamp or 0), _name(self.texts, 2, event.name)]
        self._of_events.put(out.append, members.items())
        if TYPE in members and FINGERPRINT not in members:
            kind, stack, message = (as_text(members.get(key, "")) for key in (TYPE, STACK, MESSAGE))
            out.append(self._of_events.raw(FINGERPRINT, fingerprint(kind, stack, message)))
        if dropped:
            out.append(varint_field(4, dropped))
        return b"".join(out)

    def _link(self, link: Link) -> bytes:
        context: SpanContext = link.context
        members, dropped = members_of(link.attributes)
        trace_id = context.trace_id
        out = [_IDS(b"\x0a\x10", trace_id >> 64, trace_id & _LOW, b"\x12\x08", context.span_id)]
        self._of_links.put(out.append, members.items())
        if dropped:
            out.append(varint_field(5, dropped))
        out.append(b"\x35" + (_IS_REMOTE if context.is_remote else _HAS_REMOTE))
        return b"".join(out)


class _Names(dict[str, bytes]):
    """Encoded names of spans. Only without redaction, whose answer may not be the same twice."""

    def __init__(self, texts: Texts) -> None:
        super().__init__()
        self._texts = texts

    def __missing__(self, name: str) -> bytes:
        encoded = _name(self._texts, 5, name)
        if self._texts.redact is None and len(name) < 256:
            if len(self) >= _CACHED:
                self.clear()
            self[name] = encoded
        return encoded


def _name(texts: Texts, number: int, name: object) -> bytes:
    return field(number, text(cut(texts.clean(as_text(name)), _NAME))) if name else b""


def _trace_state(state: Mapping[str, str]) -> bytes:
    return field(3, text(",".join([f"{key}={value}" for key, value in state.items()])))


def members_of(attributes: Any) -> tuple[Mapping[str, Any], int]:
    """The members of a set of attributes, all names texts, and how many were dropped by it."""
    members = getattr(attributes, "_dict", None)
    if type(attributes) is BoundedAttributes and type(members) is dict:
        return members, attributes.dropped
    return {key_text(key): value for key, value in dict(attributes or {}).items()}, getattr(attributes, "dropped", 0)


class _Bounded:
    """Attributes, events or links in the form the encoder reads."""

    def __init__(self, members: Any, dropped: int) -> None:
        self._dict = self._dq = members
        self.dropped = dropped


OTHER_MAKE = (AttributeError, TypeError, IndexError)
"""What reading the private fields raises where a span does not have them, or others under their names."""


class View:
    """A span of another make, or of an SDK whose private fields have other names: its public properties under these."""

    def __init__(self, span: ReadableSpan) -> None:
        self._context = _plain(span.get_span_context()) or (0, 0, False, 0, None)
        self._parent = _plain(span.parent)
        self._name = as_text(span.name)
        self._kind = span.kind
        self._start_time, self._end_time = span.start_time, span.end_time
        self._attributes = _Bounded(members_of(span.attributes)[0], span.dropped_attributes)
        self._events = _Bounded(tuple(span.events), span.dropped_events)
        self._links = _Bounded(tuple(span.links), span.dropped_links)
        status = span.status if span.status is not None else Status()
        self._status = _Status(status.status_code, status.description)
        self._resource, self._instrumentation_scope = span.resource, span.instrumentation_scope


class _Status:
    def __init__(self, code: StatusCode, description: str | None) -> None:
        self._status_code, self._description = code, description


def _plain(context: SpanContext | None) -> tuple[Any, ...] | None:
    if context is None:
        return None
    return context.trace_id, context.span_id, context.is_remote, context.trace_flags, context.trace_state


def encode_span(span: ReadableSpan, encoder: SpanEncoder | None = None) -> bytes:
    """The content of the Span message of ``span``."""
    encode = (encoder or _DEFAULT).encode
    try:
        return encode(span)
    except OTHER_MAKE:
        return encode(View(span))


_DEFAULT = SpanEncoder()
