"""What is done to a text before it leaves the process: the service's redaction hook, then the length limit."""

from __future__ import annotations

from collections.abc import Callable

from shipper.sdk.faults import Faults

FAILED = "[redaction failed]"
MAX_TEXT = 64 << 10
"""Characters of one attribute value; what is longer is cut and says so."""


class Texts:
    """Redaction first, cutting second, so that no half of a secret is left over where a value is cut.

    ``redact`` gets every text that may hold what users or programs wrote: log bodies, string values of attributes (nested
    ones too), messages and stacks of exceptions, names of spans and span events, status messages. Not: attribute names,
    logger names, severities, ids. If it raises or gives no string, the text becomes ``[redaction failed]``: never the
    original. ``limit``: characters a value may have (``OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT``); None: `MAX_TEXT`.
    """

    def __init__(self, redact: Callable[[str], str] | None = None, faults: Faults | None = None) -> None:
        self.redact = redact
        self.faults = faults or Faults()

    def clean(self, text: str) -> str:
        """``text`` after the hook; unchanged where there is none."""
        redact = self.redact
        if redact is None:
            return text
        try:
            cleaned = redact(text)
        except Exception as error:
            self.faults.count("the redaction hook failed", error)
            return FAILED
        if isinstance(cleaned, str):
            return cleaned
        self.faults.count("the redaction hook gave no text")
        return FAILED


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """``text`` with at most ``limit`` characters of its beginning, and a mark of how much is gone."""
    return text if len(text) <= limit else f"{text[:limit]}…[{len(text) - limit} more characters]"
