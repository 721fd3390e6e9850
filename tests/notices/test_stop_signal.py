"""Where a signal comes from, and so how long is left after it, is told by the environment alone."""

from __future__ import annotations

import pytest

from shipper.notices.budgets import BUDGETS
from shipper.notices.stop_signal import GRACE, NATIVE_SIDECAR, read_stop_budget

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    ("env", "container", "budget"),
    [
        (POD, True, "kubernetes"),
        (POD | {NATIVE_SIDECAR: "true"}, True, "kubernetes-sidecar"),
        (POD | {"K_REVISION": "r"}, True, "kubernetes"),  # Knative on a cluster
        ({"ECS_CONTAINER_METADATA_URI_V4": "http://x"}, True, "ecs"),
        ({"AWS_LAMBDA_RUNTIME_API": "x"}, False, "lambda"),
        ({"K_REVISION": "r"}, True, "cloud-run"),
        ({"FLY_MACHINE_ID": "m"}, False, "fly"),
        ({"NOMAD_ALLOC_ID": "a"}, True, "nomad"),
        ({}, True, "docker"),
        ({"INVOCATION_ID": "i"}, False, "systemd"),
        ({"INVOCATION_ID": "i"}, True, "docker"),
        ({"NOTIFY_SOCKET": "/run/systemd/notify"}, False, "systemd"),
        ({NATIVE_SIDECAR: "true"}, False, "unknown"),
        ({}, False, "unknown"),
    ],
)
def test_each_platform_has_its_own_habit(env: dict[str, str], container: bool, budget: str) -> None:
    """What runs a task is asked before the machine it lies on; every name is one of the budgets."""
    found = read_stop_budget(env, container=container)
    assert (found.budget, found.seconds) == (budget, None)
    assert found.budget in BUDGETS


@pytest.mark.parametrize(
    ("stated", "seconds"), [("30", 27.0), ("30s", 27.0), ("5", 4.0), ("2m", 108.0), ("1", 0.5), ("500ms", 0.25)]
)
def test_a_stated_grace_counts_less_a_margin(stated: str, seconds: float) -> None:
    """A tenth, and at least a second (half of a very short one), is kept: the signal was sent before we saw it."""
    found = read_stop_budget(POD | {GRACE: stated}, container=True)
    assert found.seconds == pytest.approx(seconds)
    assert GRACE in found.evidence


def test_ecs_says_it_in_its_own_variable_too() -> None:
    """ECS_CONTAINER_STOP_TIMEOUT counts where ours is not given."""
    env = {"ECS_CONTAINER_METADATA_URI_V4": "http://x", "ECS_CONTAINER_STOP_TIMEOUT": "2m"}
    assert read_stop_budget(env, container=True).seconds == pytest.approx(108.0)
    assert read_stop_budget(env | {GRACE: "60"}, container=True).seconds == pytest.approx(54.0)
    assert read_stop_budget(POD | {"ECS_CONTAINER_STOP_TIMEOUT": "2m"}, container=True).seconds is None


@pytest.mark.parametrize("text", ["soon", "-5", "0", "1e400", "nan", "30 parsecs"])
def test_a_grace_that_is_no_time_is_said_and_the_usual_one_counts(text: str) -> None:
    """A wrong value is never zero and never endless."""
    found = read_stop_budget(POD | {GRACE: text}, container=True)
    assert found.budget == "kubernetes"
    assert found.seconds is None
    assert GRACE in found.problem


def test_a_native_sidecar_does_not_count_on_the_grace_of_its_pod() -> None:
    """Its SIGTERM comes when the other containers have ended, and maybe they used up all of it."""
    found = read_stop_budget(POD | {GRACE: "600", NATIVE_SIDECAR: "yes"}, container=True)
    assert (found.budget, found.seconds) == ("kubernetes-sidecar", None)
