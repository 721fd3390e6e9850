"""Zero code: what OpenTelemetry finds of us by entry point. Nothing is imported here that its start does not need."""
