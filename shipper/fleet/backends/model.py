"""What an audit asks of a backend that is no archive: the statements of lives, and how many records it has of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from shipper.fleet.statements import Event, Statement

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
EVENTS = ("shipper.birth", "shipper.notice", "shipper.farewell")
"""The statements that every destination gets; accounts, which come every few seconds, are not asked for."""

_LIFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Said:
    """A statement as a backend has it: its JSON, as a text or, where the backend read it, as a mapping."""

    body: str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A life, and from when to when it was heard of, in ns since the epoch."""

    life: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where credentials stand; empty: nowhere. Files are read when the audit begins."""

    token_file: str = ""
    username: str = ""
    password_file: str = ""
    api_key_file: str = ""
    app_key_file: str = ""


class Backend(Protocol):
    """A backend that can be asked. Every method raises `NoAnswer` with one sentence for whatever goes wrong."""

    name: str
    """What it is and where, for people."""
    usual: tuple[str, ...]
    """Words that destinations of this kind usually have in their names."""
    counted: Mapping[str, frozenset[str]]
    """What it can count: a name for it, and the signals whose records are counted together."""
    reach_ns: int
    """How far back it is asked where nobody said; 0: as far as it has anything."""
    limits: tuple[str, ...]
    """Sentences on what this backend cannot tell."""
    remarks: list[str]
    """Sentences on what it said beside its answers."""

    def statements(self, start_ns: int, end_ns: int) -> Iterator[Said]:
        """The statements made in that time, in any order, perhaps some of them twice."""

    def counts(self, lives: Sequence[Span]) -> Mapping[str, Mapping[str, int]]:
        """Records of each life by what is ``counted``, without the statements; none for those of which it has nothing."""


@dataclass(slots=True)
class Heard:
    """Statements that were read, and in words those that cannot be."""

    events: list[Event] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def add(self, said: Said) -> None:
        """Read one more."""
        try:
            given = said.body if isinstance(said.body, Mapping) else msgspec.json.decode(said.body)
            statement = msgspec.convert(given, Statement)
        except (msgspec.MsgspecError, UnicodeEncodeError) as problem:
            self.unreadable.append(f"a statement that cannot be read, as it is cut off or changed: {problem}")
            return
        if statement.version != 1:
            self.unreadable.append(f"a statement of version {statement.version}, which this program does not know")
        elif not _LIFE.fullmatch(statement.life):
            self.unreadable.append(f"a statement of {statement.life[:_SHOWN]!r}, which is no life's id")
        else:
            self.events.append(Event(_what(given), statement, 0))


def _what(statement: Mapping[str, Any]) -> str:
    """Which event it was, by what it says: the event's name does not get through everywhere."""
    if "ended_ns" in statement:
        return "farewell"
    if "notice" in statement:
        return "notice"
    return "birth" if "notes" in statement else "account"
