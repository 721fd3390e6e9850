"""What tests of the hand-over have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sdk.spool_kit import make_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A spool root, as the sidecar makes it."""
    return make_root(tmp_path)
