"""What the build system says about the build: release, commit, branch, repository; one table row per system.

Only `shipper bake` asks, while an image is built. A tag is a better release than a commit, so it comes first.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GIT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class BuildSystem:
    """A CI system: ``marker`` is a variable it always sets; the others are variables to read, first set one wins."""

    name: str
    marker: str
    tag: tuple[str, ...] = ()
    commit: tuple[str, ...] = ()
    repository: tuple[str, ...] = ()


BUILD_SYSTEMS = (
    BuildSystem("GitHub Actions", "GITHUB_ACTIONS", (), ("GITHUB_SHA",), ()),  # tag and repository: see below
    BuildSystem("GitLab CI", "GITLAB_CI", ("CI_COMMIT_TAG",), ("CI_COMMIT_SHA",), ("CI_PROJECT_URL",)),
    BuildSystem("Jenkins", "JENKINS_URL", ("TAG_NAME",), ("GIT_COMMIT",), ("GIT_URL",)),
    BuildSystem("CircleCI", "CIRCLECI", ("CIRCLE_TAG",), ("CIRCLE_SHA1",), ("CIRCLE_REPOSITORY_URL",)),
    BuildSystem("Buildkite", "BUILDKITE", ("BUILDKITE_TAG",), ("BUILDKITE_COMMIT",), ("BUILDKITE_REPO",)),
    BuildSystem("Azure Pipelines", "TF_BUILD", (), ("BUILD_SOURCEVERSION",), ("BUILD_REPOSITORY_URI",)),
    BuildSystem(
        "Bitbucket Pipelines",
        "BITBUCKET_BUILD_NUMBER",
        ("BITBUCKET_TAG",),
        ("BITBUCKET_COMMIT",),
        ("BITBUCKET_GIT_HTTP_ORIGIN",),
    ),
    BuildSystem("Travis CI", "TRAVIS", ("TRAVIS_TAG",), ("TRAVIS_COMMIT",), ()),
    BuildSystem("Drone", "DRONE", ("DRONE_TAG",), ("DRONE_COMMIT_SHA", "DRONE_COMMIT"), ("DRONE_REPO_LINK",)),
    BuildSystem(
        "AWS CodeBuild",
        "CODEBUILD_BUILD_ID",
        (),
        ("CODEBUILD_RESOLVED_SOURCE_VERSION",),
        ("CODEBUILD_SOURCE_REPO_URL",),
    ),
)
_TAG_REF = "refs/tags/"
_TAG_REFS = ("GITHUB_REF", "BUILD_SOURCEBRANCH", "CODEBUILD_WEBHOOK_HEAD_REF")  # hold refs/tags/... for a tag


@dataclass(frozen=True, slots=True)
class Build:
    """Facts about a build, each as (value, where it is from); empty values are unknown."""

    release: tuple[str, str] = ("", "")
    commit: tuple[str, str] = ("", "")
    repository: tuple[str, str] = ("", "")


def from_ci(env: Mapping[str, str]) -> Build:
    """What the CI system that runs us says; nothing where none is recognised."""
    system = next((system for system in BUILD_SYSTEMS if env.get(system.marker)), None)
    if system is None:
        return Build()
    tag = _first(env, system.tag)
    for name in _TAG_REFS:
        ref = env.get(name, "")
        if not tag[0] and ref.startswith(_TAG_REF):
            tag = ref.removeprefix(_TAG_REF), name
    commit = _first(env, system.commit)
    repository = _first(env, system.repository)
    if system.marker == "GITHUB_ACTIONS" and env.get("GITHUB_REPOSITORY"):
        server = env.get("GITHUB_SERVER_URL", "https://github.com")
        repository = f"{server}/{env['GITHUB_REPOSITORY']}", "GITHUB_REPOSITORY"
    named = [(value, f"{system.name}: {name}" if value else "") for value, name in (tag, commit, repository)]
    return Build(named[0] if named[0][0] else named[1], named[1], (without_credentials(named[2][0]), named[2][1]))


def from_git(directory: str) -> Build:
    """What git says about a working copy; nothing where there is no git or no working copy."""
    commit = _git(directory, "rev-parse", "HEAD")
    if not commit:
        return Build()
    release = _git(directory, "describe", "--tags", "--always", "--dirty")
    repository = without_credentials(_git(directory, "config", "--get", "remote.origin.url"))
    return Build(
        (release, "git describe" if release else ""),
        (commit, "git rev-parse HEAD"),
        (repository, "git remote origin" if repository else ""),
    )


def without_credentials(url: str) -> str:
    """A repository's URL as it may be published: without user, password and a trailing ``.git``."""
    scheme, separator, rest = url.partition("://")
    if separator:
        host, slash, path = rest.partition("/")
        url = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    return url.removesuffix(".git")


def _first(env: Mapping[str, str], names: Iterable[str]) -> tuple[str, str]:
    return next(((env[name].strip(), name) for name in names if env.get(name, "").strip()), ("", ""))


def _git(directory: str, *arguments: str) -> str:
    command = ["git", "-C", directory, *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
