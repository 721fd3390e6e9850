"""How long tests give metadata services."""

from __future__ import annotations

SHORT = 0.8  # seconds for a service that never answers
LONG = 30.0  # for one that does, on a busy machine too
