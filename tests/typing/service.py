"""Code as the author of a service writes it; the type checker must accept it as it stands (see test_typing_service.py)."""

from __future__ import annotations

import logging
from typing import assert_type

import shipper


def application(environ: dict[str, str], start_response: object) -> list[bytes]:
    """A WSGI application."""
    return [b""]


shipper.init(
    "checkout",
    release="1.2",
    environment="staging",
    generation="g7",
    attributes={"team": "shop", "shard": 3},
    handoff="off",
    endpoint="http://collector:4318",
    level="INFO",
    redact=lambda text: text.replace("secret", "***"),
    logs="stdout",
    instrument=False,
)
shipper.event("cache.warmed", {"entries": 5}, severity="WARN")
who = shipper.identity()
assert_type(who.service, str)
assert_type(who.origins["service"], str)
assert_type(shipper.logging_handler("ERROR"), logging.Handler)
app = shipper.wsgi(application)
shipper.shutdown(timeout=0.5)
