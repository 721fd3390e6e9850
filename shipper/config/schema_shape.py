"""How the records of a source are understood, joined, left out and masked."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from shipper.config.section import Section
from shipper.config.units import Seconds, Size, Word

MultilineKind: TypeAlias = Literal["preset", "start", "continuation", "indent"]
"""By what lines are joined to events."""

MIB = 1 << 20


class Multiline(Section, frozen=True):
    """How the lines of a stack trace become one record. Exactly one of preset, start, continuation and indent is given."""

    shorthand: ClassVar[str] = "preset"

    preset: Annotated[
        Literal["", "java", "python", "go", "dotnet", "ruby"],
        Meta(description="Stack traces as this language writes them, joined to the line before."),
    ] = ""
    start: Annotated[str, Meta(description="A line in which this regular expression is found begins an event.")] = ""
    continuation: Annotated[
        str, Meta(description="A line in which this regular expression is found goes on with the event before.")
    ] = ""
    indent: Annotated[
        bool, Meta(description="A line that begins with a space or a tab, or is blank, goes on with the event before.")
    ] = False
    timeout: Annotated[
        Seconds, Meta(description="How long after the last growth of the file its last event counts as complete.", ge=0)
    ] = 0.5
    max_lines: Annotated[int, Meta(description="An event of more lines is split and its parts are marked.", ge=1)] = 500
    max_bytes: Annotated[
        Size, Meta(description="A larger event is split and its parts are marked; holds instead of `max_line_bytes`.")
    ] = MIB

    @property
    def kinds(self) -> list[MultilineKind]:
        """Which of the ways are given."""
        kinds: tuple[MultilineKind, ...] = ("preset", "start", "continuation", "indent")
        return [kind for kind in kinds if getattr(self, kind)]


SeverityName: TypeAlias = Literal["", "trace", "debug", "info", "warn", "error", "fatal"]
"""A border between severities; empty: none."""


class ShapeCondition(Section, frozen=True):
    """What records a rule is about: all that is given must hold. An entry may also be just an expression."""

    shorthand: ClassVar[str] = "match"
    one_a_line: ClassVar[bool] = True

    match: Annotated[str, Meta(description="A regular expression found in the text, or in the field.")] = ""
    field: Annotated[str, Meta(description="A field by name, dots lead into objects; alone it must only be there.")] = (
        ""
    )
    at_least: Annotated[SeverityName, Meta(description="The severity is this or worse.")] = ""
    below: Annotated[SeverityName, Meta(description="The severity is known and less than this.")] = ""


class Shape(Section, frozen=True):
    """What is understood of records, and which of them are shipped (docs/shapes.md)."""

    shorthand: ClassVar[str] = "parse"

    parse: Annotated[
        Literal["auto", "plain", "json", "logfmt", "regex", "common"],
        Meta(description="How a text is read; auto: JSON where it begins with {, else as a plain line."),
    ] = "auto"
    pattern: Annotated[str, Meta(description="For regex: an expression with a named group for each field.")] = ""
    fields: Annotated[
        list[Word],
        Meta(
            description="Fields that become attributes, by name; all; none. Not set: all for regex, common and "
            "`body: message`, else none."
        ),
    ] = msgspec.field(default_factory=list)
    body: Annotated[
        Literal["text", "message"],
        Meta(description="Whether the body is the text as it was written, or the message in it."),
    ] = "text"
    timezone: Annotated[
        str, Meta(description="Of times that name none: UTC, local, an offset such as +02:00, or a name.")
    ] = "UTC"
    time_format: Annotated[
        str, Meta(description="How times are written (strptime), where they are not recognised.")
    ] = ""
    drop: Annotated[list[ShapeCondition], Meta(description="Records for which one of these holds are left out.")] = (
        msgspec.field(default_factory=list)
    )
    keep: Annotated[
        list[ShapeCondition], Meta(description="If given, records for which none of these holds are left out.")
    ] = msgspec.field(default_factory=list)
    sample: Annotated[
        float, Meta(description="Share of the rest that is shipped, by trace or text; errors always are.", ge=0, le=1)
    ] = 1.0


class Redact(Section, frozen=True):
    """Secrets to mask (docs/redaction.md): a kind, or a pattern with a name. An entry may also be just a kind."""

    shorthand: ClassVar[str] = "kind"

    kind: Annotated[
        Literal["", "tokens", "keys", "passwords", "cards", "email", "iban", "ssn"],
        Meta(description="Secrets that are known."),
    ] = ""
    name: Annotated[str, Meta(description="What a pattern of your own is counted as.")] = ""
    pattern: Annotated[str, Meta(description="A regular expression as RE2 reads it.")] = ""
    group: Annotated[int, Meta(description="The group of it that is masked; 0: all that it matches.", ge=0)] = 0
