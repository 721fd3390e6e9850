"""What the Logstash exporter can be told."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from shipper_exporters._http.settings import wrong
from shipper_exporters._tcp.settings import TcpSettings

PORT = 5044
"""Where Logstash listens for Beats unless told otherwise."""
_INDEX = re.compile(r"[a-z0-9][a-z0-9._-]*")


class LogstashSettings(TcpSettings, frozen=True):
    """What ``options`` of a destination of type ``logstash`` may hold."""

    compression: Annotated[Literal["zlib", "none"], Meta(description="How windows of documents are compressed.")] = (
        "zlib"
    )
    index: Annotated[
        str, Meta(description="What [@metadata][beat] says, which pipelines name their index by: in lower case.")
    ] = "shipper"


def check(destination: str, settings: LogstashSettings) -> None:
    """Raise `ConfigError` for options that cannot work, other than the servers."""
    if not _INDEX.fullmatch(settings.index):
        raise wrong(destination, "index", "is no name of an index: lower-case letters, digits, '.', '_' and '-'")
