"""OpenTelemetry wiring inside a service: what its calls returned from is in the hand-off spool, or its loss is counted."""
