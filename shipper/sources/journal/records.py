"""Entries to records: what is shipped of a range, built the same way whenever it is asked for.

Everything here is a function of the entries and two positions. A long message is split at borders counted from its beginning.
What Docker's driver split is put together as far as the parts lie in the same batch, and marked where they do not.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from zlib import crc32

from shipper.otlp.encode import log_attribute, resource, scope
from shipper.shape import PLAIN, Shaped
from shipper.shape.text import is_utf8, whole
from shipper.sources.file.lines import CONTINUED, INCOMPLETE, LAST, PART, readable
from shipper.sources.journal import fields as f
from shipper.sources.journal.choose import Chooser, raw
from shipper.sources.journal.fields import SEVERITY, Understanding
from shipper.sources.journal.file import Entry, JournalFile
from shipper.sources.journal.position import ENTRY, start_of
from shipper.sources.journal.settings import JournalSettings

SCOPE = scope("shipper.journal")
SUPPRESSED, MISSED = "suppressed", "missed"
_ABOUT_LOSS = {
    b"a596d6fe7bfa4994828e72309e95d61e": SUPPRESSED,  # SD_MESSAGE_JOURNAL_DROPPED: a unit wrote more than it may
    b"e9bf28e6e834481bb6f48f548ad13606": MISSED,  # SD_MESSAGE_JOURNAL_MISSED: the kernel wrote faster than was read
}
_UNKNOWN = b"6"
_BOOTS = 64
_DIGITS = 16  # of microseconds since the epoch, until the year 2286
_DAMAGED = log_attribute("journald.damaged", True)  # a field of it cannot be read
_HEAD = 32  # bytes of a record besides text and attributes, about


@dataclass(slots=True)
class Row:
    """A record in the making. ``start``: the position of its first part."""

    start: int
    texts: list[bytes]
    extra: bytes
    time_ns: int
    unit: bytes
    size: int


@dataclass(slots=True)
class Gathered:
    """What a range holds so far. ``end``: as far as it reaches. ``open_at``: where the oldest of `parts` begins that goes on."""

    end: int
    limit: float = float("inf")  # bytes after which no further part of a long message is added
    rows: list[Row] = field(default_factory=list)
    filtered: int = 0
    size: int = 0
    entries: int = 0
    guard: int = 0
    parts: dict[bytes, Row] = field(default_factory=dict)  # of messages that go on, by container
    borders: list[int] = field(default_factory=list)  # behind a record and before another, nothing goes on
    dropped: dict[str, int] = field(default_factory=dict)  # messages that journald says it did not take, by cause
    damaged: int = 0  # fields that could not be read

    @property
    def open_at(self) -> int | None:
        """Where the oldest message begins that goes on behind the end."""
        return min((row.start for row in self.parts.values()), default=None)


class Records:
    """Makes the records of one journal."""

    def __init__(self, settings: JournalSettings) -> None:
        self._settings = settings
        self.understanding = Understanding(settings.fields)
        self._chooser = Chooser(settings.choice)
        self._shaped = settings.shape is not PLAIN
        self._resources: dict[bytes, bytes] = {}
        self._boots: dict[bytes, bytes] = {}

    def take(self, into: Gathered, entry: Entry, file: JournalFile, start: int, end: int) -> None:
        """Add what of an entry lies in ``[start, end)``."""
        into.guard = crc32(entry.head, into.guard)
        into.entries += 1
        first, behind = start_of(entry.seq), start_of(entry.seq + 1)
        into.end = min(end, behind)
        if not self._chooser.of_boot(entry.boot):
            into.filtered += start <= first
            return
        found = self._fields(entry, file, into)
        if not self._chooser.wants(found):
            into.filtered += start <= first
            return
        if cause := _ABOUT_LOSS.get(raw(found, f.MESSAGE_ID)):
            _lost(cause, found, into)
        text = found.pop(f.MESSAGE, b"")
        written = found.pop(f.SOURCE_TIME, b"")
        extra = self._extra(found, entry)
        row = Row(first, [text], extra, _time(written, entry), self._unit(found), len(text) + len(extra) + _HEAD)
        if (f.PARTIAL in found or f.PARTIAL_ID in found or into.parts) and self._join(into, found, row):
            return
        if len(text) <= self._settings.max_message:
            self._add(into, row)
        else:
            self._split(into, row, text, start, end)

    def shape(self, gathered: Gathered, observed_ns: int) -> Shaped:
        """The request of all records of a range; its payload is empty where there are none."""
        if not self._settings.service_from_unit:
            return self._shape(b"", gathered.rows, observed_ns)
        by_unit: dict[bytes, list[Row]] = {}
        for row in gathered.rows:
            by_unit.setdefault(row.unit, []).append(row)
        every = [self._shape(unit, rows, observed_ns) for unit, rows in by_unit.items()]
        failures: dict[str, int] = {}
        for one in every:
            for cause, count in one.failures.items():
                failures[cause] = failures.get(cause, 0) + count
        return Shaped(
            b"".join(one.payload for one in every),
            sum(one.records for one in every),
            sum(one.filtered for one in every),
            sum(one.sampled for one in every),
            failures,
        )

    def resource_of(self, unit: bytes) -> bytes:
        """The content of the Resource of a unit's records; of the host's where it is empty."""
        known = self._resources.get(unit)
        if known is None:
            attributes = dict(self._settings.attributes)
            if unit:
                attributes["service.name"] = unit.decode("utf-8", "replace").removesuffix(".service")
            known = self._resources[unit] = resource(attributes)
        return known

    def _shape(self, unit: bytes, rows: list[Row], observed_ns: int) -> Shaped:
        texts: list[bytes] = []
        extra: dict[int, bytes] = {}
        for index, row in enumerate(rows):
            text = row.texts[0] if len(row.texts) == 1 else b"".join(row.texts)
            original = b""
            if not is_utf8(text):
                text, original = readable(text)
            texts.append(text)
            extra[index] = row.extra + original
        times = [row.time_ns for row in rows]
        return self._settings.shape.shape(self.resource_of(unit), SCOPE, texts, observed_ns, extra, times)

    def is_one_of(self, entry: Entry, file: JournalFile, priorities: Container[bytes]) -> bool:
        """Whether an entry is shipped and has one of these priorities."""
        if not self._chooser.of_boot(entry.boot):
            return False
        found = self._fields(entry, file, Gathered(0))
        return found.get(f.PRIORITY, b"") in priorities and self._chooser.wants(found)

    # One entry ---------------------------------------------------------------------------------------------------------

    def _fields(self, entry: Entry, file: JournalFile, into: Gathered) -> dict[bytes, bytes]:
        """What is kept of each field, by name; of those that stand there more than once, one attribute of all values."""
        known = file.fields
        assert known is not None, "a file in a chain has its fields"
        try:
            found = dict(map(known.__getitem__, entry.fields))
            if len(found) == len(entry.fields):
                return found
        except ValueError:
            pass
        values: dict[bytes, list[bytes]] = {}
        before = into.damaged
        for at in entry.fields:
            try:
                name, _, value = file.field(at)[0].partition(b"=")
            except ValueError:
                into.damaged += 1
                continue
            values.setdefault(name, []).append(value)
        several = {name: self._several(name, each) for name, each in values.items()}
        if into.damaged > before:
            several[b""] = _DAMAGED
        return several

    def _several(self, name: bytes, values: list[bytes]) -> bytes:
        if name == f.MESSAGE:
            return b"\n".join(values)
        if len(values) == 1 or name in (f.PRIORITY, f.SOURCE_TIME):
            return self.understanding(b"=".join((name, values[-1])))[1]
        kept = self.understanding(b"=".join((name, values[0])))[1]
        encoded = self.understanding.attribute(name, values)
        return f.Value.of(encoded, kept.raw) if isinstance(kept, f.Value) else encoded

    def _extra(self, found: dict[bytes, bytes], entry: Entry) -> bytes:
        priority = found.pop(f.PRIORITY, b"")
        if self._shaped and priority == _UNKNOWN and raw(found, f.TRANSPORT) == b"stdout":
            severity = b""  # journald's guess; what the text says is better
        else:
            severity = SEVERITY.get(priority, b"")
        boot = self._boot(entry.boot) if self._settings.each_boot else b""
        return b"".join((severity, *found.values(), boot))

    def _boot(self, boot: bytes) -> bytes:
        known = self._boots.get(boot)
        if known is None:
            if len(self._boots) >= _BOOTS:
                self._boots.clear()
            known = self._boots[boot] = log_attribute("journald.boot_id", boot.hex())
        return known

    def _unit(self, found: Mapping[bytes, bytes]) -> bytes:
        if not self._settings.service_from_unit:
            return b""
        return raw(found, f.USER_UNIT) or raw(found, f.UNIT)

    # Long and split messages -------------------------------------------------------------------------------------------

    def _add(self, into: Gathered, row: Row) -> None:
        if into.rows and not into.parts:
            into.borders.append(row.start)
        into.rows.append(row)
        into.size += row.size

    def _split(self, into: Gathered, row: Row, text: bytes, start: int, end: int) -> None:
        limit = self._settings.max_message
        count = min(ENTRY, -(-len(text) // limit))
        for part in range(count):
            place = row.start + part
            if not start <= place < end:
                continue
            if into.size >= into.limit:
                into.end = place
                return
            last = part == count - 1
            a = whole(text, part * limit) if part else 0
            piece = text[a:] if last else text[a : whole(text, (part + 1) * limit)]
            marks = log_attribute(PART, part) + log_attribute(LAST, last)
            self._add(into, Row(place, [piece], row.extra + marks, row.time_ns, row.unit, len(piece) + row.size))

    def _join(self, into: Gathered, found: Mapping[bytes, bytes], row: Row) -> bool:
        """Put a part to those before it; False where it is nobody's part."""
        goes_on = raw(found, f.PARTIAL) == b"true"
        container = raw(found, f.CONTAINER)
        key = b"/".join((container, raw(found, f.PARTIAL_ID), raw(found, f.TRANSPORT)))
        before = into.parts.get(key) if container else None
        if before is None:
            if not goes_on and f.PARTIAL_ID not in found:
                return False
            if raw(found, f.PARTIAL_ORDINAL).isdigit() and int(raw(found, f.PARTIAL_ORDINAL)[:9]) > 1:
                row.extra += CONTINUED
            self._add(into, row)
            if goes_on:
                row.extra += INCOMPLETE
                into.parts[key] = row
            return True
        before.texts += row.texts
        before.size += len(row.texts[0])
        into.size += len(row.texts[0])
        if not goes_on:
            del into.parts[key]
            before.extra = before.extra.replace(INCOMPLETE, b"")
        elif before.size > self._settings.max_message:
            into.parts.pop(key)
        return True


def _time(written: bytes, entry: Entry) -> int:
    """When it was written, as far as that is said, else when journald received it; in nanoseconds, 0 for no possible time."""
    at = int(written) if written.isdigit() and len(written) <= _DIGITS else entry.realtime
    return at * 1000 if at < 10**_DIGITS else 0


def _lost(cause: str, found: Mapping[bytes, bytes], into: Gathered) -> None:
    """Count what journald says that it did not take."""
    count = raw(found, f.DROPPED)
    if not count.isdigit():  # some versions only say it in the text: "Suppressed 12 messages from a.service"
        count = next((word for word in found.get(f.MESSAGE, b"").split() if word.isdigit()), b"1")
    into.dropped[cause] = into.dropped.get(cause, 0) + int(count[:18])
