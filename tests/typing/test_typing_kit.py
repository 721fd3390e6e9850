"""The contracts and the test kit are typed as their users need them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
AUTHOR = Path(__file__).with_name("exporter_author.py")


def test_author_of_an_exporter_type_checks() -> None:
    """An exporter, its contract suite and a use of the test kit pass the type checker in strict mode."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(AUTHOR)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_author_of_an_exporter_runs() -> None:
    """The same code runs."""
    command = [sys.executable, "-W", "error", str(AUTHOR)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
