"""`shipper bake`: what an image carries afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper.labels.ci import BUILD_SYSTEMS
from shipper.labels.state import lock_state
from shipper.labels.times import parse_time


@pytest.fixture
def bake(tmp_path: Path, monkeypatch):
    """Runs the command on an image's tree, outside any working copy and CI system."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for name in (*(system.marker for system in BUILD_SYSTEMS), "SHIPPER_STATE_DIR", "SHIPPER_RELEASE"):
        monkeypatch.delenv(name, raising=False)

    def run(*options: str, env: dict[str, str] | None = None) -> Result:
        return CliRunner(env=env).invoke(main, ["bake", "--root", str(tmp_path / "image"), *options])

    return run


def assert_clean(state: Path) -> None:
    """Nothing but an empty spool in which services of every user can hand over."""
    assert [path.name for path in state.iterdir()] == ["spool"]
    assert list((state / "spool").iterdir()) == []
    assert (state / "spool").stat().st_mode & 0o7777 == 0o3733


def test_release_file_and_clean_state_are_left_in_the_image(bake, tmp_path: Path) -> None:
    """What was written, from where, and what was wiped is printed."""
    state = tmp_path / "image/var/lib/shipper"
    state.mkdir(parents=True)
    (state / "ledger.db").write_text("builder's")
    result = bake("--service", "shop", "--release", "1.4", "--state-dir", "/var/lib/shipper")
    assert result.exit_code == 0, result.output
    written = tmp_path / "image/etc/shipper/release.json"
    baked = json.loads(written.read_text())
    assert parse_time(baked.pop("built"))
    assert baked == {"version": 1, "service": "shop", "release": "1.4"}
    assert "release      1.4  from --release" in result.output
    assert f"wiped        {state}: ledger.db" in result.output
    assert_clean(state)


def test_the_state_directory_of_the_images_own_configuration_is_wiped(bake, tmp_path: Path) -> None:
    """It is found where the sidecar of this image will look."""
    config = tmp_path / "image/etc/shipper/shipper.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("state_dir: /data/shipper\n")
    state = tmp_path / "image/data/shipper"
    state.mkdir(parents=True)
    (state / "life.json").write_text("{}")
    assert "life.json" in bake("--release", "1").output
    assert_clean(state)


def test_the_usual_state_directory_of_an_image_is_wiped(bake, tmp_path: Path) -> None:
    """Whoever builds the tree, it is the system's place inside it that a sidecar will look in."""
    state = tmp_path / "image/var/lib/shipper"
    state.mkdir(parents=True)
    (state / "life.json").write_text("{}")
    assert bake("--release", "1").exit_code == 0
    assert_clean(state)


def test_without_a_release_nothing_is_done(bake, tmp_path: Path) -> None:
    """No flag, no CI, no git: one sentence says what to give."""
    result = bake("--service", "shop")
    assert result.exit_code == 1
    assert "no release" in result.output
    assert not (tmp_path / "image").exists()


def test_a_running_sidecar_stops_it_before_anything_is_written(bake, tmp_path: Path) -> None:
    """State in use is neither wiped nor baked around."""
    state = tmp_path / "image/state"
    with lock_state(str(state)):
        result = bake("--release", "1", "--state-dir", "/state")
    assert result.exit_code == 1
    assert "in use" in result.output
    assert not (tmp_path / "image/etc").exists()
    (state / "life.json").write_text("{}")
    assert bake("--release", "1", "--state-dir", "/state", "--no-wipe-state").exit_code == 0
    assert (state / "life.json").exists()


def test_ci_variables_are_taken(bake, tmp_path: Path) -> None:
    """In a CI job no flag is needed."""
    env = {"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/tags/v9", "GITHUB_SHA": "c0ffee", "GITHUB_REPOSITORY": "a/b"}
    result = bake(env=env)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "image/etc/shipper/release.json").read_text())
    assert (content["release"], content["commit"], content["repository"]) == ("v9", "c0ffee", "https://github.com/a/b")
