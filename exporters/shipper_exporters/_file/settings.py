"""What the file exporter can be told, and what is wrong with it before anything is written."""

from __future__ import annotations

import os
import string
from typing import Annotated, Literal

from msgspec import Meta

from shipper.config.section import Section
from shipper.config.units import Seconds, Size
from shipper.contracts import ExporterContext, Signal
from shipper_exporters._http.settings import wrong

_EXAMPLE = "/var/log/shipper/{signal}.jsonl"
_NAMES = ("signal", "host", "life")


class FileSettings(Section, frozen=True):
    """What ``options`` of a destination of type ``file`` may hold."""

    path: Annotated[
        str,
        Meta(
            description="An absolute path with {signal} in it; {host} and {life} tell writers of a shared place apart."
        ),
    ] = ""
    format: Annotated[Literal["json", "text"], Meta(description="OTLP JSON lines, or lines for people.")] = "json"
    fsync: Annotated[
        bool, Meta(description="Count as written only what is on the disk, not what the kernel will write.")
    ] = True
    rotate_bytes: Annotated[
        Size, Meta(description="A file of this size is set aside and a new one begun; 0: never for its size.", ge=0)
    ] = 100 << 20
    rotate_every: Annotated[
        Seconds, Meta(description="A new file in each such span of time (UTC); 0: never for its age.", ge=0)
    ] = 86_400.0
    rotate_keep: Annotated[
        int, Meta(description="Files set aside that are kept, of each signal; the oldest are deleted. 0: all.", ge=0)
    ] = 10
    compression: Annotated[
        Literal["gzip", "none"], Meta(description="What is done to files set aside, but for the newest of them.")
    ] = "gzip"
    timeout: Annotated[Seconds, Meta(description="How long writing a request may take before it is tried again.")] = (
        30.0
    )
    trust_local: Annotated[
        bool, Meta(description="Count a file on a disk of this host as off the host, though it ends with it.")
    ] = False


def paths(destination: str, settings: FileSettings, context: ExporterContext) -> dict[Signal, str]:
    """The path of each signal. Raises `ConfigError` for options that cannot work."""
    if not settings.path:
        raise wrong(destination, "path", f"is missing, for example {_EXAMPLE}")
    if not os.path.isabs(settings.path):
        raise wrong(destination, "path", f"must begin with a slash, as {_EXAMPLE}")
    names = _placeholders(destination, settings.path)
    if "signal" not in names:
        raise wrong(destination, "path", f"needs {{signal}} in it, as {_EXAMPLE}: a file holds one signal only")
    if settings.timeout <= 0:
        raise wrong(destination, "timeout", "must be more than 0")
    host = os.uname().nodename.replace("/", "_") or "host"
    return {signal: settings.path.format(signal=signal.value, host=host, life=context.life) for signal in Signal}


def _placeholders(destination: str, path: str) -> set[str]:
    try:
        parts = list(string.Formatter().parse(path))
    except ValueError as error:
        raise wrong(destination, "path", f"has a brace too many or too few ({error})") from None
    names = {name for _, name, form, conversion in parts if name is not None and not form and not conversion}
    unknown = {name for _, name, _, _ in parts if name is not None} - set(_NAMES)
    if unknown or any(form or conversion for _, _, form, conversion in parts):
        raise wrong(
            destination,
            "path",
            f"may have {', '.join(f'{{{name}}}' for name in _NAMES)} in it and nothing else in braces",
        )
    if os.path.basename(path) in ("", ".", ".."):
        raise wrong(destination, "path", f"is a directory; it needs the name of a file, as {_EXAMPLE}")
    return names
