"""Stack traces as real runtimes write them are one event with the line that a logger wrote before them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from shipper.shape import Multiline
from shipper.shape.presets import PRESETS

JAVA = """\
2026-11-23 02:00:08,582 ERROR [main] c.s.Shop - cannot sell
java.lang.IllegalStateException: no stock
	at com.shop.Stock.take(Stock.java:42)
	at com.shop.Shop$Inner.<init>(Shop.java:7) ~[shop.jar:1.0]
	Suppressed: java.io.IOException: closed
		at com.shop.Stock.close(Stock.java:50)
	... 12 common frames omitted
Caused by: java.sql.SQLException: gone
	... 3 more

2026-11-23 02:00:09,000 INFO [main] c.s.Shop - next
Exception in thread "main" java.lang.Error: x
	at Main.main(Main.java:3)
"""
PYTHON = """\
2026-11-23 02:00:08,582 ERROR shop: cannot sell
Traceback (most recent call last):
  File "/app/shop.py", line 3, in sell
    stock.take()
    ~~~~~~~~~~^^
KeyError: 'apple'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/shop.py", line 5, in sell
    raise Broken("no") from None
app.errors.Broken: no
  + Exception Group Traceback (most recent call last):
  | ExceptionGroup: several (2 sub-exceptions)
2026-11-23 02:00:09,000 INFO shop: next
INFO:root:another
"""
GO = """\
2026/11/23 02:00:08 selling
panic: runtime error: index out of range [5] with length 3 [recovered]
	panic: again
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45]

goroutine 1 [running]:
main.(*Shop).Sell(0xc000012345, {0x1, 0x2})
	/app/main.go:12 +0x1d
net/http.HandlerFunc.ServeHTTP(...)
	/usr/local/go/src/net/http/server.go:2136
created by main.main in goroutine 1
	/app/main.go:7 +0x25
exit status 2
2026/11/23 02:00:09 http: (a call) of main() is over
"""
DOTNET = """\
fail: Shop.Stock[0]
      cannot sell
      System.InvalidOperationException: no stock
         at Shop.Stock.Take() in /app/Stock.cs:line 42
      --- End of stack trace from previous location ---
info: Shop.Stock[0]
      next
Unhandled exception. System.AggregateException: One or more errors
 ---> System.IO.IOException: closed
   at Shop.Program.Main(String[] args)
   --- End of inner exception stack trace ---
"""
RUBY = """\
E, [2026-11-23T02:00:08.582000 #7] ERROR -- : cannot sell
Shop::StockError (no stock):
app/models/stock.rb:42:in `take'
app/shop.rb:7:in 'Shop#sell'
I, [2026-11-23T02:00:09.000000 #7]  INFO -- : next
shop.rb:3:in `sell': no stock (RuntimeError)
	from shop.rb:7:in `<main>'
"""


@pytest.mark.parametrize(
    ("language", "log", "begins"),
    [
        ("java", JAVA, ["2026-11-23 02:00:08", "2026-11-23 02:00:09", "Exception in"]),
        ("python", PYTHON, ["2026-11-23 02:00:08", "2026-11-23 02:00:09", "INFO:root:another"]),
        ("go", GO, ["2026/11/23 02:00:08", "panic:", "2026/11/23 02:00:09"]),
        ("dotnet", DOTNET, ["fail:", "info:", "Unhandled exception."]),
        ("ruby", RUBY, ["E, [", "I, [", "shop.rb:3:in"]),
    ],
)
def test_a_trace_is_one_event(language: str, log: str, begins: list[str]) -> None:
    """Causes, suppressed and grouped exceptions, blank lines and frames go on; the next line of the log begins anew."""
    chunk = log.encode()
    found = Multiline.of("continuation", PRESETS[language]).parts(chunk)
    events = [chunk[start:end].decode() for start, end in pairwise([*found.starts, len(chunk)])]
    assert [event.startswith(beginning) for event, beginning in zip(events, begins, strict=True)] == [True] * len(
        begins
    )


@pytest.mark.parametrize("language", PRESETS)
@pytest.mark.parametrize(
    "line",
    [
        *(
            "2026-11-23T02:00:08Z INFO started",
            '{"level":"error","msg":"x"}',
            "INFO: x",
            "ERROR:root:x",
            "level=error msg=x",
        ),
        *(
            "[02:00:08 ERR] Shop: x",
            "Nov 23 02:00:08 host shop[7]: Error: x",
            "I1123 02:00:00.123456   12 main.go:3] x (y)",
        ),
        '10.0.0.1 - - [23/Nov/2026:02:00:08 +0000] "GET /a?b=c(d) HTTP/1.1" 200 1',
    ],
)
def test_a_line_of_a_logger_begins_an_event(language: str, line: str) -> None:
    """No preset takes the first line that loggers write for a part of a trace."""
    assert Multiline.of("continuation", PRESETS[language]).begins(line.encode())
