"""How records are understood is said in a word or in full, and what cannot work is named with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from shipper.build_destinations import shaping
from shipper.build_shapes import shape_of, shape_settings
from shipper.config import Config, load
from shipper.config.convert import ConfigErrors
from shipper.config.schema_shape import Shape
from shipper.config.show import render
from shipper.errors import ConfigError
from shipper.shape import PLAIN
from shipper.shape.settings import Condition, ShapeSettings


def loaded(tmp_path: Path, shape: str, env: Mapping[str, str] | None = None) -> Config:
    path = tmp_path / "shipper.yaml"
    path.write_text(f"files:\n  - include: [/var/log/*.log]\n    shape: {shape}\n")
    return load(str(path), env=env or {}, complete=False).config


def section(config: Config) -> Shape:
    shape = config.files[0].shape
    assert shape is not None
    return shape


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ("json", ShapeSettings("json")),
        ("auto", ShapeSettings("auto")),
        ("{sample: 0.5}", ShapeSettings("auto", sample=0.5)),
        ("{parse: json, fields: [all]}", ShapeSettings("json", fields=None)),
        ("{parse: json, fields: [user, http.status]}", ShapeSettings("json", fields=("user", "http.status"))),
        ("{parse: json, body: message}", ShapeSettings("json", fields=None, message_body=True)),
        ("{parse: json, body: message, fields: [none]}", ShapeSettings("json", message_body=True)),
        ("common", ShapeSettings("common", fields=None)),
        ("{parse: common, fields: [none]}", ShapeSettings("common")),
        ("{parse: regex, pattern: '(?P<a>x)'}", ShapeSettings("regex", pattern="(?P<a>x)", fields=None)),
        (
            "{timezone: '+02:00', time_format: '%d.%m. %H:%M'}",
            ShapeSettings("auto", zone="+02:00", time_format="%d.%m. %H:%M"),
        ),
        (
            "{drop: [GET /healthz, {field: a.b, below: info}], keep: [{at_least: warn}]}",
            ShapeSettings(
                "auto",
                drop=(Condition(re.compile(b"GET /healthz")), Condition(field="a.b", below=9)),
                keep=(Condition(at_least=13),),
            ),
        ),
    ],
)
def test_a_shape_of_the_file_reaches_the_records(tmp_path: Path, shape: str, settings: ShapeSettings) -> None:
    """In a word or in full; which fields become attributes follows from what the body holds, unless it is said."""
    assert shape_settings(section(loaded(tmp_path, shape))) == settings


def test_without_a_shape_records_are_as_they_were_written(tmp_path: Path) -> None:
    """Nothing is guessed that nobody asked for."""
    config = loaded(tmp_path, "")
    assert config.files[0].shape is None
    assert shape_of(None, ()) is PLAIN


@pytest.mark.parametrize(
    ("shape", "place", "problem"),
    [
        ("jsn", "files[0].shape.parse", "expected one of auto, plain, json, logfmt, regex, common; got 'jsn'"),
        ("{pasre: json}", "files[0].shape.pasre", "did you mean 'parse'?"),
        ("regex", "files[0].shape.pattern", "is required for parse: regex"),
        ("{parse: regex, pattern: '('}", "files[0].shape.pattern", "is no regular expression: missing )"),
        ("{parse: regex, pattern: 'a'}", "files[0].shape.pattern", "has no group (?P<name>...)"),
        ("{parse: json, pattern: 'a'}", "files[0].shape.pattern", "is for parse: regex, not for json"),
        ("{fields: [all, user]}", "files[0].shape.fields", "all stands alone"),
        ("{fields: all}", "files[0].shape.fields", "write [all]"),
        ("{timezone: Mars/Base}", "files[0].shape.timezone", "there is no time zone 'Mars/Base' on this machine"),
        ("{timezone: '+2'}", "files[0].shape.timezone", "write UTC, local or an offset such as +02:00"),
        ("{time_format: '%Q'}", "files[0].shape.time_format", "is no format of strptime"),
        ("{drop: [{}]}", "files[0].shape.drop[0]", "says nothing: give match, field, at_least or below"),
        ("{drop: ['(']}", "files[0].shape.drop[0].match", "is no regular expression"),
        ("{keep: [{at_least: loud}]}", "files[0].shape.keep[0].at_least", "expected one of trace, debug, info"),
        ("{parse: plain, drop: [{field: a}]}", "files[0].shape.drop[0].field", "plain texts have no fields"),
        ("{sample: 1.5}", "files[0].shape.sample", "expected a number <= 1"),
        ("{sample: some}", "files[0].shape.sample", "expected a number such as 0.5, got 'some'"),
        ("{sample: 5m}", "files[0].shape.sample", "expected a number such as 0.5, got '5m'"),
        ("{sample: -1}", "files[0].shape.sample", ">= 0"),
        ("[json]", "files[0].shape", "expected a mapping"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(tmp_path: Path, shape: str, place: str, problem: str) -> None:
    """Unknown words, patterns and zones that are none, and rules that say nothing, are errors that say where they stand."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, shape)
    assert not isinstance(caught.value, ConfigErrors), "one mistake is said once"
    assert place in caught.value.path
    assert problem in caught.value.problem


def test_variables_hold_for_every_group(tmp_path: Path) -> None:
    """Also over a shape that is a single word; of rules each line of a variable is one, because they may hold blanks."""
    env = {
        "SHIPPER_FILES_SHAPE_FIELDS": "user,http.status",
        "SHIPPER_FILES_SHAPE_DROP": "GET /healthz: ok, fine\nprobe",
    }
    shape = section(loaded(tmp_path, "json", env))
    assert (shape.parse, shape.fields) == ("json", ["user", "http.status"])
    assert [one.match for one in shape.drop] == ["GET /healthz: ok, fine", "probe"]
    assert section(loaded(tmp_path, "", {"SHIPPER_FILES_SHAPE_PARSE": "logfmt"})).parse == "logfmt"


def test_what_is_shown_can_be_loaded_again(tmp_path: Path) -> None:
    """`shipper config show` prints a shape so that it means the same when it is read back."""
    config = loaded(tmp_path, "{parse: json, fields: [all], drop: ['a: b', {field: x, match: '\\d'}], sample: 0.1}")
    again = tmp_path / "again.yaml"
    again.write_text(render(load(str(tmp_path / "shipper.yaml"), env={}, complete=False)))
    assert load(str(again), env={}, complete=False).config.files == config.files


def test_another_shape_is_noticed_by_what_is_in_flight(tmp_path: Path) -> None:
    """Requests keep a hash of what decides their records: a shape, one of its rules, or none gives another."""
    shapes = ("", "json", "auto", "{parse: json, sample: 0.5}", "{parse: json, drop: [a]}")
    hashes = [shaping(loaded(tmp_path, shape)) for shape in shapes]
    assert len(set(hashes)) == len(hashes)
    assert shaping(loaded(tmp_path, "json")) == hashes[1]


def test_the_example_of_the_page_can_be_loaded(tmp_path: Path) -> None:
    """What docs/shapes.md shows is a configuration that works."""
    page = (Path(__file__).parents[2] / "docs/shapes.md").read_text()
    (example, *_) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "shipper.yaml"
    path.write_text(example)
    groups = load(str(path), env={}, complete=False).config.files
    assert [shape_settings(group.shape).parse for group in groups if group.shape is not None] == [
        "auto",
        "common",
        "json",
    ]
