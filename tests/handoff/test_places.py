"""Where the hand-off lies, and what its directories and files are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.handoff import places
from shipper.handoff.places import (
    check_root,
    find_root,
    parse_process,
    parse_segment,
    process_name,
    root_path,
    segment_name,
)


@pytest.fixture
def no_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host whose system directory is not there; returns where it would be."""
    monkeypatch.setattr(places, "SYSTEM_STATE_DIR", str(tmp_path / "system"))
    monkeypatch.setattr(places, "default_state_dir", lambda env: str(tmp_path / "home"))
    return tmp_path


def test_the_variable_beats_the_state_directory_beats_what_is_there(no_system: Path) -> None:
    """SHIPPER_SPOOL_DIR, then SHIPPER_STATE_DIR/spool, then the system's, then the user's own; those two if there."""
    for name in ("stated", "state/spool", "system/spool", "home/spool"):
        (no_system / name).mkdir(parents=True)
    stated = {"SHIPPER_SPOOL_DIR": str(no_system / "stated"), "SHIPPER_STATE_DIR": str(no_system / "state")}
    assert find_root(stated).path == str(no_system / "stated")
    del stated["SHIPPER_SPOOL_DIR"]
    assert find_root(stated).path == str(no_system / "state" / "spool")
    assert find_root({}).path == str(no_system / "system" / "spool")
    (no_system / "system" / "spool").rmdir()
    assert find_root({}).path == str(no_system / "home" / "spool")
    (no_system / "home" / "spool").rmdir()
    nowhere = find_root({})
    assert not nowhere.usable
    assert nowhere.path == str(no_system / "system" / "spool")
    assert "no spool directory" in nowhere.why_not


def test_a_stated_place_is_not_replaced_by_another(no_system: Path) -> None:
    """When the stated place cannot be used, no other is taken instead, and the reason is said."""
    (no_system / "system" / "spool").mkdir(parents=True)
    root = find_root({"SHIPPER_SPOOL_DIR": str(no_system / "missing")})
    assert (root.usable, root.path) == (False, str(no_system / "missing"))


@pytest.mark.parametrize("make", ["link", "file", "relative"])
def test_what_is_no_directory_of_its_own_is_refused(tmp_path: Path, make: str) -> None:
    """A link, a file and a relative path are no root, and each has a sentence."""
    path = tmp_path / "root"
    if make == "link":
        (tmp_path / "real").mkdir()
        path.symlink_to(tmp_path / "real")
    elif make == "file":
        path.write_text("")
    said = check_root("spool" if make == "relative" else str(path)).why_not
    assert {"link": "symbolic link", "file": "not a directory", "relative": "not an absolute path"}[make] in said


def test_the_place_nobody_named_is_the_state_directory_s() -> None:
    """A sidecar without settings uses the default state directory, one with a state directory its own."""
    assert root_path({"SHIPPER_STATE_DIR": "/s"}) == "/s/spool"
    assert root_path({"SHIPPER_SPOOL_DIR": "/x", "SHIPPER_STATE_DIR": "/s"}) == "/x"
    assert root_path({"HOME": "/home/me"}).endswith("/shipper/spool")


def test_names_are_read_as_they_are_written() -> None:
    """A process directory gives its pid, a segment signal and base; two names of one process differ."""
    name = process_name(4711)
    assert parse_process(name) == 4711
    assert name != process_name(4711)
    assert parse_segment(segment_name("traces", 123)) == ("traces", 123)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "p1",
        "p-0123456789abcdef",
        "p1-0123456789ABCDEF",
        ".p1-0123456789abcdef",
        "p1-0123456789abcdef\n",
        "p٣-0123456789abcdef",
    ],
)
def test_other_names_are_no_process(name: str) -> None:
    """Names that are nearly right, hidden ones too, are not taken for a process directory."""
    assert parse_process(name) is None


@pytest.mark.parametrize(
    "name",
    ["logs-1.seg", "logs-00000000000000000001.seg.tmp", ".logs-00000000000000000001.seg", "x-00000000000000000001.seg"],
)
def test_other_names_are_no_segment(name: str) -> None:
    """Names that are nearly right are not taken for a segment."""
    assert parse_segment(name) is None


def test_a_root_that_is_not_ours_to_write_says_whose_it_is(tmp_path: Path) -> None:
    """Without the right to write, the sentence names mode, owner and who asks."""
    root = tmp_path / "root"
    root.mkdir(mode=0o500)
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    assert "mode 0500" in check_root(str(root)).why_not
