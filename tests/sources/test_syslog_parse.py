"""What becomes of one syslog message, whoever wrote it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shipper.otlp.wire import field
from shipper.shape.timetext import zone
from shipper.sources.syslog.parse import ERROR, Message, Parser
from shipper.sources.syslog.priority import FACILITIES, FIELDS
from tests.sources.spooled_kit import attributes_of

NOW = int(datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC).timestamp()) * 10**9
PARSER = Parser(UTC, apart=False)


def read(
    data: bytes, *, local: bool = False, now: int = NOW, parser: Parser = PARSER
) -> tuple[Message, LogRecord, dict[str, Any]]:
    """The message, its record, and the record's attributes without the common "syslog."."""
    message = parser.parse(data, now, local=local)
    record = LogRecord.FromString(message.fields + field(5, field(1, message.body)))
    named = {key.removeprefix("syslog."): value for key, value in attributes_of(record.attributes).items()}
    return message, record, named


def at(text: str) -> int:
    """Nanoseconds since the epoch of an ISO time."""
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * 10**9 + moment.microsecond * 1000


def test_the_examples_of_rfc_5424() -> None:
    """The examples of RFC 5424 section 6.5 are read as it explains them."""
    message, record, named = read(
        b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for lonvick on /dev/pts/8"
    )
    assert message.body == b"'su root' failed for lonvick on /dev/pts/8"
    assert record.time_unix_nano == at("2003-10-11T22:14:15.003+00:00")
    assert (record.severity_number, record.severity_text) == (18, "crit")
    assert named == {
        "facility": "auth",
        "version": 1,
        "hostname": "mymachine.example.com",
        "appname": "su",
        "msgid": "ID47",
    }
    message, record, named = read(
        b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts."
    )
    assert record.time_unix_nano == at("2003-08-24T05:14:15.000003-07:00")
    assert (named["procid"], named["facility"], record.severity_text) == ("8710", "local4", "notice")
    message, record, named = read(
        b'<165>1 2003-10-11T22:14:15.003Z host evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application"'
        b' eventID="1011"][examplePriority@32473 class="high"]'
    )
    assert message.body == b""
    found = {key: value for key, value in named.items() if key.startswith("structured_data.")}
    assert found == {
        "structured_data.exampleSDID@32473.iut": "3",
        "structured_data.exampleSDID@32473.eventSource": "Application",
        "structured_data.exampleSDID@32473.eventID": "1011",
        "structured_data.examplePriority@32473.class": "high",
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (rb'[a b="\"\\\]"]', {"a.b": '"\\]'}),
        (rb'[a b="c\d"]', {"a.b": r"c\d"}),
        (b'[a b="x]y"]', {"a.b": "x]y"}),
        (b'[a ip="1" ip="2"]', {"a.ip": ["1", "2"]}),
        (b"[a][b]", {"a": "", "b": ""}),
        ('[a b="ü"]'.encode(), {"a.b": "ü"}),
        (b'[a b="\xff"]', {"a.b": "\N{REPLACEMENT CHARACTER}"}),
        (b'[a b=""]', {"a.b": ""}),
    ],
)
def test_structured_data(data: bytes, expected: dict[str, Any]) -> None:
    """Escapes, repeated names, empty elements, brackets that should have been escaped: values are what was meant."""
    message, _, named = read(b"<13>1 - - - - - " + data + b" text")
    found = {
        key.removeprefix("structured_data."): value
        for key, value in named.items()
        if key not in ("facility", "version")
    }
    assert (found, message.body, message.problem) == (expected, b"text", "")


@pytest.mark.parametrize(
    "rest", [b"- a b c", b"- - - - - [a", b'- - - - - [a b="c]', b'- - - - - [a b="c"', b"", b"- - - - - "]
)
def test_a_broken_new_header_is_kept_whole_and_marked(rest: bytes) -> None:
    """A message of version 1 that is not what the RFC says is its own text, with a mark and its severity."""
    data = b"<11>1 " + rest
    message, record, named = read(data)
    assert (message.body, message.problem) == (data, "header")
    assert record.severity_text == "err"
    assert ERROR in named


@pytest.mark.parametrize(
    "data", [b"hello", b"", b"<>x", b"<192>x", b"<999>x", b"<01>x", b"<13 x", b"13>x", b"<-1>x", b"\xff\xfe", b"<1a>x"]
)
def test_without_a_priority(data: bytes) -> None:
    """What has no priority is its own text, with a mark, and of unknown severity."""
    message = PARSER.parse(data, NOW, local=False)
    assert (message.body, message.problem) == (data, "priority")
    assert ERROR in attributes_of(LogRecord.FromString(message.fields).attributes)


OLD = "2026-11-23T02:00:08+00:00"


