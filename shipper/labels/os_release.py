"""os-release(5): the operating system, and on image-built systems the image it came from.

``IMAGE_ID`` and ``IMAGE_VERSION`` name the host's image only outside containers; inside one the file describes the base
image of the container, which says nothing about the host.
"""

from __future__ import annotations

import re
import shlex

from shipper.labels.container import in_container
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings

FILES = ("/etc/os-release", "/usr/lib/os-release")
VERSION_PLACE = "os-release IMAGE_VERSION"
_ATTRIBUTES = {
    "NAME": "os.name",
    "VERSION_ID": "os.version",
    "PRETTY_NAME": "os.description",
    "BUILD_ID": "os.build_id",
}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def detect(around: Surroundings) -> Finding:
    """``os.*`` always; the image only where the file speaks of the host."""
    place, values = _read(around)
    attributes: dict[str, AttributeValue] = {"os.type": "linux"}
    attributes.update({name: values[key] for key, name in _ATTRIBUTES.items() if values.get(key)})
    kernel = around.read_or_empty("/proc/sys/kernel/osrelease")
    if kernel:
        attributes.setdefault("os.build_id", kernel)  # semconv's fallback for os.build_id on Linux
    if in_container(around):
        return Finding((Candidate("image", "", place, "describes a container's base image"),), attributes)
    name, version = values.get("IMAGE_ID", ""), values.get("IMAGE_VERSION", "")
    if name:
        attributes["host.image.name"] = name
    if version:
        attributes["host.image.version"] = version
    image = Candidate("image", "_".join(filter(None, (name, version))), f"{place} IMAGE_ID and IMAGE_VERSION")
    return Finding((image,), attributes)


def image_version(around: Surroundings) -> str:
    """The version of the machine's image; empty inside a container, and where none is stated."""
    return "" if in_container(around) else _read(around)[1].get("IMAGE_VERSION", "")


def parse(text: str) -> dict[str, str]:
    """The assignments of an os-release file; lines that are none are passed over, as the manual page has readers do."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, raw = line.strip().partition("=")
        if not equals or not _KEY.fullmatch(key):
            continue
        try:
            values[key] = "".join(shlex.split(raw)) if raw else ""
        except ValueError:  # an unclosed quote
            continue
    return values


def _read(around: Surroundings) -> tuple[str, dict[str, str]]:
    for name in FILES:
        text = around.read_or_empty(name)
        if text:
            return name, parse(text)
    return FILES[0], {}
