"""Where a deploy is told to, when OTLP destinations speak several protocols."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shipper.errors import ConfigError
from shipper.fleet.deploys.send import endpoint_of, find_endpoint


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({"endpoint": "http://a:4318"}, "http://a:4318/v1/logs"),
        ({"endpoints": ["http://b:4318", "http://c"]}, "http://b:4318/v1/logs"),
        ({"endpoints": "http://b:4318, http://c"}, "http://b:4318/v1/logs"),
        ({"endpoints": []}, None),
        ({"endpoint": "http://a:4318", "protocol": "http/json"}, "http://a:4318/v1/logs"),
    ],
)
def test_the_preferred_endpoint_is_told(options: dict[str, Any], url: str | None) -> None:
    """Of several endpoints the first is meant, however they are written."""
    found = endpoint_of(options, "logs", "here")
    assert (found.url if found else None) == url


def test_a_destination_that_speaks_grpc_is_passed_over(tmp_path: Path) -> None:
    """What is sent by HTTP goes to a destination that takes it; with none of those it is said what to do."""
    config = tmp_path / "c.yaml"
    grpc = "first: {endpoint: 'http://a:4317', protocol: grpc}"
    config.write_text(f"destinations: {{{grpc}, second: {{endpoint: 'http://b:4318'}}}}\n")
    found = find_endpoint("", str(config), {})
    assert found is not None
    assert found.url == "http://b:4318/v1/logs"
    config.write_text(f"destinations: {{{grpc}}}\n")
    with pytest.raises(ConfigError, match=r"destinations.first of .*: speaks gRPC, but this is sent by HTTP"):
        find_endpoint("", str(config), {})


@pytest.mark.parametrize("name", ["PROTOCOL", "LOGS_PROTOCOL"])
def test_variables_for_grpc_are_said_to_be_that(name: str) -> None:
    """An endpoint that OpenTelemetry's variables set up for gRPC is not posted to."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4317", f"OTEL_EXPORTER_OTLP_{name}": "grpc"}
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_ENDPOINT: speaks gRPC"):
        find_endpoint("", "", env)
