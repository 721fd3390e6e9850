"""Loki, asked by LogQL: https://grafana.com/docs/loki/latest/reference/loki-http-api/ .

What is known of a record is structured metadata, of which Loki has no index, so each question reads all that lies in its time.
Questions are for a day at a time: so none exceeds ``max_query_length``, and none keeps a Loki busy for long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shipper.errors import ConfigError
from shipper.fleet.backends.asking import Asker, Patience, authorization
from shipper.fleet.backends.model import DAY, HOUR, SECOND, Said, Secrets, Span
from shipper.fleet.questions import NoAnswer, short

SELECTOR = '{service_name=~".+"}'
"""Loki gives every stream this label, unless it was told otherwise (``discover_service_name``)."""
LIFE = "shipper_life_id"
ACCOUNT = 'scope_name="shipper.account"'
NO_ACCOUNT = 'scope_name!="shipper.account"'
# Over OTLP Loki drops an event's name. These keys have birth, notice and farewell; in JSON no text can hold them.
STATEMENTS = '|~ `"(notes|notice|ended_ns)":`'

_LIMIT = 5000  # entries of one answer; Loki allows no more unless told otherwise (max_entries_limit_per_query)
_LIVES = 50  # in one question
_OLDEST = (
    7 * DAY + HOUR
)  # how far before a life's birth the times of its records may lie: Loki takes none that are older
_NEWEST = HOUR  # and how far behind its last word
_MOST_ENTRIES = re.compile(r"max entries limit per query exceeded, limit > max_entries_limit\S* \((\d+) > (\d+)\)")
_TOO_LARGE = re.compile(r"larger than max|ResourceExhausted")
_SELECTOR = re.compile(r"\{[^{}]+\}")


class Loki:
    """See `Backend`. ``selector``: streams to look at."""

    usual: tuple[str, ...] = ("loki",)
    counted: Mapping[str, frozenset[str]] = {"logs": frozenset({"logs"})}
    reach_ns = 30 * DAY
    limits: tuple[str, ...] = (
        "Loki shows one of entries that are equal in everything, their time included, but may count those that were sent "
        "again: more than acknowledged then, and something missing could hide behind it.",
        "What came hours late is found once Loki has flushed it (half an hour by default): until then it seems missing; "
        "--silence 1h waits for it.",
        "Loki answers beyond its retention as if nothing had been there.",
    )

    def __init__(
        self,
        url: str,
        secrets: Secrets,
        *,
        tenant: str = "",
        selector: str = SELECTOR,
        ca_file: str = "",
        patience: Patience | None = None,
    ) -> None:
        """Raises `ConfigError`."""
        if not _SELECTOR.fullmatch(selector):
            raise ConfigError("--selector", f"{selector[:80]!r} is no stream selector such as {SELECTOR}")
        headers = authorization(secrets)
        if tenant:
            headers["X-Scope-OrgID"] = tenant
        mend = "it wants --tenant, --token-file, or --username and --password-file, or others than these"
        self._asker = Asker(
            url.rstrip("/").removesuffix("/loki/api/v1"),
            headers,
            option="--loki",
            mend=mend,
            ca_file=ca_file,
            patience=patience,
        )
        self.name = f"Loki at {self._asker.url}"
        self.remarks: list[str] = []
        self._selector = selector
        self._limit = _LIMIT

    def statements(self, start_ns: int, end_ns: int) -> Iterator[Said]:
        """See `Backend.statements`."""
        query = f"{self._selector} {STATEMENTS} | {ACCOUNT}"
        for start, end in _days(start_ns, end_ns):
            yield from self._entries(query, start, end)

    def counts(self, lives: Sequence[Span]) -> Mapping[str, Mapping[str, int]]:
        """See `Backend.counts`."""
        found: dict[str, dict[str, int]] = {}
        ordered = sorted(lives, key=lambda life: life.start_ns)
        for at in range(0, len(ordered), _LIVES):
            some = ordered[at : at + _LIVES]
            begin = min(life.start_ns for life in some) - _OLDEST
            for start, end in _days(begin, max(life.end_ns for life in some) + _NEWEST):
                there = [one for one in some if one.start_ns - _OLDEST < end and one.end_ns + _NEWEST > start]
                for life, count in self._count([one.life for one in there], start, end):
                    counts = found.setdefault(life, {"logs": 0})
                    counts["logs"] += count
        return found

    def _entries(self, query: str, start_ns: int, end_ns: int) -> Iterator[Said]:
        """All lines that a query finds. The next page begins with the time at which the one before it ended."""
        seen: set[tuple[int, str]] = set()
        at = start_ns
        while True:
            limit = self._limit
            page = self._page(query, at, end_ns)
            entries = sorted({(int(time_ns), str(line)) for stream in page for time_ns, line, *_ in stream["values"]})
            yield from (Said(line) for entry in entries if entry not in seen for line in entry[1:])
            if sum(len(stream["values"]) for stream in page) < min(limit, self._limit):
                return
            last = entries[-1][0]
            if last == at and seen.issuperset(entries):
                raise NoAnswer(f"{self.name} has more statements of one moment than it lists ({limit:,})")
            at, seen = last, {entry for entry in entries if entry[0] == last}

    def _page(self, query: str, start_ns: int, end_ns: int) -> list[Mapping[str, Any]]:
        while True:
            asked = {"query": query, "start": start_ns, "end": end_ns, "limit": self._limit, "direction": "forward"}
            try:
                return self._result("query_range", asked, "streams")
            except NoAnswer as problem:
                smaller = self._smaller(str(problem))
                if not smaller:
                    raise
                self._limit = smaller

    def _smaller(self, said: str) -> int:
        """How many entries to ask for after an answer that was too much for Loki; 0 when that is not what it says."""
        if match := _MOST_ENTRIES.search(said):
            return int(match[2]) if 0 < int(match[2]) < self._limit else 0
        return self._limit // 4 if _TOO_LARGE.search(said) else 0

    def _count(self, lives: Sequence[str], start_ns: int, end_ns: int) -> Iterator[tuple[str, int]]:
        if not lives:
            return
        one_of = json.dumps("|".join(map(re.escape, lives)))
        entries = f"{self._selector} | {NO_ACCOUNT} | {LIFE}=~{one_of}"
        query = f"sum by ({LIFE}) (count_over_time({entries} [{(end_ns - start_ns) // SECOND}s]))"
        for one in self._result("query", {"query": query, "time": end_ns}, "vector"):
            yield one["metric"].get(LIFE, ""), int(float(one["value"][1]))

    def _result(self, what: str, asked: Mapping[str, object], kind: str) -> list[Mapping[str, Any]]:
        said = self._asker.get(f"/loki/api/v1/{what}", asked)
        if warnings := said.get("warnings"):
            raise NoAnswer(f"{self.name} warns that its answer may not be whole: {short(json.dumps(warnings))}")
        try:
            data = said["data"]
            if said["status"] != "success" or data["resultType"] != kind:
                raise ValueError(data["resultType"])
            result: list[Mapping[str, Any]] = data["result"]
            if not all({"streams": "values", "vector": "metric"}[kind] in one for one in result):
                raise ValueError(kind)
            return result
        except (KeyError, TypeError, ValueError, AttributeError):
            raise NoAnswer(f"{self._asker.url} does not answer as Loki does: {short(json.dumps(said))!r}") from None


def _days(start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """The time from ``start_ns`` to ``end_ns``, widened to whole seconds, a day at a time."""
    at, end = start_ns // SECOND * SECOND, -(-end_ns // SECOND) * SECOND
    while at < end:
        yield at, min(at + DAY, end)
        at += DAY
