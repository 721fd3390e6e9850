"""Spans and log records become bytes where they end: processors, encoders, values, limits, redaction, fingerprints."""
