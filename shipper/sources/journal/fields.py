"""What each field of an entry is on a record: body, time, severity, an attribute, or nothing.

A field is understood once for all entries of a file that share it, and what is kept of it is the encoded attribute itself: so
an entry is a look-up of its fields and one join.
"""

from __future__ import annotations

from collections.abc import Iterable

from shipper.otlp.encode import AttributeValue, log_attribute
from shipper.otlp.wire import field, varint_field
from shipper.shape.severity import SYSLOG
from shipper.shape.text import is_utf8
from shipper.sources.heads import Keys
from shipper.sources.syslog.priority import FACILITIES, SEVERITIES

MESSAGE, PRIORITY, SOURCE_TIME = b"MESSAGE", b"PRIORITY", b"_SOURCE_REALTIME_TIMESTAMP"
UNIT, USER_UNIT, IDENTIFIER = b"_SYSTEMD_UNIT", b"_SYSTEMD_USER_UNIT", b"SYSLOG_IDENTIFIER"
ABOUT_UNIT, COREDUMP_UNIT, OBJECT_UNIT = b"UNIT", b"COREDUMP_UNIT", b"OBJECT_SYSTEMD_UNIT"
PID, UID, TRANSPORT, MESSAGE_ID = b"_PID", b"_UID", b"_TRANSPORT", b"MESSAGE_ID"
CONTAINER, PARTIAL, PARTIAL_ID, PARTIAL_ORDINAL = (
    b"CONTAINER_ID_FULL",
    b"CONTAINER_PARTIAL_MESSAGE",
    b"CONTAINER_PARTIAL_ID",
    b"CONTAINER_PARTIAL_ORDINAL",
)
DROPPED, TOO_LARGE = b"N_DROPPED", b"_TOO_LARGE"

KEYS = {
    UNIT: "journald.unit",
    USER_UNIT: "journald.user_unit",
    IDENTIFIER: "syslog.appname",
    TRANSPORT: "journald.transport",
    b"_HOSTNAME": "journald.hostname",
    MESSAGE_ID: "journald.message_id",
    b"_COMM": "process.executable.name",
    b"_EXE": "process.executable.path",
    b"CODE_FILE": "code.file.path",
    b"CODE_FUNC": "code.function.name",
    CONTAINER: "container.id",
    b"CONTAINER_NAME": "container.name",
    b"IMAGE_NAME": "container.image.name",
    TOO_LARGE: "journald.too_large",
}
NUMBERS = {PID: "process.pid", b"CODE_LINE": "code.line.number", b"ERRNO": "journald.errno"}
"""The fields that are attributes under a name of their own: OpenTelemetry's where it has one."""

_RAW = frozenset((MESSAGE, PRIORITY, SOURCE_TIME))
_ASKED = frozenset(
    (
        *(UNIT, USER_UNIT, IDENTIFIER, ABOUT_UNIT, COREDUMP_UNIT, OBJECT_UNIT, PID, UID, TRANSPORT, MESSAGE_ID),
        *(CONTAINER, PARTIAL, PARTIAL_ID, PARTIAL_ORDINAL, DROPPED),
    )
)
_PREFIX = "journald."


class Value(bytes):
    """An encoded attribute (or nothing) of a field that is looked at; ``raw``: its value."""

    raw: bytes

    @classmethod
    def of(cls, encoded: bytes, raw: bytes) -> Value:
        """The attribute of a value."""
        value = cls(encoded)
        value.raw = raw
        return value


NONE = Value.of(b"", b"")

SEVERITY = {
    b"%d" % number: varint_field(2, SYSLOG[number]) + field(3, name.encode()) for number, name in enumerate(SEVERITIES)
}
"""What a priority is on a LogRecord (OpenTelemetry, Logs Data Model, appendix B: syslog)."""

_FACILITY = {b"%d" % number: log_attribute("syslog.facility", name) for number, name in enumerate(FACILITIES)}


class Understanding:
    """Makes of a field, ``NAME=value``, its name and what is kept of it.

    That is the value itself for those that become body, time and severity, else the encoded attribute; empty for none.
    """

    def __init__(self, fields: Iterable[str] | None) -> None:
        """``fields``: which become attributes as they are, besides the usual ones; None: all."""
        self._all = fields is None
        self._wanted = frozenset(name.encode() for name in fields or ())
        self._heads = Keys(bytes)

    def __call__(self, payload: bytes) -> tuple[bytes, bytes]:
        """The name, and what is kept."""
        name, _, raw = payload.partition(b"=")
        if name in _RAW:
            return name, raw
        encoded = self.attribute(name, [raw])
        return name, Value.of(encoded, raw) if name in _ASKED else encoded

    def attribute(self, name: bytes, values: list[bytes]) -> bytes:
        """The attribute of a field that stands once or more in an entry; empty where it is none."""
        key = self.key(name)
        if not key:
            return b""
        if name == b"SYSLOG_FACILITY" and values[-1] in _FACILITY:
            return _FACILITY[values[-1]]
        if len(values) > 1:
            return log_attribute(key, [_readable(value) for value in values])
        (raw,) = values
        if name in NUMBERS:
            return log_attribute(key, int(raw)) if raw.isdigit() and len(raw) < 19 else b""
        if is_utf8(raw):
            return self._heads[key.encode()][len(raw)] + raw
        return log_attribute(key, raw)

    def key(self, name: bytes) -> str:
        """What the attribute of a field is called; empty where it is none."""
        known = KEYS.get(name) or NUMBERS.get(name)
        if known:
            return known
        if name == b"SYSLOG_FACILITY":
            return "syslog.facility"
        if name in _RAW or not (self._all or name in self._wanted):
            return ""
        return _PREFIX + name.decode("utf-8", "replace")


def _readable(raw: bytes) -> AttributeValue:
    return raw.decode() if is_utf8(raw) else raw
