"""The page that lists every setting, and that every setting can be said by a variable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import msgspec

from shipper.config.env import file_twins, twins
from shipper.config.schema import Config, Destination
from shipper.config.schema_shape import Multiline, Shape
from shipper.config.schema_sources import Files
from shipper.config.section import Section

PAGE = Path(__file__).parents[2] / "docs/configuration.md"


def settings(kind: type[msgspec.Struct], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every setting with a fixed place."""
    found: list[tuple[str, ...]] = []
    for field in msgspec.structs.fields(kind):
        section = section_in(field.type)
        if section is not None:
            found += settings(section, (*above, field.name))
        else:
            found.append((*above, field.name))
    return found


def section_in(kind: Any) -> type[Section] | None:
    """The section that a setting is, be it an optional one; None for a plain value."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    inside = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return next((each for each in inside if isinstance(each, type) and issubclass(each, Section)), None)


def test_the_page_is_what_the_command_prints() -> None:
    """docs/configuration.md cannot be out of date: write it with ``shipper config reference``."""
    command = [sys.executable, "-m", "shipper", "config", "reference"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed.stdout == PAGE.read_text()


def test_every_setting_has_a_twin_in_the_environment_and_a_line_on_the_page() -> None:
    """No setting can be added without a variable for it and a word about it."""
    page = PAGE.read_text()
    for path in settings(Config):
        if path not in (("files",), ("destinations",), ("routes",)):
            name = f"SHIPPER_{'_'.join(path).upper()}"
            assert twins()[name] == path
            assert f"| `{'.'.join(path)}` |" in page
            assert f"`{name}`" in page
    for option in Files.__struct_fields__:
        assert f"| `{option}` |" in page
        assert option in ("include", "multiline", "shape") or f"SHIPPER_FILES_{option.upper()}" in file_twins()
    for option in Multiline.__struct_fields__:
        assert f"| `{option}` | `SHIPPER_FILES_MULTILINE_{option.upper()}` |" in page
    for option in Shape.__struct_fields__:
        assert f"| `{option}` | `SHIPPER_FILES_SHAPE_{option.upper()}` |" in page
    assert Destination.__struct_fields__ == ("type", "options")
