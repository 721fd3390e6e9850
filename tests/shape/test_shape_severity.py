"""What logging libraries call a severity, in fields and in plain lines."""

from __future__ import annotations

from typing import Any

import pytest

from shipper.shape.settings import ShapeSettings
from shipper.shape.severity import Levels, in_plain
from tests.shape.shapekit import record

TRACE, DEBUG, INFO, NOTICE, WARN, ERROR, FATAL = 1, 5, 9, 10, 13, 17, 21


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        *[("level", word, TRACE) for word in ("trace", "TRACE", "Verbose", "FINEST", "trce")],
        *[("level", word, DEBUG) for word in ("debug", "DEBUG", "Debug", "dbug", "DBG", "config", "debug1")],
        *[("level", word, INFO) for word in ("info", "INFO", "Information", "informational", "LOG", "inf", "INFO+0")],
        *[("level", word, NOTICE) for word in ("notice", "NOTICE")],
        *[("level", word, WARN) for word in ("warn", "WARNING", "Warning", "wrn")],
        *[("level", word, ERROR) for word in ("error", "ERROR", "err", "SEVERE", "fail", " error ")],
        *[("level", word, 18) for word in ("crit", "dpanic")],
        *[("level", word, FATAL) for word in ("fatal", "CRITICAL", "critical", "panic", "emerg", "FTL")],
        *[("level", "INFO+2", 11), ("level", "DEBUG-4", TRACE), ("level", "ERROR+9", 24), ("level", "DEBUG-99", 1)],
        *[("level", 10, TRACE), ("level", 20, DEBUG), ("level", 30, INFO), ("level", 40, WARN), ("level", 50, ERROR)],
        *[("level", 60, FATAL), ("level", 35, INFO), ("level", "30", INFO)],
        *[
            ("levelno", 10, DEBUG),
            ("levelno", 20, INFO),
            ("levelno", 30, WARN),
            ("levelno", 40, ERROR),
            ("levelno", 50, FATAL),
        ],
        *[("level", 0, FATAL), ("level", 3, ERROR), ("level", 4, WARN), ("level", 6, INFO), ("severity", 7, DEBUG)],
        *[("severity_number", 11, 11), ("SeverityNumber", 17, 17), ("severity", 400, WARN), ("severity", 500, ERROR)],
        *[("level", "AUDIT", 0), ("level", "", 0), ("level", "x" * 99, 0), ("level", 8, 0), ("level", -1, 0)],
        *[
            ("level", 1.5, 0),
            ("level", True, 0),
            ("level", None, 0),
            ("level", {}, 0),
            ("level", [1], 0),
            ("level", 10**30, 0),
        ],
    ],
)
def test_a_severity_of_a_field_gets_its_number(name: str, value: Any, number: int) -> None:
    """Words of every library, and numbers by the scale that the name of the field or their size tells of."""
    (found, other) = Levels(name).column([value, "error"])
    assert (found.number, other.number) == (number, ERROR)
    assert Levels(name).column([value])[0] == found


def test_the_word_that_was_written_is_kept() -> None:
    """The text of a severity is the log's own; one that no library knows is kept without a number."""
    shape = ShapeSettings("json")
    found = record(shape, b'{"level":"Warning"}')
    assert (found.severity_number, found.severity_text) == (WARN, "Warning")
    found = record(shape, b'{"level":"AUDIT"}')
    assert (found.severity_number, found.severity_text) == (0, "AUDIT")
    found = record(shape, b'{"level":50}')
    assert (found.severity_number, found.severity_text) == (ERROR, "")


@pytest.mark.parametrize(
    ("line", "number", "word"),
    [
        (b"2026-11-23 02:00:08,582 ERROR [main] c.s.Shop - failed", ERROR, "ERROR"),
        (b"2026-11-23 02:00:08.582  WARN 1 --- [main] o.s.Boot : x", WARN, "WARN"),
        (b"INFO:root:started", INFO, "INFO"),
        (b"CRITICAL:root:started", FATAL, "CRITICAL"),
        (b"[2026-11-23 02:00:08 +0000] [7] [DEBUG] gunicorn", DEBUG, "DEBUG"),
        (b"2026/11/23 02:00:08 [error] 12#12: *1 open() failed", ERROR, "error"),
        (b"2026/11/23 02:00:08 [crit] 12#12: *1 open() failed", 18, "crit"),
        (b"[Mon Nov 23 02:00:08.123 2026] [core:notice] [pid 1] AH00094", NOTICE, "notice"),
        (b"2026-11-23T02:00:08.1Z\tinfo\tmain.go:3\tstarted", INFO, "info"),
        (b"2026-11-23 02:00:08.1 UTC [7] LOG:  checkpoint", INFO, "LOG"),
        (b"2026-11-23 02:00:08.1 UTC [7] FATAL:  password", FATAL, "FATAL"),
        (b"2026-11-23T02:00:08.1Z 0 [Warning] [MY-010] mysqld", WARN, "Warning"),
        (b"[02:00:08 INF] Serilog", INFO, "INF"),
        (b"fail: Microsoft.Hosting[0]", ERROR, "fail"),
        (b"warn: Microsoft.Hosting[0]", WARN, "warn"),
        (b"I1123 02:00:00.123456   12 main.go:3] started", INFO, "I"),
        (b"E1123 02:00:00.123456   12 main.go:3] broken", ERROR, "E"),
        (b"F, [2026-11-23T02:00:08.123456 #1] FATAL -- : x", FATAL, "F"),
        (b"D, [2026-11-23T02:00:08.123456 #1] DEBUG -- : x", DEBUG, "D"),
        (b"SEVERE: Servlet threw", ERROR, "SEVERE"),
        (b"level=warn msg=x", WARN, "warn"),
        (b'time=2026 level="error" msg="GOT INFO"', ERROR, "error"),
        (b"INFO changed level=debug", INFO, "INFO"),
        (b"severity=CRITICAL x", FATAL, "CRITICAL"),
        (b"loglevel: warning x", WARN, "warning"),
        (b"Traceback (most recent call last):", ERROR, ""),
        (b'Exception in thread "main" java.lang.Error', ERROR, ""),
        (b"panic: runtime error: index out of range", FATAL, ""),
        (b"fatal error: all goroutines are asleep", FATAL, ""),
        (b"an error was not found, all is well", 0, ""),
        (b"MYERROR INFORMAL ERRORS x_INFO INFO_x", 0, ""),
        (b"", 0, ""),
        (b"x" * 300 + b" ERROR", 0, ""),
        ("\u00e9t\u00e9 ERROR".encode(), ERROR, "ERROR"),
    ],
)
def test_a_plain_line_says_how_severe_it_is(line: bytes, number: int, word: str) -> None:
    """In capitals, in brackets, by name or by the letter in front; a word in a sentence says nothing."""
    found = record(ShapeSettings("auto"), line)
    assert (found.severity_number, found.severity_text) == (number, word)
    assert in_plain([b"quiet", line])[0].number == 0
