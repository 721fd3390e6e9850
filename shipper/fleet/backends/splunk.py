"""Splunk, asked by its search API: https://help.splunk.com/en/splunk-enterprise/rest-api-reference (search/v2/jobs/export).

The life is an indexed field, so ``tstats`` counts it from the index alone. Events of a token for the raw endpoint have no fields: the
life stands at the end of their source, and what they are in their text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shipper.errors import ConfigError
from shipper.fleet.backends.asking import Asker, Patience, authorization
from shipper.fleet.backends.model import EVENTS, HOUR, SECOND, Said, Secrets, Span
from shipper.fleet.questions import NoAnswer, short

_PATHS = ("/services/search/v2/jobs/export", "/services/search/jobs/export")  # the second: before Splunk 9
_INDEX = re.compile(r"[a-z0-9*_][a-z0-9*_-]{0,80}")
_NAMES = " OR ".join(f"otel.log.name::{name}" for name in EVENTS)
_RAW_NAMES = " OR ".join(f'"{name}"' for name in EVENTS)
_RAW_ACCOUNT = '"\\"event_name\\":\\"shipper\\\\.(birth|notice|farewell|account)\\""'
_ASIDE = HOUR


class Splunk:
    """See `Backend`. ``indexes``: those that events are in, with ``*`` for any letters."""

    usual: tuple[str, ...] = ("splunk",)
    counted: Mapping[str, frozenset[str]] = {"logs and spans": frozenset({"logs", "traces"})}
    reach_ns = 0
    limits: tuple[str, ...] = (
        "Splunk does not tell logs from spans by their index, so they are counted together, in all of --index "
        "(default: all that you may search).",
        "Data points are not counted.",
        "What is older than an index keeps cannot be told from what never came.",
    )

    def __init__(
        self,
        url: str,
        secrets: Secrets,
        *,
        indexes: Sequence[str] = (),
        ca_file: str = "",
        patience: Patience | None = None,
    ) -> None:
        """Raises `ConfigError`."""
        for name in indexes:
            if not _INDEX.fullmatch(name):
                raise ConfigError("--index", f"{name[:80]!r} is no name of an index")
        mend = "it wants --token-file with a token for its API (not one for HEC), or --username and --password-file"
        headers = authorization(secrets)
        self._asker = Asker(url, headers, option="--splunk", mend=mend, ca_file=ca_file, patience=patience)
        self.name = f"Splunk at {self._asker.url}"
        self.remarks: list[str] = []
        self._where = "(" + " OR ".join(f"index={name}" for name in (*indexes,) or ("*",)) + ")"
        self._path = _PATHS[0]
        self._raw: set[str] = set()  # lives that came by the raw endpoint

    def statements(self, start_ns: int, end_ns: int) -> Iterator[Said]:
        """See `Backend.statements`."""
        fields = f"(otel.scope.name::shipper.account ({_NAMES}))"
        raw = f'(source="*#*" ({_RAW_NAMES}) "event_name")'
        search = f"search {self._where} ({fields} OR {raw}) | fields _raw"
        for row in self._rows(search, start_ns, end_ns):
            yield from self._said(str(row.get("_raw", "")))

    def counts(self, lives: Sequence[Span]) -> Mapping[str, Mapping[str, int]]:
        """See `Backend.counts`."""
        wanted = {life.life for life in lives}
        found: dict[str, int] = {}
        fields = f'| tstats count where {self._where} shipper.life.id=* NOT otel.scope.name="shipper.account"'
        for row in self._rows(f"{fields} by shipper.life.id", 0, 0):
            if (life := str(row.get("shipper.life.id", ""))) in wanted:
                found[life] = int(row["count"])
        for life in sorted(wanted & self._raw):
            search = f'search {self._where} source="*#{life}" | regex _raw!={_RAW_ACCOUNT} | stats count'
            found[life] = found.get(life, 0) + sum(int(row["count"]) for row in self._rows(search, 0, 0))
        return {life: {"logs and spans": count} for life, count in found.items()}

    def _said(self, text: str) -> Iterator[Said]:
        """The statement in an event: its text, or in raw mode the body in it."""
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            self._remark("an event of its account is cut off: raise TRUNCATE in props.conf for its source type")
            yield Said(text)
        elif "life" in event:
            yield Said(event)
        elif isinstance(event.get("body"), str) and event.get("event_name") in EVENTS:
            self._remark("some hosts send by the raw endpoint: lines with line breaks, and blank ones, count otherwise")
            yield Said(event["body"])
            try:
                self._raw.add(str(json.loads(event["body"])["life"]))
            except (ValueError, KeyError, TypeError, RecursionError):
                return  # whoever reads the statement says so

    def _rows(self, search: str, start_ns: int, end_ns: int) -> Iterator[Mapping[str, Any]]:
        """The results of a search. Without times: of all that there is. Raises `NoAnswer`."""
        form = {"search": search, "output_mode": "json", "preview": "false", "earliest_time": "0"}
        if start_ns:
            form["earliest_time"] = str(start_ns // SECOND)
        form["latest_time"] = str((end_ns + _ASIDE) // SECOND) if end_ns else "+1d"
        for line in self._lines(form):
            for message in line.get("messages") or ():
                self._heed(str(message.get("type", "")).upper(), short(str(message.get("text", ""))))
            if "result" in line and not line.get("preview"):
                result = line["result"]
                if not isinstance(result, dict) or ("stats count" in search and "count" not in result):
                    raise NoAnswer(f"{self._asker.url} does not answer as Splunk does: {short(json.dumps(line))!r}")
                yield result
            elif not {"result", "messages", "preview"} & line.keys():
                raise NoAnswer(f"{self._asker.url} does not answer as Splunk does: {short(json.dumps(line))!r}")

    def _lines(self, form: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        try:
            yield from self._asker.lines(self._path, form)
        except NoAnswer as problem:
            if problem.status != 404 or self._path == _PATHS[1]:
                raise
            self._path = _PATHS[1]
            yield from self._asker.lines(self._path, form)

    def _heed(self, kind: str, text: str) -> None:
        if kind in ("ERROR", "FATAL"):
            raise NoAnswer(f"{self.name} could not answer: {text}")
        if kind == "WARN":
            self._remark(f"Splunk warns: {text}")

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)
