"""The audit beside a truth from outside: somebody who counted what was emitted, not what was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shipper.fleet.report import AuditReport, LifeReport, StreamReport, TruthRow, summed


def compare(report: AuditReport, truth: Mapping[str, int]) -> list[TruthRow]:
    """Rows in the order of ``truth``, which maps a subject to how many records it emitted.

    A subject is a host or life id (all its streams), ``<host or life>:<signal>`` (those of ``logs``, ``traces`` or
    ``metrics``), ``<host or life>:<stream name>``, or a stream name alone (a path).
    A subject that the audit knows nothing of is missing altogether.
    """
    return [_row(subject, emitted, list(_streams(report, subject))) for subject, emitted in truth.items()]


def _row(subject: str, emitted: int, streams: list[StreamReport]) -> TruthRow:
    found = summed(stream.counts for stream in streams)
    return TruthRow(
        subject=subject,
        emitted=emitted,
        read=found.read,
        archived=found.archived,
        duplicates=found.duplicates,
        missing=max(0, emitted - found.archived),
        surplus=max(0, found.archived - emitted),
    )


def _streams(report: AuditReport, subject: str) -> Iterable[StreamReport]:
    for life in report.lives:
        if life.role == "gateway":
            continue
        names = _names(life)
        for stream in life.streams:
            parts = (stream.name, stream.signal)
            wanted = {stream.name, stream.id, *names, *(f"{name}:{part}" for name in names for part in parts)}
            if subject in wanted:
                yield stream


def _names(life: LifeReport) -> set[str]:
    return {life.life, life.host, life.labels.get("host", "")} - {""}
