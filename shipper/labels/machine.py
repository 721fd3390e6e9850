"""The machine: its name, its boot, and ids that tell it from others without giving away confidential ones.

machine-id(5) calls its content confidential: only a hash keyed with an application id ever leaves this file, computed
as ``sd_id128_get_machine_app_specific(3)`` does. The hardware's UUID is treated the same way.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid

from shipper.labels.container import in_container
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings

APP_ID = uuid.UUID("5b0c2d6e-94f1-4c0e-8a3b-7d1e6f2a9c44")  # Shipper's own, for keyed hashes; must never change
MACHINE_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
DMI_UUID_FILE = "/sys/class/dmi/id/product_uuid"
BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"
BOOT_TIME_FILE = "/proc/stat"
_HEX_ID = re.compile(r"[0-9a-f]{32}")
# vendors ship these instead of a UUID
_PLACEHOLDER_UUIDS = {"03000200-0400-0500-0006-000700080009", "00000000-0000-0000-0000-000000000000"}
_MEANINGLESS_NAMES = {"localhost", "localhost.localdomain", "(none)"}


def detect(around: Surroundings) -> Finding:
    """The host's name and, outside containers, its id."""
    attributes: dict[str, AttributeValue] = {}
    name = host_name(around)
    if name:
        attributes["host.name"] = name
    candidates = [Candidate("host", name, "hostname", "" if name else "none that means anything")]
    host_id = "" if in_container(around) else machine_id(around)
    if host_id:
        attributes["host.id"] = host_id
        candidates.append(Candidate("host", host_id, f"{MACHINE_ID_FILES[0]} (hashed)"))
    return Finding(tuple(candidates), attributes)


def host_name(around: Surroundings) -> str:
    """The host name, or empty when it is one every machine has."""
    name = around.read_or_empty("/proc/sys/kernel/hostname") or around.read_or_empty("/etc/hostname")
    return "" if name in _MEANINGLESS_NAMES else name


def boot_id(around: Surroundings) -> str:
    """The id of this boot of the kernel (shared by all containers on it), or empty."""
    return around.read_or_empty(BOOT_ID_FILE).lower()


def boot_time_ns(around: Surroundings) -> int:
    """When this boot of the kernel began, in nanoseconds since the epoch, to the second; 0 when that cannot be told."""
    for line in around.read_or_empty(BOOT_TIME_FILE).splitlines():
        name, _, value = line.partition(" ")
        if name == "btime" and value.strip().isdecimal():
            return int(value) * 1_000_000_000
    return 0


def machine_id(around: Surroundings) -> str:
    """The machine-id as a hash of our own, 32 hex digits; empty when there is none (yet)."""
    for name in MACHINE_ID_FILES:
        raw = around.read_or_empty(name).lower()
        if _HEX_ID.fullmatch(raw) and raw.strip("0"):  # not "uninitialized", not blank
            return app_specific(uuid.UUID(raw), APP_ID).hex
    return ""


def dmi_uuid(around: Surroundings) -> str:
    """The hardware's (or hypervisor's) UUID as a hash of our own; empty when unreadable (only root may) or a placeholder."""
    try:
        raw = uuid.UUID(around.read_or_empty(DMI_UUID_FILE))
    except ValueError:
        return ""
    if str(raw) in _PLACEHOLDER_UUIDS or raw.int == (1 << 128) - 1:
        return ""
    return app_specific(raw, APP_ID).hex


def app_specific(base: uuid.UUID, app: uuid.UUID) -> uuid.UUID:
    """HMAC-SHA256 keyed with ``base`` over ``app``, cut to 128 bits and marked as a UUIDv4 (sd-id128)."""
    digest = bytearray(hmac.new(base.bytes, app.bytes, hashlib.sha256).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x40
    digest[8] = (digest[8] & 0x3F) | 0x80
    return uuid.UUID(bytes=bytes(digest))
