"""What Flask knows of a request beyond WSGI: the exception it makes a 500 of."""

from __future__ import annotations

import sys
from typing import Any

from shipper.sdk.web import http

_guard = http.Guard("flask")


def hear_exceptions(app: Any) -> None:
    """Have the exceptions of ``app``'s views recorded on their request's span. Applied twice it does nothing."""
    sys.modules["flask"].got_request_exception.connect(_heard, app)


def _heard(_: Any, exception: BaseException | None = None, **__: Any) -> None:
    with _guard:
        exchange = sys.modules["flask"].request.environ.get(http.KEY)
        if exchange is not None and exception is not None:
            exchange.failed(exception)
