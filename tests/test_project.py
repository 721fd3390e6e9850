"""Rules of the house that a tool does not check by itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_each_test_says_in_one_sentence_what_it_shows(path: Path) -> None:
    """Reading the tests' docstrings in order is reading the manual."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{path.name}:{node.lineno} {node.name} has no sentence"


def test_no_test_sleeps_for_time_to_pass() -> None:
    """Waiting is done on a condition (looked at every few hundredths of a second at most), or on an injected clock."""
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep"):
                seconds = node.args[0]
                polls = isinstance(seconds, ast.Constant) and float(str(seconds.value)) <= 0.05
                assert polls, f"{path.name}:{node.lineno} sleeps for {ast.unparse(seconds)}"


@pytest.mark.parametrize("room", ["contracts", "labels", "otlp", "spool", "handoff", "sdk.start"])
def test_what_a_service_imports_needs_only_the_base_install(room: str) -> None:
    """The rooms that will run inside services import neither the sidecar's packages nor grpc nor the SDK."""
    unwanted = ("aiohttp", "msgspec", "isal", "obstore", "yaml", "rich", "grpc", "opentelemetry.sdk")
    script = f"import sys, shipper.{room}; print([name for name in {unwanted!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_ci_runs_the_very_command_that_the_readme_gives_for_the_tests() -> None:
    """Whoever follows the README runs what CI runs."""
    commands = re.findall(r"```sh\n(python3 -m venv .*)\n```", (ROOT / "README.md").read_text())
    assert len(commands) == 2
    assert commands[0].endswith("shipper demo")
    assert commands[1] in (ROOT / ".ci/run").read_text().splitlines()


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name
)
def test_links_between_our_pages_lead_somewhere(page: Path) -> None:
    """No page sends its reader to a file that is not there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
