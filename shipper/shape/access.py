"""Access logs in the common or the combined format, which Apache, nginx and most servers write.

Fields get the names of OpenTelemetry's conventions for HTTP, as the spans of the same requests have them.
https://httpd.apache.org/docs/2.4/logs.html#accesslog
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from shipper.shape.columns import ABSENT, Parsed, Table
from shipper.shape.pattern import PatternParser

_QUOTED = r'[^"\\]*(?:\\.[^"\\]*)*'
_COMMON = re.compile(
    (
        r"^(?P<client>[^\s\[]+) \S+ (?P<user>[^\[\n]*?) \[(?P<time>[^\]\n]{1,40})\] "
        rf'"(?:(?P<method>[A-Z]{{1,20}}) (?P<path>[^\s"?]*)(?:\?(?P<query>[^\s"]*))?(?: HTTP/(?P<version>\d(?:\.\d)?))?|{_QUOTED})" '
        rf'(?P<status>\d{{3}}) (?P<size>\d{{1,18}}|-)(?: "(?P<referer>{_QUOTED})" "(?P<agent>{_QUOTED})")?'
    ).encode()
)
_NAMES = {
    "client": "client.address",
    "user": "user.name",
    "time": "time",
    "method": "http.request.method",
    "path": "url.path",
    "query": "url.query",
    "version": "network.protocol.version",
    "status": "http.response.status_code",
    "size": "http.response.body.size",
    "referer": "http.request.header.referer",
    "agent": "user_agent.original",
}
_NUMBERS = ("http.response.status_code", "http.response.body.size")
FAILED = 500
_REACH = 64 << 10  # a URL may be long, and the pattern does not go back


class AccessParser:
    """Reads lines of access logs. A status of 500 and above is an error, everything else information."""

    cause = "common"

    def __init__(self) -> None:
        self._pattern = PatternParser(_COMMON, _REACH)

    def parse(self, texts: Sequence[bytes], rows: Sequence[int]) -> Parsed:
        """The fields of ``texts[row]`` for each of ``rows``."""
        found = self._pattern.parse(texts, rows)
        return Parsed([_named(table) for table in found.tables], found.plain, found.failed)


def _named(table: Table) -> Table:
    columns = {_NAMES[name]: _said(values) for name, values in table.columns.items()}
    for name in _NUMBERS:
        columns[name] = [value if value is ABSENT else int(value) for value in columns[name]]
    header = "http.request.header.referer"  # a list, by the conventions: a header may come several times
    columns[header] = [value if value is ABSENT else (value.decode(),) for value in columns[header]]
    statuses = columns["http.response.status_code"]
    columns["severity_number"] = [17 if status >= FAILED else 9 for status in statuses]
    return Table(table.rows, columns)


def _said(values: list[Any]) -> list[Any]:
    """``-`` means that there is nothing."""
    return [ABSENT if value == b"-" else value for value in values] if b"-" in values else values
