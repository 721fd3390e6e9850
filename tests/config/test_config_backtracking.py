"""Expressions that could stop everything for one line are refused; all that people write are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config import load
from shipper.config.backtracking import explodes
from shipper.errors import ConfigError
from shipper.measure.log_lines import COMMON
from shipper.shape.presets import PRESETS


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "(a+)+b",
            "(a*)*b",
            "(?:a+)*$",
            "^(\\w+\\s?)*$",
            "(?:\\d+\\.?)*x",
            "([a-z]+|[0-9])*!",
            "(?:(?:x+)y?)+z",
            "(a+){16,}b",
        ),
        *(
            "(?:[^\\[]+|\\[[^\\]]*\\])*$",
            "(.*)*x",
            "((a|b)+c?)+d",
            "(?P<f>(\\S+\\s*)+)=",
            "(a+?)+b",
            "((?:ab?)+)*c",
            "(?i:(a+)+B)",
        ),
    ],
)
def test_repeats_in_repeats_with_nothing_between_are_refused(pattern: str) -> None:
    """However deep one stands in the other, and whatever may, but need not, come between."""
    assert explodes(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "",
            "a+b",
            "(?:a+b)*c",
            "(?:\\w+\\s)*x",
            "(?:\\w+=\\S+ )*x",
            '"(?:[^"\\\\]|\\\\.)*"',
            '[^"\\\\]*(?:\\\\.[^"\\\\]*)*"',
        ),
        *(
            "^\\d{4}-\\d\\d-\\d\\d .*ERROR.*$",
            "(?:(\\d+),)*$",
            "(?P<a>\\S+) (?P<b>.*)",
            "(?:a|b)*c",
            "(a+)+",
            "(?:a++)+b",
            "(?>a+)+b",
        ),
        *("(?:a{1,3})*b", "(?:\\[\\w+\\] ?)*:", "(a+){2}b", COMMON, *PRESETS.values()),
    ],
)
def test_what_cannot_explode_is_not_refused(pattern: str) -> None:
    """Something between two rounds that the inner repeat cannot match, nothing behind that could fail, or no way back."""
    assert not explodes(pattern)


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("shape: {parse: regex, pattern: '(?P<a>(x+)+)y'}", "files[0].shape.pattern"),
        ("shape: {drop: ['^(a+)+$']}", "files[0].shape.drop[0].match"),
        ("multiline: {start: '^(a+)+b'}", "files[0].multiline.start"),
    ],
)
def test_it_is_said_where_the_expression_stands(tmp_path: Path, setting: str, place: str) -> None:
    """In a shape, in a rule, and where lines are joined."""
    path = tmp_path / "shipper.yaml"
    path.write_text(f"files:\n  - include: [/var/log/*.log]\n    {setting}\n")
    with pytest.raises(ConfigError) as caught:
        load(str(path), env={}, complete=False)
    assert place in caught.value.path
    assert "can take a time that doubles with every character" in caught.value.problem
