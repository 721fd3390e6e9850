"""What tests of the hand-over and of the bridge from `logging` to it have in common."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.sdk.logbridge import bridge
from tests.sdk.bridge_kit import log
from tests.sdk.spool_kit import make_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A spool root, as the sidecar makes it."""
    return make_root(tmp_path)


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    """Leave `logging` as it was found."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    log.setLevel(logging.DEBUG)
    yield
    bridge.uninstall()
    root.handlers[:], root.level = before
    log.setLevel(logging.NOTSET)
    log.disabled = False
    log.propagate = True
    log.handlers.clear()