@pytest.mark.parametrize(
    ("data", "local", "time", "expected", "body"),
    [
        # RFC 3164, section 5.4, and what is sent in its name
        (b"<34>Nov 23 02:00:08 web1 su: 'su root' failed", False, OLD, {"hostname": "web1", "appname": "su"}, b"'su root' failed"),
        (b"<30>Nov 23 02:00:08 web1 sshd[71]: hi", False, OLD, {"hostname": "web1", "appname": "sshd", "procid": "71"}, b"hi"),
        (b"<30>Nov 23 02:00:08 fe80::1 sshd[71]: hi", False, OLD, {"hostname": "fe80::1", "appname": "sshd", "procid": "71"}, b"hi"),
        (b"<30>Nov 23 02:00:08 web1 just words here", False, OLD, {"hostname": "web1"}, b"just words here"),
        (b"<30>Nov  3 02:00:08 web1 a: b: c", False, "2026-11-03T02:00:08+00:00", {"hostname": "web1", "appname": "a"}, b"b: c"),
        (b"<30>Nov 23 02:00:08.25 web1 a: b", False, "2026-11-23T02:00:08.25+00:00", {"hostname": "web1", "appname": "a"}, b"b"),
        (b"<30>Nov 23 2025 02:00:08 web1 a: b", False, "2025-11-23T02:00:08+00:00", {"hostname": "web1", "appname": "a"}, b"b"),
        # glibc, which names no host; systemd's and Go's names with a slash
        (b"<13>Nov 23 02:00:08 root: hello", True, OLD, {"appname": "root"}, b"hello"),
        (b"<13>Nov 23 02:00:08 postfix/smtpd[9]: hello", True, OLD, {"appname": "postfix/smtpd", "procid": "9"}, b"hello"),
        (b"<13>Nov 23 02:00:08 web1 root: hello", True, OLD, {"hostname": "web1", "appname": "root"}, b"hello"),
        (b"<13>Nov 23 02:00:08 no tag at all", True, OLD, {}, b"no tag at all"),
        # rsyslog's own forward format
        (b"<30>2026-11-23T02:00:08.5+01:00 w a: b", False, "2026-11-23T02:00:08.5+01:00", {"hostname": "w", "appname": "a"}, b"b"),
        # Python's SysLogHandler, and others without a time
        (b"<14>hello: world", False, None, {}, b"hello: world"),
        (b"<14>app[7]: hello", True, None, {"appname": "app", "procid": "7"}, b"hello"),
        (b"<14>", False, None, {}, b""),
        (b"<14>Nov 32 99:99:99 web1 a: b", False, None, {"hostname": "web1", "appname": "a"}, b"b"),
    ],
)  # fmt: skip
def test_the_old_form(data: bytes, local: bool, time: str | None, expected: dict[str, str], body: bytes) -> None:
    """RFC 3164 and its many readings: time, host, tag and pid where they are, and the rest as the text."""
    message, record, named = read(data, local=local)
    facility = named.pop("facility")
    assert facility in FACILITIES
    assert (named, message.body, message.problem) == (expected, body, "")
    assert record.time_unix_nano == (at(time) if time else 0)


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        (b"Dec 31 23:59:59", "2027-01-01T00:00:05+00:00", "2026-12-31T23:59:59+00:00"),
        (b"Jan  1 00:00:01", "2026-12-31T23:59:58+00:00", "2027-01-01T00:00:01+00:00"),
        (b"Jan  1 00:00:01", "2027-01-01T00:00:05+00:00", "2027-01-01T00:00:01+00:00"),
        (b"Feb 29 12:00:00", "2028-02-29T12:00:05+00:00", "2028-02-29T12:00:00+00:00"),
        (b"Nov 24 08:00:00", "2026-11-23T12:00:00+00:00", "2026-11-24T08:00:00+00:00"),
    ],
)
def test_the_year_is_that_of_the_receipt(text: bytes, now: str, expected: str) -> None:
    """A time without a year is the one nearest in the past, or less than a day ahead: also at the turn of the year."""
    _, record, _ = read(b"<13>" + text + b" web1 a: b", now=at(now))
    assert record.time_unix_nano == at(expected)


def test_the_zone_is_a_setting() -> None:
    """A time without a zone is read in the zone that is set; one with a zone is not."""
    parser = Parser(zone("Europe/Berlin"), apart=False)
    _, record, _ = read(b"<13>Nov 23 02:00:08 web1 a: b", parser=parser)
    assert record.time_unix_nano == at("2026-11-23T02:00:08+01:00")
    _, record, _ = read(b"<13>1 2026-11-23T02:00:08Z web1 a - - - b", parser=parser)
    assert record.time_unix_nano == at("2026-11-23T02:00:08+00:00")


def test_every_priority() -> None:
    """All 192 priorities have their facility and the severity that OpenTelemetry's data model maps them to."""
    numbers = (21, 19, 18, 17, 13, 10, 9, 5)
    assert len(FIELDS) == 192
    for priority in range(192):
        _, record, named = read(b"<%d>x" % priority)
        assert named["facility"] == FACILITIES[priority // 8]
        assert record.severity_number == numbers[priority % 8]


def test_in_a_gateway_host_and_application_are_apart() -> None:
    """Where they become the resource, host and application are no attributes."""
    message, _, named = read(b"<13>1 - web1 shop 5 - - x", parser=Parser(UTC, apart=True))
    assert (message.hostname, message.appname) == ("web1", "shop")
    assert named == {"facility": "user", "version": 1, "procid": "5"}


PIECES = st.sampled_from(
    [b"<13>", b"<13>1 ", b"Nov 23 02:00:08 ", b"2026-11-23T02:00:08Z ", b"- ", b"web1 ", b"a[1]: ", b'[a b="c"]', b"[a ", b'"', b"\\"]
)  # fmt: skip


@given(st.lists(PIECES | st.binary(max_size=12), max_size=12).map(b"".join), st.booleans(), st.integers(1, 1 << 62))
@hypothesis_settings(max_examples=400, deadline=None)
def test_nothing_raises_and_nothing_is_left_out(data: bytes, local: bool, now: int) -> None:
    """Any bytes are a message; its record is valid, and where it is marked its body is all that came."""
    message = PARSER.parse(data, now, local=local)
    record = LogRecord.FromString(message.fields)
    attributes_of(record.attributes)
    assert message.body == data if message.problem else data.endswith(message.body)
