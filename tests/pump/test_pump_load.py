"""Exporters are found by entry point and built from plain settings, with errors a person can act on."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from shipper.contracts import ExporterContext
from shipper.errors import ConfigError
from shipper.pump import load
from shipper.testing.clock import FakeClock
from tests.pump.pumpkit import LIFE, ScriptedExporter

CONTEXT = ExporterContext(FakeClock(), LIFE, 1, "test")


def test_the_built_in_exporters_are_installed_as_plugins() -> None:
    """Both exporters of this issue are found by entry point."""
    assert {"otlp", "archive"} <= set(load.load_exporters())


def test_an_unknown_type_names_the_nearest_and_the_installed() -> None:
    """A mistyped exporter is answered with what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        load.make_exporter("otpl", "main", {}, CONTEXT, where="shipper.yaml: destinations.main")
    assert str(caught.value).startswith(
        "shipper.yaml: destinations.main.type: no exporter 'otpl'; did you mean 'otlp'?"
    )
    assert "installed are: archive, " in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("shipper_no_such_module:Thing", "cannot be loaded"),
        ("shipper.clock:SystemClock", "is no Exporter"),
        ("shipper.clock:NoSuchThing", "cannot be loaded"),
    ],
)
def test_a_broken_plugin_is_an_error_of_its_setting(monkeypatch: pytest.MonkeyPatch, entry: str, problem: str) -> None:
    """A plug-in that cannot be loaded, or is something else, is said without a traceback."""
    monkeypatch.setattr(load, "load_exporters", lambda: {"odd": EntryPoint("odd", entry, load.GROUP)})
    with pytest.raises(ConfigError, match=problem):
        load.make_exporter("odd", "main", {}, CONTEXT)


def test_settings_are_checked_with_their_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown option is refused where it stands; right settings give an exporter with its name."""
    entry = EntryPoint("scripted", "tests.pump.pumpkit:ScriptedExporter", load.GROUP)
    monkeypatch.setattr(load, "load_exporters", lambda: {"scripted": entry})
    with pytest.raises(ConfigError) as caught:
        load.make_exporter("scripted", "main", {"endpont": 1}, CONTEXT, where="destinations.main")
    assert caught.value.path == "destinations.main.endpont"
    exporter = load.make_exporter("scripted", "main", {}, CONTEXT)
    assert isinstance(exporter, ScriptedExporter)
    assert exporter.name == "main"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"headers": {"x-tenant": "\udcff"}}, "destinations.main.headers.x-tenant"),
        ({"endpoints": ["http://a.example:1", "http://\udcff"]}, "destinations.main.endpoints[1]"),
    ],
)
def test_text_that_no_request_can_hold_is_said(options: dict[str, object], path: str) -> None:
    """The environment may hold any bytes; what is no UTF-8 would fail when it is sent, far from whoever set it."""
    with pytest.raises(ConfigError) as caught:
        load.make_exporter("otlp", "main", options, CONTEXT, where="destinations.main")
    assert (caught.value.path, caught.value.problem) == (path, "has bytes in it that are not UTF-8")
