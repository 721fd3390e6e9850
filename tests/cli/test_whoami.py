"""`shipper whoami`: labels with their origins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from shipper.cli import main


def test_each_label_is_shown_with_value_and_origin(tmp_path: Path) -> None:
    """From the file, from the environment, and not found with what to set."""
    path = tmp_path / "c.yaml"
    path.write_text("labels: {release: '1.4', attributes: {team: shop}}\n")
    env = {"SHIPPER_GENERATION": "g7", "SHIPPER_CONFIG": str(path)}
    result = CliRunner(env=env).invoke(main, ["whoami"])
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in result.output.splitlines() if line[0] != " "}
    assert lines["release"].split() == ["1.4", "from", f"{path}:1"]
    assert lines["generation"].split() == ["g7", "from", "SHIPPER_GENERATION"]
    assert "set environment with SHIPPER_ENVIRONMENT" in lines["environment"]
    verbose = CliRunner(env=env).invoke(main, ["whoami", "--verbose"])
    assert "attribute    team=shop" in verbose.output
    assert "/etc/shipper/release.json: no such file" in verbose.output


def test_machines_get_json() -> None:
    """All that was tried, the attributes, the witnesses and the problems."""
    env = {"SHIPPER_HOST": "web-1", "OTEL_RESOURCE_ATTRIBUTES": "bad"}
    content = json.loads(CliRunner(env=env).invoke(main, ["whoami", "--json"]).stdout)
    assert content["labels"]["host"]["value"] == "web-1"
    assert {"place": "SHIPPER_HOST", "value": "web-1", "note": ""} in content["labels"]["host"]["tried"]
    assert content["attributes"]["host.name"] == "web-1"
    assert content["witness"]["kind"] == "explicit"
    assert content["problems"] == ["OTEL_RESOURCE_ATTRIBUTES: 'bad' is not key=value, ignored"]


def test_it_works_without_the_sidecar_parts() -> None:
    """In an image with only the base install, the labels can still be looked at and baked."""
    script = (
        "import sys\n"
        "for name in ('msgspec', 'yaml', 'aiohttp'): sys.modules[name] = None\n"
        "from shipper.cli import main\n"
        "main(['whoami'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("service")
