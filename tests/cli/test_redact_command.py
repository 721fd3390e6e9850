"""``shipper redact``: which lines would be masked, by the command line or by the configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shipper import build_redact
from shipper.cli import main

LINES = b"plain\r\npassword=hunter2\nbob@example.com 4111111111111111"


def redact(*arguments: str, lines: bytes = LINES) -> Result:
    return CliRunner().invoke(main, ["redact", *arguments], input=lines)


def test_the_lines_with_a_secret_are_printed_masked_and_counted() -> None:
    """Standard input, with kinds from the command line; the last line needs no end."""
    answer = redact("--mask", "cards", "--mask", "email")
    assert answer.stdout == f"{'*' * 15} {'*' * 16}\n"
    assert answer.stderr == "masked 1 card, 1 email in 1 line\n"


def test_all_lines_are_printed_when_asked_for(tmp_path: Path) -> None:
    """Of a file, with what its configuration masks."""
    config, log = tmp_path / "shipper.yaml", tmp_path / "app.log"
    config.write_text("redact: [passwords, {name: greeting, pattern: '^(pl)ain', group: 1}]\n")
    log.write_bytes(LINES)
    answer = redact("--all", "--config", str(config), str(log))
    assert answer.stdout == "**ain\npassword=*******\nbob@example.com 4111111111111111\n"
    assert answer.stderr == "masked 1 field, 1 greeting in 2 lines\n"


def test_nothing_to_mask_is_a_question_without_sense() -> None:
    """Neither the command line nor the configuration says what."""
    answer = redact()
    assert answer.exit_code == 2
    assert "give --mask, or redact: in the configuration" in answer.stderr


def test_a_pattern_that_is_none_is_named_by_its_place(tmp_path: Path) -> None:
    """With RE2's own sentence."""
    config = tmp_path / "shipper.yaml"
    config.write_text("redact: [{name: own, pattern: '(?=a)'}]\n")
    answer = redact("--config", str(config))
    assert answer.exit_code == 1
    assert f"{config}: redact[0].pattern: invalid perl operator" in answer.stderr


def test_without_re2_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE2 is an extra of its own."""
    monkeypatch.setitem(sys.modules, "re2", None)
    build_redact._redaction.cache_clear()
    answer = redact("--mask", "cards")
    assert answer.exit_code == 1
    assert "redaction needs an optional part: pip install 'ephemeral-shipper[redact]'" in answer.stderr
