"""What an answer of Datadog's intakes means.

https://docs.datadoghq.com/api/latest/logs/send-logs/ (202 with ``{}``; 400, 401, 403, 408, 413, 429, 500, 503 with
``{"errors": [...]}``), https://docs.datadoghq.com/api/latest/rate-limits/ (``X-RateLimit-Reset``: seconds until the next
period) and, for metrics and traces, the OTLP answers of ``_otlp_answers``.
"""

from __future__ import annotations

import json

from shipper.errors import DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper_exporters._http.answers import is_web_page, phrase
from shipper_exporters._http.client import Answer
from shipper_exporters._http.exchange import retry_after
from shipper_exporters._way.words import excerpt

MAX_ANSWER = 64 << 10
MAX_WAIT = 3600.0

_FORM = frozenset({"errors", "status"})  # Datadog says {}, relays of its protocol an empty list of errors
_LATER = frozenset({408, 425, 429})
_CONTENT = frozenset({400, 422})


def accepted(answer: Answer, where: str) -> None:
    """Return when logs were accepted. Raises `Unusable` when a kind answer is not that of a Datadog intake."""
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not said.keys() <= _FORM or said.get("errors"):
        raise Unusable(
            f"{where} answered {phrase(answer.status)} with something that is not Datadog's: {excerpt(answer.body, 80)}"
        )


def failure(answer: Answer, where: str, wall_ns: int) -> DeliveryError:
    """What an answer that is not 2xx means."""
    status = answer.status
    said = _said(answer)
    reason = f"{where} answered {phrase(status)}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        to = excerpt(answer.headers.get("Location", "")) or "nowhere"
        return Unusable(f"{where} answered {phrase(status)}, which leads to {to}")
    if status == 413:
        return TooLarge(reason)
    if status in _LATER or status >= 500:
        return Retryable(reason, _wait(answer, wall_ns))
    if status in (401, 403):
        return Unusable(f"{reason} (is it an API key, no application key, and one of this site?)")
    if status in _CONTENT and not is_web_page(answer):
        return Rejected(reason)
    return Unusable(reason)


def _wait(answer: Answer, wall_ns: int) -> float | None:
    found = retry_after(answer.headers, wall_ns)
    reset = answer.headers.get("X-RateLimit-Reset", "").strip()
    if found is None and answer.status == 429 and reset.isascii() and reset.isdigit():
        return min(float(reset[:12]), MAX_WAIT)
    return found


def _said(answer: Answer) -> str:
    """The reasons that Datadog gives, else the beginning of the body."""
    try:
        errors = json.loads(answer.body)["errors"]
        return excerpt("; ".join(_reason(error) for error in errors))
    except (ValueError, TypeError, KeyError, RecursionError):
        return excerpt(answer.body)


def _reason(error: object) -> str:
    if isinstance(error, dict):
        return str(error.get("detail") or error.get("title") or error)
    return str(error)
