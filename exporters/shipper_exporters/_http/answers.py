"""What an HTTP answer says whoever gave it: its status in words, and whether a web page came in place of an answer."""

from __future__ import annotations

import re
from http import HTTPStatus

from shipper_exporters._http.client import Answer

_WEB_PAGE = re.compile(rb"\s*<(!doctype|html)", re.IGNORECASE)


def phrase(status: int) -> str:
    """A status as people know it: ``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def is_web_page(answer: Answer) -> bool:
    """Whether something else answered than a service for programs: a sign-in page, a proxy, a balancer."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml") or bool(_WEB_PAGE.match(answer.body))
