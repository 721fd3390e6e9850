"""What the environment of a pipeline says about the deploy that it is making; one row per system.

A row counts when one of its markers is set. A text in it is the name of a variable, or several in braces with text between
them; ``{NAME/}`` is what stands behind the last slash. Of each field the first row that has all of its variables wins, so rows
of systems that deploy stand before those that build, and Shipper's own variables before all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from shipper.labels.ci import from_ci

FIELDS = ("service", "env", "release", "image", "generation", "id", "actor", "url")
_BRACES = re.compile(r"\{(\w+)(/?)\}")


@dataclass(frozen=True, slots=True)
class System:
    """A system that runs deploys. ``fields``: where to find what, the first that is set wins."""

    name: str
    markers: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


SYSTEMS = (
    System(
        "Shipper",
        (),
        {
            "service": ("SHIPPER_LABELS_SERVICE", "SHIPPER_SERVICE"),
            "env": ("SHIPPER_LABELS_ENVIRONMENT", "SHIPPER_ENVIRONMENT"),
            "release": ("SHIPPER_LABELS_RELEASE", "SHIPPER_RELEASE"),
            "image": ("SHIPPER_LABELS_IMAGE", "SHIPPER_IMAGE"),
            "generation": ("SHIPPER_LABELS_GENERATION", "SHIPPER_GENERATION", "SHIPPER_DEPLOY_ID"),
            "id": ("SHIPPER_DEPLOY_ID",),
        },
    ),
    System("OpenTelemetry", ("OTEL_SERVICE_NAME",), {"service": ("OTEL_SERVICE_NAME",)}),
    System(
        "Spinnaker",
        ("SPINNAKER_EXECUTION_ID", "CLOUD_SERVER_GROUP", "CLOUD_APP"),
        {
            "service": ("CLOUD_APP", "SPINNAKER_APPLICATION"),
            "env": ("CLOUD_STACK",),
            "generation": ("CLOUD_SERVER_GROUP",),
            "id": ("SPINNAKER_EXECUTION_ID",),
            "actor": ("SPINNAKER_USER",),
            "url": ("SPINNAKER_EXECUTION_URL",),
        },
    ),
    System(
        "Argo CD",
        ("ARGOCD_APP_NAME",),
        {
            "service": ("ARGOCD_APP_NAME",),
            "release": ("ARGOCD_APP_REVISION",),
            "id": ("{ARGOCD_APP_NAME}-{ARGOCD_APP_REVISION}",),
            "url": ("ARGOCD_APP_SOURCE_REPO_URL",),
        },
    ),
    System(
        "Argo Rollouts",
        ("ROLLOUTS_POD_TEMPLATE_HASH",),
        {"generation": ("ROLLOUTS_POD_TEMPLATE_HASH",), "service": ("ROLLOUT_NAME",)},
    ),
    System(
        "Argo Workflows",
        ("ARGO_WORKFLOW_NAME", "ARGO_WORKFLOW_UID"),
        {"id": ("ARGO_WORKFLOW_UID", "ARGO_WORKFLOW_NAME")},
    ),
    System(
        "HCP Terraform",
        ("TFC_RUN_ID",),
        {
            "release": ("TFC_CONFIGURATION_VERSION_GIT_TAG", "TFC_CONFIGURATION_VERSION_GIT_COMMIT_SHA"),
            "id": ("TFC_RUN_ID",),
        },
    ),
    System(
        "Terraform",
        (),
        {
            "service": ("TF_VAR_service", "TF_VAR_service_name", "TF_VAR_app"),
            "env": ("TF_VAR_environment", "TF_VAR_env"),
            "release": ("TF_VAR_release", "TF_VAR_app_version", "TF_VAR_image_tag"),
            "image": ("TF_VAR_image", "TF_VAR_image_id", "TF_VAR_ami", "TF_VAR_ami_id"),
            "generation": ("TF_VAR_generation",),
        },
    ),
    System(
        "GitLab CI",
        ("GITLAB_CI",),
        {
            "service": ("CI_PROJECT_NAME",),
            "env": ("CI_ENVIRONMENT_NAME",),
            "id": ("CI_PIPELINE_ID",),
            "actor": ("GITLAB_USER_LOGIN",),
            "url": ("CI_PIPELINE_URL", "CI_JOB_URL"),
        },
    ),
    System(
        "GitHub Actions",
        ("GITHUB_ACTIONS",),
        {
            "service": ("{GITHUB_REPOSITORY/}",),
            "id": ("{GITHUB_RUN_ID}.{GITHUB_RUN_ATTEMPT}", "GITHUB_RUN_ID"),
            "actor": ("GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"),
            "url": ("{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",),
        },
    ),
    System(
        "Jenkins",
        ("JENKINS_URL",),
        {
            "id": ("BUILD_TAG", "{JOB_NAME}-{BUILD_NUMBER}"),
            "actor": ("BUILD_USER_ID", "BUILD_USER", "CHANGE_AUTHOR"),
            "url": ("RUN_DISPLAY_URL", "BUILD_URL"),
        },
    ),
    System(
        "CircleCI",
        ("CIRCLECI",),
        {
            "service": ("CIRCLE_PROJECT_REPONAME",),
            "id": ("CIRCLE_WORKFLOW_ID",),
            "actor": ("CIRCLE_USERNAME",),
            "url": ("CIRCLE_BUILD_URL",),
        },
    ),
    System(
        "Buildkite",
        ("BUILDKITE",),
        {
            "service": ("BUILDKITE_PIPELINE_SLUG",),
            "id": ("BUILDKITE_BUILD_ID",),
            "actor": ("BUILDKITE_BUILD_CREATOR",),
            "url": ("BUILDKITE_BUILD_URL",),
        },
    ),
    System(
        "Azure Pipelines",
        ("TF_BUILD",),
        {
            "service": ("BUILD_REPOSITORY_NAME",),
            "env": ("ENVIRONMENT_NAME", "RELEASE_ENVIRONMENTNAME"),
            "id": ("RELEASE_RELEASEID", "BUILD_BUILDID"),
            "actor": ("BUILD_REQUESTEDFOR",),
            "url": ("{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}",),
        },
    ),
    System(
        "Bitbucket Pipelines",
        ("BITBUCKET_BUILD_NUMBER",),
        {
            "service": ("BITBUCKET_REPO_SLUG",),
            "env": ("BITBUCKET_DEPLOYMENT_ENVIRONMENT",),
            "id": ("BITBUCKET_PIPELINE_UUID", "BITBUCKET_BUILD_NUMBER"),
            "url": ("https://bitbucket.org/{BITBUCKET_REPO_FULL_NAME}/pipelines/results/{BITBUCKET_BUILD_NUMBER}",),
        },
    ),
    System(
        "Kubernetes",
        ("KUBERNETES_SERVICE_HOST",),
        {
            "service": ("K_SERVICE", "APP_KUBERNETES_IO_NAME"),
            "release": ("APP_KUBERNETES_IO_VERSION",),
            "generation": ("K_REVISION", "POD_TEMPLATE_HASH"),
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A value and where it is from, for people; both empty when there is none."""

    value: str = ""
    origin: str = ""


