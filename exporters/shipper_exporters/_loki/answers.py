"""What Loki's answer to a push means, and what it says about each entry that it did not take.

The words are those of loki v2.9 to v3.7: ``pkg/validation/validate.go``, ``pkg/util/errors.go`` (errors grouped by text) and
``errorForFailedEntries`` of ``pkg/ingester/stream.go``. A push is taken as far as possible: the distributor drops each entry
that breaks a limit, an ingester each that comes too late or too fast, and the rest of that push is stored.
"""

from __future__ import annotations

import calendar
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.errors import DeliveryError, Retryable, Unusable
from shipper_exporters._http.answers import is_web_page, phrase
from shipper_exporters._http.client import Answer
from shipper_exporters._http.exchange import excerpt, retry_after

MAX_ANSWER = 4 << 20  # an answer may have a sentence for every entry

_LATER = frozenset({408, 425, 429, 499})  # 499: an ingester went away while it was asked
_CONTENT = frozenset({400, 422})
_GRPC_SIZE = "received message larger than max"  # what a distributor may hand on to an ingester

_LABELS_BEGIN = "stream '{"
_LABELS = re.compile(r"""\{(?:[^"}]++|"(?:[^"\\]++|\\.)*+")*+\}'""", re.DOTALL)
_STREAM = r"stream '\{\}'"  # its labels, whose values may say anything, are taken out first
_ENTRY = {
    "greater_than_max_sample_age": rf"entry for {_STREAM} has timestamp too old: ",
    "too_far_in_future": rf"entry for {_STREAM} has timestamp too new: ",
    "line_too_long": rf"max entry size '\d{{1,20}}' bytes exceeded for {_STREAM} while adding ",
    "structured_metadata_too_large": rf"{_STREAM} has structured metadata too large: ",
    "structured_metadata_too_many": rf"{_STREAM} has too many structured metadata labels: ",
}
"""What the distributor says of an entry that it drops, by the reason under which Loki counts it."""

_DROPPED = re.compile(
    r"(?:\b(\d{1,9}) errors like: )?(?:" + "|".join(f"(?P<{reason}>{words})" for reason, words in _ENTRY.items()) + ")"
)
_WHOLE_STREAM = re.compile(
    rf"{_STREAM} has (\d{{1,9}} label names; limit|label name too long|label value too long|duplicate label name)"
    "|error parsing labels '"
)
_FOR_A_PERSON: Mapping[str, str] = {
    "includes structured metadata, but this feature is disallowed": "its limits_config.allow_structured_metadata is needed",
    "missing required labels": "set them by labels",
    "ingestion blocked for user": "",
}
_IGNORED = re.compile(
    r"entry with timestamp (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d{1,9})? \S{1,9} UTC ignored, reason: '", re.ASCII
)
_TOTAL = re.compile(r"total ignored: (\d{1,9}) out of \d{1,9} for stream", re.ASCII)
_TOO_FAST = re.compile(r"Per stream rate limit exceeded \(limit: (\d{1,9}(?:\.\d{1,9})?)([KMGTP]?B)/sec\)", re.ASCII)
_ALL_TOO_FAST = re.compile(
    r"ingestion rate limit exceeded for user .{0,200}? \(limit: (\d{1,18}) bytes/sec\)", re.ASCII | re.DOTALL
)
_NEW_STREAM = "maximum active stream limit exceeded"
_UNITS = {unit: 1024**power for power, unit in enumerate(("B", "KB", "MB", "GB", "TB", "PB"))}


@dataclass(frozen=True, slots=True)
class Dropped:
    """Entries that break a limit are lost, by Loki's word for the reason; the rest is stored."""

    reasons: Counter[str]
    reason: str


@dataclass(frozen=True, slots=True)
class Late:
    """``total`` entries are older than what their stream still takes, the rest is stored. ``named``: times, some of them."""

    total: int
    named: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Slowed:
    """Too much for now. ``total`` entries of the stream were ignored, 0: all of the push. ``named``: times of some.

    ``limit``: bytes in a second, 0 where none is said. ``everybody``: it is not about this stream, other pushes would fare
    the same.
    """

    reason: str
    wait: float | None = None
    total: int = 0
    named: tuple[int, ...] = ()
    limit: int = 0
    everybody: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """All of it is refused for what is in it; in parts it may be taken. ``large``: for its size."""

    reason: str
    large: bool = False


