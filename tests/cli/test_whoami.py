"""`shipper whoami`: labels with their origins."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from shipper.cli import main
from shipper.testing.platforms.imds import FakeImds


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


def _imds(tags: dict[str, str]) -> FakeImds:
    return FakeImds(tags={"aws:ec2launchtemplate:id": "lt-1", "aws:ec2launchtemplate:version": "7", **tags})


async def _whoami(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own: the fake it asks runs on this one's loop."""
    command = [sys.executable, "-m", "shipper", "whoami", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SHIPPER_", "OTEL_", "AWS_"))}
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, env={**clean, **env}
    )


def test_platforms_are_shown_with_evidence_answer_and_time() -> None:
    """Why it was taken for that platform, what its service did, and which label came of it; the same as JSON."""

    async def run() -> None:
        async with _imds({}) as imds:
            said = await _whoami(AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url)
            lines = said.stdout.splitlines()
            (platform,) = (line for line in lines if line.startswith("platform"))
            evidence = f"ec2 (AWS_EC2_METADATA_SERVICE_ENDPOINT is set); {imds.url} answered ("
            assert platform.split(maxsplit=1)[1].startswith(evidence)
            assert platform.endswith("ms)")
            assert any(line.startswith("generation   lt-1:7") for line in lines), said.stdout
            assert lines[-1].startswith("found out    in ")
            content = json.loads((await _whoami("--json", AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url)).stdout)
            (one,) = content["platforms"]
            assert (one["platform"], one["asked"], one["note"]) == ("ec2", True, f"{imds.url} answered")
            assert one["seconds"] <= content["seconds"]

    asyncio.run(run())


def test_without_the_network_nobody_is_asked() -> None:
    """The platform is still named, with its service that was not asked."""

    async def run() -> None:
        async with _imds({}) as imds:
            said = await _whoami("--no-network", "-v", AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url)
            assert imds.asked == []
        assert "ec2 (AWS_EC2_METADATA_SERVICE_ENDPOINT is set); not asked" in said.stdout
        assert "not seen: ecs, lambda" in said.stdout

    asyncio.run(run())


def test_a_configured_endpoint_is_asked_and_what_went_wrong_is_said(tmp_path: Path) -> None:
    """The configuration's endpoint beats the variable; a problem goes to stderr, the labels are printed all the same."""

    async def run() -> None:
        async with _imds({}) as imds:
            imds.switch_off()
            config = tmp_path / "shipper.yaml"
            config.write_text(f"notices: {{endpoints: {{aws: '{imds.url}'}}}}\n")
            said = await _whoami("--config", str(config), AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:1")
            assert said.returncode == 0
            assert f"platform     ec2 (notices.endpoints.aws is set); {imds.url} answered 403 (" in said.stdout
            assert f"warning: ec2: {imds.url} answered 403; what only it knows stays unknown" in said.stderr

    asyncio.run(run())
