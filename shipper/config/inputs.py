"""Options that name a file which is read, such as a secret or a certificate: how they are declared, and which are given.

What is wrong with such a file shows only when it is needed, which may be days after the start. With its kind in the type of
the option it can be looked for beforehand, for every option of every exporter in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, get_args, get_origin

import msgspec

from shipper.config.convert import Path


class Kind(StrEnum):
    """What is in a file, by the word for it in messages."""

    SECRET = "secret"  # in the first line
    LINES = "lines"
    CERTIFICATE = "certificate"  # the chain in PEM, the key too where no option names another file for it
    KEY = "key"
    AUTHORITIES = "authorities"


SecretPath = Annotated[str, msgspec.Meta(extra={"file": Kind.SECRET})]
"""Path of a file whose first line is a secret."""

LinesPath = Annotated[str, msgspec.Meta(extra={"file": Kind.LINES})]
"""Path of a file of lines, of which there is at least one."""

CertificatePath = Annotated[str, msgspec.Meta(extra={"file": Kind.CERTIFICATE})]
"""Path of a PEM file with our own certificate. A struct has one such option at most, and one `KeyPath` for its key."""

KeyPath = Annotated[str, msgspec.Meta(extra={"file": Kind.KEY})]
"""Path of a PEM file with the private key of the certificate in the same struct."""

AuthoritiesPath = Annotated[str, msgspec.Meta(extra={"file": Kind.AUTHORITIES})]
"""Path of a PEM file with the certificates of who is trusted."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file that an option names. ``path``: of the option. ``of``: for a key the file with its certificate."""

    path: Path
    file: str
    kind: Kind
    of: str = ""


def inputs(settings: msgspec.Struct, path: Path = ()) -> Iterator[Input]:
    """The files that the options in ``settings`` and in the sections below it name; ``path`` is where it stands."""
    found: list[Input] = []
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        here = (*path, field.encode_name)
        kind = _kind(field.type)
        if kind is not None and value:
            found.append(Input(here, value, kind))
        elif isinstance(value, msgspec.Struct):
            yield from inputs(value, here)
        elif isinstance(value, list):
            for index, one in enumerate(value):
                if isinstance(one, msgspec.Struct):
                    yield from inputs(one, (*here, index))
    certificate = next((one.file for one in found if one.kind is Kind.CERTIFICATE), "")
    has_key = any(one.kind is Kind.KEY for one in found)
    for one in found:
        if one.kind is Kind.KEY:
            yield Input(one.path, one.file, one.kind, certificate)
        elif one.kind is Kind.CERTIFICATE and not has_key:
            yield one
            yield Input(one.path, one.file, Kind.KEY, certificate)
        else:
            yield one


def _kind(annotation: Any) -> Kind | None:
    if get_origin(annotation) is not Annotated:
        return None
    notes = [note.extra for note in get_args(annotation)[1:] if isinstance(note, msgspec.Meta) and note.extra]
    return next((note["file"] for note in notes if "file" in note), None)
