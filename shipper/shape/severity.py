"""What logs call a severity, as OpenTelemetry numbers it (logs data model, "Severity Fields" and its appendix).

Libraries agree on neither words nor numbers. A word is looked up; which scale a number belongs to is told by the name of its
field, or by its size. In a plain line it is found by one search in the line's beginning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import compress, repeat
from typing import Any, NamedTuple

from shipper.otlp.wire import field, text, varint_field

TRACE, DEBUG, INFO, WARN, ERROR, FATAL = 1, 5, 9, 13, 17, 21
REACH = 128  # bytes of a plain line in which a severity is looked for: what comes later is what the program talks about
LONGEST = 24  # characters of a word that may name a severity
_CACHED = 1024


class Severity(NamedTuple):
    """A SeverityNumber (0: unknown) and the encoded fields severity_number and severity_text of a LogRecord."""

    number: int
    encoded: bytes


NONE = Severity(0, b"")

WORDS: Mapping[str, int] = {
    word: number
    for number, words in {
        TRACE: "trace trce trc finest verbose vrb v t all silly",
        2: "finer",
        3: "fine",
        DEBUG: "debug dbug dbg d debug1 config",
        6: "debug2",
        7: "debug3",
        8: "debug4 debug5",
        INFO: "info information informational inf i log system statement detail hint default",
        10: "notice note n ok success",
        WARN: "warn warning wrn w",
        ERROR: "error err eror e fail failure severe erro",
        18: "crit dpanic c",
        19: "alert a",
        FATAL: "fatal ftl f critical panic pnc emerg emergency x",
    }.items()
    for word in words.split()
}
"""SeverityNumber by word in lower case."""

SYSLOG = (FATAL, 19, 18, ERROR, WARN, 10, INFO, DEBUG)
"""By syslog's numbers, 0 to 7 (RFC 5424, 6.2.1)."""

_DECADES = (TRACE, DEBUG, INFO, WARN, ERROR, FATAL)  # pino, bunyan: 10, 20, ... 60
_PYTHON = (TRACE, DEBUG, INFO, WARN, ERROR, FATAL)  # logging: below 10, 10, 20, ... 50
_GOOGLE = (INFO, DEBUG, INFO, 10, WARN, ERROR, FATAL, FATAL, FATAL)  # LogSeverity: 0, 100, ... 800
_OFFSET = re.compile(
    r"(debug|info|warn|error)([+-]\d{1,3})", re.IGNORECASE
)  # slog: a level between two that have names
_DIGITS = re.compile(r"\d{1,3}", re.ASCII)


def of_word(word: str) -> int:
    """The SeverityNumber of what a library calls a severity, 0 when it is no known word."""
    known = WORDS.get(word.lower())
    if known is not None:
        return known
    between = _OFFSET.fullmatch(word)
    if between is None:
        return 0
    number = WORDS[between[1].lower()] + int(between[2])  # the four steps between two of slog's are OTel's four
    return min(max(number, 1), 24)


