"""The exporter that the documentation shows to authors of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SHOWN = Path(__file__).parents[2] / "docs" / "exporters" / "third-party"


def test_the_shown_exporter_passes_the_suite() -> None:
    """What docs/exporters.md shows is run as it stands, by the test that stands beside it."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", "/dev/null", "."],
        cwd=SHOWN,
        env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout


def test_the_shown_exporter_is_short() -> None:
    """An exporter takes no more than sixty lines."""
    assert len((SHOWN / "depot_exporter.py").read_text().splitlines()) <= 60
