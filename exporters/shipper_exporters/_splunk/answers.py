"""What an answer of Splunk's HTTP Event Collector (HEC) means.

The codes are those of "Possible error codes" in
https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data/troubleshoot-http-event-collector
and 28, which Splunk Cloud gives. A batch is taken event by event: with 6, 12, 13 and 15 the events before
``invalid-event-number`` are indexed and none from it on (Splunk Enterprise 10.4 and Splunk Cloud 10.5 do so), which is why
the rest of a batch is sent again without them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from shipper.errors import DeliveryError, Retryable, TooLarge, Unusable
from shipper_exporters._http.answers import is_web_page, phrase
from shipper_exporters._http.client import Answer
from shipper_exporters._http.exchange import retry_after
from shipper_exporters._way.words import excerpt

MAX_ANSWER = 64 << 10
CLOUD_LIMIT = 5 << 20
"""Splunk Cloud answers a body larger than about this as if the first event were broken, and not 413."""

_TAKEN = frozenset({0, 24, 25})  # 24, 25: taken, but queues or acknowledgements are nearly full
_BUSY = frozenset({8, 9, 18, 19, 20, 23, 26, 27})
_BAD_EVENT = frozenset({6, 12, 13, 15})
_LOST_CHANNEL = 11
_ADVICE = {
    1: "enable the token in Splunk",
    2: "the token did not get there; does a proxy take the Authorization header away?",
    3: "the token did not get there as it was sent",
    4: "Splunk does not know this token",
    5: "what was sent did not get there; does something in between take the body away?",
    7: "let the token write to this index, or set another index",
    10: "the channel did not get there; does a proxy take the X-Splunk-Request-Channel header away?",
    14: "enable indexer acknowledgement for this token, or set acknowledgement: false",
    16: "the token got there as a query; something in between rewrites requests",
    17: "this is the answer of the health endpoint",
    21: "Splunk does not know this token",
    22: "enable the token in Splunk",
    28: "a balancer with sticky sessions is needed in front of several indexers",
}
_MISCONFIGURED = frozenset({401, 403, 404, 405, 406, 407, 415})
_LATER = frozenset({408, 425, 429})


class ChannelLost(Retryable):
    """The collector does not know the channel any more, and with it no acknowledgement that is still to come."""


@dataclass(frozen=True, slots=True)
class Taken:
    """All events were taken. ``ack``: by which to ask whether they are indexed, where the token has that."""

    ack: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An event is refused for good. ``number``: which one, from 0; those before were taken. None: not told, nothing was.

    ``ack``: by which to ask whether those before are indexed.
    """

    reason: str
    number: int | None = None
    ack: int | None = None


def meaning(answer: Answer, sent: int, where: str, wall_ns: int) -> Taken | Refused:
    """What the answer to events means, of which ``sent`` bytes went before compression.

    Raises `Retryable`, `ChannelLost`, `Unusable` or `TooLarge`.
    """
    said = parse(answer)
    code = said.get("code")
    if 200 <= answer.status < 300 and code in _TAKEN:
        return Taken(_number(said.get("ackId", said.get("ackID"))))
    number = _number(said.get("invalid-event-number"))
    if code in _BAD_EVENT:
        reason = f"{where} answered {phrase(answer.status)}: {excerpt(str(said.get('text', '')))} (code {code})"
        if code == 6 and not number and sent > CLOUD_LIMIT:
            raise TooLarge(f"{reason}, which is how Splunk Cloud says that {sent} bytes are too much")
        return Refused(reason, number, _number(said.get("ackId")))
    error = trouble(answer, where, wall_ns)
    if isinstance(error, Refused):
        return error
    raise error


def trouble(answer: Answer, where: str, wall_ns: int) -> DeliveryError | Refused:
    """What an answer means that is neither success nor about a certain event; also of the other endpoints."""
    said = parse(answer)
    code = said.get("code")
    text = str(said.get("text", "")) if said else ""
    reason = f"{where} answered {phrase(answer.status)}: {excerpt(text or answer.body) or 'no reason given'}"
    if isinstance(code, int) and code != answer.status:
        reason += f" (code {code})"
    status = answer.status
    wait = retry_after(answer.headers, wall_ns)
    if code == _LOST_CHANNEL:
        return ChannelLost(reason, wait)
    if code in _BUSY:
        return Retryable(reason, wait)
    if code in _ADVICE:
        return Unusable(f"{reason}; {_ADVICE[code]}")
    if 300 <= status < 400:
        to = excerpt(answer.headers.get("Location", "")) or "nowhere"
        return Unusable(
            f"{where} answered {phrase(status)}, which leads to {to}; if that is right, make it the endpoint"
        )
    if status == 413:
        return TooLarge(reason)
    if status in _LATER or status >= 500:
        return Retryable(reason, wait)
    if status in _MISCONFIGURED or is_web_page(answer) or status < 400:
        return Unusable(f"{reason} (is it an HTTP Event Collector?)")
    return Refused(reason)


def parse(answer: Answer) -> dict[str, Any]:
    """What the collector says, or nothing when it is not in its form."""
    if len(answer.body) > MAX_ANSWER:
        return {}
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    return said if isinstance(said.get("code"), int) else {**said, "code": None}


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
