"""Requests in the text of logs: which lines tell of one, whether it failed, how long it took; all else is passed over."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.measure.log_lines import UNITS, Names, Request, line_format

DEMO = r"request .*status=(?P<status>\d+) duration_ms=(?P<duration>[\d.]+)"
MS = UNITS["ms"]
COMMON = '127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'


def found(text: str, format: str = DEMO, names: Names | None = None) -> list[Request]:
    return list(line_format(format, names or Names(unit_ns=MS)).requests(text.encode("utf-8", "surrogateescape")))


def test_a_line_in_which_the_pattern_is_found_is_a_request() -> None:
    """The demo's own service is counted by one pattern; its other lines are not."""
    text = (
        "2026-01-01T00:00:00Z INFO service starting port=1\n"
        "2026-01-01T00:00:01Z INFO request method=GET path=/a status=200 duration_ms=12.5 release=r1\n"
        "2026-01-01T00:00:02Z ERROR request method=GET path=/a status=500 duration_ms=900 release=r1\n"
        "2026-01-01T00:00:03Z INFO goodbye\n"
    )
    assert found(text) == [Request(False, 12_500_000, ""), Request(True, 900_000_000, "")]


@pytest.mark.parametrize(
    ("line", "error", "duration", "route"),
    [
        (COMMON, False, None, "/apache_pb.gif"),
        (f'{COMMON} "http://a/b" "Mozilla/5.0 (\\"x\\")"', False, None, "/apache_pb.gif"),
        (f'{COMMON} "-" "curl" 0.250', False, 250_000_000, "/apache_pb.gif"),
        (f'{COMMON} "-" "curl" "1.5"', False, 1_500_000_000, "/apache_pb.gif"),
        ('::1 - bob [x] "POST /api?a=1 HTTP/1.1" 502 -', True, None, "/api"),
        ('::1 - two words [x] "POST / HTTP/1.1" 499 0', False, None, "/"),
    ],
)
def test_access_logs(line: str, error: bool, duration: int | None, route: str) -> None:
    """The common and the combined format, with or without a duration behind it."""
    assert found(line + "\n", "common", Names()) == [Request(error, duration, route)]


@pytest.mark.parametrize("line", ["", "GET / 200", '1 - - [x] "\\x16\\x03" 400 0', '1 - - [x] "GET / HTTP/1.1" abc 0'])
def test_what_is_no_access_log_is_no_request(line: str) -> None:
    """Handshakes on the wrong port and other noise are not what a service served."""
    assert found(line + "\n", "common") == []


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"status": 200, "duration": 3}, Request(False, 3_000_000, "")),
        ({"status": "503", "duration": "3"}, Request(True, 3_000_000, "")),
        ({"status": 200, "duration": "1.5s", "route": "/a"}, Request(False, 1_500_000_000, "/a")),
        ({"status": 200, "level": "ERROR"}, Request(True, None, "")),
        ({"duration": 5, "level": "info"}, Request(False, 5_000_000, "")),
        ({"status": 200, "duration": -1}, Request(False, None, "")),
        ({"status": 200, "duration": 1e300}, Request(False, None, "")),
        ({"status": 10**30}, Request(False, None, "")),
        ({"message": "status"}, None),
        ({"status": None}, None),
        ({"status": {"code": 500}}, None),
        ({"status": True}, None),
        (["status"], None),
    ],
)
def test_json_lines(record: object, expected: Request | None) -> None:
    """An object with a status or a duration is a request, whatever else stands in it."""
    assert found(json.dumps(record) + "\n", "json") == ([expected] if expected else [])


def test_fields_of_json_may_lie_in_objects_or_have_dots_in_their_names() -> None:
    """`http.status` is the field of that name, or `status` in the object `http`."""
    names = Names(status="http.status", duration="http.took", unit_ns=UNITS["us"])
    text = '{"http": {"status": 500, "took": 7}}\n{"http.status": 200, "http.took": 8}\n{"http": 3, "status": 200}\n'
    assert found(text, "json", names) == [Request(True, 7000, ""), Request(False, 8000, "")]


def test_a_line_that_is_broken_spoils_no_other() -> None:
    """Half a JSON object, bytes that are no UTF-8, and depth without end are passed over."""
    deep = '{"status": ' + "[" * 100_000
    assert found('{"status": 20\n\udcff"status"\n' + deep + '\n{"status": 200}\n', "json") == [Request(False, None, "")]


def test_a_pattern_never_sees_two_lines_as_one() -> None:
    """Whatever matches a line end in it, a request is told of by one line."""
    greedy = r'"[^"]*" (?P<status>\d+)[\s\S]*'
    assert len(found('"a" 200\nnoise "b\n"c" 500\n', greedy)) == 2
    assert [request.error for request in found('"a" 200\nnoise "b\n"c" 500\n', greedy)] == [False, True]


def test_a_line_is_one_request_however_often_the_pattern_is_found_in_it() -> None:
    """The first place counts."""
    assert found("status=200 status=500\nstatus=500\n", r"status=(?P<status>\d+)") == [
        Request(False, None, ""),
        Request(True, None, ""),
    ]


@settings(deadline=None)
@given(st.lists(st.sampled_from(['"a" 200', '"a', 'b" 500', "", "status 200", '"" 503 "x" 200', '"']), max_size=12))
def test_all_at_once_is_what_line_by_line_would_be(lines: list[str]) -> None:
    """Searching a chunk as a whole is only faster."""
    lazy, greedy = r'"[^"]*" (?P<status>\d+)', r'"[^"]*"\s(?P<status>\d+)(?s:.*)'
    for pattern in (lazy, greedy):
        apart = [request for line in lines for request in found(line, pattern)]
        assert found("\n".join(lines), pattern) == apart


@pytest.mark.parametrize("pattern", ["(", r"took (?P<duration>\d+)", "plain"])
def test_a_pattern_that_cannot_tell_errors_is_refused(pattern: str) -> None:
    """Requests without outcome are half of the truth."""
    with pytest.raises(ValueError, match=r"regular expression|no group \(\?P<status>"):
        line_format(pattern, Names())
