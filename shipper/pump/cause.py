"""Why an attempt failed, in the few words that a metric label may have: what an exporter says is a sentence for people."""

from __future__ import annotations

import re

from shipper.errors import DeliveryError, Retryable

_STATUS = re.compile(
    r"\b(?:answered|HTTP|status)(?: code)? ([1-5]\d\d)\b", re.IGNORECASE
)  # not just any number: a port, an address


def is_throttling(error: Retryable) -> bool:
    """Whether a destination says that it gets too much."""
    return error.wait is not None or cause_of(error) in ("http_429", "http_503")


def cause_of(error: DeliveryError) -> str:
    """A fixed word for a metric label out of what an exporter said."""
    text = str(error)
    status = _STATUS.search(text)
    if status:
        return f"http_{status.group(1)}"
    if re.search(r"time|no answer|deadline", text, re.IGNORECASE):
        return "timeout"
    return "connection" if re.search(r"connect", text, re.IGNORECASE) else "other"
