"""Room ``otlp``."""
