"""Writes ``release.json`` into an image, and takes the builder's own state out of it.

A generation is never baked: it belongs to a deploy, and one image is deployed more than once. State left by a sidecar
that ran during the build would make every host believe for a moment that it is the builder.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from shipper.errors import StateError
from shipper.labels.ci import Build, from_ci, from_git, without_credentials
from shipper.labels.life import OF_A_LIFE, SET_ASIDE, matching
from shipper.labels.state import LOCK_FILE, lock_state, write_atomically

FIELDS = ("service", "release", "image", "environment", "commit", "repository", "built")
_OURS = (*OF_A_LIFE, SET_ASIDE, "quarantine", "admin.sock", LOCK_FILE)
# not OTEL_SERVICE_NAME: while an image is built that may well be the name of the build itself
_VARIABLES = {
    "service": ("SHIPPER_SERVICE",),
    "release": ("SHIPPER_RELEASE",),
    "image": ("SHIPPER_IMAGE",),
    "environment": ("SHIPPER_ENVIRONMENT",),
}


@dataclass(frozen=True, slots=True)
class Baked:
    """What is to be baked: field -> (value, where it is from)."""

    fields: Mapping[str, tuple[str, str]]

    def content(self) -> bytes:
        """The file's content."""
        values = {name: self.fields[name][0] for name in FIELDS if name in self.fields}
        return json.dumps({"version": 1, **values}, indent=2, ensure_ascii=False).encode() + b"\n"


def gather(flags: Mapping[str, str], env: Mapping[str, str], directory: str) -> Baked:
    """Each field from the flags, else ``SHIPPER_`` variables, else the CI system, else git in ``directory``.

    CI and git are asked for release and commit together, so that the two always speak of the same source.
    """
    fields: dict[str, tuple[str, str]] = {}
    for name, value in flags.items():
        if value.strip():
            fields[name] = (without_credentials(value.strip()) if name == "repository" else value.strip(), f"--{name}")
    for name, variables in _VARIABLES.items():
        for variable in variables:
            if name not in fields and env.get(variable, "").strip():
                fields[name] = (env[variable].strip(), variable)
    build = from_ci(env)
    if build == Build() and not {"release", "commit"} <= fields.keys():
        build = from_git(directory)
    for name, found in (("release", build.release), ("commit", build.commit), ("repository", build.repository)):
        if name not in fields and found[0]:
            fields[name] = found
    fields["built"] = _now(env)
    return Baked(fields)


def _now(env: Mapping[str, str]) -> tuple[str, str]:
    """When the image is built, as builds that can be repeated say it: https://reproducible-builds.org/specs/source-date-epoch/"""
    stated = env.get("SOURCE_DATE_EPOCH", "").strip()
    usable = stated.isdecimal() and len(stated) < 11
    now = datetime.fromtimestamp(int(stated) if usable else time.time(), UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ"), "SOURCE_DATE_EPOCH" if usable else "the clock"


def write(baked: Baked, path: str) -> None:
    """Write the file, readable by all (mode 0644), whole or not at all. Raises `StateError` saying why it cannot."""
    directory = os.path.dirname(path) or "."
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        write_atomically(path, baked.content(), 0o644)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}") from error


def wipe(state_dir: str) -> list[str]:
    """Remove what a sidecar left in a state directory, nothing else; the names removed.

    Raises `StateLocked` when a sidecar runs on it, `StateError` when something cannot be removed. A directory that is not
    there is as clean as one can be.
    """
    if not os.path.isdir(state_dir):
        return []
    removed: list[str] = []
    with lock_state(state_dir):
        for name in sorted(matching(state_dir, _OURS)):
            try:
                _remove(os.path.join(state_dir, name))
            except OSError as error:
                raise StateError(f"{os.path.join(state_dir, name)} cannot be removed: {error.strerror}") from error
            if name != LOCK_FILE:  # made by us a moment ago, if by nobody else
                removed.append(name)
    return removed


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        if os.path.ismount(path):  # a cache mount of the build: its content is not in the image
            return
        shutil.rmtree(path)
    else:
        os.unlink(path)