def look(env: Mapping[str, str]) -> dict[str, Found]:
    """What the environment says, by field; every one of `FIELDS` is there."""
    stated = {}
    for name in FIELDS:
        stated[name] = _stated(env, name) or _from_resource(env, name) or Found()
    if not stated["release"].value:
        value, origin = from_ci(env).release
        stated["release"] = Found(value, origin)
    return stated


def _stated(env: Mapping[str, str], name: str) -> Found | None:
    own, *others = SYSTEMS
    for system in (own, *others):
        if system.markers and not any(env.get(marker) for marker in system.markers):
            continue
        found = _first(env, system.fields.get(name, ()))
        if found is not None:
            return Found(found[0], f"{system.name}: {found[1]}" if system is not own else found[1])
    return None


def _first(env: Mapping[str, str], places: Iterable[str]) -> tuple[str, str] | None:
    for place in places:
        template = place if "{" in place else f"{{{place}}}"
        names = _BRACES.findall(template)
        if all(env.get(name, "").strip() for name, _ in names):
            value = _BRACES.sub(lambda match: _part(env[match[1]].strip(), match[2]), template)
            return value, ", ".join(name for name, _ in names)
    return None


def _part(value: str, tail: str) -> str:
    return value.rpartition("/")[2] if tail else value


_RESOURCE = {
    "service": ("service.name",),
    "env": ("deployment.environment.name", "deployment.environment"),
    "release": ("service.version",),
    "generation": ("shipper.generation",),
    "id": ("deployment.id",),
}


def _from_resource(env: Mapping[str, str], name: str) -> Found | None:
    """From ``OTEL_RESOURCE_ATTRIBUTES``, which a pipeline may share with its services."""
    pairs = [pair.partition("=") for pair in env.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")]
    values = {key.strip(): unquote(value.strip()) for key, equals, value in pairs if equals}
    value = next((values[key] for key in _RESOURCE.get(name, ()) if values.get(key)), "")
    return Found(value, "OTEL_RESOURCE_ATTRIBUTES") if value else None
