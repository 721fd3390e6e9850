"""The parts of ``forward``: Fluent's protocol, version 1."""
