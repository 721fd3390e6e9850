"""The command as a whole: what it lists, and what it says where only the base package is installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shipper.cli import VERBS

WITHOUT_EXTRA = """
import sys
for name in ("aiohttp", "isal", "msgspec", "obstore", "yaml", "rich"):
    sys.modules[name] = None
from shipper.cli import main
main(sys.argv[1:], prog_name="shipper")
"""
NEEDS_EXTRA = {
    "run": ["--tail", "x"],
    "gateway": [],
    "demo": [],
    "check": ["x"],
    "config": ["show"],
    "status": [],
    "top": [],
    "drain": [],
    "audit": ["x"],
    "cat": ["x"],
    "replay": ["x", "--to", "http://x"],
    "quarantine": ["ls"],
    "redact": [],
}


def base_install(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("verb", NEEDS_EXTRA)
def test_without_the_sidecar_extra_a_verb_says_what_to_install(verb: str) -> None:
    """One sentence with the pip command, never a traceback."""
    answer = base_install(verb, *NEEDS_EXTRA[verb])
    assert answer.returncode == 1
    assert "pip install 'ephemeral-shipper[sidecar]'" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_without_the_sidecar_extra_the_help_still_lists_every_verb() -> None:
    """--help works with the base package alone."""
    answer = base_install("--help")
    assert answer.returncode == 0, answer.stderr
    assert all(f"  {verb}" in answer.stdout for verb in VERBS)


def test_who_am_i_works_with_the_base_package() -> None:
    """A service developer can ask for the labels without installing the sidecar."""
    answer = base_install("whoami")
    assert answer.returncode == 0, answer.stderr
    assert "release" in answer.stdout


def test_an_unknown_verb_is_named() -> None:
    """A typo gets an error that names it, with status 2 as everywhere."""
    answer = base_install("adit")
    assert answer.returncode == 2
    assert "adit" in answer.stderr
