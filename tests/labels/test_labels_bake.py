"""What `shipper bake` finds out about a build, and what it takes out of an image."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from shipper.errors import StateError, StateLocked
from shipper.labels.bake import Baked, gather, wipe, write
from shipper.labels.ci import from_ci, from_git, without_credentials
from shipper.labels.life import adopt_or_begin
from shipper.labels.state import lock_state
from shipper.labels.witness import witness
from shipper.testing.clock import FakeClock

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("env", "release", "repository"),
    [
        ({"GITHUB_ACTIONS": "true", "GITHUB_SHA": SHA, "GITHUB_REPOSITORY": "a/b"}, SHA, "https://github.com/a/b"),
        (
            {
                "GITHUB_ACTIONS": "true",
                "GITHUB_SHA": SHA,
                "GITHUB_REF": "refs/tags/v1",
                "GITHUB_REPOSITORY": "a/b",
                "GITHUB_SERVER_URL": "https://ghe",
            },
            "v1",
            "https://ghe/a/b",
        ),
        (
            {"GITLAB_CI": "true", "CI_COMMIT_SHA": SHA, "CI_COMMIT_TAG": "v2", "CI_PROJECT_URL": "https://g/p"},
            "v2",
            "https://g/p",
        ),
        ({"JENKINS_URL": "http://j", "GIT_COMMIT": SHA, "GIT_URL": "https://u:p@h/r.git"}, SHA, "https://h/r"),
        ({"CIRCLECI": "true", "CIRCLE_SHA1": SHA, "CIRCLE_TAG": "v3"}, "v3", ""),
        ({"BUILDKITE": "true", "BUILDKITE_COMMIT": SHA, "BUILDKITE_TAG": ""}, SHA, ""),
        ({"TF_BUILD": "True", "BUILD_SOURCEVERSION": SHA, "BUILD_SOURCEBRANCH": "refs/tags/v4"}, "v4", ""),
        ({"BITBUCKET_BUILD_NUMBER": "1", "BITBUCKET_COMMIT": SHA, "BITBUCKET_TAG": "v5"}, "v5", ""),
        ({"TRAVIS": "true", "TRAVIS_COMMIT": SHA}, SHA, ""),
        ({"DRONE": "true", "DRONE_COMMIT": SHA}, SHA, ""),
        ({"CODEBUILD_BUILD_ID": "x", "CODEBUILD_RESOLVED_SOURCE_VERSION": SHA}, SHA, ""),
    ],
)
def test_build_systems_are_recognised(env: dict[str, str], release: str, repository: str) -> None:
    """A tag is the release, else the commit; the commit is always kept."""
    build = from_ci(env)
    assert (build.release[0], build.commit[0], build.repository[0]) == (release, SHA, repository)
    assert build.release[1]


def test_no_build_system_is_nothing() -> None:
    """A variable that only looks like a commit does not make a build system."""
    assert from_ci({"GIT_COMMIT": SHA}).release == ("", "")


def test_credentials_are_taken_out_of_a_repository_url() -> None:
    """A token in a clone URL must not be baked into an image."""
    assert without_credentials("https://x-token:abc@github.com/a/b.git") == "https://github.com/a/b"
    assert without_credentials("git@github.com:a/b.git") == "git@github.com:a/b"


@pytest.fixture
def working_copy(tmp_path: Path) -> Path:
    """A git working copy with one commit, tagged v1."""
    path = tmp_path / "source"
    path.mkdir()
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v1"]):
        subprocess.run(["git", "-C", str(path), *command], check=True, capture_output=True)
    return path


def test_git_is_asked_where_no_ci_is(working_copy: Path, tmp_path: Path) -> None:
    """The description is the release; outside a working copy there is nothing."""
    build = from_git(str(working_copy))
    assert build.release == ("v1", "git describe")
    assert len(build.commit[0]) == 40
    assert from_git(str(tmp_path / "nowhere")).commit == ("", "")


def test_flags_beat_variables_beat_ci_beats_git(working_copy: Path) -> None:
    """Each field remembers where it is from; CI and git are never mixed."""
    env = {
        "SHIPPER_RELEASE": "env",
        "SHIPPER_SERVICE": "shop",
        "TRAVIS": "1",
        "TRAVIS_COMMIT": SHA,
        "SHIPPER_GENERATION": "g",
        "SOURCE_DATE_EPOCH": "1700000000",
    }
    baked = gather({"release": "flag", "image": ""}, env, str(working_copy))
    assert baked.fields == {
        "release": ("flag", "--release"),
        "service": ("shop", "SHIPPER_SERVICE"),
        "commit": (SHA, "Travis CI: TRAVIS_COMMIT"),
        "built": ("2023-11-14T22:13:20Z", "SOURCE_DATE_EPOCH"),
    }
    assert gather({}, {}, str(working_copy)).fields["release"] == ("v1", "git describe")


def test_the_file_is_readable_by_all_and_has_no_generation(tmp_path: Path) -> None:
    """Services run as other users; the directory is made."""
    path = tmp_path / "etc" / "shipper" / "release.json"
    write(Baked({"release": ("1", "x"), "service": ("s", "y")}), str(path))
    assert json.loads(path.read_text()) == {"version": 1, "service": "s", "release": "1"}
    assert os.stat(path).st_mode & 0o777 == 0o644
    with pytest.raises(StateError, match="cannot be written"):
        write(Baked({}), str(path / "below" / "a-file"))


def test_wiping_removes_the_builders_state_and_nothing_else(tmp_path: Path) -> None:
    """Ledger, life, spool, quarantine and what was set aside go; what is not ours stays."""
    with lock_state(str(tmp_path)):
        adopt_or_begin(str(tmp_path), witness("/", {"SHIPPER_HOST": "builder"}), FakeClock())
    for name in ("ledger.db", "ledger.db-wal", "mine.txt"):
        (tmp_path / name).write_text("x")
    for name in ("spool", "account", "quarantine", "set-aside", "lost+found"):
        (tmp_path / name / "inner").mkdir(parents=True)
    removed = wipe(str(tmp_path))
    assert removed == ["account", "ledger.db", "ledger.db-wal", "life.json", "quarantine", "set-aside", "spool"]
    assert sorted(os.listdir(tmp_path)) == ["lost+found", "mine.txt"]
    assert wipe(str(tmp_path)) == []
    assert wipe(str(tmp_path / "nowhere")) == []


def test_wiping_does_not_follow_links(tmp_path: Path) -> None:
    """A link named like our spool is removed; what it points to is not touched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    state = tmp_path / "state"
    state.mkdir()
    (state / "spool").symlink_to(outside)
    assert wipe(str(state)) == ["spool"]
    assert (outside / "precious").exists()


def test_a_state_directory_in_use_is_not_wiped(tmp_path: Path) -> None:
    """A running sidecar keeps its state."""
    (tmp_path / "ledger.db").write_text("x")
    with lock_state(str(tmp_path)), pytest.raises(StateLocked):
        wipe(str(tmp_path))
    assert (tmp_path / "ledger.db").exists()
