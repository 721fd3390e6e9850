"""One syslog message: RFC 5424, RFC 3164, or what is sent under their names. Nothing is refused, and nothing is left out.

What cannot be read as a header belongs to the text. Only a message without a priority, or one of version 1 whose header is
broken, is marked: for all else RFC 3164 says that anything may follow the priority.
"""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import NamedTuple

from shipper.otlp.encode import any_value, log_attribute
from shipper.otlp.wire import fixed64_field
from shipper.shape.text import is_utf8
from shipper.shape.timestamps import TimeReader
from shipper.sources.heads import Keys
from shipper.sources.syslog.priority import FIELDS
from shipper.sources.syslog.structured import Found, structured

ERROR = "shipper.syslog.error"
"""Attribute of a message that was not understood: what was wrong. Its body is the message as it came."""

_PRIORITY = re.compile(rb"<(\d{1,3})>")
_HEADER = re.compile(rb"1 (\S{1,64}) (\S{1,255}) (\S{1,255}) (\S{1,255}) (\S{1,255}) ")
_TIME = re.compile(
    rb"(?:[A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d{1,9})?(?: \d{4}(?= ))?"
    rb"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?):? "
)
_TAG = re.compile(rb"([^\s:\[\]<>]{1,64})(?:\[([^\s\[\]]{1,64})\])?:(?!:) ?")
_PROCESS = re.compile(rb"([^\s:\[\]<>]{1,64})\[(\d{1,10})\]: ?")
_HOST = re.compile(rb"([\w.:%-]{1,255}) ")
_BOM = b"\xef\xbb\xbf"
_NIL = b"-"


class Message(NamedTuple):
    """``fields``: encoded fields of the LogRecord besides body and observed time. ``problem``: a fixed word, or empty."""

    fields: bytes
    body: bytes
    hostname: str
    appname: str
    problem: str = ""


class Parser:
    """Reads messages. ``zone``: of times that name none. ``apart``: leave host and application out of the attributes."""

    def __init__(self, zone: tzinfo, *, apart: bool) -> None:
        self._times = TimeReader(zone)
        self._apart = apart
        self._keys = Keys(str.encode)

    def parse(self, data: bytes, received_ns: int, *, local: bool) -> Message:
        """``local``: from a socket on this machine, where libc names no host."""
        match = _PRIORITY.match(data)
        priority = FIELDS.get(match[1]) if match else None
        if match is None or priority is None:
            return Message(log_attribute(ERROR, "it has no priority"), data, "", "", "priority")
        at = match.end()
        if data.startswith(b"1 ", at):
            return self._new(data, at, priority, received_ns)
        return self._old(data, at, priority, received_ns, local=local)

    def _new(self, data: bytes, at: int, priority: bytes, received_ns: int) -> Message:
        """RFC 5424."""
        header = _HEADER.match(data, at)
        found = structured(data, header.end()) if header else None
        if header is None or found is None:
            return Message(priority + log_attribute(ERROR, "its header is broken"), data, "", "", "header")
        values, end = found
        time, hostname, appname, procid, msgid = header.groups()
        body = data[end + 1 :].removeprefix(_BOM)
        parts = [priority, self._time(time, received_ns), _VERSION]
        parts += self._attributes(hostname, appname, procid, msgid)
        parts += self._structured(values)
        return Message(b"".join(parts), body, _text(hostname), _text(appname))

    def _old(self, data: bytes, at: int, priority: bytes, received_ns: int, *, local: bool) -> Message:
        """RFC 3164, and what glibc, rsyslog, Python and others make of it."""
        time = _TIME.match(data, at)
        hostname = _NIL
        if time is not None:
            at = time.end()
            if (not local and (host := self._host(data, at)) is not None) or (
                local and (host := _HOST.match(data, at)) and not _TAG.match(data, at) and _TAG.match(data, host.end())
            ):
                hostname, at = host[1], host.end()
        tag = (_TAG if time is not None else _PROCESS).match(data, at)
        appname, procid = (tag[1], tag[2] or _NIL) if tag else (_NIL, _NIL)
        parts = [priority]
        if time is not None:
            parts.append(self._time(time[0].rstrip(b": "), received_ns))
        parts += self._attributes(hostname, appname, procid, _NIL)
        return Message(b"".join(parts), data[tag.end() if tag else at :], _text(hostname), _text(appname))

    def _host(self, data: bytes, at: int) -> re.Match[bytes] | None:
        """The name of the host, unless what stands there is the tag already."""
        return None if _TAG.match(data, at) else _HOST.match(data, at)

    def _time(self, text: bytes, received_ns: int) -> bytes:
        when = 0 if text == _NIL else self._times.one(text.decode("ascii", "replace"), received_ns)
        return fixed64_field(1, when) if when else b""

    def _attributes(self, hostname: bytes, appname: bytes, procid: bytes, msgid: bytes) -> list[bytes]:
        named = [("syslog.procid", procid), ("syslog.msgid", msgid)]
        if not self._apart:
            named += [("syslog.hostname", hostname), ("syslog.appname", appname)]
        parts: list[bytes] = []
        for key, value in named:
            if value != _NIL:
                value = value if is_utf8(value) else value.decode("utf-8", "replace").encode()
                parts += (self._keys[key][len(value)], value)
        return parts

    def _structured(self, found: Found) -> list[bytes]:
        parts: list[bytes] = []
        for name, values in found.items():
            heads = self._keys["syslog.structured_data." + name]
            if len(values) == 1:
                parts += (heads[len(values[0])], values[0])
            else:
                parts.append(heads.of(any_value([value.decode() for value in values])))
        return parts


_VERSION = log_attribute("syslog.version", 1)


def _text(value: bytes) -> str:
    return "" if value == _NIL else value.decode("utf-8", "replace")
