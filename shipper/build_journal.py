"""Makes the sources that read systemd's journal, out of what the configuration says, and out of what an earlier life left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from shipper.build_shapes import shape_of
from shipper.clock import Clock
from shipper.config.schema import Config
from shipper.config.schema_sources import Journal
from shipper.contracts import Hub
from shipper.events import Reporter
from shipper.intervals import IntervalSet
from shipper.labels.machine import MACHINE_ID_FILES
from shipper.ledger import Ledger, LedgerThread
from shipper.otlp.encode import AttributeValue

if TYPE_CHECKING:
    from shipper.sources.journal.borders import Borders
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


def draw_journals(
    config: Config, old: Ledger, told: Mapping[str, IntervalSet], old_boot: str, boot: str, report: Reporter
) -> Borders:
    """Draw the borders of an earlier life in all journals that it read; see `shipper.sources.journal.borders`."""
    from shipper.sources.journal import borders

    named = _named(config, {*names_in(old), *(journal.name for journal in config.journal)})
    if not named:
        return {}
    every = [journal_settings(each, index, {}, old_boot) for index, each in enumerate(named)]
    other = bytes.fromhex(old_boot.replace("-", "")) if old_boot != boot else b""
    return borders.draw(old, every, told, other_boot=other, report=report)


def take_journals(ledger: Ledger, drawn: Borders) -> None:
    """Tell the new life's ledger where it goes on in each journal. Runs on the ledger's thread."""
    if drawn:
        from shipper.sources.journal import borders

        borders.take(ledger, drawn)


def take_told_journals(ledger: Ledger, told: Mapping[str, IntervalSet]) -> None:
    """The same where an earlier life cannot tell any more, by what destinations have of it. Runs on the ledger's thread."""
    if told:
        from shipper.sources.journal import borders

        borders.take(ledger, borders.told_only(told))


async def remaining_journals(
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
    """A source for each journal of an earlier life, which lived in ``boot``; read to its borders."""
    known = await ledger.call(names_in)
    if not known:
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
            closed=True,
        )
        for index, journal in enumerate(_named(config, known))
    ]


def names_in(ledger: Ledger) -> list[str]:
    """The journals that a life read."""
    return sorted({str(row.meta["journal"]) for row in ledger.streams() if row.source == "journal"})


def _named(config: Config, names: Iterable[str]) -> list[Journal]:
    """How these journals are read; as this machine's where the configuration names them no more."""
    known = {journal.name: journal for journal in config.journal}
    return [known.get(name) or Journal(name=name) for name in sorted(names)]


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
