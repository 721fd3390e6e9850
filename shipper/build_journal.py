"""Makes the sources that read systemd's journal, out of what the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shipper.build_shapes import shape_of
from shipper.clock import Clock
from shipper.config.schema import Config, Journal
from shipper.contracts import Hub
from shipper.events import Reporter
from shipper.labels.machine import MACHINE_ID_FILES
from shipper.ledger import LedgerThread
from shipper.otlp.encode import AttributeValue

if TYPE_CHECKING:
    from shipper.sources.journal.settings import JournalSettings
    from shipper.sources.journal.source import JournalSource

PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def journals(
    config: Config,
    attributes: Mapping[str, AttributeValue],
    *,
    boot: str,
    hub: Hub,
    ledger: LedgerThread,
    life: str,
    clock: Clock,
    report: Reporter,
) -> list[JournalSource]:
    """A source for each journal. ``boot``: the id of the present one, or empty."""
    if not config.journal:
        return []
    from shipper.sources.journal.source import JournalSource

    return [
        JournalSource(
            journal_settings(journal, index, attributes, boot),
            hub=hub,
            ledger=ledger,
            life=life,
            clock=clock,
            report=report,
        )
        for index, journal in enumerate(config.journal)
    ]


def journal_settings(
    journal: Journal, index: int, attributes: Mapping[str, AttributeValue], boot: str
) -> JournalSettings:
    """How the journal at ``index`` of the configuration is read, with ``attributes`` of the host on all records."""
    from shipper.sources.journal.places import standard
    from shipper.sources.journal.settings import Choice, JournalSettings

    if journal.directory:
        directories: tuple[str, ...] = (journal.directory,)
    else:
        directories = () if journal.files else standard(_machine_id(), journal.namespace)
    fields = tuple(journal.fields)
    named = bool(journal.units or journal.identifiers)
    return JournalSettings(
        name=journal.name,
        directories=directories,
        files=tuple(journal.files),
        nested=bool(journal.directory),
        choice=Choice(
            units=tuple(journal.units),
            exclude_units=tuple(journal.exclude_units),
            identifiers=tuple(journal.identifiers),
            exclude_identifiers=tuple(journal.exclude_identifiers),
            priority=PRIORITIES.index(journal.priority),
            kernel=not named if journal.kernel == "auto" else journal.kernel == "true",
            boot=bytes.fromhex(boot.replace("-", "")) if boot and journal.boot == "current" else b"",
        ),
        from_beginning=journal.start_at == "beginning",
        each_boot=journal.boot == "all",
        fields=None if fields == ("all",) else () if fields == ("none",) else fields,
        attributes={**journal.attributes, **attributes},
        service_from_unit=journal.service_from_unit,
        shape=shape_of(journal.shape, ("journal", index, "shape")),
        max_message=journal.max_message,
    )


def _machine_id() -> str:
    """As it names directories; "none", which is no machine, where there is none."""
    for path in MACHINE_ID_FILES:
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                if found := file.read().strip():
                    return found
        except OSError:
            continue
    return "none"
