"""The parts of ``datadog``: logs by intake v2, and what its OTLP intake wants of traces and metrics."""
