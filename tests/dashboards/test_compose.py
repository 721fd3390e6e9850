"""The compose file as far as it can be held to without a Docker engine: what it mounts, opens, starts and tells each part."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from shipper.cli.check import examine
from shipper.dashboards import provisioning, shipped
from shipper.fleet.audit import audit
from tests.dashboards.promtool.run import PROMTOOL, needs_promtool

ROOT = Path(__file__).parents[2] / "dashboards"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
READY_SECONDS = 30.0


def mounts() -> list[tuple[str, str, str]]:
    """Service, source and target of every volume."""
    found = [(name, volume) for name, service in SERVICES.items() for volume in service.get("volumes", [])]
    return [(name, *volume.removesuffix(":ro").split(":")) for name, volume in found]


def test_every_image_is_pinned_or_built_here() -> None:
    """Nobody's ``latest`` changes under a reader's feet."""
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    for service in SERVICES.values():
        assert service["image"] in built or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]


def test_every_file_that_is_mounted_exists_and_every_volume_is_declared() -> None:
    """And nothing is mounted twice into one place."""
    for _, source, _ in mounts():
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source
    assert len({(name, target) for name, _, target in mounts()}) == len(mounts())
    assert {source for _, source, _ in mounts() if not source.startswith(".")} == set(COMPOSE["volumes"])


def test_every_port_is_open_once_and_on_this_machine_only() -> None:
    """Anonymous Grafana and a gateway without a token are not for the network."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    opened = [port.split(":")[1] for port in ports]
    assert len(set(opened)) == len(opened)


def test_services_wait_for_services_that_are_there() -> None:
    """And every host name that a configuration names is a service."""
    for service in SERVICES.values():
        assert set(service.get("depends_on", [])) <= set(SERVICES)
    texts = [path.read_text() for path in [*(ROOT / "compose").glob("*.y*ml"), ROOT / provisioning.DATASOURCES]]
    named = {host for text in texts for host in re.findall(r"https?://([a-z]+):\d+", text)}
    assert named <= set(SERVICES)
    assert SERVICES["fleet"]["environment"]["FLEET_GATEWAY"] == "http://gateway:4318"


