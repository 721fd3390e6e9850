"""What strangers and the system said, made fit for a sentence."""

from __future__ import annotations

from typing import Any


def excerpt(text: str | bytes, limit: int = 200) -> str:
    """The beginning of what a stranger said, on one line and safe to print."""
    if isinstance(text, bytes):
        text = text[: limit * 4].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def plain(error: BaseException) -> str:
    """An exception as a person would say it."""
    text: Any = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return excerpt(str(text))
