"""Sessions on a plain or TLS connection, for destinations with a protocol of their own on it."""
