"""What an answer to a remote write means.

The specification (https://prometheus.io/docs/specs/prw/remote_write_spec/) has three: 2xx is stored, 5xx and perhaps 429 may be
tried again, all else is final. As everywhere, nothing is given up for what a person can mend (401, 404, a redirect, a web page),
and of a request that is refused for some of its samples the others are still sent: a Prometheus takes all of a request or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.errors import DeliveryError, Retryable, TooLarge, Unusable
from shipper_exporters._http.answers import is_web_page, phrase
from shipper_exporters._http.client import Answer
from shipper_exporters._http.exchange import excerpt, retry_after

MAX_ANSWER = 16 << 10
RECEIVER_FLAG = "--web.enable-remote-write-receiver"
HISTOGRAMS_FLAG = "--enable-feature=native-histograms"

_LATER = frozenset({408, 425, 429})
_CONTENT = frozenset({400, 409, 422})
_OLD = re.compile(
    r"out[ -]of[ -]order|out of bounds|too old|too far in the past|duplicate sample|duplicate-timestamp|timestamp-too-old",
    re.IGNORECASE,
)
_ANOTHER_PATH = re.compile(r'unsupported path|"errorType"')  # VictoriaMetrics' way to say 404; what asks a Prometheus
_QUERY_RESULT = re.compile(rb'\s*\{\s*"status"\s*:\s*"success"')
_NO_HISTOGRAMS = re.compile(rb"native histograms? .{0,20}disabled")
_PARTIAL = re.compile(r"\berr-(mimir|cortex)-")
_EXEMPLAR = re.compile(r"\berr-mimir-exemplar-")
_ABOVE_BURST = re.compile(rb"ingestion burst size limit, set to (\d+), with (\d+) items")  # Mimir's, of one request


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver does not take it. ``old``: because it has these samples, or newer ones of the same series.

    ``partial``: it says so of some samples and has stored all others (Mimir, Thanos), so nothing is sent again.
    ``repeated``: it was sent twice, and may have been taken the first time. ``missing``: how many samples it says it did not
    write; None where it does not tell. ``histograms``: it takes no native histograms, and has written nothing for having got one.
    """

    reason: str
    old: bool
    partial: bool
    repeated: bool = False
    missing: int | None = None
    histograms: bool = False


def meaning(answer: Answer, where: str, wall_ns: int) -> Refused | None:
    """None: it is stored. Raises `Retryable`, `Unusable` or `TooLarge`."""
    status = answer.status
    said = excerpt(answer.body)
    named = f"{where} answered {phrase(status)}"
    page = is_web_page(answer)
    if 200 <= status < 300 and _QUERY_RESULT.match(answer.body):
        raise Unusable(f"{named} as to a question: {said} (is it the path that remote writes go to?)")
    if 200 <= status < 300 and not page:
        return None
    if 300 <= status < 400:
        to = excerpt(answer.headers.get("Location", "")) or "nowhere"
        raise Unusable(f"{named}, which leads to {to}; if that is right, make it the url")
    if status == 413:
        raise TooLarge(f"{named}: {said}")
    if status >= 400 and _NO_HISTOGRAMS.search(answer.body):
        return Refused(f"{named}: {said}", old=False, partial=False, histograms=True)
    if status == 429 and (limit := _ABOVE_BURST.search(answer.body)) and int(limit[1]) < int(limit[2]):
        raise TooLarge(f"{named}: {said}")
    if status in _LATER or status >= 500:
        raise _retry(status, f"{named}: {said}", answer.headers, wall_ns)
    if page:
        page_said = excerpt(answer.body, 80)
        raise Unusable(f"{named} with a web page: something else is there, or in between; it begins: {page_said}")
    if status not in _CONTENT:
        raise Unusable(f"{named}: {said or 'no reason given'}{_advice(status)}")
    words = answer.body.decode("utf-8", "replace")
    if status == 400 and _ANOTHER_PATH.search(words):
        raise Unusable(f"{named}: {said} (is it the path that remote writes go to?)")
    old = status == 409 or bool(_OLD.search(words))
    partial = status == 409 or bool(_PARTIAL.search(words))
    return Refused(f"{named}: {said or 'no reason given'}", old, partial, answer.repeated)


def uncounted(answer: Answer) -> bool:
    """Whether samples were refused by a Mimir, which says of all that it was sent that it wrote it, whatever it did with it."""
    words = answer.body.decode("utf-8", "replace")
    return answer.status == 400 and bool(_PARTIAL.search(words)) and not _EXEMPLAR.search(words)


def all_old(body: bytes) -> bool:
    """Whether each sample that an answer names, one a line as 2.0's receivers do, was refused for its time alone."""
    lines = [line for line in body[:MAX_ANSWER].decode("utf-8", "replace").splitlines() if line.strip()]
    if len(body) > MAX_ANSWER:
        lines.pop()  # of the last one only a part was read
    return bool(lines) and all(_OLD.search(line) for line in lines)


def _retry(status: int, reason: str, headers: Mapping[str, str], wall_ns: int) -> DeliveryError:
    return Retryable(reason.removesuffix(": "), retry_after(headers, wall_ns))


def _advice(status: int) -> str:
    if status == 404:
        return f" (a Prometheus takes remote writes at /api/v1/write, if it was started with {RECEIVER_FLAG})"
    if status == 405:
        return " (nobody can write there: is it a read-only proxy, or the path of another API?)"
    return ""
