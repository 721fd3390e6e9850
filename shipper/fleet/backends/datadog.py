"""Datadog, asked by its logs API: https://docs.datadoghq.com/api/latest/logs/ (search and aggregate, v2).

Both are limited to some hundred calls an hour, so a page has as many logs as it may, and an answer that says when to come again is
obeyed. Of a log that is JSON Datadog makes attributes: a statement is read from these, too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shipper.errors import ConfigError
from shipper.fleet.backends.asking import Asker, Patience, secret
from shipper.fleet.backends.model import DAY, EVENTS, HOUR, Said, Secrets, Span
from shipper.fleet.questions import NoAnswer, short

DEFAULT_SITE = "datadoghq.com"
_ACCOUNT = "@otel.scope.name:shipper.account"
_STATEMENTS = f"{_ACCOUNT} @otel.event_name:({' OR '.join(EVENTS)})"
_SITE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_PAGE = 1000
_MILLISECOND = 1_000_000


class Datadog:
    """See `Backend`. ``site``: such as ``datadoghq.eu``, or the URL of what stands before its API."""

    usual: tuple[str, ...] = ("datadog",)
    counted: Mapping[str, frozenset[str]] = {"logs": frozenset({"logs"})}
    reach_ns = 30 * DAY
    limits: tuple[str, ...] = (
        "Datadog counts what it indexed: what pipelines, quotas and exclusion filters left out, and what is older than the "
        "index keeps, seems missing.",
        "Spans and data points are not counted.",
    )

    def __init__(
        self,
        site: str,
        secrets: Secrets,
        *,
        indexes: Sequence[str] = (),
        ca_file: str = "",
        patience: Patience | None = None,
    ) -> None:
        """Raises `ConfigError`."""
        site = site or os.environ.get("DD_SITE", "").strip() or DEFAULT_SITE
        url = site if "://" in site else f"https://api.{site}"
        if "://" not in site and not _SITE.fullmatch(site):
            raise ConfigError("--datadog", f"{site[:80]!r} is no Datadog site such as datadoghq.eu")
        headers = {
            "DD-API-KEY": _key(
                secrets.api_key_file or os.environ.get("DD_API_KEY_FILE", ""), "--api-key-file", "DD_API_KEY"
            ),
            "DD-APPLICATION-KEY": _key(secrets.app_key_file, "--app-key-file", "DD_APP_KEY"),
        }
        mend = "are both keys of this site, and may the application key read logs (logs_read_data)?"
        self._asker = Asker(url, headers, option="--datadog", mend=mend, ca_file=ca_file, patience=patience)
        self.name = f"Datadog at {self._asker.url}"
        self.remarks: list[str] = []
        self._indexes = list(indexes) or ["*"]

    def statements(self, start_ns: int, end_ns: int) -> Iterator[Said]:
        """See `Backend.statements`."""
        page: dict[str, Any] = {"limit": _PAGE}
        while True:
            asked = {"filter": self._filter(_STATEMENTS, start_ns, end_ns), "sort": "timestamp", "page": page}
            said = self._post("/api/v2/logs/events/search", asked)
            try:
                logs = [log["attributes"] for log in said["data"]]
                after = said["meta"].get("page", {}).get("after") if "meta" in said else None
            except (KeyError, TypeError, AttributeError):
                raise self._strange(said) from None
            for log in logs:
                yield _said(log)
            if not after:
                return
            page = {"limit": _PAGE, "cursor": after}

    def counts(self, lives: Sequence[Span]) -> Mapping[str, Mapping[str, int]]:
        """See `Backend.counts`."""
        return {life.life: {"logs": self._count(life)} for life in lives}

    def _count(self, life: Span) -> int:
        # A longer text is several logs, of which the first counts. Datadog takes nothing that is 18 hours old or more.
        query = f"shipper.life.id:{life.life} -@shipper.part:>1 -{_ACCOUNT}"
        where = self._filter(query, life.start_ns - DAY, life.end_ns + DAY)
        said = self._post(
            "/api/v2/logs/analytics/aggregate",
            {"compute": [{"aggregation": "count", "type": "total"}], "filter": where},
        )
        try:
            return sum(int(bucket["computes"]["c0"]) for bucket in said["data"]["buckets"])
        except (KeyError, TypeError, ValueError):
            raise self._strange(said) from None

    def _filter(self, query: str, start_ns: int, end_ns: int) -> dict[str, object]:
        first, last = max(0, start_ns // _MILLISECOND), (end_ns + HOUR) // _MILLISECOND
        return {"query": query, "from": str(first), "to": str(last), "indexes": self._indexes}

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        said = self._asker.post(path, body)
        meta = said.get("meta")
        if isinstance(meta, dict):
            if meta.get("status", "done") != "done":
                raise NoAnswer(f"{self.name} gave a part of its answer only: status {meta['status']!r}")
            for warning in meta.get("warnings") or ():
                text = f"Datadog warns: {short(json.dumps(warning))}"
                if text not in self.remarks:
                    self.remarks.append(text)
        return said

    def _strange(self, said: Mapping[str, Any]) -> NoAnswer:
        return NoAnswer(f"{self._asker.url} does not answer as Datadog does: {short(json.dumps(said))!r}")


def _said(log: Mapping[str, Any]) -> Said:
    message = log.get("message")
    if isinstance(message, str) and message.lstrip().startswith("{"):
        return Said(message)
    attributes = log.get("attributes")
    return Said(attributes if isinstance(attributes, Mapping) else "")


def _key(path: str, option: str, variable: str) -> str:
    if path:
        return secret(option, path)
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(option, f"is missing, and {variable} is not set")
    if not key.isascii() or not key.isprintable():
        raise ConfigError(variable, "is no key")
    return key