Meaning = Dropped | Late | Slowed | Refused | None


def meaning(answer: Answer, entries: int, where: str, wall_ns: int) -> Meaning:
    """What became of a push of ``entries`` entries of one stream; None: it is stored. Raises `Retryable` or `Unusable`."""
    status, said = answer.status, excerpt(answer.body)
    words = _without_labels(answer.body.decode("utf-8", "replace"))
    named = f"{where} answered {phrase(status)}" + (f": {said}" if said else "")
    if status == 204 or (status == 200 and not answer.body):
        return None
    if status == 429:
        return _slowed(words, named, retry_after(answer.headers, wall_ns))
    if status == 413 or (status >= 500 and _GRPC_SIZE in words):
        return Refused(named, large=True)
    for_a_person = _for_a_person(answer, named, words)
    if for_a_person is not None:
        raise for_a_person
    if status in _LATER or status >= 500:
        raise Retryable(named, retry_after(answer.headers, wall_ns))
    return _refused(words, entries, named)


def _for_a_person(answer: Answer, named: str, words: str) -> DeliveryError | None:
    status = answer.status
    for known, advice in _FOR_A_PERSON.items():
        if known in words:
            return Unusable(f"{named} ({advice})" if advice else named)
    if 300 <= status < 400:
        to = excerpt(answer.headers.get("Location", "")) or "nowhere"
        return Unusable(f"{named}, which leads to {to}; if that is right, make it the endpoint")
    if status >= 500 or status in _LATER:
        return None
    if 200 <= status < 300 or is_web_page(answer):
        return Unusable(f"{named}, which is not what Loki says to a push: something else is there, or in between")
    if status == 401 and "no org id" in words:
        return Unusable(f"{named} (it serves several tenants: set tenant)")
    return None if status in _CONTENT else Unusable(named)


def _slowed(words: str, named: str, wait: float | None) -> Slowed:
    everything = _ALL_TOO_FAST.search(words)
    if everything:
        return Slowed(named, wait, limit=int(everything[1]), everybody=True)
    stream = _TOO_FAST.search(words)
    if stream:
        limit = int(float(stream[1]) * _UNITS[stream[2]])
        total = _TOTAL.search(words)
        return Slowed(named, wait, int(total[1]) if total else 0, _times(words), limit)
    return Slowed(named, wait, everybody=_NEW_STREAM not in words)


def _refused(words: str, entries: int, named: str) -> Dropped | Late | Slowed | Refused:
    total = _TOTAL.search(words)
    if total:
        if _TOO_FAST.search(words):  # some came too late, some too fast: those that are late will be again
            return _slowed(words, named, None)
        return Late(int(total[1]), _times(words), named)
    if _WHOLE_STREAM.search(words):
        return Dropped(Counter({"invalid_labels": entries}), named)
    reasons = Counter[str]()
    for found in _DROPPED.finditer(words):
        reasons[found.lastgroup or ""] += int(found[1] or 1)
    return Dropped(reasons, named) if reasons else Refused(named)


def _without_labels(words: str) -> str:
    """The same with nothing in the braces of streams. Where they are not closed it ends: what is looked for stands outside."""
    parts = []
    at = 0
    while (start := words.find(_LABELS_BEGIN, at)) >= 0:
        parts.append(words[at:start])
        labels = _LABELS.match(words, start + len(_LABELS_BEGIN) - 1)
        if labels is None:
            return "".join(parts)
        parts.append(f"{_LABELS_BEGIN}}}'")
        at = labels.end()
    return "".join((*parts, words[at:]))


def _times(words: str) -> tuple[int, ...]:
    """The times, in ns, of the entries that are named as ignored."""
    found = []
    for moment, fraction in _IGNORED.findall(words):
        try:
            seconds = calendar.timegm(time.strptime(moment, "%Y-%m-%d %H:%M:%S"))
        except ValueError:  # no such day
            continue
        found.append(seconds * 1_000_000_000 + int(fraction[1:].ljust(9, "0") if fraction else 0))
    return tuple(found)
