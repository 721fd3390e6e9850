"""How long is left after a stop signal: a signal says nothing, but where we run tells who sent it and what its habit is.

``SHIPPER_TERMINATION_GRACE`` states the time between the signal (in a pod: its deletion) and SIGKILL as it was configured
there: ``terminationGracePeriodSeconds``, ``stopTimeout``, ``kill_timeout``, ``docker stop -t``. No platform lets a process read it.
``SHIPPER_NATIVE_SIDECAR=true`` says that this container is a native sidecar of its pod (an init container with restartPolicy
Always): its SIGTERM comes after the other containers have ended, when of the pod's grace maybe nothing is left but the minimum.

SIGINT means the same as SIGTERM: Fly and Nomad send it by default. Facts and sources: docs/notices.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.config.units import parse_seconds

GRACE = "SHIPPER_TERMINATION_GRACE"
NATIVE_SIDECAR = "SHIPPER_NATIVE_SIDECAR"
ECS_STOP_TIMEOUT = "ECS_CONTAINER_STOP_TIMEOUT"
MARGIN_SHARE = 0.1  # of the stated time: the signal was sent before it was seen, and exiting takes a moment
LEAST_MARGIN = 1.0


@dataclass(frozen=True, slots=True)
class StopBudget:
    """What a stop signal leaves. ``budget``: the name in `shipper.notices.budgets`. ``seconds``: known here (it beats the
    budget), None: not stated. ``evidence``: for a person. ``problem``: what could not be understood, empty when all was.
    """

    budget: str
    seconds: float | None
    evidence: str
    problem: str = ""


_SIGNS: tuple[tuple[str, str, str], ...] = (
    ("KUBERNETES_SERVICE_HOST", "kubernetes", "a container of a pod"),
    ("ECS_CONTAINER_METADATA_URI_V4", "ecs", "a container of an ECS task"),
    ("ECS_CONTAINER_METADATA_URI", "ecs", "a container of an ECS task"),
    ("AWS_LAMBDA_FUNCTION_NAME", "lambda", "a Lambda function"),
    ("AWS_LAMBDA_RUNTIME_API", "lambda", "a Lambda function"),
    ("K_REVISION", "cloud-run", "a Cloud Run revision"),
    ("CLOUD_RUN_JOB", "cloud-run", "a Cloud Run job"),
    ("FLY_MACHINE_ID", "fly", "a Fly machine"),
    ("NOMAD_ALLOC_ID", "nomad", "a Nomad allocation"),
)
"""Variable, budget, in words; what runs a task before the machine that it lies on."""


def read_stop_budget(env: Mapping[str, str], *, container: bool) -> StopBudget:
    """How long a stop signal leaves here. Looks at nothing but the arguments, so it may be called in a signal's handler.

    ``container``: whether this is an application container (`shipper.labels.container.in_container`).
    """
    budget, what = _where(env, container)
    stated, problem = _stated(env, budget)
    if budget == "kubernetes" and _is_true(env.get(NATIVE_SIDECAR, "")):
        # Whatever the pod's grace is, the other containers may have used it up: only a preStop notice knows when it began.
        return StopBudget("kubernetes-sidecar", None, "a native sidecar, stopped after the other containers", problem)
    if stated is None:
        return StopBudget(budget, None, what, problem)
    name, seconds = stated
    left = seconds - max(LEAST_MARGIN, seconds * MARGIN_SHARE)
    return StopBudget(budget, max(left, seconds / 2), f"{what}, {name} is {seconds:g} s", problem)


def _where(env: Mapping[str, str], container: bool) -> tuple[str, str]:
    for variable, budget, what in _SIGNS:
        if env.get(variable):
            return budget, what
    if container:
        return "docker", "a container"
    if env.get("INVOCATION_ID") or env.get("NOTIFY_SOCKET"):
        return "systemd", "a unit of systemd"
    return "unknown", "nothing tells who stops us"


def _stated(env: Mapping[str, str], budget: str) -> tuple[tuple[str, float] | None, str]:
    """The variable that states the time, and the time; and what was wrong with it."""
    for name in (GRACE, ECS_STOP_TIMEOUT) if budget == "ecs" else (GRACE,):
        text = env.get(name, "").strip()
        if not text:
            continue
        try:
            seconds = parse_seconds(text)
        except ValueError as problem:
            return None, f"{name}: {problem}; the usual time counts"
        if math.isfinite(seconds) and seconds > 0:
            return (name, seconds), ""
        return None, f"{name}: a time above zero is wanted, not {text!r}; the usual time counts"
    return None, ""


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes", "on")
