"""Machine-id and hardware UUID, published only as keyed hashes."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from shipper.labels.finding import Surroundings
from shipper.labels.machine import APP_ID, app_specific, boot_id, dmi_uuid, machine_id


def test_the_keyed_hash_is_systemds() -> None:
    """The value that systemd's own test of sd_id128_get_app_specific expects comes out."""
    base = uuid.UUID("51df0b4bc3b04c9780e299b98ca373b8")
    app = uuid.UUID("f03daaeb1c334b43a732172944bf772e")
    assert app_specific(base, app).hex == "1dee5954e75c4d6fb96cc6c04ca18a86"


def test_the_application_id_never_changes() -> None:
    """Another id would make every host another host."""
    assert str(APP_ID) == "5b0c2d6e-94f1-4c0e-8a3b-7d1e6f2a9c44"


def test_the_machine_id_is_found_in_either_file(tmp_path: Path) -> None:
    """D-Bus's copy serves where systemd's is missing; what is given out is not what is in the file."""
    path = tmp_path / "var/lib/dbus/machine-id"
    path.parent.mkdir(parents=True)
    path.write_text("51DF0B4BC3B04C9780E299B98CA373B8\n")
    hashed = machine_id(Surroundings(str(tmp_path), {}))
    assert len(hashed) == 32
    assert hashed != path.read_text().strip().lower()


@pytest.mark.parametrize(
    ("content", "usable"),
    [
        ("4C4C4544-0050-3510-8052-B4C04F4A4E32\n", True),
        ("03000200-0400-0500-0006-000700080009\n", False),
        ("00000000-0000-0000-0000-000000000000\n", False),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n", False),
        ("Not Settable\n", False),
        ("", False),
    ],
)
def test_placeholders_of_hardware_vendors_are_no_uuid(tmp_path: Path, content: str, usable: bool) -> None:
    """Values that thousands of machines share must not make them one host."""
    path = tmp_path / "sys/class/dmi/id/product_uuid"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert bool(dmi_uuid(Surroundings(str(tmp_path), {}))) == usable


def test_a_kernel_without_boot_id_is_survived(tmp_path: Path) -> None:
    """Where /proc shows no boot id, it is unknown, not an error."""
    assert boot_id(Surroundings(str(tmp_path), {})) == ""
