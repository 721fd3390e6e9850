"""Where stdout is collected, log lines only get the ids of the current span (``SHIPPER_LOGS=stdout``)."""

from __future__ import annotations


def install(service: str = "") -> None:
    """Add ids to every LogRecord from now on, and to the lines of plain formatters."""
