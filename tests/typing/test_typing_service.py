"""What a service calls is typed as its author needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICE = Path(__file__).with_name("service.py")


def test_a_service_type_checks() -> None:
    """Every public function, called as the documentation shows, passes the type checker in strict mode."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(SERVICE)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_service_runs() -> None:
    """The same code runs, with no warning from us."""
    command = [sys.executable, "-W", "error", str(SERVICE)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
