"""What a Pushgateway's answer means (https://github.com/prometheus/pushgateway, README, "API").

200: it has the push. 202: it has it, and has not looked into it (its consistency check is off), or it will delete the group. 400: a
metric of the push contradicts another one it has. As everywhere, nothing is given up for what a person can mend.
"""

from __future__ import annotations

from shipper.errors import Rejected, Retryable, TooLarge, Unusable
from shipper_exporters._http.answers import is_web_page, phrase
from shipper_exporters._http.client import Answer
from shipper_exporters._http.exchange import excerpt, retry_after

MAX_ANSWER = 16 << 10

_LATER = frozenset({408, 425, 429})
_CONTENT = frozenset({400, 422})


def check(answer: Answer, where: str, wall_ns: int) -> None:
    """Return if it has it. Raises `Retryable`, `Unusable`, `TooLarge` or `Rejected`."""
    status = answer.status
    said = excerpt(answer.body)
    named = f"{where} answered {phrase(status)}"
    if status in (200, 202) and not answer.body:
        return
    if 300 <= status < 400:
        to = excerpt(answer.headers.get("Location", "")) or "nowhere"
        raise Unusable(f"{named}, which leads to {to}; if that is right, make it the endpoint")
    if status == 413:
        raise TooLarge(f"{named}: {said}")
    if status in _LATER or status >= 500:
        raise Retryable(f"{named}: {said}".removesuffix(": "), retry_after(answer.headers, wall_ns))
    if status in _CONTENT and not is_web_page(answer):
        raise Rejected(f"{named}: {said or 'no reason given'}")
    raise Unusable(f"{named}, as a Pushgateway does not: {said or 'no reason given'} (is it the right endpoint?)")
