"""`shipper config`: the settings in force, and the schema."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from click.testing import CliRunner

from shipper.cli import main


def test_show_gives_settings_origins_and_no_secrets(tmp_path: Path) -> None:
    """Exporters' defaults are filled in; what is secret is masked; the output is YAML."""
    path = tmp_path / "c.yaml"
    path.write_text("destinations: {a: {endpoint: 'http://x:1', headers: {api-key: hunter2}}}\n")
    result = CliRunner(env={"SHIPPER_DRAIN_DEADLINE": "9"}).invoke(main, ["config", "show", "--config", str(path)])
    assert result.exit_code == 0, result.output
    assert "hunter2" not in result.output
    assert "deadline: 9.0  # SHIPPER_DRAIN_DEADLINE" in result.output
    shown = yaml.safe_load(result.output)["destinations"]["a"]
    assert (shown["type"], shown["endpoint"], shown["compression"]) == ("otlp", "http://x:1", "gzip")
    as_json = CliRunner().invoke(main, ["config", "show", "--json", "--config", str(path)])
    assert json.loads(as_json.output)["destinations"]["a"]["endpoint"] == "http://x:1"


def test_show_knows_options_by_their_names_of_today(tmp_path: Path) -> None:
    """An option written by its older name is shown once, by its name of today: what is shown can be used as a file."""
    path = tmp_path / "c.yaml"
    path.write_text("destinations: {a: {type: prometheus, url: 'http://x:1/write'}}\n")
    result = CliRunner().invoke(main, ["config", "show", "--config", str(path)])
    shown = yaml.safe_load(result.output)["destinations"]["a"]
    assert (shown["endpoint"], shown.get("url")) == ("http://x:1/write", None)


def test_show_works_without_anything_configured() -> None:
    """Looking at the defaults demands no destination."""
    result = CliRunner(env={"SHIPPER_CONFIG": "", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}).invoke(main, ["config", "show"])
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.output)["destinations"] == {}


def test_a_wrong_file_is_one_sentence(tmp_path: Path) -> None:
    """Errors are those of `shipper check`, without a traceback."""
    path = tmp_path / "c.yaml"
    path.write_text("destinations: {a: {endpiont: x}}\n")
    result = CliRunner().invoke(main, ["config", "show", "--config", str(path)])
    assert result.exit_code == 1
    assert result.output == f"Error: {path}: destinations.a.endpiont: unknown key; did you mean 'endpoint'?\n"


def test_schema_is_json_schema_with_the_installed_exporters() -> None:
    """Editors can use it as it is."""
    result = CliRunner().invoke(main, ["config", "schema"])
    schema = json.loads(result.output)
    assert schema["$schema"].startswith("https://json-schema.org/")
    titles = [choice["title"] for choice in schema["$defs"]["Destination"]["anyOf"]]
    assert {"Destination of type otlp", "Destination of type archive"} <= set(titles)
