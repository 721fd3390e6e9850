"""The parts of ``otlp``: requests, the places they go to, and what these answer."""
