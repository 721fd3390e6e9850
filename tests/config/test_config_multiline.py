"""How lines are joined to events is said in exactly one way, and what cannot work is named with its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from shipper.build_sources import file_settings
from shipper.config import Config, load
from shipper.config.show import render
from shipper.errors import ConfigError
from shipper.labels.detect import detect
from shipper.labels.identity import Identity
from shipper.shape import Multiline
from shipper.shape.presets import PRESETS


def loaded(tmp_path: Path, multiline: str, env: Mapping[str, str] | None = None) -> Config:
    path = tmp_path / "shipper.yaml"
    path.write_text(f"files:\n  - include: [/var/log/*.log]\n    multiline: {multiline}\n")
    return load(str(path), env=env or {}, complete=False).config


@pytest.mark.parametrize(
    ("multiline", "rule"),
    [
        (r"{start: '^\d{4}-'}", Multiline.of("start", r"^\d{4}-")),
        (r"{continuation: '^\s', max_lines: 9}", Multiline.of("continuation", r"^\s", max_lines=9)),
        ("{indent: true, timeout: 2s, max_bytes: 64KiB}", Multiline.of("indent", timeout=2.0, max_bytes=1 << 16)),
        ("java", Multiline.of("continuation", PRESETS["java"])),
        ("{preset: go, max_lines: 9}", Multiline.of("continuation", PRESETS["go"], max_lines=9)),
        ("", None),
    ],
)
def test_a_rule_of_the_file_reaches_the_tailer(tmp_path: Path, multiline: str, rule: Multiline | None) -> None:
    """Each way, its time-out and its limits become the rule that files of the group are read with."""
    config = loaded(tmp_path, multiline)
    group = file_settings(config, identity(config).attributes()).groups[0]
    assert group.multiline == rule


def identity(config: Config) -> Identity:
    return detect(config.labels, {}).with_life("life")


@pytest.mark.parametrize(
    ("multiline", "place", "problem"),
    [
        (
            "{timeout: 1s}",
            "files[0].multiline",
            "exactly one of preset, start, continuation and indent: true, not none",
        ),
        ("{start: a, indent: true}", "files[0].multiline", "not start and indent"),
        ("{start: '('}", "files[0].multiline.start", "is no regular expression: missing )"),
        ("{continuation: '*'}", "files[0].multiline.continuation", "is no regular expression: nothing to repeat"),
        ("{strat: a}", "files[0].multiline.strat", "did you mean 'start'?"),
        ("{indent: true, max_lines: 0}", "files[0].multiline.max_lines", ">= 1"),
        ("{indent: true, max_bytes: 1}", "files[0].multiline.max_bytes", "at least 64 bytes"),
        ("{indent: true, timeout: -1}", "files[0].multiline.timeout", "-1"),
        ("{preset: java, start: a}", "files[0].multiline", "not preset and start"),
        ("cobol", "files[0].multiline.preset", "expected one of java, python, go, dotnet, ruby"),
        ("[java]", "files[0].multiline", "expected a mapping"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(tmp_path: Path, multiline: str, place: str, problem: str) -> None:
    """No way, two ways, a pattern that is none, and limits of nothing are errors that say where they stand."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, multiline)
    assert place in caught.value.path
    assert problem in caught.value.problem


def test_a_variable_holds_for_every_group(tmp_path: Path) -> None:
    """Each of the settings has its variable, which wins over the file; it joins lines also where the file says nothing."""
    env = {"SHIPPER_FILES_MULTILINE_START": "^E", "SHIPPER_FILES_MULTILINE_TIMEOUT": "3s"}
    (group,) = loaded(tmp_path, "", env).files
    assert group.multiline is not None
    assert (group.multiline.start, group.multiline.timeout) == ("^E", 3.0)
    (group,) = loaded(tmp_path, "{start: ^A, max_lines: 7}", env).files
    assert group.multiline is not None
    assert (group.multiline.start, group.multiline.max_lines) == ("^E", 7)


def test_what_is_shown_can_be_loaded_again(tmp_path: Path) -> None:
    """`shipper config show` prints a rule so that it means the same when it is read back."""
    config = loaded(tmp_path, r"{start: '^\[\d+\] " "'}")
    again = tmp_path / "again.yaml"
    again.write_text(render(load(str(tmp_path / "shipper.yaml"), env={}, complete=False)))
    assert load(str(again), env={}, complete=False).config.files == config.files
