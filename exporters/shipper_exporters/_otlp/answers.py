"""What an answer to an OTLP/HTTP request means (opentelemetry-proto ``docs/specification.md``, OTLP/HTTP Response).

Stricter than the specification in one way: only an answer that *is* an OTLP response acknowledges. More patient in another:
where it calls an answer final that a person can mend (401, 404, a redirect), nothing is given up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from shipper.contracts import Accepted, Signal
from shipper.errors import DeliveryError, MalformedOtlp, Rejected, Retryable, TooLarge, Unusable
from shipper.otlp.answer import parse_response, parse_status
from shipper_exporters._http.answers import is_web_page, phrase
from shipper_exporters._http.client import Answer
from shipper_exporters._http.exchange import excerpt, retry_after

MAX_ANSWER = 64 << 10
_UNREACHABLE = frozenset({502, 503, 504})
_LATER = frozenset({408, 425, 429})
_TOO_LARGE = frozenset({413, 414, 431})
_BAD_CONTENT = frozenset({400, 422})
RELAYED = re.compile(r"responded with HTTP Status Code (413|422)\b")
_RELAYED_SIZE = re.compile(r"message (after decompression )?larger than max")  # gRPC's words
ABOVE_BURST = re.compile(r"batch size \(\d+ bytes\) exceeds ingestion limit")  # Tempo's, beside when to come again
_STATUS_TYPES = frozenset({"application/x-protobuf", "application/protobuf", "application/json"})


class Busy(Retryable):
    """Who was asked is there and answered, and only has no time: nothing says that another would be better."""


def passing(status: int) -> bool:
    """Whether a status speaks of the moment only: busy, restarting, something behind it down."""
    return status in _LATER or status >= 500


def success(signal: Signal, status: int, headers: Mapping[str, str], body: bytes, where: str) -> Accepted:
    """What a 2xx answer acknowledges. Raises `Unusable` when it is not an OTLP response."""
    content_type = headers.get("Content-Type", "")
    try:
        if len(body) > MAX_ANSWER:
            raise MalformedOtlp(f"more than {MAX_ANSWER} bytes", MAX_ANSWER)
        rejected, message = parse_response(signal, body, content_type)
    except MalformedOtlp as error:
        raise Unusable(
            f"{where} answered {status} with something that is not OTLP ({excerpt(error.problem)}): {excerpt(body, 80)}"
        ) from None
    return Accepted(rejected, excerpt(message))


def failure(status: int, headers: Mapping[str, str], body: bytes, where: str, wall_ns: int) -> DeliveryError:
    """What an answer that is not 2xx means."""
    message = _message(headers, body)
    said = excerpt(message)
    reason = f"{where} answered {phrase(status)}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        to = excerpt(headers.get("Location", "")) or "nowhere"
        return Unusable(
            f"{where} answered {phrase(status)}, which leads to {to}; if that is right, make it the endpoint"
        )
    status = _meant(status, message)
    if status in _TOO_LARGE or (status == 400 and "too large" in said.lower()):  # the Collector's way to say 413
        return TooLarge(reason)
    if passing(status):
        kind = Retryable if status in _UNREACHABLE else Busy
        return kind(reason, retry_after(headers, wall_ns))
    if status not in _BAD_CONTENT:  # 401, 404, and whatever else is not about this request: 402, 410, 421, 451
        return Unusable(reason)
    if is_web_page(Answer(status, headers, body)):
        return Unusable(f"{reason} (a web page: something else is there, or in between)")
    return Rejected(reason)


def _meant(status: int, message: str) -> int:
    """The status of the place behind a Collector that forwards while we wait, where the Collector's own hides it.

    It passes 400, 401, 403, 404 and 429 on, but makes 500 of 413 and 422, and 429 of gRPC's limit on a message; and Tempo says
    429 of what is more than a tenant may ever send at once. Sent again unchanged, such a request would never be taken.
    """
    if status == 500 and (relayed := RELAYED.search(message)):
        return int(relayed[1])
    too_large = status == 429 and (_RELAYED_SIZE.search(message) or ABOVE_BURST.search(message))
    return 413 if too_large else status


def _message(headers: Mapping[str, str], body: bytes) -> str:
    """What the server says about it: a google.rpc.Status as the specification has it, else the beginning of the body."""
    content_type = headers.get("Content-Type", "")
    plain = body[:MAX_ANSWER].decode("utf-8", "replace")
    if content_type.partition(";")[0].strip().lower() in _STATUS_TYPES:
        try:
            return parse_status(body[:MAX_ANSWER], content_type) or plain
        except MalformedOtlp:
            return plain
    return plain
