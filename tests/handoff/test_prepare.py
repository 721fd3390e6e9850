"""The root as the sidecar makes it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shipper.handoff.prepare import ROOT_MODE, prepare_root


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_the_root_is_made_with_its_mode(tmp_path: Path, mask: int) -> None:
    """A missing root is made 3733 with what is above it, whatever the umask is; a second time changes nothing."""
    root = tmp_path / "state" / "spool"
    before = os.umask(mask)
    try:
        prepare_root(str(root))
        prepare_root(str(root))
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.stat().st_mode) == ROOT_MODE == 0o3733


def test_a_root_with_another_mode_is_put_right(tmp_path: Path) -> None:
    """An image may carry the directory with a wrong mode."""
    root = tmp_path / "spool"
    root.mkdir(mode=0o755)
    prepare_root(str(root))
    assert stat.S_IMODE(root.stat().st_mode) == ROOT_MODE


def test_a_link_or_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    """Neither is followed or replaced, and what a link points to keeps its mode."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("")
    assert "symbolic link" in prepare_root(str(tmp_path / "link"))
    assert "not a directory" in prepare_root(str(tmp_path / "file"))
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o700


def test_what_is_in_the_way_above_it_is_said(tmp_path: Path) -> None:
    """A file where a directory is needed gives a sentence, not an exception."""
    (tmp_path / "file").write_text("")
    assert "cannot be made" in prepare_root(str(tmp_path / "file" / "spool"))


def test_a_root_that_came_from_another_user_becomes_the_sidecars(tmp_path: Path) -> None:
    """A sidecar that is root takes over a directory of another user, so that its card is believed."""
    if os.geteuid() != 0:
        pytest.skip("only root can take over a directory")
    root = tmp_path / "spool"
    root.mkdir()
    os.chown(root, 61001, 61001)
    prepare_root(str(root))
    assert (root.stat().st_uid, root.stat().st_gid) == (os.geteuid(), os.getegid())
