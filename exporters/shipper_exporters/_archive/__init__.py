"""What objects can be written as, besides OTLP."""
