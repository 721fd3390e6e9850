"""The on-host account of a life."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from shipper.contracts import Cut, Signal
from shipper.events import Reporter
from shipper.intervals import IntervalSet
from shipper.ledger.rows import Cursor, Loss, OpenRequest, Settlement, StreamAccount, StreamRow


class Ledger:
    """The account of one life in one SQLite file. Not thread-safe: use it from one thread, or through `LedgerThread`."""

    @classmethod
    def open(cls, path: Path, *, report: Reporter) -> Ledger:
        raise NotImplementedError

    def close(self) -> None: ...
    def get(self, key: str) -> str | None:
        raise NotImplementedError

    def put(self, key: str, value: str) -> None: ...
    def begin_run(self) -> int:
        raise NotImplementedError

    def next_seq(self) -> int:
        raise NotImplementedError

    def put_stream(self, row: StreamRow) -> None: ...
    def streams(self) -> list[StreamRow]:
        raise NotImplementedError

    def seen(self, stream: str, size: int) -> None: ...
    def finish(self, stream: str, final: int) -> None: ...
    def retire(self, stream: str) -> None: ...
    def cursor(self, destination: str, stream: str) -> Cursor:
        raise NotImplementedError

    def commit(
        self, destination: str, request_id: str, signal: Signal, cuts: Sequence[tuple[str, Cut]], shaping: str = ""
    ) -> None: ...
    def open_requests(self, destination: str) -> list[OpenRequest]:
        raise NotImplementedError

    def acknowledge(self, destination: str, request_id: str, rejected: int = 0) -> None: ...
    def replace(
        self, destination: str, request_id: str, parts: Sequence[tuple[str, Sequence[tuple[str, Cut]]]]
    ) -> None: ...
    def settle(self, destination: str, request_id: str, how: Settlement, cause: str) -> None: ...
    def give_up(self, destination: str, stream: str, start: int, end: int, records: int, cause: str) -> None: ...
    def losses(self, destination: str) -> list[Loss]:
        raise NotImplementedError

    def adopt(self, destination: str, stream: str, intervals: IntervalSet) -> None: ...
    def low(self, stream: str, destinations: Iterable[str]) -> int:
        raise NotImplementedError

    def account(self, destinations: Iterable[str], changed_since: int = -1) -> list[StreamAccount]:
        raise NotImplementedError

    def accepted(self, life: str, stream: str) -> IntervalSet:
        raise NotImplementedError

    def accepted_streams(self, life: str) -> dict[str, IntervalSet]:
        raise NotImplementedError

    def add_accepted(self, life: str, stream: str, start: int, end: int, at_ns: int) -> None: ...
    def spool_indexed(self, name: str) -> int:
        raise NotImplementedError

    def set_spool_indexed(self, name: str, position: int) -> None: ...
    def forget_accepted(self, before_ns: int) -> int:
        raise NotImplementedError

    def life_ended(self, life: str, at_ns: int) -> None: ...
