"""The settings in force, shown with origins and without secrets; and the JSON schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from shipper.config import load
from shipper.config.jsonschema import json_schema
from shipper.config.section import Section
from shipper.config.show import MASK, mask, mask_url, render
from shipper.pump.load import exporter_class


@pytest.mark.parametrize(
    "key", ["password", "token", "api_key", "apiKey", "secret_access_key", "Authorization", "sas_token", "account_key"]
)
def test_values_of_secret_keys_are_masked(key: str) -> None:
    """Whatever an exporter calls its secret, it does not show; where a secret lies may be shown."""
    assert mask({key: "hunter2"}) == {key: MASK}
    assert mask({f"{key}_file": "/run/secret"}) == {f"{key}_file": "/run/secret"}


def test_header_values_and_urls_are_masked() -> None:
    """Headers are masked whatever their names; URLs lose passwords and signatures, nothing else."""
    assert mask({"headers": {"x": "y"}, "logs_headers": "a=b"}) == {"headers": {"x": MASK}, "logs_headers": MASK}
    assert mask_url("https://u:p@h:1/x?sig=abc&region=eu") == f"https://{MASK}@h:1/x?sig={MASK}&region=eu"
    assert mask_url("s3://bucket/prefix") == "s3://bucket/prefix"
    assert mask_url("http://[broken") == MASK


def test_the_rendering_is_yaml_that_loads_to_the_same_settings(tmp_path: Path) -> None:
    """What is shown can be used as a file again, and says where each value came from."""
    path = tmp_path / "c.yaml"
    path.write_text(
        "labels: {release: 'yes', attributes: {'a: b': 'x # y'}}\n"
        "files: [{include: ['/a', '/b']}, {include: ['/c'], attributes: {k: v}}]\n"
        "destinations: {d: {endpoint: 'http://h', headers: {api-key: topsecret}, nested: {password: topsecret}}}\n"
    )
    loaded = load(str(path), env={"SHIPPER_DRAIN_QUIET": "2s"}, complete=False)
    text = render(loaded)
    assert "topsecret" not in text
    assert "quiet: 2.0  # SHIPPER_DRAIN_QUIET" in text
    assert f'- include: ["/a", "/b"]  # {path}:2' in text
    again = tmp_path / "again.yaml"
    again.write_text(text.replace(MASK, "topsecret"))
    assert load(str(again), env={}, complete=False).config == loaded.config
    assert isinstance(yaml.safe_load(text), dict)


def test_the_schema_covers_exporters_units_and_unknown_plug_ins() -> None:
    """Editors complete exporters' options; sizes and durations may be text; every setting is described."""
    schema = json_schema({name: exporter_class(name).Settings for name in ("otlp", "archive")})
    text = json.dumps(schema)
    assert "x-unit" not in text
    definitions = schema["$defs"]
    assert definitions["Drain"]["properties"]["deadline"]["type"] == ["number", "string"]
    otlp, archive, other = definitions["Destination"]["anyOf"]
    assert "endpoint" in otlp["properties"]
    assert otlp["required"] == []
    assert archive["required"] == ["url", "type"]
    assert other["properties"]["type"]["not"] == {"enum": ["otlp", "archive"]}
    (prometheus, _) = json_schema({"prometheus": exporter_class("prometheus").Settings})["$defs"]["Destination"][
        "anyOf"
    ]
    assert prometheus["properties"]["url"]["deprecated"] is True
    assert "deprecated" not in prometheus["properties"]["endpoint"]
    for section in definitions["Config"]["properties"].values():
        assert section.get("description")
    for name in ("Labels", "Files", "Drain", "Admin", "Gateway", "Log", "Account", "Quarantine", "FileLimits"):
        for field in definitions[name]["properties"].values():
            assert field.get("description"), name


def test_what_may_be_a_single_word_is_so_in_the_schema() -> None:
    """An editor accepts every shorthand that is accepted."""
    sections = [Section]
    for kind in sections:
        sections += kind.__subclasses__()
    short = {kind.__name__ for kind in sections if getattr(kind, "shorthand", "")}
    definitions = json_schema({})["$defs"]
    assert {name for name in short if {"type": "string"} not in definitions[name].get("anyOf", [])} == set()
