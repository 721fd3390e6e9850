"""What the forward exporter can be told, and what is wrong with it before anything is sent."""

from __future__ import annotations

import string
from typing import Annotated, Literal

from msgspec import Meta

from shipper.config.inputs import SecretPath
from shipper_exporters._forward.records import RESERVED
from shipper_exporters._http.settings import wrong
from shipper_exporters._tcp.settings import TcpSettings

PORT = 24224
"""Where Fluentd and Fluent Bit listen unless told otherwise."""
TAG_PARTS = ("service", "environment", "release", "generation", "host", "source")
"""What a tag can be made of."""
_TEXT = frozenset(string.ascii_letters + string.digits + "._-")


class ForwardSettings(TcpSettings, frozen=True):
    """What ``options`` of a destination of type ``forward`` may hold."""

    compression: Annotated[
        Literal["gzip", "none"], Meta(description="gzip: CompressedPackedForward; none: PackedForward.")
    ] = "gzip"
    tag: Annotated[
        str,
        Meta(description="Tag of the records; {service}, {environment}, {release}, {generation}, {host}, {source}."),
    ] = "{service}.{source}"
    message_key: Annotated[str, Meta(description="Key of a record's text: message, or log as Docker has it.")] = (
        "message"
    )
    id_key: Annotated[
        str, Meta(description="Key of an id that is the same whenever a record is sent again; empty: none is sent.")
    ] = ""
    shared_key_file: Annotated[
        SecretPath, Meta(description="File with the shared key of the server; read again when it changes.")
    ] = ""
    username: Annotated[str, Meta(description="User, where the server has users besides the shared key.")] = ""
    password_file: Annotated[
        SecretPath, Meta(description="File with that user's password; read again when it changes.")
    ] = ""


def check(destination: str, settings: ForwardSettings) -> None:
    """Raise `ConfigError` for options that cannot work, other than the servers."""
    if bool(settings.username) != bool(settings.password_file):
        lone = "username" if settings.username else "password_file"
        raise wrong(destination, lone, "username and password_file are given together or not at all")
    if settings.username and not settings.shared_key_file:
        raise wrong(destination, "username", "needs shared_key_file: users are asked for only where there is one")
    if not settings.message_key:
        raise wrong(destination, "message_key", "is empty")
    for option, key in (("message_key", settings.message_key), ("id_key", settings.id_key)):
        if key in RESERVED:
            raise wrong(destination, option, f"is a key that records have for something else: {key}")
    if settings.id_key == settings.message_key:
        raise wrong(destination, "id_key", "is the same as message_key")
    parse_tag(destination, settings.tag)


def parse_tag(destination: str, template: str) -> tuple[tuple[str, str], ...]:
    """A template as pairs of text and the part behind it (empty at the end). Raises `ConfigError`."""
    try:
        parts = [
            (text, name or "") for text, name, form, how in string.Formatter().parse(template) if not (form or how)
        ]
        whole = "".join(f"{text}{{{name}}}" if name else text for text, name in parts) == template
    except ValueError:
        parts, whole = [], False
    if not whole or not template:
        raise wrong(destination, "tag", "is no template such as {service}.{source}")
    for text, name in parts:
        if name and name not in TAG_PARTS:
            raise wrong(destination, "tag", f"{{{name[:40]}}} is not one of {', '.join(TAG_PARTS)}")
        if not _TEXT.issuperset(text):
            raise wrong(destination, "tag", "has characters other than letters, digits, '.', '_' and '-'")
    return tuple(parts)
