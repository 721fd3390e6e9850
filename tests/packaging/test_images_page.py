"""What docs/images.md tells to write is valid: scripts parse, manifests say what the page promises, every setting is known."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from shipper.cli import main
from shipper.config import load
from shipper.notices.budgets import BUDGETS
from shipper.notices.stop_signal import GRACE, NATIVE_SIDECAR, read_stop_budget

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/images.md").read_text()
VERBS = main.list_commands(click.Context(main))
UNITS = {path.name for path in (ROOT / "packaging/systemd").iterdir()}


def block(name: str) -> str:
    found = re.search(rf"^```\w+ {re.escape(name)}\n(.*?)^```", PAGE, re.S | re.M)
    assert found is not None, f"docs/images.md has no {name}"
    return found[1]


def deployment() -> dict[str, Any]:
    return dict(yaml.safe_load(block("deployment.yaml"))["spec"]["template"]["spec"])


def sidecar_environments() -> dict[str, dict[str, str]]:
    """What each of the manifests gives to the sidecar, by platform."""
    (pod,) = deployment()["initContainers"]
    task = json.loads(block("task-definition.json"))["containerDefinitions"]
    (on_ecs,) = [container for container in task if container["name"] == "shipper"]
    return {
        "kubernetes": {one["name"]: str(one.get("value", "a value")) for one in pod["env"]},
        "ecs": {one["name"]: one["value"] for one in on_ecs["environment"]},
        "docker": {
            name: str(value)
            for name, value in yaml.safe_load(block("compose.yaml"))["services"]["shipper"]["environment"].items()
        },
    }


@pytest.mark.parametrize("name", ["install.sh", "bake.sh"])
def test_the_scripts_are_valid_and_use_what_is_there(name: str) -> None:
    """The shell parses them; every file they take from the package is in it; every verb is one of ours."""
    script = block(name)
    subprocess.run(["sh", "-n", "-c", script], check=True)
    assert set(re.findall(r"\$units/([\w.-]+)", script)) <= UNITS
    for verb in re.findall(r"(?:/opt/shipper/bin/|^)shipper (\w+)", script, re.M):
        assert verb in VERBS


def test_the_configuration_is_accepted(tmp_path: Path) -> None:
    """`shipper check` has nothing against it."""
    written = re.search(r"<<'YAML'\n(.*?)^YAML", block("install.sh"), re.S | re.M)
    assert written is not None
    path = tmp_path / "shipper.yaml"
    path.write_text(written[1])
    assert load(str(path), env={}, overrides={}, role="sidecar").warnings == ()


@pytest.mark.parametrize("platform", ["kubernetes", "ecs", "docker"])
def test_each_manifest_sets_what_the_sidecar_knows_and_ends_when_it_is_told(platform: str, tmp_path: Path) -> None:
    """No variable is a typing error; the time a stop leaves is the one that the manifest grants."""
    env = sidecar_environments()[platform] | {"SHIPPER_STATE_DIR": str(tmp_path)}
    assert load(None, env=env, overrides={}, role="sidecar").warnings == ()
    sign = {"kubernetes": {"KUBERNETES_SERVICE_HOST": "x"}, "ecs": {"ECS_CONTAINER_METADATA_URI_V4": "x"}, "docker": {}}
    budget = read_stop_budget(env | sign[platform] | {NATIVE_SIDECAR: ""}, container=True)
    granted = {"kubernetes": 45, "ecs": 120, "docker": 30}[platform]
    assert budget.budget == platform
    assert budget.problem == ""
    assert budget.seconds == pytest.approx(granted * 0.9)


def test_the_pod_is_a_native_sidecar_with_a_hook_that_returns_at_once() -> None:
    """What the page says of the order holds only with these fields; the grace is said twice, and twice the same."""
    pod = deployment()
    (shipper,) = pod["initContainers"]
    assert shipper["restartPolicy"] == "Always"
    assert shipper["lifecycle"]["preStop"]["exec"]["command"] == ["shipper", "notice"]
    assert "notice" in VERBS
    env = sidecar_environments()["kubernetes"]
    assert env[GRACE] == str(pod["terminationGracePeriodSeconds"])
    assert read_stop_budget(env | {"KUBERNETES_SERVICE_HOST": "x"}, container=True).budget == "kubernetes-sidecar"
    (service,) = pod["containers"]
    shared = {mount["name"] for mount in shipper["volumeMounts"]} & {mount["name"] for mount in service["volumeMounts"]}
    assert shared == {volume["name"] for volume in pod["volumes"]}


def test_the_task_stops_the_service_first_and_outlives_its_sidecar() -> None:
    """dependsOn, essential and stopTimeout are as the page says."""
    task = json.loads(block("task-definition.json"))
    by_name = {container["name"]: container for container in task["containerDefinitions"]}
    assert by_name["shipper"]["essential"] is False
    assert by_name["checkout"]["dependsOn"] == [{"containerName": "shipper", "condition": "START"}]
    assert f"{by_name['shipper']['stopTimeout']}" == sidecar_environments()["ecs"][GRACE]


def test_the_task_definition_is_one_that_ecs_takes() -> None:
    """Every field and type is in the API's own model."""
    loaders = pytest.importorskip("botocore.loaders")
    validate = pytest.importorskip("botocore.validate")
    model = pytest.importorskip("botocore.model")
    api = model.ServiceModel(loaders.Loader().load_service_model("ecs", "service-2"))
    shape = api.operation_model("RegisterTaskDefinition").input_shape
    task = json.loads(block("task-definition.json"))
    assert not validate.ParamValidator().validate(task, shape).has_errors()
    assert set(task) <= set(shape.members)


def test_the_container_runs_our_command_directly() -> None:
    """Process 1 is the sidecar, in the exec form, as a user with a number."""
    dockerfile = block("Dockerfile")
    assert json.loads(re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.M)[1]) == ["shipper"]  # type: ignore[index]
    assert json.loads(re.search(r"^CMD (.*)$", dockerfile, re.M)[1]) == ["run"]  # type: ignore[index]
    assert re.search(r"^USER \d+$", dockerfile, re.M)


def test_the_times_of_the_table_are_the_budgets() -> None:
    """The page and the program do not differ."""
    table = re.search(r"## How long it gets\n(.*?)\n## ", PAGE, re.S)
    assert table is not None
    stated = [int(seconds) for seconds in re.findall(r"\| (\d+) s \|$", table[1], re.M)]
    names = [
        "kubernetes",
        "kubernetes-prestop",
        "kubernetes-sidecar",
        "ecs",
        "docker",
        "nomad",
        "fly",
        "cloud-run",
        "systemd",
    ]
    assert stated == [BUDGETS[name] for name in names]
