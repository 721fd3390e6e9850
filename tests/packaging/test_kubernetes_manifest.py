"""The manifest of the node agent says what the agent needs, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from shipper.cli import main
from shipper.config import load

MANIFEST = Path(__file__).parents[2] / "packaging/kubernetes/node-agent.yaml"


def parts() -> dict[str, dict[str, Any]]:
    """The objects by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}


def test_the_role_allows_to_look_at_pods_and_namespaces() -> None:
    """Nothing can be written, and nothing of the kubelet is asked."""
    rules = {tuple(rule["resources"]): set(rule["verbs"]) for rule in parts()["ClusterRole"]["rules"]}
    assert rules == {("pods",): {"get", "list", "watch"}, ("namespaces",): {"get"}}
    bound = parts()["ClusterRoleBinding"]
    assert bound["roleRef"]["name"] == parts()["ClusterRole"]["metadata"]["name"]
    pod = parts()["DaemonSet"]["spec"]["template"]["spec"]
    assert bound["subjects"][0]["name"] == pod["serviceAccountName"] == parts()["ServiceAccount"]["metadata"]["name"]


def test_only_the_state_can_be_written(tmp_path: Path) -> None:
    """Logs are mounted read-only, the state lies on the node, and the configuration is one that loads."""
    pod = parts()["DaemonSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"state"}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert "hostPath" in volumes["state"]
    env = {one["name"]: one.get("value", "") for one in container["env"]}
    mounted = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert env["SHIPPER_STATE_DIR"] == mounted["state"]
    file = tmp_path / "shipper.yaml"
    file.write_text(parts()["ConfigMap"]["data"]["shipper.yaml"])
    endpoint = {"SHIPPER_OTLP_ENDPOINT": env["SHIPPER_OTLP_ENDPOINT"], "SHIPPER_STATE_DIR": str(tmp_path)}
    loaded = load(str(file), env=endpoint, overrides={}, role="sidecar")
    assert loaded.config.node.pods_dir.startswith(mounted["logs"] + "/")


def test_the_command_is_one() -> None:
    """``shipper node`` exists."""
    (container,) = parts()["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    program, verb = container["args"]
    assert program == "shipper"
    assert CliRunner().invoke(main, [verb, "--help"]).exit_code == 0
