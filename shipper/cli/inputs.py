"""Looking into the files that options name: secrets, certificates, keys. Reads them, and nothing else.

A file that is not there yet is no mistake: an image has its configuration before a host has its secrets, and a secret may be
mounted after the start. One that is there and cannot be right is one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from shipper.cli.certificates import authorities_problem, certificate_problem, key_problem
from shipper.cli.destinations import located
from shipper.config import Loaded, Role, convert
from shipper.config.convert import dotted
from shipper.config.inputs import Input, Kind, inputs
from shipper.errors import ConfigError, ShipperError
from shipper.pump.load import exporter_class

_MOST = 1 << 20  # bytes that are looked at; bundles of authorities have a quarter of that
_NOT_READ: dict[Role, tuple[str, ...]] = {"sidecar": ("gateway",), "gateway": ("receivers", "node")}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file. ``later``: it is not there, or not for this user, which may be otherwise when it counts."""

    error: ConfigError
    later: bool = False


def findings(loaded: Loaded, role: Role, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[Finding]:
    """What is wrong with the files that the options name, each by where it was set."""
    found = []
    for one in _inputs(loaded, role):
        problem, later = _look(one, now())
        if problem:
            down = f"; until it can be read, {one.path[1]} is down" if later and one.path[0] == "destinations" else ""
            file = one.file if one.file.isprintable() else repr(one.file)
            error = ConfigError(dotted(one.path), f"{file}: {problem}{down}")
            found.append(Finding(located(error, loaded), later))
    return found


def _inputs(loaded: Loaded, role: Role) -> Iterator[Input]:
    for section in msgspec.structs.fields(loaded.config):
        value = getattr(loaded.config, section.name)
        if section.name not in _NOT_READ[role] and isinstance(value, msgspec.Struct):
            yield from inputs(value, (section.name,))
    for name, destination in loaded.config.destinations.items():
        with suppress(ShipperError):  # of settings that are wrong there are other things to say
            settings = convert(dict(destination.options), exporter_class(destination.type).Settings)
            yield from inputs(settings, ("destinations", name))


def _look(one: Input, now: datetime) -> tuple[str, bool]:
    """What is wrong with a file, and whether that may be otherwise later; empty: nothing."""
    try:
        with open(one.file, "rb") as file:
            content = file.read(_MOST)
        if not content.strip():
            return "is empty", False
        return _content_problem(one, content, now), False
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist", True
    except PermissionError:
        return f"cannot be read by the user with id {os.geteuid()}", True
    except OSError as error:
        return f"cannot be read: {error.strerror}", False
    except ValueError:
        return "is no path of a file", False


def _content_problem(one: Input, content: bytes, now: datetime) -> str:
    if one.kind is Kind.SECRET:
        return _secret_problem(content)
    if one.kind is Kind.CERTIFICATE:
        return certificate_problem(content, now)
    if one.kind is Kind.AUTHORITIES:
        return authorities_problem(content, now)
    if one.kind is Kind.KEY and one.of:
        return key_problem(content, one.file, one.of)
    return ""


def _secret_problem(content: bytes) -> str:
    """What exporters and receivers would not take; the secret is never repeated."""
    first = content.splitlines()[0].strip()
    if not first:
        return "its first line is empty, and that is the one that counts"
    if not first.isascii() or not first.decode("ascii").isprintable():
        return "its first line has characters that no secret can have"
    return ""
