"""The number in front of each message, ``<34>``: facility times eight plus severity (RFC 5424, 6.2.1)."""

from __future__ import annotations

from shipper.otlp.encode import log_attribute
from shipper.otlp.wire import field, varint_field
from shipper.shape.severity import SYSLOG

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp"),
    *(
        "security",
        "console",
        "solaris-cron",
        "local0",
        "local1",
        "local2",
        "local3",
        "local4",
        "local5",
        "local6",
        "local7",
    ),
)
"""By number, as syslog.conf calls them."""

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""By number, as syslog.conf calls them; `shipper.shape.severity.SYSLOG` has the numbers of OpenTelemetry."""

MOST = len(FACILITIES) * len(SEVERITIES) - 1


def _fields(priority: int) -> bytes:
    facility, severity = divmod(priority, 8)
    number = varint_field(2, SYSLOG[severity]) + field(3, SEVERITIES[severity].encode())
    return number + log_attribute("syslog.facility", FACILITIES[facility])


FIELDS = {b"%d" % priority: _fields(priority) for priority in range(MOST + 1)}
"""What a priority is on a LogRecord, by its digits; one with a leading zero is no priority."""
