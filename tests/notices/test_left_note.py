"""A notice that comes while the sidecar is only starting waits for it, and no longer than it means anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shipper.errors import StateError
from shipper.notices.left_note import FRESH_SECONDS, NOTE_FILE, leave_note, take_note
from shipper.testing.clock import FakeClock


def boot(root: Path, boot_id: str) -> str:
    """A file tree whose kernel was booted as ``boot_id``."""
    path = root / "proc/sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(boot_id + "\n")
    return str(root)


def test_a_note_is_taken_once_with_its_age_taken_off(tmp_path: Path) -> None:
    """Twenty seconds given three seconds ago are seventeen now; then the note is gone."""
    clock = FakeClock()
    root, state = boot(tmp_path / "root", "0" * 36), str(tmp_path / "state")
    leave_note(state, {"kind": "imminent", "deadline": 20.0}, clock, root)
    clock.advance(3.0)
    assert take_note(state, clock, root) == {"kind": "imminent", "deadline": 17.0}
    assert take_note(state, clock, root) is None


@pytest.mark.parametrize("trouble", ["old", "another boot", "from the future"])
def test_a_note_of_the_past_is_no_notice(tmp_path: Path, trouble: str) -> None:
    """What an image or an older boot left begins no drain, and does not stay."""
    clock = FakeClock()
    root, state = boot(tmp_path / "root", "0" * 36), str(tmp_path / "state")
    leave_note(state, {"kind": "imminent"}, clock, root)
    if trouble == "old":
        clock.advance(FRESH_SECONDS + 1)
    elif trouble == "another boot":
        boot(tmp_path / "root", "1" * 36)
    else:
        clock.jump_wall(-3600)
    assert take_note(state, clock, root) is None
    assert not (tmp_path / "state" / NOTE_FILE).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"wanted": 3}', b"\xff" * 100, b"[" * 16_000])
def test_a_damaged_note_is_no_notice(tmp_path: Path, content: bytes) -> None:
    """Nothing raises, nothing drains, and the damaged note goes."""
    (tmp_path / NOTE_FILE).write_bytes(content)
    assert take_note(str(tmp_path), FakeClock()) is None
    assert not (tmp_path / NOTE_FILE).exists()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Only a file of ours is read."""
    secret = tmp_path / "elsewhere"
    secret.write_text(json.dumps({"wanted": {}, "at_ns": 0, "boot": ""}))
    (tmp_path / NOTE_FILE).symlink_to(secret)
    assert take_note(str(tmp_path), FakeClock()) is None
    assert secret.exists()


def test_where_no_note_can_be_left_it_says_so(tmp_path: Path) -> None:
    """A state directory that cannot be made is an error with what to do about it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="SHIPPER_STATE_DIR"):
        leave_note(str(tmp_path / "file"), {}, FakeClock())