def test_grafana_is_given_data_sources_boards_and_a_viewer_without_login() -> None:
    """The boards lie where the provider looks, the landing page is the home page, alerts stay with Prometheus."""
    targets = {target: source for name, source, target in mounts() if name == "grafana"}
    assert targets[provisioning.BOARDS_PATH] == "."
    assert not any("alerting" in target or target == "/etc/grafana/provisioning" for target in targets)
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    home = PurePosixPath(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provisioning.BOARDS_PATH
    assert home.name == shipped.LANDING
    assert (ROOT / home.name).exists()


def test_prometheus_takes_remote_write_and_keeps_exemplars() -> None:
    """Both are off unless said."""
    assert {"--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage"} <= {
        *SERVICES["prometheus"]["command"]
    }


@needs_promtool
def test_prometheus_understands_its_configuration_and_rules(tmp_path: Path) -> None:
    """promtool reads the very files, with the rules where the configuration looks for them."""
    rules = next(target for name, source, target in mounts() if source == "./rules")
    text = (ROOT / "compose/prometheus.yml").read_text()
    assert f"{rules}/*.yml" in text
    config = tmp_path / "prometheus.yml"
    config.write_text(
        text.replace(rules, str(ROOT / "rules")).replace("    out_of_order_time_window: 30m\n", "    {}\n")
    )
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "check", "config", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_loki_makes_no_stream_of_a_host() -> None:
    """What comes and goes is structured metadata; only service and environment are labels."""
    loki = yaml.safe_load((ROOT / "compose/loki.yaml").read_text())
    (labels,) = loki["limits_config"]["otlp_config"]["resource_attributes"]["attributes_config"]
    assert labels == {"action": "index_label", "attributes": ["service.name", "deployment.environment.name"]}
    assert loki["limits_config"]["otlp_config"]["resource_attributes"]["ignore_defaults"] is True
    assert loki["limits_config"]["allow_structured_metadata"] is True
    assert loki["schema_config"]["configs"][0]["schema"] == "v13"


def test_tempo_takes_what_the_gateway_sends() -> None:
    """Its OTLP receiver listens where the gateway's destination points."""
    tempo = yaml.safe_load((ROOT / "compose/tempo.yaml").read_text())
    assert tempo["distributor"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "0.0.0.0:4318"


def test_the_gateways_configuration_is_right() -> None:
    """As ``shipper check`` sees it: it keeps an archive, and each signal goes where it belongs."""
    loaded, errors = examine(str(ROOT / "compose/gateway.yaml"), "gateway")
    assert errors == []
    assert loaded is not None
    kinds = {name: destination.type for name, destination in loaded.config.destinations.items()}
    assert kinds == {"archive": "archive", "prometheus": "prometheus", "loki": "loki", "tempo": "otlp"}


def test_the_image_is_built_from_what_its_build_context_lets_through() -> None:
    """Every path that the Dockerfile copies exists and is not ignored."""
    context = (ROOT / SERVICES["gateway"]["build"]["context"]).resolve()
    dockerfile = context / SERVICES["gateway"]["build"]["dockerfile"]
    let_through = set(
        re.findall(r"^!(\S+)$", dockerfile.with_name("Dockerfile.dockerignore").read_text(), re.MULTILINE)
    )
    copied = {
        word for line in re.findall(r"^COPY (.+) \S+$", dockerfile.read_text(), re.MULTILINE) for word in line.split()
    }
    assert copied == let_through
    assert all((context / path).exists() for path in copied)


@contextmanager
def gateway(directory: Path) -> Iterator[str]:
    """The address of a real gateway, which has written its archive when the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [f"--listen=127.0.0.1:{port}", f"--archive={directory / 'archive'}", f"--state-dir={directory / 'state'}"]
    process = started(directory / "gateway.log", ["-m", "shipper", "gateway", *words], SHIPPER_ADMIN_LISTEN="off")
    try:
        until(lambda: listens(port), "the gateway listens")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def test_the_fleet_deploys_rolls_back_and_drains_when_it_is_stopped(tmp_path: Path) -> None:
    """Real hosts of three generations, the third the first release again; nothing that they wrote is missing."""
    told = tmp_path / "fleet.log"
    with gateway(tmp_path) as url:
        settings = {"FLEET_GATEWAY": url, "FLEET_HOSTS": "1", "FLEET_SECONDS": "1", "FLEET_RATE": "20"}
        fleet = started(told, [str(ROOT / "compose/fleet.py")], **settings)
        try:
            until(lambda: told.read_text().count("start: ") >= 3, "a deploy after the rollback")
        finally:
            fleet.send_signal(signal.SIGTERM)
            status = fleet.wait(timeout=READY_SECONDS)
        assert status == 0, told.read_text()
    words = re.findall(r"^(start|rollback): ([\d.]+)", told.read_text(), re.MULTILINE)
    assert words[:3] == [("start", "1.0.0"), ("start", "1.1.0"), ("rollback", "1.0.0")]
    assert told.read_text().rstrip().endswith("stopped: every host has drained")
    report = audit(str(tmp_path / "archive"))
    assert report.ok
    assert report.totals.archived > 0
    assert {life.labels.get("release") for life in report.lives} >= {"1.0.0", "1.1.0"}


def started(log: Path, words: list[str], **settings: str) -> subprocess.Popen[bytes]:
    """A Python program with just these settings, all it says in ``log``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHIPPER_", "OTEL_"))}
    with open(log, "wb") as output:
        return subprocess.Popen([sys.executable, *words], stdout=output, stderr=output, env=kept | settings)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], bool], what: str) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not yet: {what}"
        time.sleep(0.05)
