"""The shape that understands what it ships: parse, recognise, choose, encode, each for a chunk at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from operator import attrgetter
from typing import Any, Protocol

from shipper.otlp.encode import log_attribute
from shipper.shape import timetext
from shipper.shape.access import AccessParser
from shipper.shape.columns import ABSENT, Found, Parsed, Table
from shipper.shape.jsonlines import JsonParser
from shipper.shape.logfmt import LogfmtParser
from shipper.shape.names import matters
from shipper.shape.pattern import PatternParser
from shipper.shape.recognise import Recogniser
from shipper.shape.records import encode, given, request, time_fields
from shipper.shape.rules import Rules
from shipper.shape.settings import ShapeSettings
from shipper.shape.shaping import PLAIN, Shape, Shaped
from shipper.shape.timestamps import TimeReader

_BLOCK = 512  # texts worked on at a time: their columns stay in the processor's cache
_ENCODED = attrgetter("encoded")

ERROR_ATTRIBUTE = "shipper.shape.error"
"""On a record that could not be read as its settings say: how it should have been read."""


class Parser(Protocol):
    """Finds the fields of texts. ``cause``: what it is called where it fails."""

    cause: str

    def parse(self, texts: Sequence[bytes], rows: Sequence[int]) -> Parsed:
        """The fields of ``texts[row]`` for each of ``rows``."""
        ...


class UnderstoodShape:
    """Texts become records with time, severity, trace and attributes, as far as they say them. See `ShapeSettings`."""

    def __init__(self, settings: ShapeSettings) -> None:
        """Raises ValueError for a zone that is not known, re.error for a pattern that is none."""
        self._rules = Rules(settings.drop, settings.keep, settings.sample)
        self._looks = settings.parse != "plain" or self._rules.by_severity
        self._auto = settings.parse == "auto"
        self._parser = _parser(settings, self._rules)
        times = TimeReader(UTC if settings.zone == "UTC" else timetext.zone(settings.zone), settings.time_format)
        self._recogniser = Recogniser(times, settings.fields, message_body=settings.message_body)
        self._failed = b"" if self._parser is None else log_attribute(ERROR_ATTRIBUTE, self._parser.cause)

    def shape(
        self,
        resource: bytes,
        scope: bytes,
        texts: Sequence[bytes],
        observed_ns: int,
        extra: Mapping[int, bytes] | None = None,
        times: Sequence[int] | None = None,
    ) -> Shaped:
        """See `Shape.shape`."""
        fields = given(extra, len(texts))
        records: list[bytes] = []
        count = filtered = sampled = 0
        failures: dict[str, int] = {}
        for at in range(0, len(texts), _BLOCK):
            place = slice(at, at + _BLOCK)
            part = texts[place]
            found = Found.nothing(part, None if times is None else times[place])
            if self._looks:
                self._understand(part, found, observed_ns)
            bodies, columns = found.bodies, _columns(found, None if fields is None else fields[place])
            if self._rules:
                rows, left_out, by_chance = self._rules.choose(part, found)
                bodies, columns = [bodies[row] for row in rows], [[column[row] for row in rows] for column in columns]
                filtered, sampled = filtered + left_out, sampled + by_chance
            records.append(encode(bodies, columns, observed_ns))
            count += len(bodies)
            for cause, number in found.failures.items():
                failures[cause] = failures.get(cause, 0) + number
        payload = request(resource, scope, records) if count else b""
        return Shaped(payload, count, filtered, sampled, failures)

    def _understand(self, texts: Sequence[bytes], found: Found, observed_ns: int) -> None:
        parsed = self._parse(texts)
        for name in self._rules.fields:
            found.fields[name] = _field(parsed.tables, name, len(texts))
        for table in parsed.tables:
            self._recogniser.table(table, found, observed_ns)
        if parsed.plain:
            self._recogniser.plain(parsed.plain, texts, found, observed_ns)
        if parsed.failed and not self._auto and self._parser is not None:
            failed = [row for row in parsed.failed if texts[row]]  # an empty line is nothing that could fail
            for row in failed:
                found.attributes[row] = self._failed
            found.fail(self._parser.cause, len(failed))

    def _parse(self, texts: Sequence[bytes]) -> Parsed:
        every = range(len(texts))
        if self._parser is None:
            return Parsed([], every)
        if not self._auto:
            return self._parser.parse(texts, every)
        objects = [row for row, text in enumerate(texts) if text[:1] == b"{"]
        parsed = self._parser.parse(texts, objects)
        if len(objects) < len(texts):
            others = sorted(set(every).difference(objects).union(parsed.plain))
            return Parsed(parsed.tables, others)
        return parsed


def make_shape(settings: ShapeSettings) -> Shape:
    """The shape that does what is asked for. Raises ValueError, re.error: see `UnderstoodShape`."""
    return PLAIN if settings == ShapeSettings() else UnderstoodShape(settings)


def _parser(settings: ShapeSettings, rules: Rules) -> Parser | None:
    fields = None if settings.fields is None else (*settings.fields, *rules.fields)
    if settings.parse in ("json", "auto"):
        return JsonParser(matters(fields))
    if settings.parse == "logfmt":
        return LogfmtParser(matters(fields))
    if settings.parse == "regex":
        return PatternParser(re.compile(settings.pattern.encode()))
    return AccessParser() if settings.parse == "common" else None


def _columns(found: Found, extra: list[bytes] | None) -> list[Sequence[bytes]]:
    """What there is besides the bodies."""
    columns: list[Sequence[bytes]] = []
    if any(found.times):
        columns.append(time_fields(found.times))
    columns.append(list(map(_ENCODED, found.severities)))
    columns += [column for column in (found.contexts, found.attributes) if any(column)]
    return columns if extra is None else [*columns, extra]


def _field(tables: Sequence[Table], name: str, size: int) -> list[Any]:
    """The values of a field for all texts."""
    found: list[Any] = [ABSENT] * size
    for table in tables:
        for row, value in zip(table.rows, table.columns.get(name, ()), strict=False):
            found[row] = value
    return found
