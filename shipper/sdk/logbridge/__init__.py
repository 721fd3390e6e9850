"""From ``logging``, structlog and loguru to the hand-off, without going through OpenTelemetry's Logger."""
