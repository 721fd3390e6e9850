"""Whatever somebody gets wrong in a configuration file, `shipper check` says where and what, and never ends in a traceback."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.cli import main
from shipper.config import Config, ConfigErrors, convert
from shipper.config.convert import older_names
from shipper.config.env import ALIASES, file_twins, twins
from shipper.errors import ConfigError
from shipper.pump.load import exporter_class, load_exporters

TEXT = Path(__file__).with_name("everything.yaml").read_text()
EVERYTHING: dict[str, Any] = yaml.safe_load(TEXT)
EVERY_SECTION = frozenset(Config.__struct_fields__)
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    3.5,
    float("inf"),
    float("nan"),
    10**30,
    "",
    "x",
    "\0",
    "é",
    "a" * 5000,
    "\x1b[31m",
]
ODD += ["http://[", "https://u:p@h:1", "{x", "{}", "${HOME}", "${NOPE}", "99999999999999999999s", "-5s", "1ZiB", "::1"]
ODD += [
    "[::1]:99999",
    "unix:",
    "tls://",
    "off",
    "\n",
    "(a+)+b",
    "[",
    "(?P<x>",
    "2026-13-01",
    [],
    [1],
    [[]],
    [None],
    [{}],
]
ODD += [{}, {"x": 1}, {1: 2}, {"": ""}]
PIECES = [
    "",
    "\n",
    " ",
    "  ",
    "\t",
    ":",
    "-",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "#",
    "&a",
    "*a",
    "!!x",
    "|",
    ">",
    "%",
    "@",
    "? ",
]
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*above, key)
        yield from paths(inner, (*above, key))


PLACES = list(paths(EVERYTHING))


def typos(name: str) -> Iterator[str]:
    """What a hurried hand makes of a name."""
    yield name[:-1]
    yield name[:2] + name[3:]
    yield name[0] + name
    yield name[:1] + name[2] + name[1] + name[3:]
    yield name.replace("_", "-")


def said(file: Path, content: str, env: dict[str, str] | None = None) -> list[str]:
    """The lines of `shipper check`, each of which has to name the file or a variable, and what is the matter with it."""
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    result = CliRunner(env=env or {}).invoke(main, ["check", str(file)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1)
    *lines, last = [line for line in result.output.splitlines() if not line.startswith("warning: ")]
    assert last.startswith(f"{file}: ok (") == (result.exit_code == 0)
    for line in lines:
        where, _, problem = line.removeprefix(f"{file}: ").partition(": ")
        # what is missing beside a variable stands nowhere yet, and is named by its path alone
        assert line.startswith((f"{file}", "SHIPPER_", "OTEL_")) or where.split(".")[0] in EVERY_SECTION, line
        assert where, line
        assert problem, line
        assert line.isprintable()
        assert len(line) < 1500
        assert "Error" not in problem, line
    return lines


def test_everything_is_right(tmp_path: Path) -> None:
    """The file has all exporters that are installed, and nothing is wrong with it."""
    assert {one.get("type", "otlp") for one in EVERYTHING["destinations"].values()} == set(load_exporters())
    assert said(tmp_path / "shipper.yaml", TEXT) == []


@few
@given(data=st.data())
def test_wrong_values_and_keys(tmp_path: Path, data: st.DataObject) -> None:
    """Values of other types, from elsewhere or of nonsense, and keys that are gone, doubled or misspelt."""
    content = copy.deepcopy(EVERYTHING)
    for _ in range(data.draw(st.integers(1, 3))):
        *above, key = data.draw(st.sampled_from(PLACES))
        parent: Any = content
        try:
            for part in above:
                parent = parent[part]
            value = parent[key]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
        what = data.draw(st.sampled_from(["odd", "odd", "gone", "misspelt", "other"]))
        if what == "odd":
            parent[key] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
        elif what == "gone":
            del parent[key]
        elif what == "misspelt" and isinstance(parent, dict) and len(key) > 3:
            parent[data.draw(st.sampled_from([*typos(key)]))] = parent.pop(key)
        else:
            *_, elsewhere = data.draw(st.sampled_from(PLACES))
            if isinstance(parent, dict):
                parent[elsewhere] = copy.deepcopy(value)
    said(tmp_path / "shipper.yaml", yaml.safe_dump(content, allow_unicode=True))


@few
@given(data=st.data())
def test_wrong_text(tmp_path: Path, data: st.DataObject) -> None:
    """Characters of YAML that came in, went or took the place of others."""
    text = TEXT
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        piece = data.draw(st.sampled_from([*PIECES, "\0", "\x85", "\ud800", text[at : at + 20]]))
        text = text[:at] + piece + text[at + data.draw(st.sampled_from([0, 1, 3, 30])) :]
    said(tmp_path / "shipper.yaml", text)


VARIABLES = [*twins(), *file_twins(), *ALIASES, "SHIPPER_TAIL", "SHIPPER_ARCHIVE", "OTEL_EXPORTER_OTLP_ENDPOINT"]
VARIABLES += [
    f"SHIPPER_DESTINATIONS_{name.upper()}_{field.name.upper()}"
    for name, options in EVERYTHING["destinations"].items()
    for field in msgspec.structs.fields(exporter_class(options.get("type", "otlp")).Settings)
]
TEXTS = [*(value for value in ODD if isinstance(value, str) and "\0" not in value), "a=b", "=", "a,b", "\udcff", "1.5"]


@few
@given(env=st.dictionaries(st.sampled_from(VARIABLES), st.sampled_from(TEXTS), min_size=1, max_size=3))
def test_wrong_variables(tmp_path: Path, env: dict[str, str]) -> None:
    """Variables that are of no use, or hold bytes that are no text."""
    said(tmp_path / "shipper.yaml", TEXT, env)


@pytest.mark.parametrize("kind", [None, *load_exporters()])
def test_the_option_that_was_meant_is_named(kind: str | None) -> None:
    """A slip in the name of an option is answered with that name, or one that is as near."""
    struct: type[msgspec.Struct] = Config if kind is None else exporter_class(kind).Settings
    names = {field.encode_name for field in msgspec.structs.fields(struct)}
    for name in names:
        for typo in typos(name) if len(name) > 3 else ():
            if typo in names | older_names(struct).keys():
                continue
            with pytest.raises(ConfigError) as caught:
                convert({typo: None}, struct)
            errors = caught.value.all if isinstance(caught.value, ConfigErrors) else (caught.value,)
            (problem,) = [error.problem for error in errors if error.path == typo]
            assert "did you mean '" in problem, (typo, problem)
            if len(name) > 5 and typo.startswith(name[:2]):
                assert problem.endswith(f"did you mean '{name}'?") or any(
                    other in problem for other in names if other[:3] == name[:3] and other != name
                ), (typo, problem)