def of_number(name: str, value: int) -> int:
    """The SeverityNumber of a numeric severity in a field of this name, 0 when it fits no scale."""
    last = name.rpartition(".")[2].lower().replace("_", "")
    if last == "severitynumber":
        return value if 1 <= value <= 24 else 0
    if last == "levelno":
        return _PYTHON[min(value // 10, 5)] if 0 < value <= 100 else 0
    if 0 <= value <= 7:
        return SYSLOG[value]
    if 10 <= value < 70:
        return _DECADES[value // 10 - 1]
    return _GOOGLE[value // 100] if 100 <= value <= 800 else 0


_LIKE_INTEGERS = frozenset((bool, float))  # True and 9.0 would be found where 1 and 9 are


class Levels(dict[Any, Severity]):
    """Severities by the values of a field called ``name``. Forgets when full: what a field holds may be anything."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, value: Any) -> Severity:
        found = self._read(value)
        if found is not NONE:  # what says nothing may be of any length
            if len(self) >= _CACHED:
                self.clear()
            self[value] = found
        return found

    def column(self, values: Sequence[Any]) -> list[Severity]:
        """The severity of each value; `NONE` for what names none."""
        try:
            if _LIKE_INTEGERS.isdisjoint(map(type, values)):
                return list(map(self.__getitem__, values))
        except TypeError:  # an object or a list
            pass
        return [self[value] if isinstance(value, str | bytes) or type(value) is int else NONE for value in values]

    def _read(self, value: Any) -> Severity:
        if isinstance(value, bytes):
            value = value.decode()
        if isinstance(value, int):
            number = of_number(self._name, value)
            return Severity(number, varint_field(2, number)) if number else NONE
        if not isinstance(value, str):
            return NONE
        word = value.strip()
        if _DIGITS.fullmatch(word):
            return self._read(int(word))
        if not word or len(word) > LONGEST:
            return NONE
        number = of_word(word)
        return Severity(number, (varint_field(2, number) if number else b"") + field(3, text(word)))


_SHOUTED = re.compile(
    rb"T(?<!\wT)RACE(?!\w)|D(?<!\wD)EBUG[1-5]?(?!\w)|I(?<!\wI)NFO(?:RMATION)?(?!\w)|N(?<!\wN)OTICE(?!\w)|W(?<!\wW)ARN(?:ING)?(?!\w)"
    rb"|E(?<!\wE)(?:RROR|RR|MERG(?:ENCY)?)(?!\w)|F(?<!\wF)(?:ATAL|INEST|INER|INE)(?!\w)|C(?<!\wC)RIT(?:ICAL)?(?!\w)|C(?<!\wC)ONFIG:"
    rb"|A(?<!\wA)LERT(?!\w)|P(?<!\wP)ANIC(?!\w)|S(?<!\wS)EVERE(?!\w)|S(?<!\wS)TATEMENT:|L(?<!\wL)OG:|V(?<!\wV)ERBOSE(?!\w)"
    rb"|I(?<=[ \[]I)NF\]|W(?<=[ \[]W)RN\]|D(?<=[ \[]D)BG\]|V(?<=[ \[]V)RB\]|F(?<=[ \[]F)TL\]"  # Serilog
    rb"|\t(?:debug|info|warn|error|dpanic|panic|fatal)\t"  # zap
    rb"|\[(?:\w{1,24}:)?(?:trace\d?|debug|info|notice|[Nn]ote|warn|[Ww]arning|[Ee]rror|err|fatal|critical|crit|alert|emerg|panic|[Ss]ystem|Info|Debug"
    rb"|Critical|Fatal)\]"
)
"""Every alternative begins with a literal character, and few of those are in usual text: so the search skips to the next one."""

_NAMED = re.compile(
    rb"l(?<!\wl)(?:vl|evel)[=:] ?[\"']?[A-Za-z]{1,24}|l(?<!\wl)oglevel[=:] ?[\"']?[A-Za-z]{1,24}"
    rb"|s(?<!\ws)everity[=:] ?[\"']?[A-Za-z]{1,24}"
)
_HINTS = (b"level", b"lvl", b"severity")
_WORD = re.compile(r"[A-Za-z]+[1-5]?(?=\W*$)")

_START = re.compile(
    rb"[IWEF](?=\d{4} \d\d:\d\d:\d\d)|[DIWEFA](?=, \[\d{4}-)"  # klog; Ruby's Logger
    rb"|(?:trce|dbug|info|warn|fail|crit|debug|error|warning|fatal)(?=: )"
    rb"|Traceback(?= \(most)|Exception(?= in thread)|Unhandled(?= exception)|panic(?=: )|fatal(?= error: )"
)
_ENDINGS = {b"Traceback": ERROR, b"Exception": ERROR, b"Unhandled": ERROR, b"panic": FATAL, b"fatal": FATAL}


class _Words(dict[bytes, Severity]):
    """Severities by what was found in a plain line, of which there are few."""

    def __missing__(self, found: bytes) -> Severity:
        ending = _ENDINGS.get(found)
        word = _WORD.search(found.decode())
        number = of_word(word[0]) if word is not None else 0
        if ending is not None:  # what a runtime says when it gives up; nobody called that a severity
            severity = Severity(ending, varint_field(2, ending))
        elif word is None or not number:
            severity = NONE
        else:
            severity = Severity(number, varint_field(2, number) + field(3, text(word[0])))
        if len(self) >= _CACHED:
            self.clear()
        self[found] = severity
        return severity


_WORDS = _Words()


def in_plain(texts: Sequence[bytes]) -> list[Severity]:
    """The severity that each plain text begins with or names near its beginning; `NONE` where it names none."""
    found = [NONE] * len(texts)
    matches = list(map(_SHOUTED.search, texts, repeat(0), repeat(REACH)))
    chunk = b"\n".join(texts)
    if any(hint in chunk for hint in _HINTS):
        for index, named in enumerate(map(_NAMED.search, texts, repeat(0), repeat(REACH))):
            if named is not None and ((other := matches[index]) is None or named.start() < other.start()):
                matches[index] = named
    for index, start in enumerate(map(_START.match, texts)):
        if start is not None:
            matches[index] = start
    for index in compress(range(len(texts)), matches):
        match = matches[index]
        if match is not None:
            found[index] = _WORDS[match[0]]
    return found
