"""The ways records can leave a service: the spool, OTLP, forward, or none; and how each ends with the process."""
